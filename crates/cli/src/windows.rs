//! Windows as people read them: start, end, key, count.

use gristmill_runner::Window;

use crate::output;

/// A window's time: `2026-01-01T00:03:00Z`.
fn time(ms: i64) -> String {
    humantime::format_rfc3339_millis(
        std::time::UNIX_EPOCH + std::time::Duration::from_millis(u64::try_from(ms).unwrap_or(0)),
    )
    .to_string()
    .replace(".000Z", "Z")
}

/// A line for each key of a window that has closed.
pub(crate) fn lines(window: &Window) -> String {
    let (start, end) = (time(window.start), time(window.end));
    let mut rows: Vec<_> = window.counts.iter().collect();
    rows.sort_by_key(|(key, count)| (std::cmp::Reverse(**count), (*key).clone()));
    let width = rows
        .iter()
        .map(|(key, _)| key.chars().count())
        .max()
        .unwrap_or(0)
        .max(12);
    let line = |(key, count): (&String, &i64)| {
        let count = output::thousands(*count);
        format!("{start}  {end}  {key:<width$}  {count:>10}")
    };
    rows.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

/// All windows, those that are not final marked.
pub(crate) fn table(windows: &[Window]) -> String {
    let head = format!(
        "{:<20}  {:<20}  {:<12}  {:>10}",
        "START", "END", "KEY", "COUNT"
    );
    let mut text = vec![head];
    for window in windows {
        for line in lines(window).lines() {
            let open = if window.closed { "" } else { "  open" };
            text.push(format!("{line}{open}"));
        }
    }
    text.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_shows_start_end_key_and_count() {
        let window = Window {
            sink: "w".to_owned(),
            start: 1_767_225_600_000,
            end: 1_767_225_780_000,
            closed: false,
            counts: [("edit".to_owned(), 1234), ("new".to_owned(), 5000)].into(),
        };
        assert_eq!(
            lines(&window),
            "2026-01-01T00:00:00Z  2026-01-01T00:03:00Z  new                5,000\n\
             2026-01-01T00:00:00Z  2026-01-01T00:03:00Z  edit               1,234"
        );
        assert!(
            table(&[window])
                .lines()
                .nth(1)
                .unwrap()
                .ends_with("5,000  open")
        );
    }
}

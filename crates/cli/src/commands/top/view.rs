//! The screen of `top`, from what the app knows; whatever does not fit is left out.

use gristmill_manifest::printable;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Padding, Paragraph, Row, Sparkline, Table};

use super::app::App;
use crate::commands::stage_table::{self, Column};
use crate::commands::status;
use crate::output::{self, thousands};

/// Kinds of rejects that are shown.
const REJECTS_SHOWN: usize = 4;
/// A line of a stage's rate is at least and at most this high.
const LINE_HEIGHT_MIN: u16 = 3;
const LINE_HEIGHT_MAX: u16 = 9;
/// Lines of a stage's reason: what is behind the remedy can be read with `status`.
const REASON_LINES_MAX: usize = 3;
/// Columns of a count's key, where there is room.
const KEY_WIDTH: usize = 24;

pub(super) fn draw(frame: &mut Frame, app: &App) {
    let stages = app.status.stages.len() as u16;
    let rejects = rejects(app);
    let reasons = reasons(app, frame.area().width);
    let notes = reasons.len() as u16;
    let rejects_height = match rejects.len() as u16 {
        0 => 0,
        rows => rows + 1,
    };
    let [head, table, reason, rejected, body, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(stages + 2),
        Constraint::Length(notes),
        Constraint::Length(rejects_height),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(heading(app)), head);
    frame.render_widget(stage_table(app, table.width), table);
    frame.render_widget(Paragraph::new(reasons), reason);
    let block = titled(app, " rejected ");
    frame.render_widget(Paragraph::new(rejects).block(block), rejected);
    let [counts, lines] =
        Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(body);
    draw_counts(frame, app, counts);
    draw_lines(frame, app, lines);
    frame.render_widget(Paragraph::new(footing(app)), foot);
}

fn style(app: &App, colour: Color) -> Style {
    match app.colour {
        true => Style::new().fg(colour),
        false => Style::new(),
    }
}

fn titled<'a>(app: &App, title: &'a str) -> Block<'a> {
    let quiet = style(app, Color::DarkGray);
    Block::new()
        .borders(Borders::TOP)
        .border_style(quiet)
        .title(title)
}

fn of_state(app: &App, state: &str) -> Style {
    match state {
        "running" => style(app, Color::Green),
        "failed" => style(app, Color::Red).add_modifier(Modifier::BOLD),
        "waiting" => style(app, Color::Yellow),
        _ => style(app, Color::DarkGray),
    }
}

fn heading(app: &App) -> Line<'_> {
    let mut text = format!(" {}", status::head(&app.status));
    if let Some(percent) = app.cpu_percent() {
        text.push_str(&format!(", {percent:.0} % of a processor"));
    }
    Line::styled(text, Modifier::BOLD)
}

fn footing(app: &App) -> Line<'_> {
    match &app.lost {
        Some((since, why)) => {
            let seconds = since.elapsed().as_secs();
            let text = format!(" connection lost {seconds} s ago: {}", printable(why));
            Line::styled(text, style(app, Color::Red).add_modifier(Modifier::BOLD))
        }
        None => Line::styled(" q quits", style(app, Color::DarkGray)),
    }
}

fn stage_table(app: &App, width: u16) -> Table<'_> {
    let stages = &app.status.stages;
    // A space on the left, as everything else on the screen has.
    let columns = stage_table::fitting(stages, usize::from(width.saturating_sub(1)));
    let aligned = |column: &Column, text: String| match column.is_number {
        true => Line::from(text).right_aligned(),
        false => Line::from(text),
    };
    let head = columns
        .iter()
        .map(|(column, _)| aligned(column, column.head.to_owned()));
    let head = Row::new(head).style(style(app, Color::DarkGray));
    let rows = stages.iter().map(|stage| {
        Row::new(columns.iter().map(|(column, _)| {
            let style = match column.head {
                "state" => of_state(app, &stage.state),
                "rejected" if stage.rejected > 0 => style(app, Color::Red),
                _ => Style::new(),
            };
            Cell::new(aligned(column, (column.text)(stage))).style(style)
        }))
    });
    let widths = columns
        .iter()
        .map(|(_, width)| Constraint::Length(*width as u16));
    let block = titled(app, " stages ").padding(Padding::left(1));
    Table::new(rows, widths)
        .column_spacing(stage_table::GAP as u16)
        .header(head)
        .block(block)
}

/// Why stages wait or have failed, whole where it takes a few lines at most.
fn reasons(app: &App, width: u16) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    for stage in &app.status.stages {
        if let Some(reason) = &stage.reason {
            let text = format!("{} is {}: {}", stage.name, stage.state, printable(reason));
            let text = wrapped(&text, usize::from(width.saturating_sub(2)));
            let text = text.into_iter().take(REASON_LINES_MAX);
            let style = of_state(app, &stage.state);
            lines.extend(text.map(|text| Line::styled(format!(" {text}"), style)));
        }
    }
    lines
}

/// `text` in lines of at most `width` characters, broken at spaces where there are some.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        if !line.is_empty() && line.chars().count() + 1 + word.len() > width {
            lines.push(std::mem::take(&mut line));
        } else if !line.is_empty() {
            line.push(' ');
        }
        while word.len() > width.max(1) {
            lines.push(word.drain(..width.max(1)).collect());
        }
        line.extend(word);
    }
    lines.push(line);
    lines
}

fn rejects(app: &App) -> Vec<Line<'_>> {
    let all = app.status.stages.iter().flat_map(|stage| &stage.rejects);
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|kind| std::cmp::Reverse(kind.records));
    let line = |kind: &&gristmill_runner::Rejects| {
        let records = thousands(kind.records as i64);
        let (step, reason) = (printable(&kind.step), printable(&kind.reason));
        Line::from(format!(" {records:>11}  {step}: {reason}"))
    };
    all.iter().take(REJECTS_SHOWN).map(line).collect()
}

fn draw_counts(frame: &mut Frame, app: &App, area: Rect) {
    let Some(counts) = &app.status.counts else {
        return;
    };
    let title = format!(" counts, {} ", output::many(counts.keys as u64, "key"));
    let block = titled(app, &title);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let mut lines = Vec::new();
    if let Some(error) = &counts.error {
        let text = format!(" cannot be read: {}", printable(error));
        lines.push(Line::styled(text, style(app, Color::Yellow)));
    }
    lines.extend(count_lines(app, &counts.ranked(), inner));
    frame.render_widget(Paragraph::new(lines), inner);
}

/// A line for each of `ranked`: key, count and rate take their columns, the bar has the rest.
fn count_lines<'a>(app: &App, ranked: &[(&str, i64)], area: Rect) -> Vec<Line<'a>> {
    let most = ranked.first().map_or(1, |(_, count)| (*count).max(1));
    let rows: Vec<[String; 3]> = ranked
        .iter()
        .take(usize::from(area.height))
        .map(|(key, count)| {
            let growth = app.growth(key).map_or_else(String::new, |rate| {
                format!("{}/s", thousands(rate.round() as i64))
            });
            [output::shown(key), thousands(*count), growth]
        })
        .collect();
    let widest = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let (counts, rates) = (widest(1).max(8), widest(2).max(7));
    let width = usize::from(area.width);
    let keys = widest(0).min(KEY_WIDTH);
    let keys = keys.min(width.saturating_sub(counts + rates + 3));
    let room = width.saturating_sub(keys + counts + rates + 5);
    let line = |([key, count, growth], (_, n)): (&[String; 3], &(&str, i64))| {
        let filled = (*n).max(0) as f64 / most as f64 * room as f64;
        let bar = "█".repeat(filled.round() as usize);
        let key: String = key.chars().take(keys).collect();
        let text = format!(" {key:<keys$} {count:>counts$} {growth:>rates$}  ");
        let bar = Span::styled(bar, style(app, Color::Cyan));
        Line::from(vec![Span::raw(text), bar])
    };
    rows.iter().zip(ranked).map(line).collect()
}

fn draw_lines(frame: &mut Frame, app: &App, area: Rect) {
    let mut rest = area;
    let each = area.height / (app.status.stages.len() as u16).max(1);
    let height = each.clamp(LINE_HEIGHT_MIN, LINE_HEIGHT_MAX);
    for stage in &app.status.stages {
        if rest.height < height {
            return;
        }
        let [line, below] =
            Layout::vertical([Constraint::Length(height), Constraint::Min(0)]).areas(rest);
        rest = below;
        let data = app.line(&stage.name, usize::from(line.width));
        let most = thousands(data.iter().copied().max().unwrap_or(0) as i64);
        let title = format!(" {}, at most {most}/s ", stage.name);
        let sparkline = Sparkline::default()
            .data(data)
            .style(style(app, Color::Cyan))
            .block(titled(app, &title));
        frame.render_widget(sparkline, line);
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::commands::status::tests::example;

    fn screen(app: &App, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, app)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn everything_is_on_the_screen() {
        let mut app = App::new(example(), true);
        app.take(Ok(example()));
        let text = screen(&app, 140, 30);
        for expect in [
            "wikipedia waits, for 2m 13s, process 4711, 40.0 MiB",
            "sse-source ▶ edits",
            "1,234", // lag
            "1.25 s",
            "counts is waiting: redis␛]0;x: no connection",
            "45  extract-type: no field",
            "counts, 12 keys",
            "key11      121",
            "stream, at most 500/s",
            "q quits",
        ] {
            assert!(text.contains(expect), "{expect}\n{text}");
        }
        app.take(Err(anyhow::anyhow!("refused")));
        let text = screen(&app, 140, 30);
        assert!(text.contains("connection lost 0 s ago: refused"), "{text}");
    }

    #[test]
    fn a_narrow_screen_keeps_what_matters() {
        let text = screen(&App::new(example(), true), 60, 20);
        for expect in [
            "stream", "counts", "running", "waiting", "500", "1,234", "12,345",
        ] {
            assert!(text.contains(expect), "{expect}\n{text}");
        }
        assert!(!text.contains("p99"), "{text}");
    }

    #[test]
    fn nothing_is_cut_at_usual_sizes() {
        let mut app = App::new(example(), true);
        let mut later = example();
        app.take(Ok(example()));
        if let Some(counts) = &mut later.counts {
            counts.at_ms += 1_000;
            counts.largest.insert("key11".to_owned(), 1_234_567);
        }
        later.stages[1].reason = Some(format!("{} the end", "a long reason with ".repeat(6)));
        app.take(Ok(later));
        for (width, way) in [(80, false), (100, true)] {
            let text = screen(&app, width, 30);
            for expect in ["rejected", "1.25 s", "1,234,567", "1,234,446/s", "the end"] {
                assert!(text.contains(expect), "{width}: {expect}\n{text}");
            }
            assert_eq!(text.contains("sse-source ▶ edits"), way, "{text}");
            assert_eq!(text.contains("edits ▶ redis-sink"), way, "{text}");
        }
    }

    #[test]
    fn lines_are_broken_at_spaces() {
        assert_eq!(wrapped("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrapped("abcdefghi jk", 4), ["abcd", "efgh", "i jk"]);
        assert_eq!(wrapped("é", 0), ["é"]);
    }

    #[test]
    fn any_size_will_do() {
        let mut app = App::new(example(), false);
        app.take(Ok(example()));
        for width in [1, 2, 7, 20, 79, 500] {
            for height in [1, 2, 5, 11, 200] {
                screen(&app, width, height);
            }
        }
    }
}

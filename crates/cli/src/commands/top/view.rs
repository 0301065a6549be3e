//! The screen of `top`, from what the app knows; whatever does not fit is left out.

use gristmill_manifest::printable;
use gristmill_runner::{Quantiles, StageStatus};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Sparkline, Table};

use super::app::App;
use crate::commands::status;
use crate::output::{self, thousands};

/// Kinds of rejects that are shown.
const REJECTS_SHOWN: usize = 4;
/// A line of a stage's rate is at least and at most this high.
const LINE_HEIGHT_MIN: u16 = 3;
const LINE_HEIGHT_MAX: u16 = 9;
/// Columns of a count's key.
const KEY_WIDTH: usize = 16;

pub(super) fn draw(frame: &mut Frame, app: &App) {
    let stages = app.status.stages.len() as u16;
    let rejects = rejects(app);
    let reasons = reasons(app);
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

/// Columns that are left out of a narrow terminal; what is left tells how it goes.
const ONLY_WIDE: [&str; 5] = ["way", "out/s", "p50", "p99", "rejected"];
const WIDE: u16 = 100;

fn stage_table(app: &App, width: u16) -> Table<'_> {
    let columns = [
        (" stage", Constraint::Length(16)),
        ("way", Constraint::Fill(1)),
        ("state", Constraint::Length(8)),
        ("in/s", Constraint::Length(8)),
        ("out/s", Constraint::Length(8)),
        ("records", Constraint::Length(11)),
        ("lag", Constraint::Length(10)),
        ("p50", Constraint::Length(8)),
        ("p99", Constraint::Length(8)),
        ("rejected", Constraint::Length(9)),
    ];
    let is_shown = |name: &str| width >= WIDE || !ONLY_WIDE.contains(&name);
    // Text is on the left, numbers on the right.
    let aligned = |index: usize, text: String| match index {
        0..=2 => Line::from(text),
        _ => Line::from(text).right_aligned(),
    };
    let head = columns.iter().enumerate();
    let head = head.filter(|(_, (name, _))| is_shown(name));
    let head = head.map(|(index, (name, _))| aligned(index, (*name).to_owned()));
    let row = |stage: &StageStatus| {
        let latency = |of: fn(&Quantiles) -> f64| {
            let quantiles = stage.latency_ms.as_ref();
            quantiles.map_or_else(String::new, |q| output::millis(of(q)))
        };
        let lag = match stage.is_source {
            true => String::new(),
            false => thousands(stage.lag_records()),
        };
        let texts = [
            format!(" {}", stage.name),
            output::way(&stage.connector, &stage.topic, stage.is_source),
            stage.state.clone(),
            thousands(stage.rates.records_in.round() as i64),
            thousands(stage.rates.records_out.round() as i64),
            thousands(stage.records_in as i64),
            lag,
            latency(|q| q.p50),
            latency(|q| q.p99),
            thousands(stage.rejected as i64),
        ];
        let cells = texts.into_iter().zip(columns).enumerate();
        let cells = cells.filter(|(_, (_, (name, _)))| is_shown(name));
        Row::new(cells.map(|(index, (text, (name, _)))| {
            let style = match name {
                "state" => of_state(app, &stage.state),
                "rejected" if stage.rejected > 0 => style(app, Color::Red),
                _ => Style::new(),
            };
            Cell::new(aligned(index, text)).style(style)
        }))
    };
    let widths = columns.into_iter().filter(|(name, _)| is_shown(name));
    Table::new(
        app.status.stages.iter().map(row),
        widths.map(|(_, width)| width),
    )
    .header(Row::new(head).style(style(app, Color::DarkGray)))
    .block(titled(app, " stages "))
}

fn reasons(app: &App) -> Vec<Line<'_>> {
    let reason = |stage: &StageStatus| {
        let reason = stage.reason.as_ref()?;
        let text = format!(" {} is {}: {}", stage.name, stage.state, printable(reason));
        Some(Line::styled(text, of_state(app, &stage.state)))
    };
    app.status.stages.iter().filter_map(reason).collect()
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
    let title = match counts.keys {
        1 => " counts, 1 key ".to_owned(),
        keys => format!(" counts, {} keys ", thousands(keys as i64)),
    };
    let block = titled(app, &title);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let ranked = counts.ranked();
    let most = ranked.first().map_or(1, |(_, count)| (*count).max(1));
    // Key, count and rate take their columns; the bar has the rest.
    let room = usize::from(inner.width).saturating_sub(KEY_WIDTH + 28);
    let mut lines = Vec::new();
    if let Some(error) = &counts.error {
        let text = format!(" cannot be read: {}", printable(error));
        lines.push(Line::styled(text, style(app, Color::Yellow)));
    }
    for (key, count) in ranked.iter().take(usize::from(inner.height)) {
        let filled = (*count).max(0) as f64 / most as f64 * room as f64;
        let bar = "█".repeat(filled.round() as usize);
        let growth = app.growth(key).map_or_else(String::new, |rate| {
            format!("{}/s", thousands(rate.round() as i64))
        });
        let key: String = output::shown(key).chars().take(KEY_WIDTH).collect();
        lines.push(Line::from(vec![
            Span::raw(format!(
                " {key:<KEY_WIDTH$} {:>13} {growth:>10}  ",
                thousands(*count)
            )),
            Span::styled(bar, style(app, Color::Cyan)),
        ]));
    }
    frame.render_widget(Paragraph::new(lines), inner);
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
            "key11                      121",
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

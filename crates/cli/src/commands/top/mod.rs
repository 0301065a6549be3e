//! `gristmill top`: a running pipeline on the whole screen.
//!
//! ```text
//! /status once a second ─▶ App ─▶ view ─▶ terminal ◀─ keys, resizes
//! ```

mod app;
mod view;

use std::io::{self, IsTerminal};
use std::time::Duration;

use anyhow::Context;
use gristmill_runner::PipelineStatus;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use self::app::App;
use crate::args::TopArgs;
use crate::remote::Remote;
use crate::session::Signals;
use crate::{Outcome, UsageError};

/// How often the pipeline is asked.
const EVERY: Duration = Duration::from_secs(1);

type Answer = anyhow::Result<PipelineStatus>;

pub(super) async fn run(args: TopArgs) -> anyhow::Result<Outcome> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        let text = "`top` needs a terminal\n  = help: `gristmill status` prints the same once, with \
                    --json for scripts";
        return Err(UsageError(text.to_owned()).into());
    }
    let mut found = Remote::find(args.target.as_deref())?;
    if found.len() > 1 {
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        return Err(UsageError(format!(
            "{} pipelines of yours run: {}\n  = help: name the one to look at, or its address",
            names.len(),
            names.join(", ")
        ))
        .into());
    }
    let (name, remote) = found.remove(0);
    // Asked before the screen is taken: what is wrong is better said below the command.
    let first = remote.status().await.with_context(|| name.clone())?;
    let mut signals = Signals::new()?;
    let mut terminal = ratatui::try_init().context("the terminal cannot be taken over")?;
    let app = App::new(first, std::env::var_os("NO_COLOR").is_none());
    let outcome = show(&mut terminal, app, remote, &mut signals).await;
    ratatui::try_restore().context("the terminal cannot be given back")?;
    outcome
}

async fn show(
    terminal: &mut DefaultTerminal,
    mut app: App,
    remote: Remote,
    signals: &mut Signals,
) -> anyhow::Result<Outcome> {
    let mut answers = ask(remote);
    let mut events = listen();
    loop {
        terminal.draw(|frame| view::draw(frame, &app))?;
        tokio::select! {
            interrupted = signals.next() => return Ok(ended(interrupted)),
            Some(answer) = answers.recv() => app.take(answer),
            event = events.recv() => match event {
                Some(Ok(Event::Key(key))) => match asked(key) {
                    Asked::Quit => return Ok(Outcome::Done),
                    Asked::Interrupt => return Ok(Outcome::Interrupted),
                    Asked::Nothing => {}
                },
                // A resize is drawn as every turn is.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error).context("the terminal cannot be read"),
                None => return Ok(Outcome::Done),
            },
        }
    }
}

fn ended(interrupted: bool) -> Outcome {
    match interrupted {
        true => Outcome::Interrupted,
        false => Outcome::Done,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Quit,
    /// In raw mode Ctrl-C is a key.
    Interrupt,
    Nothing,
}

fn asked(key: KeyEvent) -> Asked {
    if key.kind == KeyEventKind::Release {
        return Asked::Nothing;
    }
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Asked::Interrupt,
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => Asked::Quit,
        _ => Asked::Nothing,
    }
}

/// Ask once a second until nobody wants to know.
fn ask(remote: Remote) -> mpsc::Receiver<Answer> {
    let (sender, answers) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if sender.send(remote.status().await).await.is_err() {
                return;
            }
        }
    });
    answers
}

/// Keys and resizes. The thread that waits for them ends with the process.
fn listen() -> mpsc::Receiver<io::Result<Event>> {
    let (sender, events) = mpsc::channel(16);
    std::thread::spawn(move || {
        loop {
            let event = event::read();
            let last = event.is_err();
            if sender.blocking_send(event).is_err() || last {
                return;
            }
        }
    });
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_escape_and_ctrl_c_end_it() {
        let key = |code, modifiers| asked(KeyEvent::new(code, modifiers));
        for code in [KeyCode::Char('q'), KeyCode::Char('Q'), KeyCode::Esc] {
            assert_eq!(key(code, KeyModifiers::NONE), Asked::Quit);
        }
        assert_eq!(
            key(KeyCode::Char('c'), KeyModifiers::CONTROL),
            Asked::Interrupt
        );
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::NONE), Asked::Nothing);
        assert_eq!(key(KeyCode::Up, KeyModifiers::NONE), Asked::Nothing);
    }
}

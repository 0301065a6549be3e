//! What `top` knows: the newest status, and enough of earlier ones for rates and lines.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use gristmill_runner::PipelineStatus;

use super::Answer;

/// Points of a stage's line: no terminal is wider.
const LINE_MAX: usize = 512;
/// Earlier counts that are kept: rates of counts are over so many seconds.
const COUNTS_MAX: usize = 6;

pub(super) struct App {
    /// The newest status.
    pub(super) status: PipelineStatus,
    /// Whether colours are wanted.
    pub(super) colour: bool,
    /// Since when it does not answer, and why.
    pub(super) lost: Option<(Instant, String)>,
    lines: BTreeMap<String, VecDeque<u64>>,
    /// (when they were read, counts), oldest first.
    counts: VecDeque<(i64, BTreeMap<String, i64>)>,
    /// Processor time of the status before, and when that was.
    cpu: Option<(f64, i64)>,
}

impl App {
    pub(super) fn new(first: PipelineStatus, colour: bool) -> Self {
        Self {
            cpu: None,
            lines: BTreeMap::new(),
            counts: VecDeque::new(),
            lost: None,
            colour,
            status: first,
        }
    }

    /// What it said, or why it said nothing; the last known status stays then.
    pub(super) fn take(&mut self, answer: Answer) {
        let status = match answer {
            Ok(status) => status,
            Err(error) => {
                let since = self
                    .lost
                    .take()
                    .map_or_else(Instant::now, |(since, _)| since);
                self.lost = Some((since, crate::output::chain(&error)));
                return;
            }
        };
        if status.pid != self.status.pid || status.started_ms != self.status.started_ms {
            // Another run under the same name: its counters started anew.
            self.lines.clear();
            self.counts.clear();
            self.cpu = None;
        } else if let Some(cpu) = self.status.cpu_seconds {
            self.cpu = Some((cpu, self.status.at_ms));
        }
        for stage in &status.stages {
            let line = self.lines.entry(stage.name.clone()).or_default();
            line.push_back(stage.rates.records_in.round() as u64);
            if line.len() > LINE_MAX {
                line.pop_front();
            }
        }
        if let Some(counts) = &status.counts
            && self.counts.back().is_none_or(|(at, _)| *at < counts.at_ms)
        {
            self.counts
                .push_back((counts.at_ms, counts.largest.clone()));
            if self.counts.len() > COUNTS_MAX {
                self.counts.pop_front();
            }
        }
        self.lost = None;
        self.status = status;
    }

    /// Records per second of a stage, oldest first, the newest `points` of them.
    pub(super) fn line(&self, stage: &str, points: usize) -> Vec<u64> {
        let line = self.lines.get(stage);
        let skip = line.map_or(0, |line| line.len().saturating_sub(points));
        line.into_iter().flatten().skip(skip).copied().collect()
    }

    /// How fast a count grows, per second.
    pub(super) fn growth(&self, key: &str) -> Option<f64> {
        let (from, before) = self.counts.front()?;
        let (to, now) = self.counts.back()?;
        let seconds = (to - from) as f64 / 1_000.0;
        let grown = now.get(key)? - before.get(key)?;
        (seconds > 0.0).then(|| grown.max(0) as f64 / seconds)
    }

    /// Share of one processor that it uses, in percent.
    pub(super) fn cpu_percent(&self) -> Option<f64> {
        let (before, at) = self.cpu?;
        let seconds = (self.status.at_ms - at) as f64 / 1_000.0;
        let used = self.status.cpu_seconds? - before;
        (seconds > 0.0).then(|| used.max(0.0) / seconds * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::status::tests::example;

    fn later(seconds: i64) -> PipelineStatus {
        let mut status = example();
        status.at_ms += seconds * 1_000;
        status.cpu_seconds = Some(seconds as f64 * 0.25);
        if let Some(counts) = &mut status.counts {
            counts.at_ms = status.at_ms;
            counts.largest.insert("key1".to_owned(), 1 + seconds * 50);
        }
        status
    }

    #[test]
    fn rates_come_from_what_was_said_before() {
        let mut app = App::new(example(), false);
        assert_eq!((app.growth("key1"), app.cpu_percent()), (None, None));
        for second in 1..=20 {
            app.take(Ok(later(second)));
        }
        assert_eq!(app.growth("key1"), Some(50.0));
        assert_eq!(app.growth("key2"), Some(0.0));
        assert_eq!(app.growth("none"), None);
        assert_eq!(app.cpu_percent(), Some(25.0));
        assert_eq!(app.line("stream", 3), [500, 500, 500]);
        assert_eq!(app.line("stream", 100).len(), 20);
        for second in 0..1_000 {
            app.take(Ok(later(second)));
        }
        assert_eq!(app.line("stream", usize::MAX).len(), LINE_MAX);
    }

    #[test]
    fn a_lost_connection_keeps_what_is_known() {
        let mut app = App::new(example(), false);
        app.take(Err(anyhow::anyhow!("refused")));
        app.take(Err(anyhow::anyhow!("timed out")));
        let (_, why) = app.lost.as_ref().unwrap();
        assert_eq!(why, "timed out");
        assert_eq!(app.status.pipeline, "wikipedia");
        let mut other = later(5);
        other.pid = 1;
        app.take(Ok(other));
        assert!(app.lost.is_none());
        assert_eq!(app.line("stream", 10).len(), 1);
    }
}

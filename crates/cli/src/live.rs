//! The live view: a line a stage with its rate and lag, a bar while there is a backlog, and the
//! counts as they move. On a terminal only; drawn from the legs' statistics.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use gristmill_flow::{LegStats, Status};
use gristmill_manifest::printable;
use gristmill_runner::LegView;
use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::logging;
use crate::output::{shown, thousands, way};

/// Rates are averaged over this long: short enough to see a stall, long enough to be read.
const RATE_WINDOW: Duration = Duration::from_secs(3);
/// A backlog of fewer records is gone before a bar could be read.
const BACKLOG_MIN: i64 = 2_000;
/// Counts shown, largest first.
const COUNTS_SHOWN: usize = 6;

/// Draws until it is dropped; then the terminal is as it was.
pub(crate) struct Live {
    multi: MultiProgress,
    stages: Vec<StageLine>,
    counts: ProgressBar,
}

struct StageLine {
    leg: LegView,
    bar: ProgressBar,
    /// (when, records) of the last few seconds.
    samples: VecDeque<(Instant, u64)>,
    /// Largest lag of the backlog that is being worked off.
    backlog: i64,
}

impl Live {
    /// A view of `legs` on standard error.
    pub(crate) fn new(legs: &[LegView]) -> Self {
        let multi = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let counts = multi.add(line());
        logging::set_live(Some(multi.clone()));
        let mut live = Self {
            multi,
            stages: Vec::new(),
            counts,
        };
        live.follow(legs);
        live
    }

    /// Have a line for each of `legs`: new ones come, others may now be of another topic.
    pub(crate) fn follow(&mut self, legs: &[LegView]) {
        for (index, leg) in legs.iter().enumerate() {
            match self.stages.get_mut(index) {
                Some(stage) => stage.leg = leg.clone(),
                None => self.stages.push(StageLine {
                    leg: leg.clone(),
                    bar: self.multi.insert_before(&self.counts, line()),
                    samples: VecDeque::new(),
                    backlog: 0,
                }),
            }
        }
    }

    /// Draw what the stages say now.
    pub(crate) fn draw(&mut self, counts: &BTreeMap<String, i64>) {
        for stage in &mut self.stages {
            let text = stage.text(Instant::now());
            stage.bar.set_message(text);
        }
        let mut rows: Vec<_> = counts.iter().collect();
        rows.sort_by_key(|(key, count)| (std::cmp::Reverse(**count), (*key).clone()));
        let shown: Vec<String> = rows
            .iter()
            .take(COUNTS_SHOWN)
            .map(|(key, count)| format!("\x1b[1m{}\x1b[0m {}", shown(key), thousands(**count)))
            .collect();
        let rest = rows.len().saturating_sub(COUNTS_SHOWN);
        let more = if rest > 0 {
            format!("  and {rest} more")
        } else {
            String::new()
        };
        self.counts
            .set_message(format!("  {}{more}", shown.join("  ")));
    }
}

fn line() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_style(
        ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    bar
}

impl Drop for Live {
    fn drop(&mut self) {
        logging::set_live(None);
        // The final table says it better; nothing is lost if the terminal is gone.
        let _ = self.multi.clear();
    }
}

impl StageLine {
    fn text(&mut self, now: Instant) -> String {
        let stats = &self.leg.stats;
        let records = LegStats::get(&stats.records_in);
        self.samples.push_back((now, records));
        while self.samples.len() > 2
            && self
                .samples
                .front()
                .is_some_and(|(at, _)| now - *at > RATE_WINDOW)
        {
            self.samples.pop_front();
        }
        let rate = match self.samples.front() {
            Some((at, before)) if now > *at => {
                (records - before) as f64 / (now - *at).as_secs_f64()
            }
            _ => 0.0,
        };
        let way = way(self.leg.kind, &self.leg.topic, self.leg.is_source);
        let head = format!("\x1b[36m{:<14}\x1b[0m {way:<34}", self.leg.name);
        match stats.status() {
            Status::Starting => format!("{head} starting"),
            Status::Waiting(reason) => {
                format!("{head} \x1b[33mwaiting\x1b[0m {}", printable(&reason))
            }
            Status::Failed(reason) => {
                format!("{head} \x1b[31mfailed\x1b[0m {}", printable(&reason))
            }
            Status::Ended => format!("{head} {:>12}  ended", thousands(records as i64)),
            Status::Running => {
                let lag: i64 = stats.lag().values().sum();
                let rejected = LegStats::get(&stats.rejected);
                let mut text = format!(
                    "{head} {:>12}  {:>9}/s",
                    thousands(records as i64),
                    thousands(rate as i64)
                );
                if !self.leg.is_source {
                    text.push_str(&format!("  lag {}", thousands(lag)));
                    text.push_str(&self.backlog_bar(lag, rate));
                }
                if rejected > 0 {
                    text.push_str(&format!(
                        "  \x1b[31m{} rejected\x1b[0m",
                        thousands(rejected as i64)
                    ));
                }
                text
            }
        }
    }

    fn backlog_bar(&mut self, lag: i64, rate: f64) -> String {
        self.backlog = if lag == 0 { 0 } else { self.backlog.max(lag) };
        if self.backlog < BACKLOG_MIN {
            return String::new();
        }
        let done = 1.0 - lag as f64 / self.backlog as f64;
        let full = (done * 20.0) as usize;
        let left = if rate >= 1.0 {
            format!(
                " {} left",
                HumanDuration(Duration::from_secs_f64(lag as f64 / rate))
            )
        } else {
            String::new()
        };
        format!(
            "  [{}{}] {:.0} %{left}",
            "━".repeat(full),
            " ".repeat(20 - full),
            done * 100.0
        )
    }
}

//! Contestants that take turns, and what their figures say.

use std::fmt;

/// Something that is measured: processes some records and says how many.
type Turn<'a> = Box<dyn FnMut() -> Sample + 'a>;

/// One turn.
pub(crate) struct Sample {
    pub(crate) records: usize,
    pub(crate) cpu_ns: u64,
}

pub(crate) struct Contest<'a> {
    rounds: usize,
    contestants: Vec<Contestant<'a>>,
}

struct Contestant<'a> {
    name: String,
    turn: Turn<'a>,
    /// Microseconds a record, by round.
    micros: Vec<f64>,
}

/// What a contestant must keep to.
pub(crate) enum Bar {
    Micros(f64),
    /// So many times what another one takes.
    Ratio(&'static str, f64),
}

pub(crate) struct Verdict {
    pub(crate) what: String,
    pub(crate) measured: f64,
    pub(crate) at_most: f64,
    pub(crate) unit: &'static str,
}

impl<'a> Contest<'a> {
    pub(crate) fn new(rounds: usize) -> Self {
        Self {
            rounds,
            contestants: Vec::new(),
        }
    }

    pub(crate) fn enter(&mut self, name: impl Into<String>, turn: impl FnMut() -> Sample + 'a) {
        self.contestants.push(Contestant {
            name: name.into(),
            turn: Box::new(turn),
            micros: Vec::new(),
        });
    }

    pub(crate) fn run(&mut self) {
        // The first round warms up.
        for round in 0..=self.rounds {
            for contestant in &mut self.contestants {
                let sample = (contestant.turn)();
                if round > 0 {
                    let micros = sample.cpu_ns as f64 / 1e3 / sample.records as f64;
                    contestant.micros.push(micros);
                }
            }
        }
    }

    pub(crate) fn print(&self) {
        for contestant in &self.contestants {
            let [low, median, high] = quartiles(&contestant.micros);
            println!(
                "{:32} {median:7.3} us a record  ({low:.3} … {high:.3})",
                contestant.name
            );
        }
    }

    pub(crate) fn at_most(&self, what: &str, name: &str, bar: Bar) -> Verdict {
        let own = self.micros(name);
        match bar {
            Bar::Micros(at_most) => Verdict {
                what: what.to_owned(),
                measured: quartiles(own)[1],
                at_most,
                unit: "us a record",
            },
            Bar::Ratio(to, at_most) => {
                let other = self.micros(to);
                let ratios: Vec<f64> = own.iter().zip(other).map(|(a, b)| a / b).collect();
                Verdict {
                    what: format!("{what} : {to}"),
                    measured: quartiles(&ratios)[1],
                    at_most,
                    unit: "times",
                }
            }
        }
    }

    /// The worst of several against the best, by round.
    pub(crate) fn even(&self, what: &str, sizes: &[usize], at_most: f64) -> Verdict {
        let all: Vec<_> = sizes
            .iter()
            .map(|size| self.micros(&format!("extract-type, by {size}")))
            .collect();
        let ratios: Vec<f64> = (0..self.rounds)
            .map(|round| {
                let each = all.iter().map(|micros| micros[round]);
                each.clone().fold(0.0, f64::max) / each.fold(f64::MAX, f64::min)
            })
            .collect();
        Verdict {
            what: what.to_owned(),
            measured: quartiles(&ratios)[1],
            at_most,
            unit: "times the best",
        }
    }

    fn micros(&self, name: &str) -> &[f64] {
        let found = self.contestants.iter().find(|c| c.name == name);
        &found
            .unwrap_or_else(|| panic!("no contestant {name}"))
            .micros
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.measured <= self.at_most {
            true => "ok    ",
            false => "MISSED",
        };
        write!(
            f,
            "{verdict} {:48} {:6.3} {} (at most {})",
            self.what, self.measured, self.unit, self.at_most
        )
    }
}

/// First quartile, median, third quartile.
pub(crate) fn quartiles(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| sorted[(sorted.len() - 1) * quarter / 4])
}

/// CPU time of this thread, in nanoseconds: other processes do not count.
pub(crate) fn cpu_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a timespec to be written to.
    #[allow(unsafe_code)]
    let code = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(code, 0, "this system measures no CPU time of threads");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

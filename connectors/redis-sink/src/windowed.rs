//! Windows on event time: one hash of counts for each, in the script that moves the position.
//!
//! ```text
//! Batch ─▶ WindowCounter (by the lane's mark) ─▶ one EVALSHA: offset and mark as believed?
//!                    ─▶ HINCRBY… + next offset + mark + late, and what every lane has passed closes
//! ```
//!
//! The mark is stored beside the offset and changes with it, so whoever takes a lane over decides
//! about late records as its last owner would have.

use std::sync::LazyLock;
use std::time::Instant;

use gristmill_counter::{Increments, Late, Mark, Marks, WindowCounter, WindowRules};
use gristmill_record::{Batch, Lane};
use redis::{Cmd, Script, Value};

use crate::config::{LateRule, Window};
use crate::keys::Keys;
use crate::script::{By, offset};

static APPLY: LazyLock<Script> = LazyLock::new(|| Script::new(SOURCE));
const SOURCE: &str = concat!(include_str!("checks.lua"), include_str!("window.lua"));
const REGISTER: &str = include_str!("register.lua");
const IDLE: &str = include_str!("idle.lua");

/// The windows of one sink.
pub(crate) struct Windowed {
    pub(crate) counter: WindowCounter,
    pub(crate) marks: Marks,
    keep_ms: i64,
}

/// One hash to count in: its key, its window (start and end), its fields.
pub(crate) struct Group {
    pub(crate) key: String,
    pub(crate) window_ms: (i64, i64),
    pub(crate) fields: Increments,
}

/// One call of the script.
pub(crate) struct ApplyHashes<'a> {
    pub(crate) keys: &'a Keys,
    pub(crate) lane: &'a Lane,
    pub(crate) from: Option<i64>,
    pub(crate) next: i64,
    pub(crate) first: bool,
    pub(crate) groups: &'a [Group],
    /// `None` where the hashes are no windows.
    pub(crate) windows: Option<WindowArgs<'a>>,
}

pub(crate) struct WindowArgs<'a> {
    before_ms: Option<i64>,
    after_ms: Option<i64>,
    grace_ms: i64,
    keep_ms: i64,
    now_ms: i64,
    late: &'a Increments,
}

impl Windowed {
    pub(crate) fn new(template: gristmill_counter::KeyTemplate, window: &Window) -> Self {
        let late = match window.late {
            LateRule::Count => Late::Count,
            LateRule::DeadLetter => Late::Refuse,
        };
        let rules = WindowRules::new(window.size, window.grace);
        Self {
            counter: WindowCounter::new(template, rules, late),
            keep_ms: i64::try_from(window.keep.as_millis()).unwrap_or(i64::MAX / 4),
            marks: Marks::new(window.idle),
        }
    }

    /// Ask for the marks of `lanes`, which are all of one topic.
    pub(crate) fn register(keys: &Keys, lanes: &[&Lane]) -> Cmd {
        let mut cmd = redis::cmd("EVAL");
        let topic = lanes.first().map_or("", |lane| &*lane.topic);
        cmd.arg(REGISTER).arg(1).arg(keys.marks(topic));
        for lane in lanes {
            cmd.arg(lane.partition);
        }
        cmd
    }

    /// What the answer to [`register`](Self::register) says; `None` if it is none.
    pub(crate) fn registered(&mut self, lanes: &[&Lane], answer: Vec<Vec<u8>>) -> Option<()> {
        let (closed, marks) = answer.split_first()?;
        let number = |text: &[u8]| match text {
            b"" => Some(None),
            text => offset(text).map(Some),
        };
        let closed_ms = number(closed)?;
        for (lane, mark) in lanes.iter().zip(marks) {
            let at_ms = number(mark)?;
            let mark = Mark { at_ms, closed_ms };
            self.marks.set((*lane).clone(), mark, Instant::now());
        }
        Some(())
    }

    /// Count `batch`, and say which hashes it changes.
    pub(crate) fn count(&mut self, keys: &Keys, batch: &Batch, now_ms: i64) -> Vec<Group> {
        let mark = self.marks.get(&batch.lane);
        self.counter.count(batch, mark, now_ms);
        let size_ms = self.counter.rules().size_ms;
        let group = |(start, fields)| Group {
            key: keys.window(start),
            window_ms: (start, start + size_ms),
            fields,
        };
        self.counter.windows().into_iter().map(group).collect()
    }

    /// What the script needs besides the hashes.
    pub(crate) fn args(&self, lane: &Lane, now_ms: i64) -> WindowArgs<'_> {
        WindowArgs {
            before_ms: self.marks.get(lane).at_ms,
            after_ms: self.counter.mark_ms(),
            grace_ms: self.counter.rules().grace_ms,
            keep_ms: self.keep_ms,
            now_ms,
            late: self.counter.late(),
        }
    }

    /// The batch that was counted last is applied; how many of its records were late.
    pub(crate) fn applied(&mut self, lane: &Lane) -> usize {
        let mark_ms = self.counter.mark_ms();
        self.marks.advance(lane, mark_ms, Instant::now());
        self.counter.late().values().sum::<u64>() as usize
    }

    /// Move a quiet lane's mark.
    pub(crate) fn move_on(&self, keys: &Keys, lane: &Lane, known: Option<i64>, to_ms: i64) -> Cmd {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(IDLE)
            .arg(2)
            .arg(keys.offsets(&lane.topic))
            .arg(keys.marks(&lane.topic))
            .arg(lane.partition)
            .arg(text(known))
            .arg(text(self.marks.get(lane).at_ms))
            .arg(to_ms);
        cmd
    }
}

impl ApplyHashes<'_> {
    /// The whole command.
    pub(crate) fn command(&self, by: By) -> Cmd {
        let mut cmd = match by {
            By::Sha => redis::cmd("EVALSHA"),
            By::Source => redis::cmd("EVAL"),
        };
        match by {
            By::Sha => cmd.arg(APPLY.get_hash()),
            By::Source => cmd.arg(SOURCE),
        };
        let (keys, topic) = (self.keys, &self.lane.topic);
        cmd.arg(self.groups.len() + 5)
            .arg(keys.offsets(topic))
            .arg(keys.marks(topic))
            .arg(keys.open_windows())
            .arg(keys.closed_windows())
            .arg(keys.late());
        for group in self.groups {
            cmd.arg(&group.key);
        }
        cmd.arg(self.lane.partition)
            .arg(text(self.from))
            .arg(self.next)
            .arg(u8::from(self.first));
        let none = Increments::new();
        let late = match &self.windows {
            Some(args) => {
                cmd.arg(text(args.before_ms))
                    .arg(text(args.after_ms))
                    .arg(args.grace_ms)
                    .arg(args.keep_ms)
                    .arg(args.now_ms);
                args.late
            }
            None => {
                cmd.arg("").arg("").arg("").arg("").arg("");
                &none
            }
        };
        put(&mut cmd, late);
        for group in self.groups {
            cmd.arg(group.window_ms.0).arg(group.window_ms.1);
            put(&mut cmd, &group.fields);
        }
        cmd
    }
}

fn put(cmd: &mut Cmd, increments: &Increments) {
    cmd.arg(increments.len());
    for (key, increment) in increments {
        cmd.arg(key.as_slice()).arg(*increment);
    }
}

fn text(number: Option<i64>) -> String {
    number.map_or_else(String::new, |number| number.to_string())
}

/// Whether the script refused the batch for the stored mark, which [`crate::script::answer`] does
/// not know.
pub(crate) fn is_other_mark(value: &Value) -> bool {
    matches!(value, Value::Array(items) if items.as_slice() == [Value::Int(3)])
}

//! The one script: how it is called and what it answers.

use std::sync::LazyLock;

use gristmill_record::Lane;
use redis::{Cmd, Script, Value};

use crate::keys::Keys;

/// Needs no more than Redis 6.2: `EVALSHA`, every key declared.
static APPLY: LazyLock<Script> = LazyLock::new(|| Script::new(SOURCE));
const SOURCE: &str = concat!(include_str!("checks.lua"), include_str!("apply.lua"));

/// One call of the script.
pub(crate) struct Apply<'a, I> {
    pub(crate) keys: &'a Keys,
    pub(crate) lane: &'a Lane,
    /// First offset of the batch; `None` applies only where nothing is stored.
    pub(crate) from: Option<i64>,
    pub(crate) next: i64,
    /// Whether this may be the partition's first batch ever.
    pub(crate) first: bool,
    pub(crate) increments: I,
}

/// How the server knows the script.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum By {
    /// `EVALSHA`: 40 bytes.
    Sha,
    /// `EVAL`, which also puts it back into the server's cache.
    Source,
}

/// What the script says.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    Applied,
    /// The stored offset is another one.
    Stored(Option<i64>),
    /// Keys (index in the increments) that cannot be counted, and why.
    Uncountable(Vec<(usize, String)>),
}

impl<'a, I> Apply<'a, I>
where
    I: ExactSizeIterator<Item = (&'a [u8], u64)> + Clone,
{
    /// The whole command in one buffer.
    pub(crate) fn command(&self, by: By) -> Cmd {
        let bytes: usize = self.increments.clone().map(|(key, _)| key.len() + 8).sum();
        let mut cmd = Cmd::with_capacity(2 * self.increments.len() + 9, bytes + 256);
        match by {
            By::Sha => cmd.arg("EVALSHA").arg(APPLY.get_hash()),
            By::Source => cmd.arg("EVAL").arg(SOURCE),
        };
        cmd.arg(self.increments.len() + 2)
            .arg(self.keys.offsets(&self.lane.topic))
            .arg(self.keys.index());
        for (key, _) in self.increments.clone() {
            cmd.arg(key);
        }
        cmd.arg(self.lane.partition);
        match self.from {
            Some(from) => cmd.arg(from),
            None => cmd.arg(""),
        };
        cmd.arg(self.next).arg(u8::from(self.first));
        for (_, increment) in self.increments.clone() {
            cmd.arg(increment);
        }
        cmd
    }
}

/// Read the script's answer; `Err` describes one that it never gives.
pub(crate) fn answer(value: Value) -> Result<Answer, String> {
    let strange =
        |value: &dyn std::fmt::Debug| format!("unexpected answer of the script: {value:?}");
    let Value::Array(items) = value else {
        return Err(strange(&value));
    };
    match items.as_slice() {
        [Value::Int(0)] => Ok(Answer::Applied),
        [Value::Int(1)] => Ok(Answer::Stored(None)),
        [Value::Int(1), Value::BulkString(stored)] => offset(stored)
            .map(|stored| Answer::Stored(Some(stored)))
            .ok_or_else(|| format!("the stored offset `{}` is no number", stored.escape_ascii())),
        [Value::Int(2), bad @ ..] => bad
            .chunks(2)
            .map(|pair| match pair {
                [Value::Int(index @ 1..), Value::BulkString(reason)] => Some((
                    *index as usize - 1,
                    String::from_utf8_lossy(reason).into_owned(),
                )),
                _ => None,
            })
            .collect::<Option<_>>()
            .map(Answer::Uncountable)
            .ok_or_else(|| strange(&items)),
        _ => Err(strange(&items)),
    }
}

/// An offset as the script stores it.
pub(crate) fn offset(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

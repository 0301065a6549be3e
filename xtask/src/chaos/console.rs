//! Topics as Kafka's own console consumer shows them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::interrupt;
use crate::cluster::Cluster;

/// With all that was expected there, how long the reader waits for more.
const QUIET: Duration = Duration::from_secs(2);
/// The same while some of it is missing: an open transaction may be in the way of it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between headers; no text of ours has it.
const SEPARATOR: &str = "\u{1}";

/// One record.
pub(super) struct Line<'a> {
    pub(super) partition: i32,
    pub(super) offset: i64,
    headers: &'a str,
    /// `null` if there is none.
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

impl<'a> Line<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(5, |byte| *byte == b'\t');
        let mut text = |prefix| {
            std::str::from_utf8(fields.next()?)
                .ok()?
                .strip_prefix(prefix)
        };
        Some(Self {
            partition: text("Partition:")?.parse().ok()?,
            offset: text("Offset:")?.parse().ok()?,
            headers: text("")?,
            key: fields.next()?,
            value: fields.next()?,
        })
    }

    /// Partition and offset that a dead letter names.
    pub(super) fn origin(&self) -> Option<(i32, i64)> {
        let header = |name: &str| {
            let mut headers = self.headers.split(SEPARATOR);
            headers.find_map(|header| header.strip_prefix(name)?.strip_prefix(':'))
        };
        Some((
            header("dead-letter.partition")?.parse().ok()?,
            header("dead-letter.offset")?.parse().ok()?,
        ))
    }
}

/// Visit the committed records of `topic`, of which there should be `expected`.
pub(super) fn read(
    cluster: &Cluster,
    topic: &str,
    expected: u64,
    visit: &mut dyn FnMut(&Line<'_>),
) -> Result<()> {
    let mut command = cluster.java("-Xmx256m");
    command
        .arg("org.apache.kafka.tools.consumer.ConsoleConsumer")
        .args(["--bootstrap-server", &cluster.bootstrap().join(",")])
        .args(["--topic", topic, "--from-beginning"])
        .args(["--isolation-level", "read_committed"]);
    let separator = format!("headers.separator={SEPARATOR}");
    for property in [
        "print.partition=true",
        "print.offset=true",
        "print.headers=true",
        "print.key=true",
        &separator,
    ] {
        command.args(["--formatter-property", property]);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start java")?;
    let result = lines(&mut child, expected, visit);
    child.kill()?;
    child.wait()?;
    result
}

/// Lines until none comes any more; a thread reads them, since a pipe has no timeout.
fn lines(child: &mut Child, expected: u64, visit: &mut dyn FnMut(&Line<'_>)) -> Result<()> {
    let stdout = child.stdout.take().context("the consumer has no output")?;
    let (sender, receiver) = sync_channel::<Vec<u8>>(4096);
    std::thread::spawn(move || {
        let mut reader = BufReader::with_capacity(1 << 20, stdout);
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .is_ok_and(|read| read > 0)
        {
            if line.pop_if(|last| *last == b'\n').is_none()
                || sender.send(std::mem::take(&mut line)).is_err()
            {
                return;
            }
        }
    });
    let mut count = 0;
    let mut last = Instant::now();
    loop {
        interrupt::check()?;
        match receiver.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => {
                let shown = || String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
                let record = Line::parse(&line)
                    .with_context(|| format!("the console consumer said {:?}", shown()))?;
                visit(&record);
                count += 1;
                last = Instant::now();
            }
            Err(RecvTimeoutError::Disconnected) => bail!("the console consumer ended by itself"),
            Err(RecvTimeoutError::Timeout) => {
                let patience = if count >= expected { QUIET } else { PATIENCE };
                if last.elapsed() > patience {
                    return Ok(());
                }
            }
        }
        ensure!(count <= 10 * expected + 1_000_000, "the topic has no end");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart() {
        let line =
            Line::parse(b"Partition:2\tOffset:17\tNO_HEADERS\tnull\t{\"a\":\"\t\"}").unwrap();
        assert_eq!((line.partition, line.offset), (2, 17));
        assert_eq!(
            (line.key, line.value),
            (&b"null"[..], &b"{\"a\":\"\t\"}"[..])
        );
        assert_eq!(line.origin(), None);
        let letter = b"Partition:0\tOffset:1\tdead-letter.topic:t\x01dead-letter.partition:1\x01dead-letter.offset:9\x01dead-letter.reason:a:b,c\tk\tv";
        assert_eq!(Line::parse(letter).unwrap().origin(), Some((1, 9)));
        assert!(Line::parse(b"WARN something").is_none());
    }
}

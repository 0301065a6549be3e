//! The brokers: configuration, storage, JVMs, and one request to see whether they are up.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Broker, Process, State, secure};

/// Quiet, on the process's output, which goes to the broker's log file.
const LOG4J: &str = "\
rootLogger.level=WARN
rootLogger.appenderRef.stdout.ref=STDOUT
appender.stdout.type=Console
appender.stdout.name=STDOUT
appender.stdout.layout.type=PatternLayout
appender.stdout.layout.pattern=%d{ISO8601} %p %c{1} %m%n
";

/// A login between the controllers of a loopback cluster; it keeps no secret.
const JAAS: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required \
    username=\"controller\" password=\"controller\" user_controller=\"controller\";";

/// A random cluster id: 16 bytes in base64, of which the last character carries two bits.
pub(crate) fn cluster_id() -> Result<String> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut random = [0; 21];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    let letter = |byte: &u8| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]);
    Ok(random.iter().map(letter).chain(['A']).collect())
}

/// Write each broker's configuration file.
pub(crate) fn write_config(dir: &Path, brokers: &[Broker]) -> Result<()> {
    std::fs::write(dir.join("log4j2.properties"), LOG4J)?;
    for broker in brokers {
        let home = dir.join(format!("broker-{}", broker.id));
        std::fs::create_dir_all(&home)?;
        std::fs::write(
            home.join("server.properties"),
            config(dir, &home, broker, brokers)?,
        )?;
    }
    Ok(())
}

fn config(dir: &Path, home: &Path, broker: &Broker, brokers: &[Broker]) -> Result<String> {
    let voters: Vec<String> = brokers
        .iter()
        .map(|b| format!("{}@127.0.0.1:{}", b.id, b.controller_port))
        .collect();
    let replicas = brokers.len().min(3);
    let in_sync = replicas.min(2);
    let mut text = String::new();
    let mut set = |key: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "{key}={value}");
    };
    set("process.roles", &"broker,controller");
    set("node.id", &broker.id);
    set("controller.quorum.voters", &voters.join(","));
    let mut listeners = format!(
        "PLAINTEXT://127.0.0.1:{},CONTROLLER://127.0.0.1:{}",
        broker.port, broker.controller_port
    );
    let mut protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:SASL_PLAINTEXT".to_owned();
    if let Some(ports) = &broker.secure {
        listeners += &ports.listeners();
        protocols += secure::PROTOCOLS;
        for (key, value) in secure::settings(dir)? {
            set(&key, &value);
        }
    }
    set("listeners", &listeners);
    set("controller.listener.names", &"CONTROLLER");
    set("listener.security.protocol.map", &protocols);
    set("log.dirs", &home.join("data").display());
    set("auto.create.topics.enable", &false);
    set("default.replication.factor", &replicas);
    set("min.insync.replicas", &in_sync);
    set("num.partitions", &3);
    for topic in [
        "offsets.topic",
        "transaction.state.log",
        "share.coordinator.state.topic",
    ] {
        set(&format!("{topic}.replication.factor"), &replicas);
        // The default of 50 partitions takes seconds to create.
        set(&format!("{topic}.num.partitions"), &3);
    }
    set("transaction.state.log.min.isr", &in_sync);
    set("share.coordinator.state.topic.min.isr", &in_sync);
    // A group of one need not wait for others.
    set("group.initial.rebalance.delay.ms", &0);
    // So that tests of rebalances and of transactions left open need not wait for minutes.
    set("group.min.session.timeout.ms", &1000);
    set(
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        &1000,
    );
    // Controllers need a principal that passes before any rule is loaded, and clients need one
    // that DENY rules apply to (super users pass them all): so controllers log in by name, and
    // everyone else is ANONYMOUS.
    set("super.users", &"User:controller");
    set("sasl.mechanism.controller.protocol", &"PLAIN");
    set("listener.name.controller.sasl.enabled.mechanisms", &"PLAIN");
    set("listener.name.controller.plain.sasl.jaas.config", &JAAS);
    // Tests add DENY rules for topics of their own; everything else is allowed to everyone.
    set(
        "authorizer.class.name",
        &"org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    );
    set("allow.everyone.if.no.acl.found", &true);
    // Small machines: three JVMs of this size beside a build.
    set("num.network.threads", &2);
    set("num.io.threads", &4);
    set("log.cleaner.dedupe.buffer.size", &(4 << 20));
    set("log.segment.delete.delay.ms", &1000);
    set("log.retention.hours", &-1);
    Ok(text)
}

/// Format each broker's storage, all at once.
pub(crate) fn format(dir: &Path, state: &State, cluster_id: &str) -> Result<()> {
    let mut running = Vec::new();
    for broker in &state.brokers {
        let home = dir.join(format!("broker-{}", broker.id));
        let child = java(dir, &state.libs, "-Xmx128m")
            .args(["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c"])
            .arg(home.join("server.properties"))
            .args(secure::users(dir, state)?)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start java")?;
        running.push((broker.id, child));
    }
    for (id, child) in running {
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!(
                "formatting the storage of broker {id} failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
    }
    Ok(())
}

/// Start a broker.
pub(crate) fn spawn(dir: &Path, libs: &Path, id: i32) -> Result<Process> {
    let home = dir.join(format!("broker-{id}"));
    let mut command = java(dir, libs, "-Xmx320m");
    command
        .arg("kafka.Kafka")
        .arg(home.join("server.properties"));
    Ok(Process::spawn(&mut command, &home.join("broker.log"))?)
}

pub(crate) fn java(dir: &Path, libs: &Path, heap: &str) -> Command {
    let mut command = Command::new("java");
    command
        .args([
            heap,
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Xshare:auto",
        ])
        .arg(format!(
            "-Dlog4j2.configurationFile={}",
            dir.join("log4j2.properties").display()
        ))
        .arg("-cp")
        .arg(libs.join("*"));
    command
}

/// The last line of trouble in any broker's log, for an error's context.
pub(crate) fn last_error(dir: &Path) -> String {
    let mut report = "the cluster did not start".to_owned();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let log = entry.path().join("broker.log");
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let trouble = text.lines().rev().find(|line| {
            line.contains("ERROR") || line.contains("FATAL") || line.contains("Exception")
        });
        if let Some(line) = trouble {
            let _ = write!(report, "; {}: {line}", entry.file_name().to_string_lossy());
        }
    }
    report
}

/// How many live brokers the one at `port` knows.
pub(crate) fn brokers_seen_by(port: u16) -> Result<usize> {
    let answer = metadata(port, &[])?;
    Ok(answer.brokers)
}

/// Which broker leads a partition, as the one at `port` knows it.
pub(crate) fn leader(port: u16, topic: &str, partition: i32) -> Result<i32> {
    let answer = metadata(port, &[topic])?;
    let found = answer.leaders.iter().find(|(index, _)| *index == partition);
    match found {
        Some((_, leader)) if *leader >= 0 => Ok(*leader),
        _ => bail!("partition {partition} of {topic} has no leader"),
    }
}

struct Metadata {
    brokers: usize,
    /// Partition and leader, of all topics asked for.
    leaders: Vec<(i32, i32)>,
}

/// A Metadata request, version 4.
fn metadata(port: u16, topics: &[&str]) -> Result<Metadata> {
    const API_KEY_METADATA: u16 = 3;
    const VERSION: u16 = 4;
    let mut request = Vec::new();
    request.extend(API_KEY_METADATA.to_be_bytes());
    request.extend(VERSION.to_be_bytes());
    request.extend(1_i32.to_be_bytes()); // correlation id
    request.extend((-1_i16).to_be_bytes()); // client id: null
    request.extend((topics.len() as u32).to_be_bytes());
    for topic in topics {
        request.extend((topic.len() as u16).to_be_bytes());
        request.extend(topic.bytes());
    }
    request.push(0); // allow_auto_topic_creation
    let timeout = Duration::from_secs(2);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(&(request.len() as u32).to_be_bytes())?;
    stream.write_all(&request)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > 1 << 20 {
        bail!("the broker answered nonsense");
    }
    let mut answer = vec![0; length as usize];
    stream.read_exact(&mut answer)?;
    read_metadata(&answer).context("the broker answered nonsense")
}

fn read_metadata(answer: &[u8]) -> Option<Metadata> {
    let mut rest = answer;
    take(&mut rest, 8)?; // correlation id, throttle time
    let brokers = int(&mut rest)?;
    for _ in 0..brokers {
        take(&mut rest, 4)?; // node id
        string(&mut rest)?; // host
        take(&mut rest, 4)?; // port
        string(&mut rest)?; // rack
    }
    string(&mut rest)?; // cluster id
    take(&mut rest, 4)?; // controller id
    let mut leaders = Vec::new();
    for _ in 0..int(&mut rest)? {
        take(&mut rest, 2)?; // error
        string(&mut rest)?;
        take(&mut rest, 1)?; // is internal
        for _ in 0..int(&mut rest)? {
            take(&mut rest, 2)?; // error
            leaders.push((int(&mut rest)?, int(&mut rest)?));
            for _replicas_then_in_sync in 0..2 {
                let nodes = int(&mut rest)?;
                take(&mut rest, 4 * usize::try_from(nodes).ok()?)?;
            }
        }
    }
    let brokers = usize::try_from(brokers).ok()?;
    Some(Metadata { brokers, leaders })
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(bytes)?;
    *rest = after;
    Some(taken)
}

fn int(rest: &mut &[u8]) -> Option<i32> {
    Some(i32::from_be_bytes(take(rest, 4)?.try_into().ok()?))
}

/// Skip a string, which may be null.
fn string(rest: &mut &[u8]) -> Option<()> {
    let length = i16::from_be_bytes(take(rest, 2)?.try_into().ok()?);
    take(rest, usize::try_from(length).unwrap_or(0))?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read() {
        let mut answer = vec![0; 8];
        answer.extend(1_i32.to_be_bytes());
        answer.extend([0, 0, 0, 7, 0, 1, b'h', 0, 0, 0, 80, 0xff, 0xff]);
        answer.extend([0xff, 0xff, 0, 0, 0, 7]);
        answer.extend(1_i32.to_be_bytes());
        answer.extend([0, 0, 0, 1, b't', 0]);
        answer.extend(1_i32.to_be_bytes());
        answer.extend([0, 0, 0, 0, 0, 2, 0, 0, 0, 7]);
        answer.extend([0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 0]);
        let metadata = read_metadata(&answer).unwrap();
        assert_eq!((metadata.brokers, metadata.leaders), (1, vec![(2, 7)]));
        assert!(read_metadata(&answer[..answer.len() - 1]).is_none());
    }
}

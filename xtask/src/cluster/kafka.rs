//! The brokers: configuration, storage, JVMs, and one request to see whether they are up.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Broker, Process, State};

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
            config(&home, broker, brokers),
        )?;
    }
    Ok(())
}

fn config(home: &Path, broker: &Broker, brokers: &[Broker]) -> String {
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
    let listeners = format!(
        "PLAINTEXT://127.0.0.1:{},CONTROLLER://127.0.0.1:{}",
        broker.port, broker.controller_port
    );
    set("listeners", &listeners);
    set("controller.listener.names", &"CONTROLLER");
    set(
        "listener.security.protocol.map",
        &"PLAINTEXT:PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
    );
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
    text
}

/// Format each broker's storage, all at once.
pub(crate) fn format(dir: &Path, state: &State, cluster_id: &str) -> Result<()> {
    let mut running = Vec::new();
    for broker in &state.brokers {
        let home = dir.join(format!("broker-{}", broker.id));
        let child = java(dir, &state.libs, "-Xmx128m")
            .args(["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c"])
            .arg(home.join("server.properties"))
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
    Process::spawn(&mut command, &home.join("broker.log"))
}

fn java(dir: &Path, libs: &Path, heap: &str) -> Command {
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

/// How many live brokers the one at `port` knows (a Metadata request, version 4, for no topics).
pub(crate) fn brokers_seen_by(port: u16) -> Result<usize> {
    const API_KEY_METADATA: u16 = 3;
    const VERSION: u16 = 4;
    let mut request = Vec::new();
    request.extend(API_KEY_METADATA.to_be_bytes());
    request.extend(VERSION.to_be_bytes());
    request.extend(1_i32.to_be_bytes()); // correlation id
    request.extend((-1_i16).to_be_bytes()); // client id: null
    request.extend(0_i32.to_be_bytes()); // topics: none
    request.push(0); // allow_auto_topic_creation
    let timeout = Duration::from_secs(2);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(&(request.len() as u32).to_be_bytes())?;
    stream.write_all(&request)?;
    // Length, correlation id, throttle time, number of brokers.
    let mut head = [0; 16];
    stream.read_exact(&mut head)?;
    let count = i32::from_be_bytes([head[12], head[13], head[14], head[15]]);
    usize::try_from(count).context("the broker answered nonsense")
}

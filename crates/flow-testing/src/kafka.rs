//! The cluster that `cargo xtask cluster up` started.
//!
//! Tests read `GRISTMILL_TEST_KAFKA` (brokers, comma-separated). Without it they are skipped and
//! say so, unless `GRISTMILL_TEST_REQUIRE=1`, as in CI: then they fail.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

/// The cluster's brokers, or `None` (said on stderr) where tests may be skipped.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
pub fn brokers() -> Option<Vec<String>> {
    match std::env::var("GRISTMILL_TEST_KAFKA") {
        Ok(brokers) if !brokers.is_empty() => Some(brokers.split(',').map(str::to_owned).collect()),
        _ => {
            let why = "GRISTMILL_TEST_KAFKA is not set; `cargo xtask cluster up` starts a cluster \
                       and prints it";
            assert!(
                std::env::var("GRISTMILL_TEST_REQUIRE").as_deref() != Ok("1"),
                "{why}"
            );
            eprintln!("skipped: {why}");
            None
        }
    }
}

/// The listeners with TLS and logins of `cargo xtask cluster up --secure`.
#[derive(Debug, Clone)]
pub struct Secure {
    /// Not encrypted; a login with PLAIN.
    pub login: Vec<String>,
    /// Encrypted; a login with PLAIN or SCRAM.
    pub tls_login: Vec<String>,
    /// Encrypted; a client certificate is asked for.
    pub tls_cert: Vec<String>,
    /// Who may log in.
    pub username: &'static str,
    /// Their password.
    pub password: String,
    /// The cluster's certificates, and those of strangers.
    pub pki: PathBuf,
}

/// The secured listeners, or `None` (said on stderr) where there are none. `cargo xtask ci` has a
/// step of its own for these tests, so that the others need no second cluster.
///
/// # Panics
/// If the cluster's password cannot be read.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
pub fn secure() -> Option<Secure> {
    let list = |name: &str| -> Option<Vec<String>> {
        let brokers = std::env::var(format!("GRISTMILL_TEST_KAFKA_{name}")).ok()?;
        Some(brokers.split(',').map(str::to_owned).collect())
    };
    let dir = std::env::var_os("GRISTMILL_TEST_KAFKA_SECURE_DIR").map(PathBuf::from);
    let (Some(login), Some(tls_login), Some(tls_cert), Some(pki)) =
        (list("LOGIN"), list("TLS_LOGIN"), list("TLS_CERT"), dir)
    else {
        eprintln!(
            "skipped: GRISTMILL_TEST_KAFKA_LOGIN and others are not set; `cargo xtask cluster up \
             --secure` starts such a cluster and prints them, `cargo xtask ci --only tls` does all"
        );
        return None;
    };
    Some(Secure {
        login,
        tls_login,
        tls_cert,
        username: "gristmill",
        password: std::fs::read_to_string(pki.join("password")).unwrap(),
        pki,
    })
}

/// A name that no other test, of this run or an earlier one, uses.
pub fn unique(stem: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let count = COUNT.fetch_add(1, Relaxed);
    format!(
        "{stem}-{:x}-{:x}-{count}",
        now.as_millis(),
        std::process::id()
    )
}

/// Deny everyone `operation` (`Read`, `Write`, `All`, …) on `topic`. False where Kafka's own tools
/// are not at hand (`GRISTMILL_TEST_KAFKA_LIBS`).
pub fn deny(topic: &str, operation: &str) -> bool {
    forbid(&["--operation", operation, "--topic", topic])
}

/// Deny everyone transactional ids that begin with `prefix`. False as with [`deny`].
pub fn deny_transactions(prefix: &str) -> bool {
    let pattern = ["--resource-pattern-type", "prefixed"];
    let what = ["--operation", "All", "--transactional-id", prefix];
    forbid(&[&what[..], &pattern[..]].concat())
}

fn forbid(what: &[&str]) -> bool {
    let (Some(brokers), Ok(libs)) = (brokers(), std::env::var("GRISTMILL_TEST_KAFKA_LIBS")) else {
        return false;
    };
    let output = Command::new("java")
        .args([
            "-Xmx128m",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            &format!("{libs}/*"),
        ])
        .args([
            "org.apache.kafka.tools.AclCommand",
            "--bootstrap-server",
            &brokers[0],
        ])
        .args(["--add", "--deny-principal", "User:ANONYMOUS"])
        .args(what)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    true
}

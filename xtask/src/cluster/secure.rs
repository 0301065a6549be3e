//! Listeners with TLS and logins, for tests of what a client says where it may not come in.
//!
//! | listener | encrypted | who may come |
//! |---|---|---|
//! | `LOGIN` | no | PLAIN |
//! | `TLSLOGIN` | yes | PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 |
//! | `TLSCERT` | yes | who shows a certificate of the cluster's CA |

use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use gristmill_flow_testing::pki::Pki;
use serde::{Deserialize, Serialize};

use super::{Broker, State};

/// Ports that a broker needs for these listeners.
pub(super) const PORTS: usize = 3;
/// To add to `listener.security.protocol.map`.
pub(super) const PROTOCOLS: &str = ",LOGIN:SASL_PLAINTEXT,TLSLOGIN:SASL_SSL,TLSCERT:SSL";
/// Who may log in; the password is made anew for each cluster.
const USER: &str = "gristmill";

/// Where they listen, on 127.0.0.1.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ports {
    login: u16,
    tls_login: u16,
    tls_cert: u16,
}

impl Ports {
    pub(super) fn take(port: &mut impl FnMut() -> Result<u16>) -> Result<Self> {
        Ok(Self {
            login: port()?,
            tls_login: port()?,
            tls_cert: port()?,
        })
    }

    /// To add to `listeners`.
    pub(super) fn listeners(&self) -> String {
        format!(
            ",LOGIN://127.0.0.1:{},TLSLOGIN://127.0.0.1:{},TLSCERT://127.0.0.1:{}",
            self.login, self.tls_login, self.tls_cert
        )
    }
}

fn home(dir: &Path) -> PathBuf {
    dir.join("secure")
}

fn password(dir: &Path) -> Result<String> {
    let path = home(dir).join("password");
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Make certificates and a password.
pub(super) fn prepare(dir: &Path) -> Result<()> {
    let home = home(dir);
    Pki::make_in(&home).with_context(|| format!("no certificates in {}", home.display()))?;
    let mut random = [0_u8; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    let mut password = String::from("pw-");
    for byte in random {
        let _ = write!(password, "{byte:02x}");
    }
    std::fs::write(home.join("password"), password)?;
    // A broker takes key and chain from one file.
    let mut store = std::fs::read(home.join("server.key"))?;
    store.extend(std::fs::read(home.join("server.pem"))?);
    std::fs::write(home.join("keystore.pem"), store)?;
    Ok(())
}

/// A broker's own settings for these listeners.
pub(super) fn settings(dir: &Path) -> Result<Vec<(String, String)>> {
    let home = home(dir);
    let password = password(dir)?;
    let plain = format!(
        "org.apache.kafka.common.security.plain.PlainLoginModule required \
         user_{USER}=\"{password}\";"
    );
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;".to_owned();
    let keystore = home.join("keystore.pem").display().to_string();
    let truststore = home.join("ca.pem").display().to_string();
    let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut all = vec![
        set("ssl.keystore.type", "PEM"),
        set("ssl.keystore.location", &keystore),
        set("ssl.truststore.type", "PEM"),
        set("ssl.truststore.location", &truststore),
        set("listener.name.tlscert.ssl.client.auth", "required"),
        set("listener.name.login.sasl.enabled.mechanisms", "PLAIN"),
        set(
            "listener.name.tlslogin.sasl.enabled.mechanisms",
            "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        ),
    ];
    for listener in ["login", "tlslogin"] {
        let key = format!("listener.name.{listener}.plain.sasl.jaas.config");
        all.push((key, plain.clone()));
    }
    for bits in [256, 512] {
        let key = format!("listener.name.tlslogin.scram-sha-{bits}.sasl.jaas.config");
        all.push((key, scram.clone()));
    }
    Ok(all)
}

/// What makes the SCRAM users when a broker's storage is formatted.
pub(super) fn users(dir: &Path, state: &State) -> Result<Vec<String>> {
    if !state.is_secure() {
        return Ok(Vec::new());
    }
    let password = password(dir)?;
    let add = |mechanism: &str| {
        let user = format!("{mechanism}=[name={USER},password={password}]");
        ["--add-scram".to_owned(), user]
    };
    Ok([add("SCRAM-SHA-256"), add("SCRAM-SHA-512")].concat())
}

/// Lines for a shell's `eval`: see `gristmill_flow_testing::kafka::secure`.
pub(super) fn env(dir: &Path, brokers: &[Broker]) -> String {
    let list = |port: &dyn Fn(&Ports) -> u16| {
        let ports = brokers.iter().filter_map(|broker| broker.secure.as_ref());
        let addresses: Vec<String> = ports
            .map(|ports| format!("127.0.0.1:{}", port(ports)))
            .collect();
        addresses.join(",")
    };
    let login = list(&|ports| ports.login);
    if login.is_empty() {
        return String::new();
    }
    // Tests run in their crates' directories.
    let absolute = std::path::absolute(home(dir)).unwrap_or_else(|_| home(dir));
    let mut env = String::new();
    for (name, value) in [
        ("LOGIN", login),
        ("TLS_LOGIN", list(&|ports| ports.tls_login)),
        ("TLS_CERT", list(&|ports| ports.tls_cert)),
        ("SECURE_DIR", absolute.display().to_string()),
    ] {
        let _ = write!(env, "\nexport GRISTMILL_TEST_KAFKA_{name}={value}");
    }
    env
}

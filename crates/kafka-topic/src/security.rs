//! TLS and logins: from the file's typed keys to librdkafka's properties, and what a handshake that
//! failed means.

use std::collections::BTreeMap;

use gristmill_tls::Files;

use crate::ConfigError;

/// Where the typed keys stand in a pipeline's file, and the property that each becomes.
const KEYS: [(&str, &str); 7] = [
    ("ssl.ca.location", "kafka.tls.ca-file"),
    ("ssl.certificate.location", "kafka.tls.cert-file"),
    ("ssl.key.location", "kafka.tls.key-file"),
    ("ssl.key.password", "kafka.tls.key-password"),
    ("sasl.mechanism", "kafka.sasl.mechanism"),
    ("sasl.username", "kafka.sasl.username"),
    ("sasl.password", "kafka.sasl.password"),
];

/// How connections are protected.
#[derive(Clone, Default)]
pub struct Security {
    /// Encryption, and whom to trust.
    pub tls: Option<Tls>,
    /// The login.
    pub sasl: Option<Sasl>,
}

/// TLS to the brokers; without a `ca_file` the machine's own CAs are trusted.
#[derive(Clone, Default)]
pub struct Tls {
    /// Certificates.
    pub files: Files,
    /// What protects the private key.
    pub key_password: Option<String>,
}

/// A login by name and password.
#[derive(Clone)]
pub struct Sasl {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// The user.
    pub username: String,
    /// The password.
    pub password: String,
}

impl Security {
    /// As librdkafka's properties, once the files were read and found to hold what they should.
    ///
    /// # Errors
    /// A file that cannot be used; what this build cannot do.
    pub fn properties(&self) -> Result<BTreeMap<String, String>, ConfigError> {
        let mut properties = BTreeMap::new();
        let mut set = |key: &str, value: &str| {
            properties.insert(key.to_owned(), value.to_owned());
        };
        let protocol = match (&self.tls, &self.sasl) {
            (None, None) => return Ok(properties),
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        set("security.protocol", protocol);
        if let Some(tls) = &self.tls {
            needs_tls("kafka.tls", "TLS to Kafka")?;
            tls.files.read(tls.key_password.is_some())?;
            let files = &tls.files;
            for (key, file) in [
                ("ssl.ca.location", &files.ca_file),
                ("ssl.certificate.location", &files.cert_file),
                ("ssl.key.location", &files.key_file),
            ] {
                if let Some(file) = file {
                    set(key, &file.to_string_lossy());
                }
            }
            if let Some(password) = &tls.key_password {
                set("ssl.key.password", password);
            }
        }
        if let Some(sasl) = &self.sasl {
            if sasl.mechanism.starts_with("SCRAM") {
                // librdkafka takes its hashes from OpenSSL.
                needs_tls("kafka.sasl.mechanism", &sasl.mechanism)?;
            }
            set("sasl.mechanism", &sasl.mechanism);
            set("sasl.username", &sasl.username);
            set("sasl.password", &sasl.password);
        }
        Ok(properties)
    }
}

/// Whether this build has OpenSSL, without which there is neither TLS nor SCRAM.
fn needs_tls(key: &'static str, what: &str) -> Result<(), ConfigError> {
    if cfg!(feature = "tls") {
        return Ok(());
    }
    let what = what.to_owned();
    Err(ConfigError::NotBuilt { key, what })
}

/// Properties that need OpenSSL, when they are written by hand.
pub(crate) fn check_by_hand(properties: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    for (key, value) in properties {
        let value = value.to_ascii_lowercase();
        let needs = match key.as_str() {
            "security.protocol" => value.ends_with("ssl"),
            "sasl.mechanism" | "sasl.mechanisms" => value.starts_with("scram"),
            _ => false,
        };
        if needs {
            needs_tls("kafka.properties", &format!("`{key}: {value}`"))?;
        }
    }
    Ok(())
}

/// The file's key for a property of librdkafka's, if there is a typed one.
pub(crate) fn typed_key(property: &str) -> Option<&'static str> {
    let found = KEYS.iter().find(|(known, _)| *known == property);
    found.map(|(_, key)| *key)
}

/// What librdkafka says of a file that OpenSSL does not take, such as `ssl.key.location failed:
/// error:…`: the file's key and OpenSSL's words.
pub(crate) fn refused_file(reason: &str) -> Option<(&'static str, String)> {
    let (property, cause) = reason.split_once(" failed: ")?;
    let key = typed_key(property.trim())?;
    Some((key, cause.trim().to_owned()))
}

/// Why a TLS handshake with a broker failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// The broker's certificate is of a CA that is not trusted.
    Untrusted,
    /// It is for another host.
    OtherName,
    /// It is no longer, or not yet, valid.
    Expired,
    /// The broker wants to see a certificate, or does not trust ours.
    ClientCertificate,
    /// We speak TLS and the broker does not.
    PlainListener,
    /// The broker speaks TLS and we do not.
    TlsListener,
}

impl Handshake {
    /// From librdkafka's words, which hold OpenSSL's.
    pub(crate) fn from_reason(reason: &str) -> Option<Self> {
        let says = |part: &str| reason.contains(part);
        // librdkafka (2.12.1) asks this question after some of the ways to be hung up on only.
        let hung_up = says("Disconnected") && says("in state APIVERSION_QUERY");
        if says("connecting to a SSL listener?") || (hung_up && !says("ssl://")) {
            Some(Self::TlsListener)
        } else if says("connecting to a PLAINTEXT") || says("wrong version number") {
            Some(Self::PlainListener)
        } else if says("hostname mismatch") || says("IP address mismatch") {
            Some(Self::OtherName)
        } else if says("certificate has expired") || says("not yet valid") {
            Some(Self::Expired)
        } else if says("certificate verify failed") {
            Some(Self::Untrusted)
        } else if says("alert") && (says("certificate") || says("unknown ca"))
            || says("SSL alert number 40")
            || says("client SSL authentication might be required")
        {
            Some(Self::ClientCertificate)
        } else {
            None
        }
    }

    /// Whether it can be nothing but the configuration: a broker that goes away in the middle of a
    /// handshake looks like one without TLS.
    pub(crate) fn is_certain(self) -> bool {
        !matches!(self, Self::PlainListener | Self::TlsListener)
    }

    /// What to tell, and what to do.
    pub(crate) fn explain(self, at: &str) -> String {
        match self {
            Self::Untrusted => format!(
                "the certificate of Kafka at {at} is not signed by a CA that is trusted: put that \
                 CA's certificate into `kafka.tls.ca-file`"
            ),
            Self::OtherName => format!(
                "the certificate of Kafka at {at} is for another host: name the brokers in \
                 `kafka.brokers`, and let them advertise themselves, as their certificates do"
            ),
            Self::Expired => format!(
                "the certificate of Kafka at {at} is not valid now: renew it, or set this \
                 machine's clock"
            ),
            Self::ClientCertificate => format!(
                "Kafka at {at} asks for a client certificate and got none that it trusts: set \
                 `kafka.tls.cert-file` and `key-file` to one that a CA of the brokers has signed"
            ),
            Self::PlainListener => format!(
                "Kafka at {at} does not answer in TLS: if this is a listener without, take \
                 `kafka.tls` out or name another port"
            ),
            Self::TlsListener => format!(
                "Kafka at {at} hangs up: if this is a listener with TLS, add `tls: true` to `kafka`"
            ),
        }
    }
}

#[cfg(test)]
mod tests;

//! How to reach the cluster, and what of librdkafka's configuration a user may set.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::BaseProducer;

use crate::context::Context;
use crate::security::{check_by_hand, refused_file, typed_key};

/// Properties that the delivery guarantee rests on, with the reason a user is given.
const OWNED: &[(&str, &str)] = &[
    ("bootstrap.servers", "it comes from `kafka.brokers`"),
    ("metadata.broker.list", "it comes from `kafka.brokers`"),
    ("client.id", "Gristmill names its clients"),
    ("group.id", "it comes from the connector's `consumer.id`"),
    (
        "group.protocol",
        "rebalances are handled by the classic protocol",
    ),
    (
        "group.instance.id",
        "copies of a stage would shut each other out",
    ),
    (
        "partition.assignment.strategy",
        "rebalances are cooperative-sticky",
    ),
    (
        "isolation.level",
        "records of aborted transactions must not be read",
    ),
    ("transactional.id", "it fences a second copy of a source"),
    ("enable.idempotence", "without it retries double records"),
    (
        "enable.gapless.guarantee",
        "it turns errors that pass into fatal ones",
    ),
    (
        "acks",
        "a record must be on all in-sync replicas before its position is stored",
    ),
    (
        "request.required.acks",
        "a record must be on all in-sync replicas before its position is stored",
    ),
    (
        "message.send.max.retries",
        "a bounded number of retries breaks the order of records",
    ),
    (
        "retries",
        "a bounded number of retries breaks the order of records",
    ),
    ("max.in.flight", "more than five break idempotence"),
    (
        "max.in.flight.requests.per.connection",
        "more than five break idempotence",
    ),
    (
        "enable.auto.commit",
        "the position lives with the effect, not in the group",
    ),
    (
        "enable.auto.offset.store",
        "the position lives with the effect, not in the group",
    ),
    (
        "auto.offset.reset",
        "a position that no longer exists must be an error, not a jump",
    ),
    (
        "auto.commit.interval.ms",
        "the position lives with the effect, not in the group",
    ),
    ("enable.partition.eof", "lag is measured by it"),
    ("check.crcs", "records are checked as they come"),
    (
        "partitioner",
        "keyed records go where Java clients put them (murmur2)",
    ),
    (
        "compression.type",
        "it comes from the connector's `producer.compression`",
    ),
    (
        "compression.codec",
        "it comes from the connector's `producer.compression`",
    ),
    (
        "message.max.bytes",
        "it is taken from the topic's own `max.message.bytes`",
    ),
    ("queue.buffering.max.kbytes", "memory is bounded by it"),
    ("queued.max.messages.kbytes", "memory is bounded by it"),
    ("statistics.interval.ms", "nothing reads the statistics"),
    ("log.queue", "logs go to Gristmill's own log"),
    (
        "plugin.library.paths",
        "a configuration file must not load code",
    ),
];

/// The cluster and how to reach it; shared by every reader and writer of a pipeline.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// `host:port` of at least one broker; the others are found through it.
    pub brokers: Vec<String>,
    /// Names this client in the brokers' logs and quotas.
    pub client_id: String,
    /// librdkafka properties, passed through: those of [`Security`](crate::Security), and the
    /// user's own. Those that the delivery guarantee rests on are refused.
    pub properties: BTreeMap<String, String>,
}

/// A configuration that no client can be made of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A property that is not the user's to set.
    #[error("kafka.properties: `{key}` cannot be set: {reason}; remove it")]
    Owned {
        /// The property.
        key: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// librdkafka does not take it. The value is not repeated: it may be a secret.
    #[error("kafka.properties: `{key}` is not accepted by librdkafka: {reason}")]
    Refused {
        /// The property.
        key: String,
        /// librdkafka's words.
        reason: String,
    },
    /// What only OpenSSL can do.
    #[error(
        "{key}: {what} is not in this build of gristmill: build it with `cargo build --release \
         --features kafka-tls` (Debian: apt-get install libssl-dev pkg-config), or use the image"
    )]
    NotBuilt {
        /// The key that asks for it.
        key: &'static str,
        /// What it asks for.
        what: String,
    },
    /// A file of certificates.
    #[error("kafka.{0}")]
    File(#[from] gristmill_tls::TlsError),
    /// A file that OpenSSL does not take.
    #[error("{key}: {reason}")]
    Unusable {
        /// The key that names it.
        key: &'static str,
        /// OpenSSL's words.
        reason: String,
    },
    /// No client for another reason.
    #[error("no Kafka client can be made: {0}")]
    Client(String),
    /// Nothing to connect to.
    #[error("kafka.brokers is empty: name at least one broker as host:port")]
    NoBrokers,
}

impl ConfigError {
    /// The key of the pipeline's file that is wrong, such as `kafka.tls.ca-file`.
    pub fn key(&self) -> Option<String> {
        match self {
            Self::Owned { key, .. } | Self::Refused { key, .. } => Some(
                typed_key(key).map_or_else(|| format!("kafka.properties.{key}"), str::to_owned),
            ),
            Self::NotBuilt { key, .. } | Self::Unusable { key, .. } => Some((*key).to_owned()),
            Self::File(error) => Some(format!("kafka.{}", error.key)),
            Self::NoBrokers => Some("kafka.brokers".to_owned()),
            Self::Client(_) => None,
        }
    }
}

impl KafkaConfig {
    /// Brokers as one text, for messages.
    pub(crate) fn at(&self) -> String {
        self.brokers.join(", ")
    }

    /// Check the properties without connecting.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        let config = self.client()?;
        // librdkafka checks names and values one by one when the native configuration is made.
        config
            .create_native_config()
            .map_err(|error| self.refused(error))?;
        check_by_hand(&self.properties)?;
        if cfg!(feature = "tls") && self.properties.keys().any(|key| key.starts_with("ssl.")) {
            // Certificates and keys only when there is a client.
            config
                .create_with_context::<_, BaseProducer<Context>>(Context::default())
                .map_err(|error| self.refused(error))?;
        }
        Ok(())
    }

    /// What every client of this cluster has in common.
    pub(crate) fn client(&self) -> Result<ClientConfig, ConfigError> {
        if self.brokers.is_empty() {
            return Err(ConfigError::NoBrokers);
        }
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.brokers.join(","))
            .set("client.id", &self.client_id)
            // A broker that comes back is found within a second, not ten.
            .set("reconnect.backoff.max.ms", "1000")
            // Idle connections that a broker closed are normal, not news.
            .set("log.connection.close", "false")
            .set("allow.auto.create.topics", "false")
            .set_log_level(RDKafkaLogLevel::Info);
        for (key, value) in &self.properties {
            if let Some((_, reason)) = OWNED.iter().find(|(owned, _)| owned == key) {
                let key = key.clone();
                return Err(ConfigError::Owned { key, reason });
            }
            config.set(key, value);
        }
        Ok(config)
    }

    /// librdkafka's complaint, without the value it complains about.
    pub(crate) fn refused(&self, error: KafkaError) -> ConfigError {
        match error {
            KafkaError::ClientConfig(_, reason, key, value) => ConfigError::Refused {
                reason: if is_secret(&key) {
                    "its value is not accepted".to_owned()
                } else {
                    format!("{reason} (it is `{value}`)")
                },
                key,
            },
            KafkaError::ClientCreation(reason) => match refused_file(&reason) {
                // The file was read before and is a key: what is left is its password.
                Some(("kafka.tls.key-file", _))
                    if self.properties.contains_key("ssl.key.password") =>
                {
                    ConfigError::Unusable {
                        key: "kafka.tls.key-password",
                        reason: "the private key does not open with it: correct it".to_owned(),
                    }
                }
                Some((key, reason)) => ConfigError::Unusable { key, reason },
                None => ConfigError::Client(reason),
            },
            error => ConfigError::Client(error.to_string()),
        }
    }
}

/// Values that never appear in a log or a message.
fn is_secret(key: &str) -> bool {
    [
        "password",
        "secret",
        "key.pem",
        "jaas",
        "oauthbearer.config",
        "token",
    ]
    .iter()
    .any(|part| key.contains(part))
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(key, value): (&String, &String)| {
            let value = if is_secret(key) { "…" } else { value };
            format!("{key}={value}")
        };
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("client_id", &self.client_id)
            .field(
                "properties",
                &self.properties.iter().map(shown).collect::<Vec<_>>(),
            )
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(key: &str, value: &str) -> KafkaConfig {
        KafkaConfig {
            brokers: vec!["127.0.0.1:1".to_owned()],
            client_id: "test".to_owned(),
            properties: [(key.to_owned(), value.to_owned())].into(),
        }
    }

    #[test]
    fn what_the_guarantee_rests_on_is_refused() {
        for (key, reason) in OWNED {
            let error = with(key, "1").validate().unwrap_err().to_string();
            assert!(error.contains(key) && error.contains(reason), "{error}");
        }
        with("socket.timeout.ms", "5000").validate().unwrap();
    }

    #[test]
    fn a_wrong_property_is_named_and_a_secret_is_not_repeated() {
        let error = with("socket.timeout.msx", "5000").validate().unwrap_err();
        assert!(error.to_string().contains("socket.timeout.msx"), "{error}");
        let error = with("sasl.passwordx", "hunter2").validate().unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        let debug = format!("{:?}", with("sasl.password", "hunter2"));
        assert!(!debug.contains("hunter2"), "{debug}");
    }
}

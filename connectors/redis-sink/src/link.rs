//! One connection, opened when it is needed and thrown away when it fails.
//!
//! A connection that timed out may still have a command on its way, so it is never used again; the
//! positions in the script make a late command harmless. On Redis Cluster every key of a connector
//! lives in one slot, so following `MOVED` to that slot's node is all the cluster support needed.

use std::sync::Arc;
use std::time::Duration;

use gristmill_flow::{LegStats, SinkError};
use gristmill_tls::{Files, handshake_remedy};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind,
    RedisConnectionInfo, RedisError, Value,
};

use crate::config::address;
use crate::{Config, ConfigError};

/// First wait after a failure; doubles with each one in a row up to [`RETRY_DELAY_MAX`].
const RETRY_DELAY_MIN: Duration = Duration::from_millis(50);
/// A Redis that comes back is found within this time.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(2);
/// `MOVED` hops for one command: one is normal, more mean that the cluster disagrees with itself.
const REDIRECTS_MAX: u32 = 3;

/// Server errors that pass by themselves: failover, start-up, a full or a busy server.
const PASSING: [&str; 11] = [
    "ASK",
    "BUSY",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "MOVED",
    "NOREPLICAS",
    "OOM",
    "READONLY",
    "TRYAGAIN",
];

/// What an ACL has to allow.
const PERMISSIONS: &str = "the user needs EVALSHA, EVAL, HGET, HMGET, HSET, HDEL, SADD, GET and \
                           INCRBY on its counts and on `gristmill:*` (with `hash` or `window` \
                           HINCRBY, HSETNX, ZADD, ZREM, ZRANGEBYSCORE, ZREMRANGEBYSCORE and \
                           PEXPIRE as well), and SSCAN, MGET and HGETALL for `gristmill counts`; \
                           `gristmill doctor` names those that are missing";

/// A lazily opened connection to the server of one connector.
pub(crate) struct Link {
    connector: String,
    info: ConnectionInfo,
    timeout: Duration,
    /// Whether a certificate is shown to the server.
    shows_certificate: bool,
    stats: Arc<LegStats>,
    /// The node that `MOVED` named; forgotten when it fails.
    redirect: Option<ConnectionAddr>,
    open: Option<MultiplexedConnection>,
    opened_before: bool,
    failures: u32,
}

impl Link {
    pub(crate) fn new(
        connector: &str,
        config: &Config,
        stats: Arc<LegStats>,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            connector: connector.to_owned(),
            info: config.connection()?,
            timeout: config.timeout,
            shows_certificate: config.tls.as_ref().is_some_and(Files::has_client),
            stats,
            redirect: None,
            open: None,
            opened_before: false,
            failures: 0,
        })
    }

    /// Send `cmd` and wait for its answer. After an I/O error its outcome is unknown.
    pub(crate) async fn query(&mut self, cmd: &Cmd) -> Result<Value, RedisError> {
        let mut redirects = 0;
        loop {
            let result = self.attempt(cmd).await;
            match &result {
                Ok(_) => self.failures = 0,
                Err(error) => {
                    if redirects < REDIRECTS_MAX
                        && error.code() == Some("MOVED")
                        && let Some(node) =
                            error.redirect_node().and_then(|(node, _)| self.node(node))
                    {
                        tracing::debug!(connector = self.connector, %node, "the slot is on another node");
                        self.redirect = Some(node);
                        self.open = None;
                        redirects += 1;
                        continue;
                    }
                    // Anything but the server's own word leaves the connection in doubt; READONLY
                    // means that the name now leads to another master.
                    if !is_answer(error) || error.code() == Some("READONLY") {
                        self.open = None;
                        self.redirect = None;
                    }
                }
            }
            return result;
        }
    }

    async fn attempt(&mut self, cmd: &Cmd) -> Result<Value, RedisError> {
        if self.open.is_none() {
            // Also bounds a server that accepts and then says nothing.
            let connect = tokio::time::timeout(self.timeout, self.connect());
            let connection = connect.await.map_err(|_| timed_out("connecting"))??;
            if self.opened_before {
                LegStats::add(&self.stats.reconnects, 1);
            }
            self.opened_before = true;
            self.open = Some(connection);
        }
        let Some(connection) = &mut self.open else {
            return Err(timed_out("connecting"));
        };
        tokio::time::timeout(self.timeout, connection.send_packed_command(cmd))
            .await
            .map_err(|_| timed_out("waiting for an answer"))?
            .and_then(Value::extract_error)
    }

    /// Logs in by hand: redis-rs answers for the server there and loses its error codes.
    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let wanted = self.info.redis_settings();
        let addr = self.redirect.as_ref().unwrap_or(self.info.addr()).clone();
        let bare = RedisConnectionInfo::default().set_skip_set_lib_name();
        let info = self.info.clone().set_addr(addr).set_redis_settings(bare);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let mut connection = Client::open(info)?
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        if let Some(password) = wanted.password() {
            let mut auth = redis::cmd("AUTH");
            if let Some(username) = wanted.username() {
                auth.arg(username);
            }
            auth.arg(password).exec_async(&mut connection).await?;
        } else {
            // A command as long as the script's is answered to a stranger with a protocol error;
            // this one with NOAUTH.
            let ping = redis::cmd("PING").exec_async(&mut connection).await;
            ping.or_else(|error| match error.code() {
                Some("NOPERM") => Ok(()),
                _ => Err(error),
            })?;
        }
        if wanted.db() != 0 {
            let mut select = redis::cmd("SELECT");
            select.arg(wanted.db()).exec_async(&mut connection).await?;
        }
        Ok(connection)
    }

    /// The node that a `MOVED` error names, reached the way the configured one is; an empty host
    /// means the same host.
    fn node(&self, node: &str) -> Option<ConnectionAddr> {
        let (host, port) = node.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let pick = |same: &String| {
            if host.is_empty() {
                same.clone()
            } else {
                host.to_owned()
            }
        };
        match self.info.addr() {
            ConnectionAddr::Tcp(same, _) => Some(ConnectionAddr::Tcp(pick(same), port)),
            ConnectionAddr::TcpTls {
                host: same,
                insecure,
                tls_params,
                ..
            } => Some(ConnectionAddr::TcpTls {
                host: pick(same),
                port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            }),
            _ => None,
        }
    }

    /// What an error means for the leg, naming server and connector and no secret.
    pub(crate) fn explain(&mut self, error: &RedisError) -> SinkError {
        let addr = self.redirect.as_ref().unwrap_or(self.info.addr());
        let server = address(addr, self.info.redis_settings().db());
        let connector = &self.connector;
        let code = error.code().unwrap_or_default();
        let detail = error.detail().unwrap_or_default();
        let handshake = match is_answer(error) {
            true => None,
            false => handshake_remedy(&error.to_string(), "redis", self.shows_certificate),
        };
        // From the start it is the configuration's fault; a certificate that expires later passes.
        if let (Some(remedy), false) = (&handshake, self.opened_before) {
            return SinkError::Fatal(format!(
                "redis {server} for sink {connector}: {}; {remedy}",
                text(error)
            ));
        }
        if !is_answer(error) || PASSING.contains(&code) || detail.contains("max number of clients")
        {
            let after = RETRY_DELAY_MIN.saturating_mul(1 << self.failures.min(10));
            self.failures += 1;
            let hint = match (code, handshake) {
                ("OOM", _) => " (maxmemory is reached: raise it or free memory)".to_owned(),
                ("READONLY", _) => " (a replica: the url must lead to the master)".to_owned(),
                (_, Some(remedy)) => format!(": {remedy}"),
                _ => String::new(),
            };
            return SinkError::Retry {
                after: after.min(RETRY_DELAY_MAX),
                reason: format!("redis {server} for sink {connector}: {}{hint}", text(error)),
            };
        }
        let remedy = match code {
            "WRONGPASS" | "NOAUTH" => "set `username` and `password`, or put them into the url",
            "NOPERM" => PERMISSIONS,
            _ if detail.contains("executing the script can't run") => PERMISSIONS,
            "CROSSSLOT" => {
                "on Redis Cluster all keys of a sink share a slot: begin `count` with a hash tag, \
                 such as `{{wikipedia}}:{value}`"
            }
            "WRONGTYPE" => {
                "one of the sink's own keys (`gristmill:*`) holds something else: delete it"
            }
            _ if detail.contains("AUTH") => {
                "remove the password from the config, or set one in Redis"
            }
            _ => "see the server's log",
        };
        SinkError::Fatal(format!(
            "redis {server} for sink {connector}: {}; {remedy}",
            text(error)
        ))
    }
}

/// Whether the server itself answered with this error, so that the command had no effect.
pub(crate) fn is_answer(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

fn text(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

fn timed_out(doing: &str) -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, format!("timed out {doing}")).into()
}

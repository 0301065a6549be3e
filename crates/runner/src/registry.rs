//! The connectors that this build knows.

use gristmill_flow::Connector;
use gristmill_manifest::ConnectorSpec;
use gristmill_redis_sink::RedisSink;

use crate::plan::SseSource;

/// `Connector.toml` of every connector, in the order `connector list` shows them.
const TEXTS: [&str; 2] = [
    <SseSource as Connector>::SPEC,
    <RedisSink as Connector>::SPEC,
];

/// What every connector says of itself.
///
/// # Panics
/// If a connector of this build ships an unreadable `Connector.toml`; a test reads them all.
pub fn specs() -> Vec<ConnectorSpec> {
    TEXTS
        .iter()
        .map(|text| match ConnectorSpec::parse(text) {
            Ok(spec) => spec,
            Err(error) => panic!("a connector's own Connector.toml is unreadable: {error}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_connector_describes_itself() {
        assert_eq!(super::specs().len(), super::TEXTS.len());
    }
}

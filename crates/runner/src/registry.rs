//! The connectors that this build knows.

use gristmill_flow::Connector;
use gristmill_manifest::{ConnectorSpec, SectionMistake};
use gristmill_redis_sink::RedisSink;
use serde::Deserialize;

use crate::plan::SseSource;

/// What every connector of this build says of itself, in the order `connector list` shows them.
///
/// # Panics
/// If a connector of this build ships an unreadable `Connector.toml`; a test reads them all.
pub fn specs() -> Vec<ConnectorSpec> {
    let sse = spec::<SseSource>().with_check(|section| {
        let config = read::<SseSource>(section)?;
        config.validate().map_err(|error| at(error.key(), &error))
    });
    let redis = spec::<RedisSink>().with_check(|section| {
        let config = read::<RedisSink>(section)?;
        config.check().map_err(|error| at(error.key(), &error))
    });
    vec![sse, redis]
}

/// The connector of this type by the name that lives as long as the program.
pub fn kind(name: &str) -> Option<&'static str> {
    let kinds = [SseSource::TYPE, RedisSink::TYPE];
    kinds.into_iter().find(|kind| *kind == name)
}

fn at(key: String, error: &dyn std::error::Error) -> SectionMistake {
    let reason = error.to_string();
    SectionMistake { key, reason }
}

fn read<C: Connector>(section: &serde_json::Value) -> Result<C::Config, SectionMistake> {
    C::Config::deserialize(section).map_err(SectionMistake::whole)
}

/// A connector's description.
fn spec<C: Connector>() -> ConnectorSpec {
    match ConnectorSpec::parse(C::SPEC) {
        Ok(spec) => spec,
        Err(error) => panic!("the Connector.toml of {} is unreadable: {error}", C::TYPE),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_connector_describes_itself() {
        for spec in super::specs() {
            assert_eq!(super::kind(&spec.name), Some(spec.name.as_str()));
            assert!(
                spec.description.is_some(),
                "{} has no description",
                spec.name
            );
        }
    }
}

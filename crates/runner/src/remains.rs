//! What a stage that is gone leaves behind, and how it is deleted by who no longer wants it.

use gristmill_redis_sink::Config;

use crate::plan::{Plan, Stage, StageConfig};
use crate::stages::{checkpoint_topic, dead_letter_topic};

/// What stays when stage `name` of `plan` goes, for people: its data is never deleted by us, since
/// with it the stage, added again, goes on where it stopped. `elsewhere` are topics that others
/// still use.
pub fn remains(plan: &Plan, name: &str, elsewhere: &[&str], is_local: bool) -> Option<String> {
    let stage = plan.stages.iter().find(|stage| stage.name == name)?;
    if is_local {
        return Some(format!(
            "{name}: its data stays, so that it can be added again; embedded data is deleted with \
             its directory"
        ));
    }
    if plan.manifest.fluvio.is_some() {
        return on_fluvio(plan, stage, elsewhere);
    }
    let brokers = plan.manifest.kafka.brokers.first();
    let broker = brokers.map_or("BROKER", String::as_str);
    let topic = &stage.topic;
    Some(match &stage.config {
        StageConfig::Redis(config) => {
            let counts = counts(&plan.name, name, config)?;
            let group = &stage.entry.consumer.id;
            format!(
                "{name}: its counts and its position stay, so that it can be added again and goes \
                 on where it stopped. To delete them:\n  \
                 {counts}\n  \
                 kafka-consumer-groups.sh --bootstrap-server {broker} --delete --group {group}"
            )
        }
        StageConfig::Sse(_) if elsewhere.contains(&topic.as_str()) => format!(
            "{name}: what it wrote stays in `{topic}`, which others read; its position stays in \
             `{}`, so that it can be added again and goes on where it stopped",
            checkpoint_topic(&plan.name)
        ),
        StageConfig::Sse(_) => format!(
            "{name}: what it wrote stays in `{topic}`, and its position in `{}`, so that it can be \
             added again and goes on where it stopped. To delete what it wrote:\n  \
             kafka-topics.sh --bootstrap-server {broker} --delete --topic {topic}\n  \
             kafka-topics.sh --bootstrap-server {broker} --delete --topic {}",
            checkpoint_topic(&plan.name),
            dead_letter_topic(topic)
        ),
    })
}

/// What deletes the counts and positions of sink `name` in Redis.
fn counts(pipeline: &str, name: &str, config: &Config) -> Option<String> {
    let own = config.own_prefix(pipeline, name).ok()?;
    let counts = match &config.hash {
        Some(hash) => format!("redis-cli unlink '{hash}'"),
        None => format!("redis-cli smembers '{own}:keys' | xargs -r redis-cli unlink"),
    };
    Some(format!(
        "{counts}\n  redis-cli --scan --pattern '{own}:*' | xargs -r redis-cli unlink"
    ))
}

fn on_fluvio(plan: &Plan, stage: &Stage, elsewhere: &[&str]) -> Option<String> {
    let (name, topic) = (&stage.name, &stage.topic);
    Some(match &stage.config {
        StageConfig::Redis(config) => format!(
            "{name}: its counts and its position stay, so that it can be added again and goes on \
             where it stopped. To delete them:\n  {}",
            counts(&plan.name, name, config)?
        ),
        StageConfig::Sse(_) if elsewhere.contains(&topic.as_str()) => format!(
            "{name}: what it wrote stays in `{topic}`, which others read, and its position in a \
             topic of its own, so that it can be added again and goes on where it stopped"
        ),
        StageConfig::Sse(_) => format!(
            "{name}: what it wrote stays in `{topic}`, and its position in a topic of its own, so \
             that it can be added again and goes on where it stopped. To delete what it wrote:\n  \
             fluvio topic delete {topic} {topic}-dead-letter\n  \
             fluvio topic list, and of `gristmill-{}-{name}-…` as above",
            plan.name
        ),
    })
}

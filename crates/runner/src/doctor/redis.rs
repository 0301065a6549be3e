//! Redis: reachable, new enough, allowed to do what a sink does, and careful with what it holds.

use gristmill_manifest::Connector as Entry;
use gristmill_redis_sink::{Examiner, Health, RedisSink};

use super::Finding;
use crate::plan::config;

const AREA: &str = "redis";
/// What the script needs.
const VERSION_MIN: (u32, u32) = (6, 2);

pub(super) async fn check(pipeline: &str, entry: &Entry) -> Vec<Finding> {
    let name = &entry.name;
    let config = match config::<RedisSink>(entry) {
        Ok(config) => config,
        Err(error) => return vec![Finding::fail_with(AREA, name, error.to_string())],
    };
    let mut examiner = match Examiner::new(pipeline, name, &config) {
        Ok(examiner) => examiner,
        Err(error) => return vec![Finding::fail_with(AREA, name, error.to_string())],
    };
    let has_hash_tag = config.has_hash_tag();
    match examiner.examine().await {
        Ok(health) => judge(name, &health, has_hash_tag),
        Err(error) => {
            let remedy = "start it (`redis-server`), or correct `redis.url`; \
                          `redis-cli -u URL ping` tries the same";
            let subject = format!("server of {name}");
            vec![Finding::fail(AREA, subject, error.to_string(), remedy)]
        }
    }
}

fn judge(name: &str, health: &Health, has_hash_tag: bool) -> Vec<Finding> {
    let subject = |what: &str| format!("{what} of {name}");
    let mut findings = Vec::new();
    let version = health.version.as_deref();
    let product = if health.product.is_empty() {
        "server"
    } else {
        &health.product
    };
    findings.push(match version {
        Some(text) if older(text) => Finding::fail(
            AREA,
            subject("server"),
            format!("{product} {text} is too old"),
            format!("upgrade to {}.{} or later", VERSION_MIN.0, VERSION_MIN.1),
        ),
        Some(text) => Finding::ok(AREA, subject("server"), format!("{product} {text} answers")),
        None => Finding::ok(AREA, subject("server"), "answers; it hides its version"),
    });
    match &health.forbidden {
        Some(forbidden) if forbidden.is_empty() => {
            findings.push(Finding::ok(AREA, subject("rights"), "all that are needed"));
        }
        Some(forbidden) => findings.push(Finding::fail(
            AREA,
            subject("rights"),
            format!("the user may not send {}", forbidden.join(", ")),
            format!(
                "ACL SETUSER … ~gristmill:* and the counts' keys, +{}",
                forbidden.join(" +").to_lowercase()
            ),
        )),
        None => findings.push(Finding::skipped(
            AREA,
            subject("rights"),
            "this server cannot tell without writing (Redis 7 can)",
        )),
    }
    if health.role.as_deref() == Some("slave") {
        findings.push(Finding::fail(
            AREA,
            subject("role"),
            "it is a replica, which takes no writes",
            "let `redis.url` lead to the master",
        ));
    }
    if health.cluster == Some(true) && !has_hash_tag {
        findings.push(Finding::fail(
            AREA,
            subject("hash tag"),
            "it is a Redis Cluster, and `count` has no hash tag",
            "begin `count` with one, such as `{{wikipedia}}:{value}`",
        ));
    }
    findings.push(eviction(&subject("eviction"), health));
    findings.push(persistence(&subject("persistence"), health));
    findings
}

fn eviction(subject: &str, health: &Health) -> Finding {
    let limited = health.memory_max != Some(0);
    match health.eviction.as_deref() {
        None => Finding::skipped(AREA, subject, "the server does not say"),
        // Own keys and counts have no expiry, so these leave them alone.
        Some(policy) if policy == "noeviction" || policy.starts_with("volatile-") => {
            Finding::ok(AREA, subject, policy)
        }
        Some(policy) => {
            let remedy = "CONFIG SET maxmemory-policy noeviction (and in redis.conf)";
            if limited {
                let detail = format!("{policy}: counts vanish without notice when memory is short");
                Finding::fail(AREA, subject, detail, remedy)
            } else {
                let detail = format!("{policy}: harmless only while there is no maxmemory");
                Finding::warn(AREA, subject, detail, remedy)
            }
        }
    }
}

fn persistence(subject: &str, health: &Health) -> Finding {
    if health.last_save_ok == Some(false) {
        return Finding::fail(
            AREA,
            subject,
            "its last snapshot failed",
            "see the server's log: a full disk or missing rights; it may refuse writes until then",
        );
    }
    match (health.logs_writes, health.saves_snapshots) {
        (Some(true), _) => Finding::ok(AREA, subject, "append-only file"),
        (Some(false), Some(true)) => Finding::warn(
            AREA,
            subject,
            "snapshots only",
            "after a crash counts and positions go back together and are counted again from the \
             topic: fine while that retains the records; `appendonly yes` makes it rare",
        ),
        (Some(false), Some(false)) => Finding::warn(
            AREA,
            subject,
            "none: a restart of Redis forgets counts and positions",
            "they are then counted again from the topic's beginning; set `appendonly yes` unless \
             the topic retains everything",
        ),
        _ => Finding::skipped(AREA, subject, "the server does not say"),
    }
}

fn older(version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    let (major, minor): (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    (major, minor) < VERSION_MIN
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn verdicts(health: &Health, has_hash_tag: bool) -> Vec<(String, Verdict)> {
        let findings = judge("c", health, has_hash_tag);
        let mut bad: Vec<(String, Verdict)> = findings
            .into_iter()
            .filter(|finding| finding.verdict != Verdict::Ok)
            .map(|finding| (finding.subject, finding.verdict))
            .collect();
        bad.sort_by(|a, b| a.0.cmp(&b.0));
        bad
    }

    fn good() -> Health {
        Health {
            product: "redis".to_owned(),
            version: Some("7.0.15".to_owned()),
            role: Some("master".to_owned()),
            cluster: Some(false),
            logs_writes: Some(true),
            saves_snapshots: Some(true),
            last_save_ok: Some(true),
            eviction: Some("noeviction".to_owned()),
            memory_max: Some(0),
            forbidden: Some(Vec::new()),
        }
    }

    #[test]
    fn each_weakness_is_told() {
        assert_eq!(verdicts(&good(), false), []);
        let check = |change: &dyn Fn(&mut Health), what: &str, verdict: Verdict| {
            let mut health = good();
            change(&mut health);
            assert_eq!(
                verdicts(&health, false),
                [(format!("{what} of c"), verdict)]
            );
        };
        let text = |text: &str| Some(text.to_owned());
        check(&|h| h.version = text("6.0.16"), "server", Verdict::Failed);
        check(&|h| h.role = text("slave"), "role", Verdict::Failed);
        check(&|h| h.cluster = Some(true), "hash tag", Verdict::Failed);
        check(
            &|h| h.last_save_ok = Some(false),
            "persistence",
            Verdict::Failed,
        );
        check(
            &|h| h.logs_writes = Some(false),
            "persistence",
            Verdict::Warning,
        );
        check(
            &|h| h.eviction = text("allkeys-lru"),
            "eviction",
            Verdict::Warning,
        );
        check(
            &|h| {
                h.eviction = text("allkeys-lru");
                h.memory_max = Some(1 << 20);
            },
            "eviction",
            Verdict::Failed,
        );
        check(
            &|h| h.forbidden = Some(vec!["INCRBY".to_owned()]),
            "rights",
            Verdict::Failed,
        );
        check(&|h| h.forbidden = None, "rights", Verdict::Skipped);
        let mut cluster = good();
        cluster.cluster = Some(true);
        assert_eq!(verdicts(&cluster, true), []);
    }
}

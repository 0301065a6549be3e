//! How to reach the cluster, and what topics are called there.

use sha2::{Digest, Sha256};

/// Longest name of a topic, in characters (`fluvio_sc_schema::shared::MAX_RESOURCE_NAME_LEN`).
const NAME_MAX: usize = 63;

/// The cluster and how to reach it; shared by every reader and writer of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FluvioConfig {
    /// `host:port` of the cluster's controller (SC); the others are found through it.
    pub endpoint: String,
    /// Names this client in the cluster's logs.
    pub client_id: String,
}

/// The topic that takes what was refused of `topic`. A name with a dot, as on Kafka, is none here.
pub fn dead_letter_topic(topic: &str) -> String {
    format!("{topic}-dead-letter")
}

/// The topic that the writer `id` (pipeline, connector, stream) keeps its positions on: a name that is
/// valid whatever the id is, and another one for every id.
pub fn checkpoint_topic(id: &str) -> String {
    let digest = Sha256::digest(id.as_bytes());
    let sum: String = digest
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let valid = |c: char| match c {
        'a'..='z' | '0'..='9' => c,
        'A'..='Z' => c.to_ascii_lowercase(),
        _ => '-',
    };
    let readable: String = id.chars().map(valid).collect();
    let readable = readable.trim_matches('-');
    let kept = readable
        .len()
        .min(NAME_MAX - "gristmill--".len() - sum.len());
    format!("gristmill-{}-{sum}", readable[..kept].trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_has_a_valid_name_of_its_own() {
        let long = "x".repeat(200);
        let ids = [
            "a-b.c",
            "a.b-c",
            "a.b.c",
            "Wikipédia.recentchange",
            "--",
            &long,
        ];
        let names: std::collections::BTreeSet<String> =
            ids.iter().map(|id| checkpoint_topic(id)).collect();
        assert_eq!(names.len(), ids.len(), "{names:?}");
        for name in names {
            let valid = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-');
            assert!(name.len() <= NAME_MAX && name.chars().all(valid), "{name}");
        }
    }
}

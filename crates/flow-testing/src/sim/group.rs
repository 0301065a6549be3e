//! A consumer group: who it believes to own which partition.
//!
//! It takes a partition from a member without asking, as it does with one that is late. A member
//! learns of that at its next heartbeat; until then two of them read the partition.

use std::collections::BTreeMap;

use super::broker::PARTITIONS;
use super::world::State;

/// A member that is silent for so long is out.
const SESSION_MS: u64 = 150;

#[derive(Default)]
pub(super) struct Group {
    /// When each member was last heard of.
    members: BTreeMap<u64, u64>,
    owners: BTreeMap<i32, u64>,
}

impl State {
    /// `member` is alive: the partitions that are its own now.
    pub(super) fn heartbeat(&mut self, member: u64) -> Vec<i32> {
        let now_ms = self.now_ms();
        if self.group.members.insert(member, now_ms).is_none() {
            self.note(|| format!("group: {member} joins"));
            self.rebalance();
        }
        let owners = self.group.owners.iter();
        owners
            .filter(|(_, owner)| **owner == member)
            .map(|(partition, _)| *partition)
            .collect()
    }

    pub(super) fn leave(&mut self, member: u64) {
        if self.group.members.remove(&member).is_some() {
            self.note(|| format!("group: {member} leaves"));
            self.rebalance();
        }
    }

    /// Put out members that are silent.
    pub(super) fn sweep_group(&mut self) {
        let now_ms = self.now_ms();
        let before = self.group.members.len();
        self.group
            .members
            .retain(|_, heard_ms| *heard_ms + SESSION_MS >= now_ms);
        if self.group.members.len() != before {
            self.note(|| "group: a session timed out".to_owned());
            self.rebalance();
        }
    }

    /// Give the partitions to members anew, by lot.
    pub(super) fn rebalance(&mut self) {
        let members: Vec<u64> = self.group.members.keys().copied().collect();
        self.group.owners.clear();
        for partition in 0..PARTITIONS {
            if let Some(owner) = self.rng.choice(members.iter().copied()) {
                self.group.owners.insert(partition, owner);
            }
        }
        let State { group, .. } = self;
        let owners = format!("{:?}", group.owners);
        self.note(|| format!("group: {owners}"));
    }
}

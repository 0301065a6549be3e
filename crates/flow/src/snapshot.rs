//! A leg's statistics on their way from the process that runs it to one that tells of it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI64, AtomicU64};

use serde::{Deserialize, Serialize};

use crate::{Histogram, LegStats, Refused, Status};

/// What [`LegStats`] held at one moment. Both ends are the same binary, so that lists in it go by
/// order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    status: Status,
    counters: Vec<u64>,
    times: Vec<i64>,
    /// Buckets and sum.
    histograms: Vec<(Vec<u64>, u64)>,
    /// Step, kind of reason, records.
    refusals: Vec<(String, String, u64)>,
    /// The newest refused records, newest first.
    recent: Vec<Refused>,
    lag: BTreeMap<i32, i64>,
}

impl Snapshot {
    /// With every text that may quote a record or a server replaced by what `redact` makes of it.
    pub fn redacted(mut self, redact: fn(&str) -> String) -> Self {
        if let Status::Waiting(reason) | Status::Failed(reason) = &mut self.status {
            *reason = redact(reason);
        }
        for (_, kind, _) in &mut self.refusals {
            *kind = redact(kind);
        }
        for refused in &mut self.recent {
            refused.reason = redact(&refused.reason);
        }
        self
    }
}

impl LegStats {
    fn counters(&self) -> [&AtomicU64; 14] {
        [
            &self.records_in,
            &self.bytes_in,
            &self.records_out,
            &self.bytes_out,
            &self.rejected,
            &self.batches,
            &self.duplicates,
            &self.dropped,
            &self.late,
            &self.gaps,
            &self.reconnects,
            &self.rebalances,
            &self.partitions,
            &self.waits,
        ]
    }

    fn times(&self) -> [&AtomicI64; 2] {
        [&self.newest_ms, &self.last_event_ms]
    }

    fn histograms(&self) -> [&Histogram; 4] {
        [
            &self.batch_records,
            &self.latency_ms,
            &self.transform_us,
            &self.write_us,
        ]
    }

    /// Everything as it is now.
    pub fn snapshot(&self) -> Snapshot {
        let refusals = self.refusals.read().into_iter();
        Snapshot {
            status: self.status(),
            counters: self.counters().map(LegStats::get).to_vec(),
            times: self.times().map(|time| time.load(Relaxed)).to_vec(),
            histograms: self.histograms().map(Histogram::raw).to_vec(),
            refusals: refusals
                .map(|((step, kind), records)| (step, kind, records))
                .collect(),
            recent: self.refusals.recent(),
            lag: self.lag(),
        }
    }

    /// Become what another one was when `snapshot` was taken of it.
    pub fn become_as(&self, snapshot: &Snapshot) {
        for (counter, value) in self.counters().into_iter().zip(&snapshot.counters) {
            counter.store(*value, Relaxed);
        }
        for (time, value) in self.times().into_iter().zip(&snapshot.times) {
            time.store(*value, Relaxed);
        }
        for (histogram, (buckets, sum)) in self.histograms().into_iter().zip(&snapshot.histograms) {
            histogram.set(buckets, *sum);
        }
        self.refusals.set(&snapshot.refusals, &snapshot.recent);
        self.set_lags(snapshot.lag.clone());
        self.set_status(snapshot.status.clone());
    }
}

#[cfg(test)]
mod tests {
    use gristmill_record::{Batch, Lane, Position, Reject};

    use super::*;

    #[test]
    fn nothing_is_lost_on_the_way() {
        let (from, to) = (LegStats::default(), LegStats::default());
        for (at, counter) in (1..).zip(from.counters()) {
            counter.store(at, Relaxed);
        }
        for (at, time) in (100..).zip(from.times()) {
            time.store(at, Relaxed);
        }
        for (at, histogram) in (1..).zip(from.histograms()) {
            histogram.add_all([at, 1_000 * at, u64::MAX / 8]);
        }
        from.refusals.add("step", "no field `type`");
        let mut batch = Batch::empty(Lane::new("t", 2), None, Position::Offset(0));
        for offset in 0..2 {
            batch.rejects.push(Reject {
                offset,
                timestamp_ms: 0,
                key: None,
                value: Vec::new(),
                stage: "step".to_owned(),
                reason: "too long".to_owned(),
            });
        }
        from.refusals.written(&batch, 5);
        from.set_lag(2, 40);
        from.set_status(Status::Waiting("for a broker".to_owned()));
        to.set_lag(7, 1);
        let text = serde_json::to_string(&from.snapshot()).unwrap();
        to.become_as(&serde_json::from_str(&text).unwrap());
        assert_eq!(to.snapshot(), from.snapshot());
        assert_eq!(to.refusals.recent().len(), 2);
        assert_eq!(to.status(), Status::Waiting("for a broker".to_owned()));
        assert_eq!(to.latency_ms.read(), from.latency_ms.read());
    }
}

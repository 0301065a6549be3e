//! Distributions with fixed bounds: cheap to add to, made to be summed over processes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many values were at most each of some bounds, and their sum.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One for each bound and one for what is above all of them; not cumulative.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// A histogram as it was at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// Each bound with the number of values up to it, ascending.
    pub buckets: Vec<(u64, u64)>,
    /// All values, those above the last bound included.
    pub count: u64,
    /// Of all values.
    pub sum: u64,
}

impl Histogram {
    /// Of values sorted by `bounds`, which ascend.
    pub fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Add one value.
    pub fn add(&self, value: u64) {
        self.add_all([value]);
    }

    /// Add many: neighbours in the same bucket, which are the rule within a batch, share one
    /// update of it.
    pub fn add_all(&self, values: impl IntoIterator<Item = u64>) {
        let (mut run, mut length, mut sum) = (0, 0, 0_u64);
        for value in values {
            let bucket = self.bounds.partition_point(|bound| *bound < value);
            if bucket != run {
                self.buckets[run].fetch_add(length, Relaxed);
                (run, length) = (bucket, 0);
            }
            length += 1;
            sum = sum.saturating_add(value);
        }
        self.buckets[run].fetch_add(length, Relaxed);
        self.sum.fetch_add(sum, Relaxed);
    }

    /// What was added so far.
    pub fn read(&self) -> Distribution {
        let mut count = 0;
        let mut cumulative = self.buckets.iter().map(|bucket| {
            count += bucket.load(Relaxed);
            count
        });
        let buckets = self
            .bounds
            .iter()
            .copied()
            .zip(cumulative.by_ref())
            .collect();
        cumulative.next();
        Distribution {
            buckets,
            count,
            sum: self.sum.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_up_to_each_bound() {
        let histogram = Histogram::new(&[10, 100]);
        histogram.add_all([1, 10, 11, 100, 101, 5]);
        histogram.add(7);
        histogram.add_all([]);
        assert_eq!(
            histogram.read(),
            Distribution {
                buckets: vec![(10, 4), (100, 6)],
                count: 7,
                sum: 235,
            }
        );
    }
}

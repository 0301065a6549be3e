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

    /// The numbers that it is made of: each bucket's, and the sum.
    pub(crate) fn raw(&self) -> (Vec<u64>, u64) {
        let buckets = self.buckets.iter().map(|bucket| bucket.load(Relaxed));
        (buckets.collect(), self.sum.load(Relaxed))
    }

    /// Become the histogram whose [`raw`](Self::raw) numbers these are.
    pub(crate) fn set(&self, buckets: &[u64], sum: u64) {
        for (bucket, value) in self.buckets.iter().zip(buckets) {
            bucket.store(*value, Relaxed);
        }
        self.sum.store(sum, Relaxed);
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

impl Distribution {
    /// Only what was added after `earlier`, which was read from the same histogram.
    pub fn since(&self, earlier: &Self) -> Self {
        let both = self.buckets.iter().zip(&earlier.buckets);
        Self {
            buckets: both
                .map(|((bound, now), (_, before))| (*bound, now.saturating_sub(*before)))
                .collect(),
            count: self.count.saturating_sub(earlier.count),
            sum: self.sum.saturating_sub(earlier.sum),
        }
    }

    /// An estimate of the value that the part `q` (0 to 1) of all values does not exceed, as if
    /// values were spread evenly between two bounds. Above the last bound there is nothing to go
    /// by, so that bound is told. `None` without values.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let rank = q * self.count as f64;
        let (mut below, mut before) = (0.0, 0);
        for (bound, cumulative) in &self.buckets {
            if *cumulative as f64 >= rank && *cumulative > before {
                let within = (rank - before as f64) / (*cumulative - before) as f64;
                return Some(below + (*bound as f64 - below) * within.max(0.0));
            }
            (below, before) = (*bound as f64, *cumulative);
        }
        Some(below)
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

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let histogram = Histogram::new(&[10, 100, 1000]);
        assert_eq!(histogram.read().quantile(0.5), None);
        histogram.add_all([5; 50]);
        histogram.add_all([50; 40]);
        histogram.add_all([5000; 10]);
        let all = histogram.read();
        for (q, expect) in [
            (0.0, 0.0),
            (0.25, 5.0),
            (0.5, 10.0),
            (0.7, 55.0),
            (0.9, 100.0),
        ] {
            assert_eq!(all.quantile(q), Some(expect), "{q}");
        }
        assert_eq!(all.quantile(0.99), Some(1000.0), "the last bound");
    }

    #[test]
    fn what_came_since_can_be_told() {
        let histogram = Histogram::new(&[10, 100]);
        histogram.add_all([1, 1, 500]);
        let earlier = histogram.read();
        histogram.add_all([50, 50]);
        let since = histogram.read().since(&earlier);
        assert_eq!(since.buckets, [(10, 0), (100, 2)]);
        assert_eq!((since.count, since.sum), (2, 100));
        assert_eq!(since.quantile(1.0), Some(100.0));
    }
}

//! Medians with their spread, and a latency histogram that costs one increment per request.
//!
//! A shared two-core machine gives outliers, so nothing here averages: a figure is the median of
//! its rounds, and its spread is the smallest and the largest of them. Two contestants are
//! compared round by round, because neighbours in time met the same noise.

use serde::Serialize;

/// The median of some rounds, with the smallest and the largest of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle value, or the mean of the two middle ones.
    pub median: f64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
}

impl Spread {
    /// The spread of these values; `None` if there are none.
    ///
    /// # Panics
    /// If a value is not a number: a figure that could not be had is left out, not passed on.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        assert!(values.iter().all(|value| !value.is_nan()), "not a number among the figures");
        values.sort_by(f64::total_cmp);
        let (first, last) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            1 => values[middle],
            _ => (values[middle - 1] + values[middle]) / 2.0,
        };
        Some(Self { median, min: *first, max: *last })
    }

    /// The spread of `mine / other`, taken round by round.
    ///
    /// A round that either of them lacks is left out. Rounds with a zero divisor have no ratio.
    pub fn of_ratios(mine: &[Option<f64>], other: &[Option<f64>]) -> Option<Self> {
        let rounds = mine.iter().zip(other);
        Self::of(rounds.filter_map(|(mine, other)| match (mine, other) {
            (Some(mine), Some(other)) if *other != 0.0 => Some(mine / other),
            _ => None,
        }))
    }
}

/// Sub-buckets per power of two: a reported latency is at most 1/64 above the true one.
const SUB_BITS: u32 = 6;
const SUB: u64 = 1 << SUB_BITS;

/// A histogram of latencies in nanoseconds: exact below 64 ns, within 1.6 % above.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u32>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// An empty histogram, big enough for any `u64`.
    pub fn new() -> Self {
        let buckets = bucket_of(u64::MAX) + 1;
        Self { counts: vec![0; buckets], total: 0 }
    }

    /// Counts one request that took this long.
    pub fn record(&mut self, latency_ns: u64) {
        self.counts[bucket_of(latency_ns)] += 1;
        self.total += 1;
    }

    /// How many requests were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The latency that the share `quantile` of all requests stayed at or below, in nanoseconds.
    /// `None` if nothing was counted.
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        assert!((0.0..=1.0).contains(&quantile), "a quantile lies between 0 and 1");
        if self.total == 0 {
            return None;
        }
        let rank = ((self.total as f64 * quantile).ceil() as u64).clamp(1, self.total);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank {
                return Some(highest_in(bucket));
            }
        }
        unreachable!("the buckets hold fewer requests than were counted");
    }
}

/// Values below 64 have a bucket each. Above, a value is shifted right until seven bits are left:
/// the number of shifts and the lower six bits make the bucket.
fn bucket_of(value: u64) -> usize {
    if value < SUB {
        return value as usize;
    }
    let shift = u64::BITS - 1 - value.leading_zeros() - SUB_BITS;
    let within = (value >> shift) - SUB;
    ((u64::from(shift) + 1) * SUB + within) as usize
}

/// The largest value that falls into a bucket.
fn highest_in(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < SUB {
        return bucket;
    }
    let shift = bucket / SUB - 1;
    let lowest = (SUB + bucket % SUB) << shift;
    lowest + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_odd_and_even_counts() {
        let odd = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!(odd, Spread { median: 2.0, min: 1.0, max: 3.0 });
        let even = Spread::of([4.0, 1.0, 2.0, 10.0]).unwrap();
        assert_eq!(even, Spread { median: 3.0, min: 1.0, max: 10.0 });
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    #[should_panic(expected = "not a number")]
    fn a_figure_that_is_no_number_is_refused() {
        Spread::of([1.0, f64::NAN]);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The second round was twice as slow for both, the third is lacking on one side.
        let mine = [Some(3.0), Some(6.0), Some(9.0), Some(1.0)];
        let other = [Some(2.0), Some(4.0), None, Some(0.0)];
        let ratio = Spread::of_ratios(&mine, &other).unwrap();
        assert_eq!(ratio, Spread { median: 1.5, min: 1.5, max: 1.5 });
        assert_eq!(Spread::of_ratios(&mine, &[None, None, None, None]), None);
    }

    #[test]
    fn buckets_are_contiguous_and_ordered() {
        let mut expected = 0;
        for bucket in 0..=bucket_of(u64::MAX) {
            assert_eq!(bucket_of(expected), bucket, "lowest value of bucket {bucket}");
            let highest = highest_in(bucket);
            assert_eq!(bucket_of(highest), bucket, "highest value of bucket {bucket}");
            expected = highest.wrapping_add(1);
        }
        assert_eq!(expected, 0, "the last bucket ends at the largest u64");
    }

    #[test]
    fn quantiles_are_never_below_and_at_most_a_64th_above() {
        let mut histogram = Histogram::new();
        let values: Vec<u64> = (1..=10_000).map(|i| i * 37).collect();
        values.iter().for_each(|value| histogram.record(*value));
        assert_eq!(histogram.total(), 10_000);
        for (quantile, rank) in
            [(0.0, 1), (0.5, 5_000), (0.99, 9_900), (0.999, 9_990), (1.0, 10_000)]
        {
            let exact = values[rank - 1];
            let found = histogram.quantile(quantile).unwrap();
            assert!(
                found >= exact && found <= exact + exact / 64,
                "{quantile}: {found} for {exact}"
            );
        }
        assert_eq!(Histogram::new().quantile(0.5), None);
    }
}

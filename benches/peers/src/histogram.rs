//! Latencies, counted in buckets.

/// Buckets for each doubling of the value: none is wider than 1/32 of what it holds.
const PER_DOUBLING: u64 = 32;

/// Room for every `u64` of nanoseconds.
const BUCKETS: usize = ((64 - 4) * PER_DOUBLING) as usize;

/// Counts nanoseconds in buckets that grow with the value.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Vec<u32>,
    count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0 }
    }
}

impl Histogram {
    /// Counts one value.
    pub fn record(&mut self, nanos: u64) {
        self.buckets[bucket(nanos)] += 1;
        self.count += 1;
    }

    /// Adds what another has counted.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
    }

    /// The value below which this part of the counted ones lies, in nanoseconds; NaN without any.
    #[must_use]
    pub fn quantile(&self, part: f64) -> f64 {
        let rank = (part * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (at, &count) in self.buckets.iter().enumerate() {
            seen += u64::from(count);
            if seen >= rank {
                return middle(at as u64);
            }
        }
        f64::NAN
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < PER_DOUBLING {
        return nanos as usize;
    }
    // The doublings above the exact ones, and the five bits that follow the first.
    let doubling = u64::from(nanos.ilog2() - PER_DOUBLING.ilog2());
    let within = (nanos >> doubling) - PER_DOUBLING;
    ((doubling + 1) * PER_DOUBLING + within) as usize
}

fn middle(bucket: u64) -> f64 {
    if bucket < PER_DOUBLING {
        return bucket as f64;
    }
    let (doubling, within) = (bucket / PER_DOUBLING - 1, bucket % PER_DOUBLING);
    (PER_DOUBLING as f64 + within as f64 + 0.5) * 2_f64.powi(doubling as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_close_to_what_it_holds() {
        for nanos in [0, 1, 31, 32, 33, 63, 64, 1_000, 123_456, 7_000_000_000, u64::MAX] {
            let told = middle(bucket(nanos) as u64);
            assert!((told - nanos as f64).abs() <= nanos as f64 / 32.0, "{nanos}: {told}");
        }
    }

    #[test]
    fn quantiles_are_those_of_all_that_was_added() {
        let (mut low, mut high) = (Histogram::default(), Histogram::default());
        assert!(low.quantile(0.5).is_nan());
        (0..99).for_each(|_| low.record(10));
        high.record(1_000_000);
        low.add(&high);
        assert_eq!(low.quantile(0.5), 10.0);
        assert_eq!(low.quantile(0.99), 10.0);
        assert!((low.quantile(0.999) - 1e6).abs() < 3e4);
    }
}

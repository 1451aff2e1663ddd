//! Histogram of recent call durations over a window, in bounded memory.

use std::time::Duration;

use tokio::time::Instant;

/// Buckets per doubling: a value read back is at most an eighth too high.
const STEPS: u64 = 8;

/// Bits of a value that a bucket keeps below the highest set bit.
const STEP_BITS: u32 = STEPS.trailing_zeros();

/// Doublings that the histogram covers, from 1 us to 9 minutes: longer than the longest deadline
/// that a server grants by default.
const DOUBLINGS: usize = 27;

const BUCKETS: usize = DOUBLINGS * STEPS as usize;

/// Slices of the window; the oldest is dropped as a whole.
const SLICES: usize = 3;

/// Length of a slice: long enough for a slow destination to fill, short enough to notice a change.
const SLICE: Duration = Duration::from_secs(10);

/// Fewest values that give a median.
const VALUES_MIN: u32 = 10;

/// Call durations of the last 20 to 30 seconds, in less than 3 KiB.
pub(super) struct LatencyWindow {
    slices: Box<[Slice; SLICES]>,
    /// Index of the current slice; `ends` is the end of that slice.
    at: usize,
    ends: Option<Instant>,
}

#[derive(Clone, Copy)]
struct Slice {
    counts: [u32; BUCKETS],
    total: u32,
}

impl Slice {
    const EMPTY: Self = Self { counts: [0; BUCKETS], total: 0 };
}

impl Default for LatencyWindow {
    fn default() -> Self {
        Self { slices: Box::new([Slice::EMPTY; SLICES]), at: 0, ends: None }
    }
}

impl LatencyWindow {
    /// Records the duration of a call that ended at `now`.
    pub(super) fn record(&mut self, now: Instant, took: Duration) {
        self.roll(now);
        let slice = &mut self.slices[self.at];
        let count = &mut slice.counts[bucket(took)];
        *count = count.saturating_add(1);
        slice.total = slice.total.saturating_add(1);
    }

    /// Returns the median duration of the calls; `None` if there were too few.
    pub(super) fn median(&mut self, now: Instant) -> Option<Duration> {
        self.quantile(now, 500)
    }

    /// Returns the duration that so many of a thousand calls did not exceed; `None` if there were
    /// too few calls.
    pub(super) fn quantile(&mut self, now: Instant, per_mille: u32) -> Option<Duration> {
        self.roll(now);
        let total: u64 = self.slices.iter().map(|slice| u64::from(slice.total)).sum();
        if total < u64::from(VALUES_MIN) {
            return None;
        }
        let mut seen = 0;
        for at in 0..BUCKETS {
            seen += self.slices.iter().map(|slice| u64::from(slice.counts[at])).sum::<u64>();
            if seen * 1000 >= total * u64::from(per_mille) {
                return Some(upper_edge(at));
            }
        }
        None
    }

    /// Drops the slices that have left the window.
    fn roll(&mut self, now: Instant) {
        let ends = *self.ends.get_or_insert(now + SLICE);
        if now < ends {
            return;
        }
        let passed = now.duration_since(ends).as_secs() / SLICE.as_secs() + 1;
        let passed = usize::try_from(passed).unwrap_or(SLICES).min(SLICES);
        for _ in 0..passed {
            self.at = (self.at + 1) % SLICES;
            self.slices[self.at] = Slice::EMPTY;
        }
        // After a long silence the slices start again from `now`.
        let next = ends + SLICE * u32::try_from(passed).unwrap_or(1);
        self.ends = Some(if next > now { next } else { now + SLICE });
    }
}

/// Returns the bucket of a value: exact below 8 us, then eight per doubling.
fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    if micros < STEPS {
        return usize::try_from(micros).unwrap_or(0);
    }
    let shift = micros.ilog2() - STEP_BITS;
    let step = (micros >> shift) - STEPS;
    let at = (u64::from(shift) + 1) * STEPS + step;
    usize::try_from(at).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// Returns the upper bound of the values of a bucket.
fn upper_edge(bucket: usize) -> Duration {
    let (shift, step) = (bucket as u64 / STEPS, bucket as u64 % STEPS);
    Duration::from_micros(match shift.checked_sub(1) {
        None => step + 1,
        Some(shift) => (STEPS + step + 1) << shift,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn few_values_have_no_median_and_many_have_one() {
        let (mut window, now) = (LatencyWindow::default(), Instant::now());
        for _ in 0..9 {
            window.record(now, ms(100));
        }
        assert_eq!(window.median(now), None);
        for took in [1, 1, 1, 1, 1, 1, 1, 1, 1, 1] {
            window.record(now, ms(took));
        }
        let median = window.median(now).unwrap();
        assert!(median >= ms(1) && median <= Duration::from_micros(1125), "{median:?}");
        for _ in 0..2 {
            window.record(now, ms(100));
        }
        let median = window.median(now).unwrap();
        assert!(median >= ms(100) && median <= ms(113), "{median:?}");
    }

    #[test]
    fn values_outside_the_window_are_forgotten() {
        let (mut window, start) = (LatencyWindow::default(), Instant::now());
        for _ in 0..10 {
            window.record(start, ms(100));
        }
        assert!(window.median(start + SLICE * 2).is_some());
        assert_eq!(window.median(start + SLICE * 3), None);
        for _ in 0..10 {
            window.record(start + SLICE * 3, ms(1));
        }
        assert!(window.median(start + SLICE * 3).unwrap() < ms(2));
        assert_eq!(window.median(start + SLICE * 1000), None);
        // Concurrent callers may pass times slightly out of order.
        window.record(start, ms(1));
        assert_eq!(window.median(start), None);
    }

    #[test]
    fn memory_is_bounded() {
        assert!(size_of::<[Slice; SLICES]>() < 3 * 1024);
    }

    proptest! {
        #[test]
        fn a_value_read_back_is_at_most_an_eighth_too_high(micros in 0_u64..500_000_000) {
            let took = Duration::from_micros(micros);
            let read = upper_edge(bucket(took));
            prop_assert!(read > took, "{read:?}");
            prop_assert!(read <= took + took / 8 + Duration::from_micros(1), "{read:?}");
        }

        #[test]
        fn every_duration_has_a_bucket(micros in any::<u64>(), secs in any::<u64>()) {
            prop_assert!(bucket(Duration::from_micros(micros)) < BUCKETS);
            prop_assert!(bucket(Duration::from_secs(secs)) < BUCKETS);
        }
    }
}

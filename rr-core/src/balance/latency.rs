//! Latency of an endpoint: an average that jumps to a peak and decays towards recent values.

use std::time::Duration;

use tokio::time::Instant;

/// Peak-sensitive moving average of latencies; empty until a call has ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PeakAverage(Option<Average>);

#[derive(Clone, Copy, Debug)]
struct Average {
    seconds: f64,
    at: Instant,
}

impl PeakAverage {
    /// Adds the latency of a call. A value above the average replaces it, so that a slow endpoint
    /// is noticed with its first slow call; the weight of older values decays with time.
    pub(super) fn observe(&mut self, latency: Duration, now: Instant, decay: Duration) {
        let seconds = latency.as_secs_f64();
        let average = match self.0 {
            Some(known) if seconds < known.seconds => {
                let weight = weight(now.saturating_duration_since(known.at), decay);
                known.seconds * weight + seconds * (1.0 - weight)
            }
            _ => seconds,
        };
        self.0 = Some(Average { seconds: average, at: now });
    }

    /// Returns the average in seconds, as of the last call that ended.
    pub(super) fn last(&self) -> Option<f64> {
        self.0.map(|known| known.seconds)
    }

    /// Returns the average in seconds of an endpoint without calls in flight. It decays, so that an
    /// endpoint that was slow gets a call again after a while.
    pub(super) fn decayed(&self, now: Instant, decay: Duration) -> Option<f64> {
        let known = self.0?;
        Some(known.seconds * weight(now.saturating_duration_since(known.at), decay))
    }
}

/// Returns the weight of a value of this age, between 0 and 1.
fn weight(age: Duration, decay: Duration) -> f64 {
    if decay.is_zero() {
        return 0.0;
    }
    (-age.as_secs_f64() / decay.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECAY: Duration = Duration::from_secs(10);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_peak_counts_immediately_and_decays_towards_recent_values() {
        let (mut average, start) = (PeakAverage::default(), Instant::now());
        assert_eq!(average.last(), None);
        average.observe(ms(10), start, DECAY);
        average.observe(ms(500), start, DECAY);
        assert_eq!(average.last(), Some(0.5));
        // After one time constant, a third of the peak is left.
        average.observe(ms(10), start + DECAY, DECAY);
        let left = average.last().unwrap();
        assert!((0.18..0.20).contains(&left), "{left}");
        for second in 11..80 {
            average.observe(ms(10), start + ms(second * 1000), DECAY);
        }
        let left = average.last().unwrap();
        assert!((0.010..0.012).contains(&left), "{left}");
    }

    #[test]
    fn the_average_of_an_idle_endpoint_decays_to_nothing_and_without_a_decay_immediately() {
        let (mut average, start) = (PeakAverage::default(), Instant::now());
        average.observe(ms(500), start, DECAY);
        let left = |after| average.decayed(start + ms(after), DECAY).unwrap();
        assert!((0.49..0.5).contains(&left(100)));
        assert!(left(60_000) < 0.002);
        average.observe(ms(1), start, Duration::ZERO);
        assert_eq!(average.last(), Some(0.001));
    }
}

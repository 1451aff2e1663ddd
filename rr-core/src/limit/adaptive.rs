//! Limits that follow the latency: pure decisions.

use std::time::Duration;

use super::config::AdaptiveConfig;

/// Limit of calls in flight that follows what their outcomes show.
pub(super) trait Limit: Send {
    /// Returns the current limit.
    fn limit(&self) -> usize;

    /// Learns from a call that has ended.
    fn ended(&mut self, sample: Sample);
}

/// Call that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) took: Duration,
    /// Calls in flight when it began, itself included.
    pub(super) in_flight: usize,
    /// Whether the destination refused it or did not answer in time.
    pub(super) is_overload: bool,
}

/// Limit that stays the same.
pub(super) struct Fixed(pub(super) usize);

impl Limit for Fixed {
    fn limit(&self) -> usize {
        self.0
    }

    fn ended(&mut self, _: Sample) {}
}

/// Weight of a sample in the average of the latency over a long time.
const LONG_WEIGHT: f64 = 1.0 / 600.0;

/// Samples that set the first average.
const WARM_UP: u32 = 10;

/// Ratio of a latency to the long average below which the limit is not lowered.
const TOLERANCE: f64 = 1.5;

/// Calls that may queue at the destination.
const QUEUE: f64 = 4.0;

/// Weight of a new limit against the old one.
const SMOOTHING: f64 = 0.2;

/// Factor after an overload (Netflix's concurrency-limits, `AIMDLimit`).
const BACKOFF: f64 = 0.9;

/// Limit that grows while the latency stays near its long average, and shrinks as it rises
/// (Netflix's concurrency-limits, `Gradient2Limit`).
pub(super) struct Gradient {
    config: AdaptiveConfig,
    limit: f64,
    /// Average latency over a long time, in seconds.
    long: f64,
    samples: u32,
}

impl Gradient {
    pub(super) fn new(config: AdaptiveConfig) -> Self {
        let limit = config.clamp(config.initial as f64);
        Self { config, limit, long: 0.0, samples: 0 }
    }

    /// Adds a latency to the long average.
    fn average(&mut self, latency: f64) {
        self.samples = self.samples.saturating_add(1);
        let weight = if self.samples <= WARM_UP { 1.0 / f64::from(self.samples) } else { LONG_WEIGHT };
        self.long += (latency - self.long) * weight;
        // After a time of overload, the average follows quickly.
        if self.long > latency * 2.0 {
            self.long *= 0.95;
        }
    }
}

impl Limit for Gradient {
    fn limit(&self) -> usize {
        whole(self.limit)
    }

    fn ended(&mut self, sample: Sample) {
        if sample.is_overload {
            self.limit = self.config.clamp(self.limit * BACKOFF);
            return;
        }
        let latency = sample.took.as_secs_f64().max(1e-6);
        self.average(latency);
        // A limit that is not used shows nothing of a higher one.
        if (sample.in_flight as f64) < self.limit / 2.0 {
            return;
        }
        let gradient = (TOLERANCE * self.long / latency).clamp(0.5, 1.0);
        let next = self.limit * gradient + QUEUE;
        self.limit = self.config.clamp(self.limit * (1.0 - SMOOTHING) + next * SMOOTHING);
    }
}

/// Limit that grows by one with each full turn, and shrinks by a tenth after an overload or a slow
/// reply.
pub(super) struct Aimd {
    config: AdaptiveConfig,
    limit: f64,
    /// Latency that counts as an overload.
    slow: Duration,
}

impl Aimd {
    pub(super) fn new(config: AdaptiveConfig, slow: Duration) -> Self {
        let limit = config.clamp(config.initial as f64);
        Self { config, limit, slow }
    }
}

impl Limit for Aimd {
    fn limit(&self) -> usize {
        whole(self.limit)
    }

    fn ended(&mut self, sample: Sample) {
        let is_overload = sample.is_overload || sample.took > self.slow;
        let next = if is_overload {
            self.limit * BACKOFF
        } else if sample.in_flight as f64 * 2.0 >= self.limit {
            self.limit + 1.0 / self.limit
        } else {
            self.limit
        };
        self.limit = self.config.clamp(next);
    }
}

/// Returns the whole part of a limit, which is within the bounds of its configuration.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a limit is positive, and at most a usize"
)]
fn whole(limit: f64) -> usize {
    limit as usize
}

//! Limits that follow the latency: pure decisions.

use std::time::Duration;

use tokio::time::Instant;

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
    /// When it ended.
    pub(super) now: Instant,
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

/// Samples of one step, at most.
const STEP_SAMPLES_MAX: usize = 64;

/// Ratio of the median latency to that of an idle destination, up to which the limit is not lowered
/// (Envoy's adaptive concurrency has 25 %).
const TOLERANCE: f64 = 1.25;

/// Part of the limit up to which calls are taken for calls to an idle destination.
const IDLE_PART: f64 = 0.25;

/// Weight of a sample in the latency of an idle destination.
const IDLE_WEIGHT: f64 = 0.1;

/// Time after which the latency of an idle destination is measured again.
const IDLE_TIME: Duration = Duration::from_secs(15);

/// Calls for one such measurement.
const PROBES: u32 = 10;

/// Factor after an overload (Netflix's concurrency-limits, `AIMDLimit`).
const BACKOFF: f64 = 0.9;

/// Limit that grows while the latency stays near that of an idle destination, and shrinks in
/// proportion as the latency rises (after Envoy's gradient controller).
///
/// The latency of an idle destination is that of the calls that begin while few others are in flight.
/// If there were none for 15 s, the limit is lowered to a quarter for ten calls.
pub(super) struct Gradient {
    config: AdaptiveConfig,
    limit: f64,
    /// Latency of an idle destination, in seconds.
    idle: Option<f64>,
    /// When it was measured last.
    measured: Option<Instant>,
    /// Calls that a measurement still needs.
    probes: u32,
    /// Latencies of the current step, in seconds.
    step: Vec<f64>,
    has_overload: bool,
    is_used: bool,
}

impl Gradient {
    pub(super) fn new(config: AdaptiveConfig) -> Self {
        let limit = config.clamp(config.initial as f64);
        Self {
            config,
            limit,
            idle: None,
            measured: None,
            probes: 0,
            step: Vec::new(),
            has_overload: false,
            is_used: false,
        }
    }

    /// Returns the number of calls in flight up to which the destination counts as idle.
    fn idle_max(&self) -> f64 {
        self.config.clamp(self.limit * IDLE_PART)
    }

    /// Learns the latency of an idle destination, and decides when to measure it again.
    fn measure(&mut self, sample: &Sample) {
        let (latency, now) = (sample.took.as_secs_f64(), sample.now);
        if sample.in_flight as f64 <= self.idle_max() {
            let before = self.idle.unwrap_or(latency);
            self.idle = Some(before + (latency - before) * IDLE_WEIGHT);
            self.measured = Some(now);
            self.probes = self.probes.saturating_sub(1);
        } else if now.duration_since(*self.measured.get_or_insert(now)) >= IDLE_TIME {
            self.measured = Some(now);
            self.probes = PROBES;
        }
    }

    /// Changes the limit by the latencies of a step.
    fn change(&mut self) {
        self.step.sort_unstable_by(f64::total_cmp);
        let median = self.step.get(self.step.len() / 2).copied().unwrap_or_default();
        let gradient = match self.idle {
            Some(idle) => (idle * TOLERANCE / median.max(1e-6)).clamp(0.5, 1.0),
            None => 1.0,
        };
        let next = if self.has_overload {
            self.limit * BACKOFF.min(gradient)
        } else if self.is_used || gradient < 1.0 {
            self.limit * gradient + self.limit.sqrt()
        } else {
            self.limit
        };
        self.limit = self.config.clamp(next);
        self.step.clear();
        (self.has_overload, self.is_used) = (false, false);
    }
}

impl Limit for Gradient {
    fn limit(&self) -> usize {
        whole(if self.probes > 0 { self.idle_max() } else { self.limit })
    }

    fn ended(&mut self, sample: Sample) {
        if !sample.is_overload {
            self.measure(&sample);
        }
        if self.probes > 0 {
            return;
        }
        self.has_overload |= sample.is_overload;
        // A limit that is not used shows nothing of a higher one.
        self.is_used |= sample.in_flight as f64 * 2.0 >= self.limit;
        self.step.push(sample.took.as_secs_f64());
        if self.step.len() >= whole(self.limit).clamp(10, STEP_SAMPLES_MAX) {
            self.change();
        }
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

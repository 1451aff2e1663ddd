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

/// Calls of one step, at least and at most: as many as the limit in between, since calls that began
/// before a change show nothing of it.
const STEP_MIN: usize = 20;
const STEP_MAX: usize = 256;

/// Calls of one step of a probe. With fewer, chance decides more than the load.
const PROBE_STEP: usize = 50;

/// Ratio of the mean latency to that without contention, up to which the limit is not lowered
/// (Netflix's concurrency-limits, `Gradient2Limit`).
const TOLERANCE: f64 = 1.5;

/// Ratio of two latencies at the halves of a limit, below which calls contended before.
const FELL: f64 = 0.8;

/// Weight of a latency that is lower than any before.
const LOWER_WEIGHT: f64 = 0.1;

/// Time between two probes under load; and at least, when the latency has risen.
const PROBE_EVERY: Duration = Duration::from_secs(30);
const PROBE_AGAIN: Duration = Duration::from_secs(2);

/// Factor after an overload (Netflix's concurrency-limits, `AIMDLimit`).
const BACKOFF: f64 = 0.9;

/// Limit that grows while the mean latency stays near that without contention, and shrinks in
/// proportion as the latency rises.
///
/// Probes find the latency without contention: the limit is halved until that lowers the latency no
/// further. So a destination whose work itself takes longer is not taken for an overloaded one.
pub(super) struct Gradient {
    config: AdaptiveConfig,
    limit: f64,
    /// Mean latency without contention, in seconds.
    base: Option<f64>,
    /// When the last probe ended, or the first step.
    probed: Option<Instant>,
    probe: Option<Probe>,
    /// When the last probe ended.
    resumed: Option<Instant>,
    step: Step,
}

/// Measurement at a lowered limit.
struct Probe {
    level: f64,
    /// Mean latency at twice this level.
    before: f64,
}

/// Calls since the last change of the limit.
#[derive(Default)]
struct Step {
    calls: usize,
    seconds: f64,
    has_overload: bool,
    is_used: bool,
}

impl Gradient {
    pub(super) fn new(config: AdaptiveConfig) -> Self {
        let limit = config.clamp(config.initial as f64);
        Self {
            config,
            limit,
            base: None,
            probed: None,
            probe: None,
            resumed: None,
            step: Step::default(),
        }
    }

    fn level(&self) -> f64 {
        self.probe.as_ref().map_or(self.limit, |probe| probe.level)
    }

    /// Ends a step of a probe: halves the level again, or takes the latency as that without
    /// contention.
    fn end_probe_step(&mut self, probe: &Probe, mean: f64, now: Instant) {
        let half = self.config.clamp(probe.level / 2.0);
        if mean <= probe.before * FELL && half < probe.level {
            self.probe = Some(Probe { level: half, before: mean });
            return;
        }
        self.base = Some(mean);
        self.probed = Some(now);
        self.resumed = Some(now);
    }

    /// Changes the limit by the calls of a step.
    fn end_step(&mut self, step: &Step, mean: f64, now: Instant) {
        let base = self.base.get_or_insert(mean);
        if mean < *base {
            *base += (mean - *base) * LOWER_WEIGHT;
        }
        let gradient = (*base * TOLERANCE / mean.max(1e-6)).clamp(0.5, 1.0);
        let next = if step.has_overload {
            self.limit * BACKOFF.min(gradient)
        } else if step.is_used || gradient < 1.0 {
            self.limit * gradient + self.limit.sqrt()
        } else {
            self.limit
        };
        let since = now.duration_since(*self.probed.get_or_insert(now));
        let has_risen = gradient < 1.0 / TOLERANCE && since >= PROBE_AGAIN;
        if step.is_used && (has_risen || since >= PROBE_EVERY) {
            let level = self.config.clamp(self.limit / 2.0);
            self.probe = Some(Probe { level, before: mean });
        }
        self.limit = self.config.clamp(next);
    }
}

impl Limit for Gradient {
    fn limit(&self) -> usize {
        whole(self.level())
    }

    fn ended(&mut self, sample: Sample) {
        let level = self.level();
        // Calls that began before the limit was lowered, or in a probe, show nothing of this limit.
        let began = sample.now.checked_sub(sample.took);
        let is_of_probe = self.probe.is_none() && began < self.resumed;
        if sample.in_flight as f64 > level + 1.0 || is_of_probe {
            return;
        }
        self.step.calls += 1;
        self.step.seconds += sample.took.as_secs_f64();
        self.step.has_overload |= sample.is_overload;
        // A limit that is not used shows nothing of a higher one.
        self.step.is_used |= sample.in_flight as f64 * 2.0 >= level;
        let full = match self.probe {
            Some(_) => PROBE_STEP,
            None => whole(self.limit).clamp(STEP_MIN, STEP_MAX),
        };
        if self.step.calls < full {
            return;
        }
        let step = std::mem::take(&mut self.step);
        let mean = step.seconds / step.calls as f64;
        match self.probe.take() {
            Some(probe) => self.end_probe_step(&probe, mean, sample.now),
            None => self.end_step(&step, mean, sample.now),
        }
    }
}

/// Limit that grows by one with each full turn, and shrinks by a tenth after an overload or a slow
/// reply, once for the calls that were in flight then.
pub(super) struct Aimd {
    config: AdaptiveConfig,
    limit: f64,
    /// Latency that counts as an overload.
    slow: Duration,
    /// When the limit was lowered last.
    lowered: Option<Instant>,
}

impl Aimd {
    pub(super) fn new(config: AdaptiveConfig, slow: Duration) -> Self {
        let limit = config.clamp(config.initial as f64);
        Self { config, limit, slow, lowered: None }
    }
}

impl Limit for Aimd {
    fn limit(&self) -> usize {
        whole(self.limit)
    }

    fn ended(&mut self, sample: Sample) {
        let is_overload = sample.is_overload || sample.took > self.slow;
        let next = if is_overload {
            // Calls that began before the limit was lowered show nothing of the lower one.
            if sample.now.checked_sub(sample.took) < self.lowered {
                return;
            }
            self.lowered = Some(sample.now);
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

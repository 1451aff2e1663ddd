//! Limits that follow the latency: pure decisions.

use std::time::Duration;

use tokio::time::Instant;

use super::config::AdaptiveConfig;

/// Limit of calls in flight that follows what their outcomes show.
pub(super) trait Limit: Send {
    /// Returns the limit at this instant.
    fn limit(&self, now: Instant) -> usize;

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
    fn limit(&self, _: Instant) -> usize {
        self.0
    }

    fn ended(&mut self, _: Sample) {}
}

/// Minimum number of calls in a step. With fewer, a slow method that is called seldom may be missing
/// from the mean.
const STEP_MIN: usize = 100;

/// Maximum number of calls in a step.
const STEP_MAX: usize = 1000;

/// A step ends when the standard error of its mean latency is at most this part of the mean.
const UNCERTAINTY: f64 = 0.125;

/// Ratio of the mean latency to that without contention, up to which the limit is not lowered
/// (Netflix's concurrency-limits, `Gradient2Limit`).
const TOLERANCE: f64 = 1.5;

/// Ratio of two latencies at the halves of a limit, below which calls contended before. It is 0.5
/// if all calls waited, and 1 if none did.
const FELL: f64 = 0.7;

/// Ratio of two latencies that chance explains.
const ALIKE: f64 = 1.25;

/// Weight of a mean latency below that without contention.
const LOWER_WEIGHT: f64 = 0.1;

/// Longest time between two probes while the latency is high, and time until the probe of a latency
/// that no probe has confirmed.
const PROBE_EVERY: Duration = Duration::from_secs(30);

/// Shortest time between two probes, while the latency is high.
const PROBE_AGAIN: Duration = Duration::from_secs(2);

/// Number of calls that a probe gets time for: it ends without a result if the load falls meanwhile.
const PROBE_CALLS: f64 = 4.0 * STEP_MIN as f64;

/// Shortest mean latency that counts, in seconds. Below, the scheduler decides more than the load.
const SHORTEST: f64 = 1e-4;

/// Longest time, in mean latencies, in which the calls of an earlier limit are expected to end.
const SETTLES: f64 = 10.0;

/// Factor after an overload (Netflix's concurrency-limits, `AIMDLimit`).
const BACKOFF: f64 = 0.9;

/// Part of the calls of a step that must show an overload. A few calls always come with a deadline
/// that is too short.
const OVERLOADS: f64 = 0.1;

/// Limit that grows while the mean latency stays near that without contention, and shrinks in
/// proportion as the latency rises.
///
/// Probes find the latency without contention: the limit is halved, and halved again, until that
/// lowers the latency no further. So a destination whose work itself takes longer is not taken for
/// an overloaded one. While the latency is not high, there is one probe at most: of a latency that
/// was measured only with more than half of the limit in use.
pub(super) struct Gradient {
    config: AdaptiveConfig,
    limit: f64,
    /// Mean latency without contention, in seconds.
    base: Option<f64>,
    /// The latency without contention that a probe has found, or calls that used less than half of
    /// the limit: twice as many would have shown contention as a high latency.
    confirmed: Option<f64>,
    /// When the last probe ended, or the first step.
    probed: Option<Instant>,
    /// Time until the next probe while the latency is high.
    probe_after: Duration,
    probe: Option<Probe>,
    /// Calls that end sooner show an earlier limit: of those that began since, only the short ones
    /// have ended.
    settled: Option<Instant>,
    step: Step,
}

/// Measurement at a lowered limit.
struct Probe {
    level: f64,
    /// Mean latency at twice this level.
    before: f64,
    /// When it ends without a result.
    until: Instant,
}

impl Probe {
    /// Begins a probe at a level, after a step at twice this level.
    fn new(level: f64, step: &Step, now: Instant) -> Self {
        let before = step.mean();
        let calls = Duration::from_secs_f64(before * PROBE_CALLS / level);
        Self { level, before, until: now + step.turn() + calls + PROBE_AGAIN }
    }
}

/// Calls since the last change of the limit.
#[derive(Default)]
struct Step {
    calls: usize,
    seconds: f64,
    /// Sum of the squares of the seconds.
    squares: f64,
    longest: Duration,
    overloads: usize,
    in_flight_max: usize,
}

impl Step {
    fn add(&mut self, sample: Sample) {
        let seconds = sample.took.as_secs_f64();
        self.calls += 1;
        self.seconds += seconds;
        self.squares += seconds * seconds;
        self.longest = self.longest.max(sample.took);
        self.overloads += usize::from(sample.is_overload);
        self.in_flight_max = self.in_flight_max.max(sample.in_flight);
    }

    fn mean(&self) -> f64 {
        (self.seconds / self.calls as f64).max(SHORTEST)
    }

    /// Returns the time in which the calls in flight end.
    fn turn(&self) -> Duration {
        self.longest.min(Duration::from_secs_f64(self.mean() * SETTLES))
    }

    /// Returns whether the mean of at least this number of calls is known.
    fn is_known(&self, calls_min: usize) -> bool {
        if self.calls < calls_min.clamp(STEP_MIN, STEP_MAX) {
            return false;
        }
        let (calls, mean) = (self.calls as f64, self.mean());
        let variance = self.squares / calls - mean * mean;
        self.calls >= STEP_MAX || variance <= calls * (mean * UNCERTAINTY).powi(2)
    }

    fn is_overloaded(&self) -> bool {
        self.overloads as f64 >= self.calls as f64 * OVERLOADS
    }
}

impl Gradient {
    pub(super) fn new(config: AdaptiveConfig) -> Self {
        let limit = config.clamp(config.initial as f64);
        Self {
            config,
            limit,
            base: None,
            confirmed: None,
            probed: None,
            probe_after: PROBE_AGAIN,
            probe: None,
            settled: None,
            step: Step::default(),
        }
    }

    /// Ends a step of a probe: halves the level again, or takes the latency as that without
    /// contention.
    fn end_probe_step(&mut self, probe: &Probe, step: &Step, now: Instant) {
        self.settled = Some(now + step.turn());
        let mean = step.mean();
        let is_known = self.base.is_some_and(|base| base < mean * ALIKE && mean < base * ALIKE);
        let half = self.config.clamp(probe.level / 2.0);
        if !is_known && mean <= probe.before * FELL && half < probe.level {
            self.probe = Some(Probe::new(half, step, now));
            return;
        }
        // The less a probe finds, the later the next.
        self.probe_after =
            if is_known { (self.probe_after * 2).min(PROBE_EVERY) } else { PROBE_AGAIN };
        self.base = Some(mean);
        self.confirmed = Some(mean);
        self.probed = Some(now);
    }

    /// Ends a probe that has not seen enough calls, because the load has fallen.
    fn expire(&mut self, now: Instant) {
        if self.probe.take_if(|probe| probe.until <= now).is_some() {
            self.step = Step::default();
            self.probed = Some(now);
        }
    }

    /// Returns the time from the last probe to the next; `None` if no probe is needed.
    fn next_probe(&self, base: f64, is_high: bool) -> Option<Duration> {
        // The latency falls with contention too, which a probe tells from faster work.
        let is_confirmed = self.confirmed.is_some_and(|latency| latency < base * ALIKE);
        if is_high { Some(self.probe_after) } else { (!is_confirmed).then_some(PROBE_EVERY) }
    }

    /// Returns the latency without contention, after a step with this mean.
    fn learn(&mut self, mean: f64, is_used: bool) -> f64 {
        let mut base = self.base.unwrap_or(mean);
        if mean * (1.0 + UNCERTAINTY) < base {
            base += (mean - base) * LOWER_WEIGHT;
        }
        if !is_used && base < mean * ALIKE {
            self.confirmed = Some(base);
        }
        self.base = Some(base);
        base
    }

    /// Changes the limit by the calls of a step.
    fn end_step(&mut self, step: &Step, now: Instant) {
        let mean = step.mean();
        let used = step.in_flight_max as f64 * 2.0;
        // A limit that is not used shows nothing of a higher one.
        let is_used = used >= self.limit;
        let base = self.learn(mean, is_used);
        let gradient = (base * TOLERANCE / mean).clamp(0.5, 1.0);
        let next = if step.is_overloaded() {
            self.limit * BACKOFF.min(gradient)
        } else if is_used {
            self.limit * gradient + self.limit.sqrt()
        } else if gradient < 1.0 {
            used
        } else {
            self.limit
        };
        let since = now.duration_since(*self.probed.get_or_insert(now));
        let is_due = self.next_probe(base, gradient < 1.0).is_some_and(|after| since >= after);
        if is_used && is_due {
            let level = self.config.clamp(self.limit / 2.0);
            self.probe = Some(Probe::new(level, step, now));
        }
        if next < self.limit || self.probe.is_some() {
            self.settled = Some(now + step.turn());
        }
        self.limit = self.config.clamp(next);
    }
}

impl Limit for Gradient {
    fn limit(&self, now: Instant) -> usize {
        let probe = self.probe.as_ref().filter(|probe| now < probe.until);
        whole(probe.map_or(self.limit, |probe| probe.level))
    }

    fn ended(&mut self, sample: Sample) {
        self.expire(sample.now);
        if Some(sample.now) < self.settled {
            return;
        }
        self.step.add(sample);
        // The latency shows a higher limit when as many calls have ended as were in flight. A probe
        // is as short as it can be, because it may refuse calls.
        let calls_min = if self.probe.is_some() { 0 } else { self.step.in_flight_max };
        if !self.step.is_known(calls_min) {
            return;
        }
        let step = std::mem::take(&mut self.step);
        match self.probe.take() {
            Some(probe) => self.end_probe_step(&probe, &step, sample.now),
            None => self.end_step(&step, sample.now),
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
    fn limit(&self, _: Instant) -> usize {
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

#[cfg(test)]
mod tests;

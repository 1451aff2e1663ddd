//! Ejection of one endpoint: a state machine that reads no clock.

use std::time::Duration;

use rr_spi::Deadline;
use rr_spi::observe::EjectionCause;
use tokio::time::Instant;

use super::config::BalanceConfig;

/// Health of one endpoint: its recent failures, and its ejection.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    failures_in_row: u32,
    window: Window,
    /// End of the ejection; `None` while the endpoint is healthy. After that instant, the endpoint
    /// stays ejected until a probe has succeeded.
    ejected_until: Option<Instant>,
    is_probed: bool,
    /// Length of the last ejection, in steps of the first.
    steps: u32,
    /// The end of the last ejection by a success.
    returned_at: Option<Instant>,
    /// Number of ejections: outcomes of calls from before an ejection do not count.
    epoch: u64,
}

/// Calls that ended in the current window.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    ends: Option<Instant>,
    calls: u32,
    failures: u32,
}

/// Role of a call at its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Ordinary,
    /// The one call that probes an ejected endpoint.
    Probe,
}

/// Registration of a call that has started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) role: Role,
    epoch: u64,
}

impl Health {
    /// Returns whether the endpoint is not ejected.
    pub(super) fn is_healthy(&self) -> bool {
        self.ejected_until.is_none()
    }

    /// Returns whether the next call should probe the endpoint.
    pub(super) fn is_probe_due(&self, now: Instant) -> bool {
        !self.is_probed && self.ejected_until.is_some_and(|until| until <= now)
    }

    /// Returns the rest of the ejection; zero from then until a probe has succeeded.
    pub(super) fn ejected_for(&self, now: Instant) -> Option<Duration> {
        self.ejected_until.map(|until| until.saturating_duration_since(now))
    }

    /// Registers a call.
    pub(super) fn enter(&mut self, role: Role) -> Entry {
        self.is_probed |= role == Role::Probe;
        Entry { role, epoch: self.epoch }
    }

    /// Records that a call ended without a conclusion about the endpoint.
    pub(super) fn neutral(&mut self, call: Entry) {
        if call.epoch == self.epoch && call.role == Role::Probe {
            self.is_probed = false;
        }
    }

    /// Records a success, which ends an ejection. Returns whether it has ended one.
    pub(super) fn success(&mut self, call: Entry, now: Instant, config: &BalanceConfig) -> bool {
        if call.epoch != self.epoch {
            return false;
        }
        self.neutral(call);
        self.failures_in_row = 0;
        self.window.roll(now, config.success_window);
        self.window.calls = self.window.calls.saturating_add(1);
        let has_returned = self.ejected_until.take().is_some();
        if has_returned {
            self.is_probed = false;
            self.returned_at = Some(now);
        }
        has_returned
    }

    /// Records a failure. A failed probe is a reason to prolong the ejection; other failures may be a
    /// reason for one.
    pub(super) fn failure(
        &mut self,
        call: Entry,
        now: Instant,
        config: &BalanceConfig,
    ) -> Option<EjectionCause> {
        if call.epoch != self.epoch {
            return None;
        }
        self.neutral(call);
        if !self.is_healthy() {
            return (call.role == Role::Probe).then_some(EjectionCause::ProbeFailed);
        }
        self.failures_in_row = self.failures_in_row.saturating_add(1);
        self.window.roll(now, config.success_window);
        self.window.calls = self.window.calls.saturating_add(1);
        self.window.failures = self.window.failures.saturating_add(1);
        let row = config.failures_in_row_max;
        if row > 0 && self.failures_in_row >= row {
            return Some(EjectionCause::FailuresInRow);
        }
        let is_low = self.has_success_rate(now, config) && self.window.is_below(config);
        is_low.then_some(EjectionCause::SuccessRate)
    }

    /// Returns whether enough calls have ended in the current window for a success rate.
    pub(super) fn has_success_rate(&self, now: Instant, config: &BalanceConfig) -> bool {
        let is_current = self.window.ends.is_some_and(|ends| now < ends);
        is_current && self.window.calls >= config.success_calls_min.max(1)
    }

    /// Ejects the endpoint, longer with each ejection; healthy time takes steps back.
    pub(super) fn eject(&mut self, now: Instant, config: &BalanceConfig) {
        let healthy = match self.returned_at {
            Some(at) if self.is_healthy() => now.saturating_duration_since(at),
            _ => Duration::ZERO,
        };
        let step = config.ejection_time;
        let back = healthy.as_nanos().checked_div(step.as_nanos()).unwrap_or(0);
        let back = u32::try_from(back).unwrap_or(u32::MAX);
        // The ceiling of the duration bounds the steps too: otherwise an endpoint that was down for
        // hours would need hours to be forgiven.
        let most = config.ejection_time_max.as_nanos().checked_div(step.as_nanos()).unwrap_or(0);
        let most = u32::try_from(most).unwrap_or(u32::MAX).max(1);
        self.steps = self.steps.saturating_sub(back).saturating_add(1).min(most);
        let lasts = step.saturating_mul(self.steps).min(config.ejection_time_max);
        self.ejected_until = Some(after(now, lasts));
        self.is_probed = false;
        self.failures_in_row = 0;
        self.window = Window::default();
        self.epoch += 1;
    }
}

impl Window {
    fn roll(&mut self, now: Instant, length: Duration) {
        if self.ends.is_none_or(|ends| ends <= now) {
            // A window has a length, so that the call that begins it is part of it.
            let ends = after(now, length.max(Duration::from_nanos(1)));
            *self = Self { ends: Some(ends), calls: 0, failures: 0 };
        }
    }

    fn is_below(&self, config: &BalanceConfig) -> bool {
        let successes = u64::from(self.calls - self.failures);
        successes * 100 < u64::from(self.calls) * u64::from(config.success_percent_min)
    }
}

/// Returns the instant `time` after another, or one 30 years after it.
pub(crate) fn after(now: Instant, time: Duration) -> Instant {
    Deadline::after_at(now, time).instant()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn config() -> BalanceConfig {
        BalanceConfig::default()
    }

    fn fail(health: &mut Health, role: Role, now: Instant) -> Option<EjectionCause> {
        let call = health.enter(role);
        health.failure(call, now, &config())
    }

    fn succeed(health: &mut Health, role: Role, now: Instant) {
        let call = health.enter(role);
        health.success(call, now, &config());
    }

    #[test]
    fn five_failures_in_a_row_raise_a_suspicion_and_a_success_between_them_does_not() {
        let (mut health, now) = (Health::default(), Instant::now());
        for _ in 0..4 {
            assert_eq!(fail(&mut health, Role::Ordinary, now), None);
        }
        succeed(&mut health, Role::Ordinary, now);
        for _ in 0..4 {
            assert_eq!(fail(&mut health, Role::Ordinary, now), None);
        }
        assert_eq!(fail(&mut health, Role::Ordinary, now), Some(EjectionCause::FailuresInRow));
    }

    #[test]
    fn a_success_rate_needs_enough_calls_in_one_window() {
        let (mut health, start) = (Health::default(), Instant::now());
        // Three successes and a failure in turn: 75 %, never two failures in a row.
        let mut round = |now: Instant| {
            for _ in 0..3 {
                succeed(&mut health, Role::Ordinary, now);
            }
            fail(&mut health, Role::Ordinary, now)
        };
        for _ in 0..12 {
            assert_eq!(round(start), None);
        }
        // Another window: the count starts again.
        for _ in 0..12 {
            assert_eq!(round(start + s(10)), None);
        }
        assert_eq!(round(start + s(10)), Some(EjectionCause::SuccessRate));
    }

    #[test]
    fn an_ejection_ends_with_a_probe_and_grows_with_each_probe_that_fails() {
        let (mut health, mut now) = (Health::default(), Instant::now());
        health.eject(now, &config());
        for step in [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300] {
            assert_eq!(health.ejected_for(now), Some(s(step)));
            assert!(!health.is_probe_due(now + s(step - 1)));
            now += s(step);
            assert!(health.is_probe_due(now));
            let probe = health.enter(Role::Probe);
            assert!(!health.is_probe_due(now), "one probe at a time");
            let cause = health.failure(probe, now, &config());
            assert_eq!(cause, Some(EjectionCause::ProbeFailed));
            health.eject(now, &config());
        }
        now += s(300);
        let cancelled = health.enter(Role::Probe);
        health.neutral(cancelled);
        assert!(health.is_probe_due(now), "a probe without a conclusion is repeated");
        succeed(&mut health, Role::Probe, now);
        assert!(health.is_healthy());
    }

    #[test]
    fn healthy_time_shortens_the_next_ejection() {
        let (mut health, mut now) = (Health::default(), Instant::now());
        for _ in 0..4 {
            health.eject(now, &config());
        }
        assert_eq!(health.ejected_for(now), Some(s(120)));
        now += s(120);
        succeed(&mut health, Role::Probe, now);
        now += s(65);
        health.eject(now, &config());
        assert_eq!(health.ejected_for(now), Some(s(90)), "two steps back, one forward");
        now += s(90);
        succeed(&mut health, Role::Probe, now);
        health.eject(now + s(3600), &config());
        assert_eq!(health.ejected_for(now + s(3600)), Some(s(30)));
    }

    #[test]
    fn calls_from_before_an_ejection_do_not_end_it() {
        let (mut health, now) = (Health::default(), Instant::now());
        let before = health.enter(Role::Ordinary);
        health.eject(now, &config());
        health.success(before, now, &config());
        assert!(!health.is_healthy());
        let last_resort = health.enter(Role::Ordinary);
        health.success(last_resort, now, &config());
        assert!(health.is_healthy(), "a call that was made meanwhile does");
    }
}

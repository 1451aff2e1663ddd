//! Recent outcomes of the calls to each service.

use std::collections::BTreeMap;
use std::ops::SubAssign;
use std::time::Duration;

use tokio::time::Instant;

use super::{DROPPED_PERCENT_MAX, ThrottleConfig, WINDOW_MAX, WINDOW_MIN};
use crate::window::Window;

/// Slices of the window; the oldest is dropped as a whole.
const SLICES: usize = 10;

/// Maximum number of services that count separately; later services share one history. At 300 bytes
/// each, the histories take 40 KiB.
const SERVICES_MAX: usize = 128;

/// Returns the length of the window.
pub(super) fn window(config: &ThrottleConfig) -> Duration {
    config.window.clamp(WINDOW_MIN, WINDOW_MAX)
}

/// Histories of the services of a destination.
pub(super) struct Histories {
    /// Ordered: for the few services of a client, comparing costs less than hashing.
    own: BTreeMap<String, History>,
    shared: History,
    window: Duration,
    /// Time until which a service may be in excess; `None` before the first.
    alert_until: Option<Instant>,
}

impl Histories {
    pub(super) fn new(config: &ThrottleConfig) -> Self {
        let window = window(config);
        Self { own: BTreeMap::new(), shared: History::new(window), window, alert_until: None }
    }

    /// Returns the history of a service, or the shared one if the service has none.
    pub(super) fn of(&mut self, service: &str) -> &mut History {
        self.own.get_mut(service).unwrap_or(&mut self.shared)
    }

    /// Counts a call that has ended. A call in flight is not counted: many simultaneous calls to a
    /// destination that has answered none yet would hold each other back.
    pub(super) fn count(&mut self, service: &str, acceptance: Acceptance, now: Instant) -> Counts {
        if let Some(history) = self.own.get_mut(service) {
            return history.ended(acceptance, now);
        }
        let history = match self.own.len() < SERVICES_MAX {
            true => self.own.entry(service.to_owned()).or_insert_with(|| History::new(self.window)),
            false => &mut self.shared,
        };
        history.ended(acceptance, now)
    }

    /// Holds a call back, and counts it then, if the drawn number is below the probability.
    ///
    /// # Errors
    ///
    /// The counts before a call that is held back.
    pub(super) fn admit(
        &mut self,
        service: &str,
        drawn_per_mille: u64,
        config: &ThrottleConfig,
        now: Instant,
    ) -> Result<(), Counts> {
        let history = self.of(service);
        let counts = history.counts(now);
        if drawn_per_mille >= u64::from(counts.dropped_per_mille(config)) {
            return Ok(());
        }
        history.held_back(now);
        self.alert(now);
        Err(counts)
    }

    /// Notes that a call of a service in excess was counted.
    pub(super) fn alert(&mut self, now: Instant) {
        self.alert_until = Some(now + self.window);
    }

    /// Returns whether calls to any service may be in excess. A window after the last such call of a
    /// service, that call has left its history.
    pub(super) fn is_alert(&self, now: Instant) -> bool {
        self.alert_until.is_some_and(|until| now < until)
    }
}

/// Calls to one service that ended or were held back, and accepted calls, of the window.
pub(super) struct History(Window<Counts, SLICES>);

/// Outcome of a call, as far as it shows the state of the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acceptance {
    Accepted,
    NotAccepted,
}

impl History {
    pub(super) fn new(window: Duration) -> Self {
        Self(Window::new(window))
    }

    pub(super) fn held_back(&mut self, now: Instant) {
        self.0.count(now, |counts| counts.calls += 1);
    }

    pub(super) fn ended(&mut self, acceptance: Acceptance, now: Instant) -> Counts {
        let accepted = u64::from(acceptance == Acceptance::Accepted);
        self.0.count(now, |counts| {
            counts.calls += 1;
            counts.accepted += accepted;
        });
        self.counts(now)
    }

    /// Returns the counts of the window.
    pub(super) fn counts(&mut self, now: Instant) -> Counts {
        self.0.sum(now)
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) calls: u64,
    pub(super) accepted: u64,
}

impl Counts {
    /// Returns the calls in excess of those that the accepted calls allow.
    pub(super) fn excess(self, config: &ThrottleConfig) -> u64 {
        let allowed = self.accepted * u64::from(config.calls_percent.max(100)) / 100;
        self.calls.saturating_sub(allowed + u64::from(config.failures_free))
    }

    /// Returns the part of the calls that is held back, in thousandths.
    pub(super) fn dropped_per_mille(self, config: &ThrottleConfig) -> u32 {
        let most = config.dropped_percent_max.min(DROPPED_PERCENT_MAX) * 10;
        let part = self.excess(config) * 1000 / (self.calls + 1);
        u32::try_from(part).map_or(most, |part| part.min(most))
    }
}

impl SubAssign for Counts {
    fn sub_assign(&mut self, gone: Self) {
        self.calls -= gone.calls;
        self.accepted -= gone.accepted;
    }
}

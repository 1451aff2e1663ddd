//! A deadline: an instant locally, remaining milliseconds on the wire.

use std::time::Duration;

use tokio::time::Instant;

/// Longest time to a deadline, so that the arithmetic does not overflow: longer than any process.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Largest timeout on the wire: 10 digits of milliseconds (docs/src/wire.md#the-rr-header; Connect
/// has the same limit).
const WIRE_MILLIS_MAX: u64 = 9_999_999_999;

/// The instant at which a call ends, on tokio's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// Returns the deadline `timeout` from now, at most 30 years away.
    #[must_use]
    pub fn after(timeout: Duration) -> Self {
        Self::after_at(Instant::now(), timeout)
    }

    /// Returns the deadline `timeout` after an instant, at most 30 years after it.
    #[must_use]
    pub fn after_at(now: Instant, timeout: Duration) -> Self {
        Self(now.checked_add(timeout.min(FAR)).unwrap_or(now))
    }

    /// Returns the deadline at an instant.
    #[must_use]
    pub const fn at(instant: Instant) -> Self {
        Self(instant)
    }

    /// Returns the instant.
    #[must_use]
    pub const fn instant(self) -> Instant {
        self.0
    }

    /// Returns the remaining time; zero when the deadline has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Returns whether the deadline has passed. At its exact instant it has: the deadline wins
    /// ties.
    #[must_use]
    pub fn has_passed(self) -> bool {
        Instant::now() >= self.0
    }

    /// Returns the remaining milliseconds for the wire, rounded up and at least 1.
    ///
    /// `None` when the number has more than 10 digits; the request then carries no timeout.
    #[must_use]
    pub fn wire_millis(self) -> Option<u64> {
        self.wire_millis_at(Instant::now())
    }

    /// Returns the remaining milliseconds at an instant; see [`Deadline::wire_millis`].
    pub(crate) fn wire_millis_at(self, now: Instant) -> Option<u64> {
        let remaining = self.0.saturating_duration_since(now);
        let millis = remaining.as_nanos().div_ceil(1_000_000).max(1);
        u64::try_from(millis).ok().filter(|&millis| millis <= WIRE_MILLIS_MAX)
    }
}

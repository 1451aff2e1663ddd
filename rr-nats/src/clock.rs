//! The wall clock: the only clock that both ends of the wire can read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Returns the wall clock in Unix milliseconds, for send times on the wire.
///
/// Called only if clocks are configured to agree; everything else uses tokio's clock.
pub(crate) fn unix_millis() -> u64 {
    millis(since_epoch())
}

/// Returns the wall clock at an instant that has passed, in Unix milliseconds: never later than that
/// instant.
pub(crate) fn unix_millis_at(instant: Instant) -> u64 {
    // The wall clock is read first, so that the time between the two reads counts as passed.
    let now = since_epoch();
    millis(now.saturating_sub(instant.elapsed()))
}

#[allow(clippy::disallowed_methods, reason = "both ends of the wire have no other clock in common")]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn millis(since: Duration) -> u64 {
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

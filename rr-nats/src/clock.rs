//! The wall clock: the only clock that both ends of the wire can read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the wall clock in Unix milliseconds, for send times on the wire.
///
/// Called only if clocks are configured to agree; everything else uses tokio's clock.
#[allow(clippy::disallowed_methods, reason = "both ends of the wire have no other clock in common")]
pub(crate) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the wall clock of some time ago, in Unix milliseconds: never later than that instant.
pub(crate) fn unix_millis_ago(time: Duration) -> u64 {
    let millis = u64::try_from(time.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
    unix_millis().saturating_sub(millis)
}

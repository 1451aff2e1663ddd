//! The wall clock: the only clock that both ends of the wire can read.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the wall clock in Unix milliseconds, for send times on the wire.
///
/// Called only if clocks are configured to agree; everything else uses tokio's clock.
#[allow(clippy::disallowed_methods, reason = "both ends of the wire have no other clock in common")]
pub(crate) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

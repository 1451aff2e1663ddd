//! The wall clock as RFC 3339 text, for `started` in statistics.

use std::time::SystemTime;

/// Returns the current time in UTC, such as `2026-11-23T07:30:00Z`.
#[allow(clippy::disallowed_methods, reason = "shown to people, never decided upon")]
pub(super) fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

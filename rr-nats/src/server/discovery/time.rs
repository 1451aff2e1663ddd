//! The wall clock as RFC 3339 text, for `started` in statistics.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last second of the year 9999, since 1970: RFC 3339 has four digits for a year.
const SECONDS_MAX: u64 = 253_402_300_799;

/// Returns the current time in UTC, such as `2026-11-23T07:30:00Z`.
#[allow(clippy::disallowed_methods, reason = "shown to people, never decided upon")]
pub(super) fn now() -> String {
    rfc3339(SystemTime::now())
}

/// Formats a time. A time before 1970 or after 9999 is replaced by the nearest time in between.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = since.min(Duration::from_secs(SECONDS_MAX));
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_clock_is_formatted() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(rfc3339(at(1_798_761_599)), "2026-12-31T23:59:59Z");
        assert_eq!(rfc3339(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(at(SECONDS_MAX + 1)), "9999-12-31T23:59:59Z");
    }
}

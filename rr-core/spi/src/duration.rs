//! Durations as text in configurations and URLs: `"1500ms"`, `"30s"`, `"5m"`.
//!
//! For transports: `#[serde(deserialize_with = "rr_spi::duration::deserialize")]`.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// Parses a whole number and a unit: `us`, `ms`, `s`, `m` or `h`. Returns `None` for anything else.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let at = text.find(|char: char| !char.is_ascii_digit())?;
    let (number, unit) = text.split_at(at);
    let number: u64 = number.parse().ok()?;
    match unit {
        "us" => Some(Duration::from_micros(number)),
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(60 * 60).map(Duration::from_secs),
        _ => None,
    }
}

/// Deserializes a duration, for `#[serde(deserialize_with)]`.
///
/// # Errors
///
/// The deserializer's, when the value is not text or the text is not a duration.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    parse(&text).ok_or_else(|| D::Error::custom("a duration looks like `1500ms` or `2s`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_need_a_unit() {
        assert_eq!(parse("1500ms"), Some(Duration::from_millis(1500)));
        assert_eq!(parse("250us"), Some(Duration::from_micros(250)));
        assert_eq!(parse("2m"), Some(Duration::from_secs(120)));
        for bad in ["", "1500", "ms", "-1s", "1.5s", "1 s", "1d", "99999999999999999999s"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}

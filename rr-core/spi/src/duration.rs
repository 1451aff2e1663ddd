//! Durations as text in configurations and URLs: `"1500ms"`, `"30s"`, `"5m"`.
//!
//! For transports: `#[serde(deserialize_with = "rr_spi::duration::deserialize")]`.

use std::fmt;
use std::time::Duration;

use serde::Deserializer;
use serde::de::Visitor;

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
    from.deserialize_str(Text)
}

/// Visitor of a duration as text.
struct Text;

impl Visitor<'_> for Text {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as `1500ms` or `2s`")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Duration, E> {
        parse(text).ok_or_else(|| E::custom("a duration looks like `1500ms` or `2s`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_in_a_file_is_told_the_form_of_a_duration() {
        let error = serde_json::from_str::<crate::CallConfig>(r#"{"timeout": 2}"#).unwrap_err();
        assert!(error.to_string().contains("a duration such as `1500ms`"), "{error}");
    }

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

//! Durations as text, in the notation of rr's configurations.

use std::time::Duration;

/// Parses the timeout of a method.
///
/// # Errors
///
/// A sentence that says what to write instead.
pub(crate) fn parse_timeout(text: &str) -> Result<Duration, String> {
    match parse(text) {
        Some(timeout) if timeout.is_zero() => {
            Err("a timeout of zero would end every call before it is sent".to_owned())
        }
        Some(timeout) => Ok(timeout),
        None => Err(format!(
            "`{}` is not a duration; write a whole number and a unit (us, ms, s, m or h), like `1500ms` or `2s`",
            text.escape_debug()
        )),
    }
}

fn parse(text: &str) -> Option<Duration> {
    let at = text.find(|character: char| !character.is_ascii_digit())?;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_timeout_is_a_number_with_a_unit_and_not_zero() {
        assert_eq!(parse_timeout("1500ms"), Ok(Duration::from_millis(1500)));
        for bad in ["", "2", "s", "1.5s", "2 s", "-1s", "2d", "99999999999999999999s"] {
            assert!(parse_timeout(bad).unwrap_err().contains("like `1500ms`"), "{bad}");
        }
        assert!(parse_timeout("0ms").unwrap_err().contains("zero"));
    }

    proptest! {
        #[test]
        fn the_notation_is_that_of_configurations(text in "[0-9]{0,21}(us|ms|s|m|h|d|.)?") {
            prop_assert_eq!(parse(&text), rr_spi::duration::parse(&text));
        }
    }
}

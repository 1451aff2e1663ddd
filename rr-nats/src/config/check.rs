//! What names and versions have to look like: pure.

use rr_spi::{Code, Delivery, Error};

/// Longest name, prefix or version in bytes: they stand in every line of the protocol, or in every
/// answer of discovery.
const BYTES_MAX: usize = 128;

/// Checks one token of a subject, without wildcards (ADR-6).
pub(super) fn token(key: &str, text: &str) -> Result<(), Error> {
    if is_token(text) && text.len() <= BYTES_MAX {
        return Ok(());
    }
    let hint = "it is one token of visible characters other than `.`, `*` and `>`, such as `blue`";
    Err(unfit(key, text, hint))
}

/// Checks tokens that dots separate.
pub(super) fn tokens(key: &str, text: &str) -> Result<(), Error> {
    if text.len() <= BYTES_MAX && text.split('.').all(is_token) {
        return Ok(());
    }
    let hint = match key {
        "inbox_prefix" => "an inbox prefix is tokens and dots, such as `_INBOX_orders`",
        _ => "it is tokens and dots, without spaces, `*` and `>`, such as `orders-1`",
    };
    Err(unfit(key, text, hint))
}

/// Checks a semantic version (semver.org 2.0.0; ADR-32 asks for one).
pub(super) fn version(key: &str, text: &str) -> Result<(), Error> {
    if text.len() <= BYTES_MAX && is_version(text) {
        return Ok(());
    }
    Err(unfit(key, text, "a semantic version looks like `1.2.3` or `1.2.3-rc.1+build.5`"))
}

/// Makes the error for a value that does not fit; the hint shows one that does.
pub(super) fn unfit(key: &str, text: &str, hint: &'static str) -> Error {
    let shown: String = text.chars().take(64).collect();
    let message = format!("`{key}` cannot be `{}`", shown.escape_debug());
    Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message).with_hint(hint)
}

fn is_token(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b".*>".contains(&byte);
    !text.is_empty() && text.bytes().all(plain)
}

fn is_version(text: &str) -> bool {
    let (rest, build) = match text.split_once('+') {
        Some((rest, build)) => (rest, Some(build)),
        None => (text, None),
    };
    let (core, before) = match rest.split_once('-') {
        Some((core, before)) => (core, Some(before)),
        None => (rest, None),
    };
    let parts = |text: &str, fits: fn(&str) -> bool| text.split('.').all(fits);
    core.split('.').count() == 3
        && parts(core, is_number)
        && before.is_none_or(|before| parts(before, is_identifier_before))
        && build.is_none_or(|build| parts(build, is_identifier))
}

/// Digits without a leading zero.
fn is_number(text: &str) -> bool {
    is_digits(text) && (text == "0" || !text.starts_with('0'))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// One identifier of a pre-release: a number has no leading zero there.
fn is_identifier_before(text: &str) -> bool {
    is_identifier(text) && (!is_digits(text) || is_number(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_are_those_of_semver() {
        for good in [
            "0.0.0",
            "1.2.3",
            "10.20.30",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-0.3.7",
            "1.0.0-x-y-z.--",
            "1.0.0-0a",
            "1.0.0+001",
            "1.0.0-beta+exp.sha.5114f85",
            "1.0.0+21AF26D3----117B344092BD",
            "99999999999999999999.0.0",
        ] {
            assert!(is_version(good), "{good}");
        }
        for bad in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "v1.2.3",
            "01.2.3",
            "1.02.3",
            "1.2.3-",
            "1.2.3+",
            "1.2.3-01",
            "1.2.3-a..b",
            "1.2.3+a+b",
            "1.2.3-a_b",
            " 1.2.3",
            "1.2.3 ",
            "-1.2.3",
            "1.2.x",
            "1.2.3-é",
        ] {
            assert!(!is_version(bad), "{bad}");
        }
    }

    #[test]
    fn lengths_are_bounded() {
        assert!(token("queue", &"a".repeat(BYTES_MAX)).is_ok());
        assert!(token("queue", &"a".repeat(BYTES_MAX + 1)).is_err());
        assert!(version("version", &format!("1.0.0-{}", "a".repeat(BYTES_MAX))).is_err());
        assert!(tokens("name", &"a.".repeat(BYTES_MAX)).is_err());
    }

    proptest! {
        #[test]
        fn every_version_of_numbers_fits(numbers in any::<[u32; 3]>(), before in "[a-z][a-z0-9-]{0,5}") {
            let [major, minor, patch] = numbers;
            let text = format!("{major}.{minor}.{patch}-{before}");
            prop_assert!(is_version(&text), "{text}");
        }

        #[test]
        fn nothing_panics(text in "[0-9.+a-]{0,12}|\\PC{0,12}") {
            let _ = version("version", &text);
        }
    }
}

//! Syntax checks of names and versions: pure functions.

use rr_spi::{Code, Delivery, Error};
use semver::Version;

use super::{NatsConnectionConfig, NatsServerConfig};

/// Maximum length of a name, prefix or version in bytes: each is part of protocol lines or of
/// discovery answers.
const BYTES_MAX: usize = 128;

impl NatsConnectionConfig {
    pub(crate) fn check(&self) -> Result<(), Error> {
        tokens("name", &self.name)?;
        tokens("inbox_prefix", &self.inbox_prefix)?;
        if let Some(option) = self.credentials.misplaced_secret() {
            let message = format!("`{option}` has the secret itself instead of a file");
            return Err(Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message)
                .with_hint("give the path of the file; `./` before a name makes it a path"));
        }
        if self.credentials.needs_nkeys() && !cfg!(feature = "nkeys") {
            let message = "nkeys and credentials files are not compiled in";
            let error = Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message);
            return Err(error
                .with_hint("enable the feature `nkeys` of rr-core, or of rr-nats if you use it"));
        }
        Ok(())
    }
}

impl NatsServerConfig {
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.connection.check()?;
        if let Some(queue) = &self.queue {
            token("queue", queue)?;
        }
        version("version", &self.version)
    }
}

/// Checks one token of a subject, without wildcards (ADR-6).
fn token(key: &str, text: &str) -> Result<(), Error> {
    if is_token(text) && text.len() <= BYTES_MAX {
        return Ok(());
    }
    let hint = "it is one token of visible characters other than `.`, `*` and `>`, such as `blue`";
    Err(unfit(key, text, hint))
}

/// Checks tokens separated by dots.
fn tokens(key: &str, text: &str) -> Result<(), Error> {
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
fn version(key: &str, text: &str) -> Result<(), Error> {
    if text.len() <= BYTES_MAX && Version::parse(text).is_ok() {
        return Ok(());
    }
    Err(unfit(key, text, "a semantic version looks like `1.2.3` or `1.2.3-rc.1+build.5`"))
}

/// Makes the error for an invalid value; the hint shows a valid one.
fn unfit(key: &str, text: &str, hint: &'static str) -> Error {
    let shown: String = text.chars().take(64).collect();
    let message = format!("`{key}` cannot be `{}`", shown.escape_debug());
    Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message).with_hint(hint)
}

fn is_token(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b".*>".contains(&byte);
    !text.is_empty() && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_are_those_of_semver() {
        for good in ["0.0.0", "10.20.30", "1.0.0-alpha.1", "1.0.0-0a", "1.0.0-beta+exp.sha.5114f85"]
        {
            assert!(version("version", good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "v1.2.3",
            "01.2.3",
            "1.2.3-",
            "1.2.3-01",
            " 1.2.3",
            "1.2.x",
            "1.2.3+",
            "1.2.3-a..b",
            "1.2.3+a+b",
            "1.2.3-a_b",
            "1.2.3-é",
        ] {
            assert!(version("version", bad).is_err(), "{bad}");
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
        fn nothing_panics(text in "[0-9.+a-]{0,12}|\\PC{0,12}") {
            let _ = version("version", &text);
        }
    }
}

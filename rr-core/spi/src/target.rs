//! Target of a request: a service and a method.

use std::fmt;
use std::str::FromStr;

use smol_str::SmolStr;

use crate::error::Error;
use crate::excerpt::excerpt;

/// Longest target in bytes. NATS servers limit a protocol line to 4 KiB, and 256 bytes leave ample
/// space for prefix and reply subject.
const TARGET_BYTES_MAX: usize = 256;

/// Target of a request: a dotted service, which may be empty, and a method.
///
/// `ping` is the method `ping` without a service; `acme.orders.v1.Place` is the method `Place` of
/// the service `acme.orders.v1`. Tokens are `[A-Za-z0-9_-]+`; a name has at most 256 bytes and is
/// case-sensitive. A name of up to 23 bytes costs no allocation, and neither does a longer name
/// passed to [`Target::from_static`].
///
/// # Examples
///
/// ```
/// # use rr_spi as rr_core;
/// let target: rr_core::Target = "orders.v1.place".try_into()?;
/// assert_eq!(target.service(), "orders.v1");
/// assert_eq!(target.method(), "place");
/// # Ok::<(), rr_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Target(SmolStr);

impl Target {
    /// Parses a name. A name of up to 23 bytes costs no allocation.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when the name is empty, longer than 256 bytes, has an empty
    /// token or a character outside `[A-Za-z0-9_-]`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        check(text)?;
        Ok(Self(SmolStr::new(text)))
    }

    /// Parses a name of any length without an allocation.
    ///
    /// # Errors
    ///
    /// As [`Target::parse`].
    pub fn from_static(text: &'static str) -> Result<Self, Error> {
        check(text)?;
        Ok(Self(SmolStr::new_static(text)))
    }

    /// Returns the whole name, `service.method` or `method`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the service, which is empty when the target is one token.
    #[must_use]
    pub fn service(&self) -> &str {
        self.0.rsplit_once('.').map_or("", |(service, _)| service)
    }

    /// Returns the method, the last token.
    #[must_use]
    pub fn method(&self) -> &str {
        self.0.rsplit_once('.').map_or(&self.0, |(_, method)| method)
    }

    /// Checks the dotted name of a service.
    pub(crate) fn check_service(service: &str) -> Result<(), Error> {
        check(service)
    }
}

/// Checks a dotted name.
fn check(text: &str) -> Result<(), Error> {
    let refuse = |what: &str| {
        Err(Error::invalid_argument(format!("target `{}` {what}", excerpt(text, 64))).with_hint(
            "name it like `service.method`: dotted tokens of letters, digits, `_` and `-`",
        ))
    };
    if text.len() > TARGET_BYTES_MAX {
        return refuse("is longer than 256 bytes");
    }
    let mut token = 0;
    for byte in text.bytes() {
        match byte {
            b'.' if token == 0 => return refuse("has an empty token"),
            b'.' => token = 0,
            _ if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' => token += 1,
            _ => return refuse("has a character outside [A-Za-z0-9_.-]"),
        }
    }
    if token == 0 {
        return refuse("has an empty token");
    }
    Ok(())
}

impl TryFrom<&str> for Target {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Target {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        Self::parse(&text)
    }
}

impl TryFrom<&String> for Target {
    type Error = Error;

    fn try_from(text: &String) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl From<&Self> for Target {
    fn from(target: &Self) -> Self {
        target.clone()
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl PartialEq<str> for Target {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Target {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::{Code, Delivery};

    #[test]
    fn method_is_the_last_token() {
        let target = Target::parse("acme.orders.v1.Orders.Place").unwrap();
        assert_eq!((target.service(), target.method()), ("acme.orders.v1.Orders", "Place"));
        let target = Target::try_from("ping").unwrap();
        assert_eq!((target.service(), target.method()), ("", "ping"));
    }

    #[test]
    fn a_target_stays_small_and_names_of_any_length_are_kept() {
        assert!(size_of::<Target>() <= 24, "{}", size_of::<Target>());
        for len in [1, 22, 23, 24, 256] {
            let name = if len > 2 { format!("{}.x", "s".repeat(len - 2)) } else { "x".into() };
            let target = Target::parse(&name).unwrap();
            assert_eq!((target.as_str(), target.method()), (&*name, "x"));
        }
        let long = "a.very.long.name.of.a.service.that.does.not.fit.in.place";
        assert_eq!(Target::from_static(long).unwrap(), Target::parse(long).unwrap());
    }

    #[test]
    fn malformed_names_are_refused_with_a_hint() {
        for bad in ["", ".", "a.", ".a", "a..b", "a b", "a/b", "a*", "a>", "ä", &"x".repeat(257)] {
            let error = Target::parse(bad).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument, "{bad}");
            assert_eq!(error.delivery(), Delivery::NotSent);
            assert!(error.hint().contains("service.method"));
        }
    }

    proptest! {
        #[test]
        fn parse_never_panics_and_service_and_method_rebuild_the_name(text in ".{0,40}") {
            if let Ok(target) = Target::parse(&text) {
                let rebuilt = match target.service() {
                    "" => target.method().to_owned(),
                    service => format!("{service}.{}", target.method()),
                };
                prop_assert_eq!(rebuilt, text);
            }
        }
    }
}

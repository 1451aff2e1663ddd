//! The header `rr`: `key=value` pairs separated by `;`.

use std::fmt::Write as _;

use crate::context::Criticality;
use crate::error::{Code, Delivery, Error};
use crate::excerpt::excerpt;
use crate::idempotency::Idempotency;

/// Contents of the header `rr` of a request.
///
/// # Examples
///
/// ```
/// use rr_spi::wire::CallHeader;
///
/// let mut header = CallHeader::default();
/// header.timeout_millis = Some(2000);
/// header.retries = 1;
/// let text = header.encode().unwrap();
/// assert_eq!(text, "t=2000;n=1");
/// assert_eq!(CallHeader::decode(&text)?, header);
/// # Ok::<(), rr_spi::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallHeader {
    /// `t`: the remaining time in milliseconds. HTTP uses `connect-timeout-ms` instead.
    pub timeout_millis: Option<u64>,
    /// `at`: the time of sending in Unix milliseconds; only where clocks are known to agree.
    pub sent_at_millis: Option<u64>,
    /// `n`: the number of earlier attempts; absent on the first.
    pub retries: u32,
    /// `i`: [`Idempotency::Safe`] or [`Idempotency::Idempotent`]; absent for other values.
    pub idempotency: Idempotency,
    /// `s`: whether the reply should state the times of the handler in `rr-spent`.
    pub wants_spent: bool,
    /// `c`: the criticality; absent for [`Criticality::Critical`].
    pub criticality: Criticality,
}

impl CallHeader {
    /// Encodes the header; `None` when no value is set.
    #[must_use]
    pub fn encode(&self) -> Option<String> {
        let mut out = String::new();
        let mut pair = |key: &str, value: &dyn std::fmt::Display| {
            // The first pair reserves the bytes for a timeout and a number of retries.
            out.reserve(if out.is_empty() { 16 } else { 0 });
            let separator = if out.is_empty() { "" } else { ";" };
            // Writing to a string cannot fail.
            let _ = write!(out, "{separator}{key}={value}");
        };
        if let Some(millis) = self.timeout_millis {
            pair("t", &millis);
        }
        if let Some(millis) = self.sent_at_millis {
            pair("at", &millis);
        }
        if self.retries > 0 {
            pair("n", &self.retries);
        }
        match self.idempotency {
            Idempotency::Safe => pair("i", &"safe"),
            Idempotency::Idempotent => pair("i", &"idempotent"),
            Idempotency::Unspecified | Idempotency::Keyed(_) => {}
        }
        if self.wants_spent {
            pair("s", &1);
        }
        if self.criticality != Criticality::Critical {
            pair("c", &self.criticality.as_str());
        }
        (!out.is_empty()).then_some(out)
    }

    /// Decodes the header. Unknown keys are ignored.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, rejected, on a repeated key, a malformed pair or a text of more than 256
    /// bytes.
    pub fn decode(text: &str) -> Result<Self, Error> {
        if text.len() > BYTES_MAX {
            return Err(malformed("too long"));
        }
        let mut header = Self::default();
        let mut at = 0;
        for pair in text.split(';') {
            let before = &text[..at];
            at += pair.len() + 1;
            if pair.is_empty() {
                continue;
            }
            let (key, value) = pair.split_once('=').ok_or_else(|| malformed(pair))?;
            if before.split(';').any(|pair| key_of(pair) == Some(key)) {
                return Err(malformed(key));
            }
            match key {
                "t" => header.timeout_millis = Some(digits(key, value, 10)?),
                "at" => header.sent_at_millis = Some(digits(key, value, 15)?),
                "n" => {
                    let retries = digits(key, value, 9)?;
                    header.retries = u32::try_from(retries).map_err(|_| malformed(key))?;
                }
                "i" => {
                    header.idempotency = match value {
                        "safe" => Idempotency::Safe,
                        "idempotent" => Idempotency::Idempotent,
                        _ => return Err(malformed(key)),
                    };
                }
                "s" if value == "1" => header.wants_spent = true,
                // A newer peer may know further values; they never refuse a call.
                "c" => header.criticality = Criticality::parse(value).unwrap_or_default(),
                "s" | "v" if value != "1" => return Err(malformed(key)),
                _ => {}
            }
        }
        Ok(header)
    }
}

/// Longest accepted value in bytes: four times the length of all known keys with their values. This
/// leaves space for new keys and bounds the work on unknown keys.
const BYTES_MAX: usize = 256;

fn key_of(pair: &str) -> Option<&str> {
    pair.split_once('=').map(|(key, _)| key)
}

/// Parses decimal digits only: no sign, no space, at most `most` of them.
fn digits(key: &str, value: &str, most: usize) -> Result<u64, Error> {
    let plain =
        !value.is_empty() && value.len() <= most && value.bytes().all(|b| b.is_ascii_digit());
    if !plain {
        return Err(malformed(key));
    }
    value.parse().map_err(|_| malformed(key))
}

fn malformed(key: &str) -> Error {
    Error::failure(
        Code::InvalidArgument,
        Delivery::Rejected,
        None,
        format!("malformed header rr: {}", excerpt(key, 16)),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn repeated_keys_and_bad_values_are_refused_and_unknown_keys_ignored() {
        for bad in [
            "t=1;t=2",
            "x=1;t=1;x=1",
            "t=",
            "t=-1",
            "t=+1",
            "t=12345678901",
            "n=x",
            "i=maybe",
            "t",
            "v=2",
            "s=0",
            "s=11",
        ] {
            let error = CallHeader::decode(bad).unwrap_err();
            assert_eq!(
                (error.code(), error.delivery()),
                (Code::InvalidArgument, Delivery::Rejected)
            );
        }
        let header = CallHeader::decode(";x=y;;t=0;v=1;").unwrap();
        assert_eq!(header.timeout_millis, Some(0));
        assert_eq!(CallHeader::default().encode(), None);
        let header = CallHeader::decode("c=unheard-of").unwrap();
        assert_eq!(header.criticality, Criticality::Critical);
    }

    proptest! {
        #[test]
        fn round_trips(
            t in prop::option::of(0u64..=9_999_999_999),
            at in prop::option::of(0u64..=999_999_999_999_999),
            retries in 0u32..1_000_000,
            i in 0..3,
            s: bool,
            c in 0_usize..4,
        ) {
            let idempotency = [Idempotency::Unspecified, Idempotency::Safe, Idempotency::Idempotent];
            let header = CallHeader {
                timeout_millis: t,
                sent_at_millis: at,
                retries,
                idempotency: idempotency[i as usize].clone(),
                wants_spent: s,
                criticality: Criticality::ALL[c],
            };
            let text = header.encode().unwrap_or_default();
            prop_assert_eq!(CallHeader::decode(&text).unwrap(), header);
        }

        #[test]
        fn decode_never_panics(text in "[a-z0-9=;+ -]{0,40}") {
            let _ = CallHeader::decode(&text);
        }
    }
}

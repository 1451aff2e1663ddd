//! Idempotency of a request, and the key of a keyed request.

use std::fmt;
use std::sync::Arc;

use crate::error::Error;

/// Idempotency of a request. Retry, hedging, HTTP GET and duplicate suppression depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Idempotency {
    /// Nothing is known: the request must not run twice.
    #[default]
    Unspecified,
    /// The request changes nothing (RFC 9110 §9.2.1).
    Safe,
    /// Running the request twice has the effect of running it once (RFC 9110 §9.2.2).
    Idempotent,
    /// A responder that deduplicates recognises a second request by its key.
    Keyed(IdempotencyKey),
}

/// Key that identifies repeated requests as the same one: 1 to 255 visible ASCII characters.
///
/// A caller makes one key for each intended effect, and sends it with every attempt at that effect.
///
/// # Examples
///
/// ```
/// # use rr_spi as rr_core;
/// use rr_core::{Idempotency, IdempotencyKey, Request, Target};
///
/// let order = 17;
/// let key = IdempotencyKey::new(&format!("order-{order}"))?;
/// let request = Request::new(Target::parse("payments.charge")?, "{}");
/// let request = request.with_idempotency(Idempotency::Keyed(key));
/// # Ok::<(), rr_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Arc<str>);

/// Longest key in bytes; public APIs with such keys accept the same length.
const KEY_BYTES_MAX: usize = 255;

impl IdempotencyKey {
    /// Makes a key.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when the text is empty, longer than 255 bytes or has anything
    /// other than visible ASCII.
    pub fn new(text: &str) -> Result<Self, Error> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() || text.len() > KEY_BYTES_MAX || !visible {
            let message = "an idempotency key is 1 to 255 visible ASCII characters";
            return Err(Error::invalid_argument(message));
        }
        Ok(Self(text.into()))
    }

    /// Returns the key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyKey({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn keys_are_visible_ascii_of_bounded_length() {
        assert_eq!(IdempotencyKey::new("order-17").unwrap().as_str(), "order-17");
        for bad in ["", "a b", "ä", "a\n", &"x".repeat(256)] {
            assert_eq!(IdempotencyKey::new(bad).unwrap_err().code(), Code::InvalidArgument);
        }
    }
}

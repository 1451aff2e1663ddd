//! What a request says about being run twice.

use std::fmt;
use std::sync::Arc;

use crate::error::{Code, Delivery, Error};

/// What a request says about being run twice; one enum drives retry, hedging, HTTP GET and
/// duplicate suppression.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Idempotency {
    /// Nothing is known: it must not run twice.
    #[default]
    Unspecified,
    /// It changes nothing (RFC 9110 §9.2.1).
    Safe,
    /// Running it twice has the effect of running it once (RFC 9110 §9.2.2).
    Idempotent,
    /// The responder recognises a second one by its key, where it deduplicates.
    Keyed(IdempotencyKey),
}

/// What a responder that suppresses duplicates says of its answer to a keyed request; it travels as
/// `rr-dedup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dedup {
    /// Duplicates are suppressed here: a second request with this key does not run again.
    On,
    /// So they are, and this is the answer of an earlier request with this key.
    Replayed,
}

impl Dedup {
    /// Returns the token that stands for this value on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Replayed => "replayed",
        }
    }
}

/// The key that marks two requests as the same one: 1 to 255 visible ASCII characters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Arc<str>);

/// Longest key in bytes; the length that public APIs with such keys accept.
const KEY_BYTES_MAX: usize = 255;

impl IdempotencyKey {
    /// Makes a key.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when the text is empty, longer than 255 bytes or has anything
    /// but visible ASCII.
    pub fn new(text: &str) -> Result<Self, Error> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() || text.len() > KEY_BYTES_MAX || !visible {
            return Err(Error::failure(
                Code::InvalidArgument,
                Delivery::NotSent,
                None,
                "an idempotency key is 1 to 255 visible ASCII characters",
            ));
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

    #[test]
    fn keys_are_visible_ascii_of_bounded_length() {
        assert_eq!(IdempotencyKey::new("order-17").unwrap().as_str(), "order-17");
        for bad in ["", "a b", "ä", "a\n", &"x".repeat(256)] {
            assert_eq!(IdempotencyKey::new(bad).unwrap_err().code(), Code::InvalidArgument);
        }
    }
}

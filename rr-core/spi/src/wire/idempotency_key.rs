//! The header `idempotency-key`: a structured-field string, or a bare token.

use crate::error::{Code, Delivery, Error};
use crate::idempotency::IdempotencyKey;

/// Encodes a key as a quoted structured-field string (RFC 9651 §3.3.3).
#[must_use]
pub fn encode_idempotency_key(key: &IdempotencyKey) -> String {
    let mut out = String::with_capacity(key.as_str().len() + 2);
    out.push('"');
    for char in key.as_str().chars() {
        if matches!(char, '"' | '\\') {
            out.push('\\');
        }
        out.push(char);
    }
    out.push('"');
    out
}

/// Decodes a key: a quoted string, or bare visible ASCII.
///
/// # Errors
///
/// `InvalidArgument`, rejected, when the text is neither.
pub fn decode_idempotency_key(text: &str) -> Result<IdempotencyKey, Error> {
    let bad = || {
        let text = "malformed header idempotency-key";
        Error::failure(Code::InvalidArgument, Delivery::Rejected, None, text)
    };
    let Some(rest) = text.strip_prefix('"') else {
        return IdempotencyKey::new(text).map_err(|_| bad());
    };
    let mut key = String::with_capacity(rest.len());
    let mut chars = rest.chars();
    loop {
        match chars.next() {
            Some('"') if chars.as_str().is_empty() => break,
            Some('"') | None => return Err(bad()),
            Some('\\') => match chars.next() {
                Some(escaped @ ('"' | '\\')) => key.push(escaped),
                _ => return Err(bad()),
            },
            Some(char) => key.push(char),
        }
    }
    IdempotencyKey::new(&key).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_forms_are_read_and_broken_ones_refused() {
        assert_eq!(decode_idempotency_key("\"a b\"").unwrap_err().delivery(), Delivery::Rejected);
        assert_eq!(decode_idempotency_key("\"a\\\"b\"").unwrap().as_str(), "a\"b");
        assert_eq!(decode_idempotency_key("bare-1").unwrap().as_str(), "bare-1");
        for bad in ["", "\"", "\"a", "\"a\"b", "\"\\x\"", "a b", "\"\""] {
            assert!(decode_idempotency_key(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(text in "[!-~]{1,255}") {
            let key = IdempotencyKey::new(&text).unwrap();
            prop_assert_eq!(decode_idempotency_key(&encode_idempotency_key(&key)).unwrap(), key);
        }
    }
}

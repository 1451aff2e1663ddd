//! Wire form of the values of `-bin` headers: base64.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;

/// Encodes the value of a `-bin` header: standard base64 without padding.
#[must_use]
pub fn encode_binary(value: &[u8]) -> String {
    STANDARD_NO_PAD.encode(value)
}

/// Decodes the value of a `-bin` header, with or without padding.
#[must_use]
pub fn decode_binary(text: &[u8]) -> Option<Bytes> {
    let padded = text.last() == Some(&b'=');
    let decoded = if padded { STANDARD.decode(text) } else { STANDARD_NO_PAD.decode(text) };
    decoded.ok().map(Bytes::from)
}

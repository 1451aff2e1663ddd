//! Internal functions for the fuzz targets; not part of the public API.

use bytes::Bytes;

use crate::server::{GzipError, decompress as decode};

/// Reason for the refusal of a compressed body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the scenario looks at every one")]
pub enum Refused {
    /// Longer than the limit once decoded.
    TooLarge,
    /// Malformed or cut short.
    Malformed,
}

/// Decodes a gzip body to at most `max` bytes.
///
/// # Errors
///
/// [`Refused`].
pub fn decompress(body: &Bytes, max: usize) -> Result<Bytes, Refused> {
    decode(body, max).map_err(|error| match error {
        GzipError::TooLarge => Refused::TooLarge,
        GzipError::Malformed(_) => Refused::Malformed,
    })
}

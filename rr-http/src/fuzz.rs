//! Internal functions for the fuzz targets; not part of the public API.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::compression::{Codec, DecompressError, Decompression};
use crate::server::{Announced, read_proxy_header};

/// Reason for the refusal of a compressed body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the scenario looks at every one")]
pub enum Refused {
    /// Longer than the limit once decoded.
    TooLarge,
    /// Malformed or cut short, or beyond a limit of the decoder.
    Malformed,
}

/// Decodes a gzip body to at most `max` bytes.
///
/// # Errors
///
/// [`Refused`].
pub fn gunzip(body: &[u8], max: usize) -> Result<Bytes, Refused> {
    decompress(Codec::Gzip, body, max)
}

/// Decodes a zstd body to at most `max` bytes.
///
/// # Errors
///
/// [`Refused`].
#[cfg(feature = "zstd")]
pub fn unzstd(body: &[u8], max: usize) -> Result<Bytes, Refused> {
    decompress(Codec::Zstd, body, max)
}

fn decompress(codec: Codec, body: &[u8], max: usize) -> Result<Bytes, Refused> {
    let refused = |error| match error {
        DecompressError::TooLarge => Refused::TooLarge,
        DecompressError::Malformed(_) | DecompressError::Unsupported(_) => Refused::Malformed,
    };
    let mut decompression = Decompression::new(codec, body, max);
    while decompression.step().map_err(refused)? {}
    Ok(decompression.into_bytes())
}

/// Client that a header of the PROXY protocol announces: `None` for the proxy itself, and its
/// address if it is known.
pub type Client = Option<Option<SocketAddr>>;

/// Reads a header of the PROXY protocol. Returns the client and the bytes that follow the header.
///
/// # Errors
///
/// `InvalidData` for a header that is refused, `UnexpectedEof` for one that is cut short.
pub async fn proxy_header(mut bytes: &[u8]) -> io::Result<(Client, &[u8])> {
    let client = match read_proxy_header(&mut bytes).await? {
        Announced::Proxy => None,
        Announced::Client(address) => Some(address),
    };
    Ok((client, bytes))
}

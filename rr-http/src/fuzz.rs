//! Internal functions for the fuzz targets; not part of the public API.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::server::{Announced, GzipError, decompress as decode, read_proxy_header};

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

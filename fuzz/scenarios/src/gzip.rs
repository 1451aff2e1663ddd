//! Request bodies compressed with gzip: what the server decodes is what `flate2` decodes.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

/// Longest decoded body of the scenario.
const MAX: usize = 1 << 16;

/// Decodes bytes both ways. The first byte chooses the limit.
///
/// # Panics
///
/// When the server accepts what `flate2` refuses, decodes it to other bytes, or refuses for its
/// length what is short enough.
pub fn gzip(bytes: &[u8]) {
    let Some((&first, body)) = bytes.split_first() else { return };
    let max = if first & 1 == 0 { MAX } else { usize::from(first) };
    let ours = rr_http::fuzz::decompress(&Bytes::copy_from_slice(body), max);
    let mut theirs = Vec::new();
    let read = MultiGzDecoder::new(body).take(max as u64 + 1).read_to_end(&mut theirs);
    match ours {
        Ok(decoded) if body.is_empty() => assert!(decoded.is_empty()),
        Ok(decoded) => {
            read.expect("flate2 refuses what the server took");
            assert!(decoded == theirs, "decoded to other bytes");
        }
        Err(rr_http::fuzz::Refused::TooLarge) => {
            assert!(read.is_err() || theirs.len() > max, "it would have fitted");
        }
        Err(rr_http::fuzz::Refused::Malformed) => {}
    }
}

//! Bodies compressed with gzip or zstd: what rr decodes is what `flate2` and `zstd` decode.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use rr_http::fuzz::{Refused, gunzip, unzstd};

/// Longest decoded body of the scenario.
const MAX: usize = 1 << 16;

/// Decodes gzip both ways. The first byte chooses the limit.
///
/// # Panics
///
/// When rr accepts what `flate2` refuses, decodes it to other bytes, or refuses for its length what
/// is short enough.
pub fn gzip(bytes: &[u8]) {
    compare(bytes, gunzip, |body, max, theirs| {
        MultiGzDecoder::new(body).take(max).read_to_end(theirs).is_ok()
    });
}

/// Decodes zstd both ways. The first byte chooses the limit.
///
/// # Panics
///
/// As [`gzip`], with `zstd` for `flate2`.
pub fn zstd(bytes: &[u8]) {
    compare(bytes, unzstd, |body, max, theirs| {
        let decoder = ::zstd::stream::read::Decoder::with_buffer(body);
        decoder.is_ok_and(|decoder| decoder.take(max).read_to_end(theirs).is_ok())
    });
}

/// Decodes bytes with rr, and with a decoder that reads at most a number of decoded bytes and returns
/// whether they are well-formed so far.
fn compare(
    bytes: &[u8],
    decode: fn(&[u8], usize) -> Result<Bytes, Refused>,
    expected: fn(&[u8], u64, &mut Vec<u8>) -> bool,
) {
    let Some((&first, body)) = bytes.split_first() else { return };
    let max = if first & 1 == 0 { MAX } else { usize::from(first) };
    let mut theirs = Vec::new();
    let is_well_formed = expected(body, max as u64 + 1, &mut theirs);
    match decode(body, max) {
        Ok(decoded) if body.is_empty() => assert!(decoded.is_empty()),
        Ok(decoded) => {
            assert!(is_well_formed, "refused what rr took");
            assert!(decoded == theirs, "decoded to other bytes");
        }
        Err(Refused::TooLarge) => {
            assert!(!is_well_formed || theirs.len() > max, "it would have fitted");
        }
        Err(Refused::Malformed) => {}
    }
}

//! Request bodies that came compressed.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

/// Why a body could not be decompressed.
#[derive(Debug)]
pub(super) enum GzipError {
    /// It is longer than the limit once decoded.
    TooLarge,
    /// It is no gzip, or is cut short.
    Malformed(std::io::Error),
}

/// How much longer than what came the first buffer is: what JSON usually shrinks by.
const GROWTH: usize = 4;

/// Decompresses a body into at most `max` bytes. An empty one is empty: it was never compressed.
pub(super) fn decompress(body: &Bytes, max: usize) -> Result<Bytes, GzipError> {
    if body.is_empty() {
        return Ok(Bytes::new());
    }
    let mut out = Vec::with_capacity(body.len().saturating_mul(GROWTH).min(max));
    // One byte more than allowed tells a body that is too long from one that just fits.
    let mut reader = MultiGzDecoder::new(&body[..]).take((max as u64).saturating_add(1));
    reader.read_to_end(&mut out).map_err(GzipError::Malformed)?;
    if out.len() > max { Err(GzipError::TooLarge) } else { Ok(out.into()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn compress(body: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap().into()
    }

    #[test]
    fn the_limit_counts_decoded_bytes() {
        let body = compress(&[b'a'; 1000]);
        assert!(body.len() < 100);
        assert_eq!(decompress(&body, 1000).unwrap().len(), 1000);
        assert!(matches!(decompress(&body, 999), Err(GzipError::TooLarge)));
        assert_eq!(decompress(&Bytes::new(), 0).unwrap(), "");
    }

    #[test]
    fn garbage_and_cut_bodies_are_malformed() {
        let body = compress(b"hello");
        for bad in [Bytes::from_static(b"hello"), body.slice(..body.len() - 4)] {
            assert!(matches!(decompress(&bad, 100), Err(GzipError::Malformed(_))));
        }
    }
}

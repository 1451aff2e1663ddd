//! Decompression of gzip request bodies (RFC 1952), within a limit.

use std::io::{self, Read as _};

use bytes::Bytes;
use flate2::bufread::GzDecoder;

/// Failure to decompress a body.
#[derive(Debug)]
pub(crate) enum GzipError {
    /// Longer than the limit once decoded.
    TooLarge,
    /// Not gzip, or cut short.
    Malformed(io::Error),
}

/// Ratio of the first buffer to the compressed body: the usual compression ratio of JSON.
const GROWTH: usize = 4;

/// Maximum number of bytes allocated before any have been decompressed.
const FIRST_BYTES_MAX: usize = 64 * 1024;

/// Maximum number of members of a body: each costs some 43 KiB of initial state while it is
/// decoded, however short it is. Tools that write blocks of 64 KiB need 16 for the longest body by
/// default.
const MEMBERS_MAX: usize = 64;

/// Decompresses a body of one or several members into at most `max` bytes.
///
/// A reference to before the start of its member reads zeros, never another member.
pub(crate) fn decompress(body: &Bytes, max: usize) -> Result<Bytes, GzipError> {
    let first = body.len().saturating_mul(GROWTH).min(FIRST_BYTES_MAX);
    let mut out = Vec::with_capacity(first.min(max.saturating_add(1)));
    let mut rest = &body[..];
    for _ in 0..MEMBERS_MAX {
        if rest.is_empty() {
            break;
        }
        let mut member = GzDecoder::new(rest);
        // One byte more than allowed distinguishes a body that is too long from one that just fits.
        let room = (max - out.len()).saturating_add(1) as u64;
        (&mut member).take(room).read_to_end(&mut out).map_err(GzipError::Malformed)?;
        if out.len() > max {
            return Err(GzipError::TooLarge);
        }
        rest = member.into_inner();
    }
    if !rest.is_empty() {
        let text = format!("the body has more than {MEMBERS_MAX} members");
        return Err(GzipError::Malformed(io::Error::new(io::ErrorKind::InvalidInput, text)));
    }
    if out.capacity() - out.len() > out.len() / 4 {
        // The handler may keep the body for long.
        out.shrink_to_fit();
    }
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::write::GzEncoder;
    use flate2::{Compression, Crc, GzBuilder};
    use proptest::prelude::*;

    use super::*;

    fn compress(body: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap().into()
    }

    fn is_malformed(body: &[u8]) -> bool {
        let outcome = decompress(&Bytes::copy_from_slice(body), 100);
        matches!(outcome, Err(GzipError::Malformed(_)))
    }

    #[test]
    fn the_limit_counts_decoded_bytes() {
        let body = compress(&[b'a'; 1000]);
        assert!(body.len() < 100);
        assert_eq!(decompress(&body, 1000).unwrap().len(), 1000);
        for max in [0, 1, 500, 999] {
            assert!(matches!(decompress(&body, max), Err(GzipError::TooLarge)), "{max}");
        }
        let twice = [&body[..], &body].concat().into();
        assert_eq!(decompress(&twice, 2000).unwrap().len(), 2000);
        assert!(matches!(decompress(&twice, 1999), Err(GzipError::TooLarge)));
        let members = |count| vec![compress(b"a"); count].concat();
        assert_eq!(decompress(&members(MEMBERS_MAX).into(), 100).unwrap().len(), MEMBERS_MAX);
        assert!(is_malformed(&members(MEMBERS_MAX + 1)));
        assert_eq!(decompress(&Bytes::new(), 0).unwrap(), "");
        assert_eq!(decompress(&compress(b""), 0).unwrap(), "");
    }

    #[test]
    fn garbage_cut_and_changed_bodies_are_malformed() {
        assert!(is_malformed(b"hello, world"));
        let body = compress(b"hello");
        for end in 1..body.len() {
            assert!(is_malformed(&body[..end]), "{end}");
        }
        for at in [body.len() - 8, body.len() - 1] {
            let mut changed = body.to_vec();
            changed[at] ^= 1;
            assert!(is_malformed(&changed));
        }
        let mut reserved = body.to_vec();
        reserved[3] = 0x80;
        assert!(is_malformed(&reserved));
        assert!(is_malformed(&[&body[..], b"x"].concat()));
        assert!(is_malformed(&[&body[..], b"hello, world"].concat()));
    }

    #[test]
    fn a_header_may_say_more_and_its_checksum_is_checked() {
        let builder = GzBuilder::new().extra([7; 300]).filename("name").comment("comment");
        let mut encoder = builder.write(Vec::new(), Compression::fast());
        encoder.write_all(b"hello").unwrap();
        let body: Bytes = encoder.finish().unwrap().into();
        assert_eq!(decompress(&body, 5).unwrap(), "hello");
        let plain = compress(b"hello");
        let mut header = plain[..10].to_vec();
        // FHCRC: two bytes of the checksum of the header follow it.
        header[3] = 1 << 1;
        let mut sum = Crc::new();
        sum.update(&header);
        let sum = (sum.sum() as u16).to_le_bytes();
        let sealed = [&header[..], &sum, &plain[10..]].concat();
        assert_eq!(decompress(&sealed.clone().into(), 5).unwrap(), "hello");
        let mut changed = sealed;
        changed[10] ^= 1;
        assert!(is_malformed(&changed));
    }

    #[test]
    fn a_member_cannot_read_another() {
        let first = compress(b"hello");
        // A match of length 3 at distance 5, with fixed codes: it reaches before its own member.
        let mut sum = Crc::new();
        sum.update(&[0; 3]);
        let (sum, length) = (sum.sum().to_le_bytes(), 3_u32.to_le_bytes());
        let second = [&first[..10], &[0x03, 0x12, 0x00], &sum, &length].concat();
        let both = [&first[..], &second].concat().into();
        assert_eq!(decompress(&both, 100).unwrap(), "hello\0\0\0");
    }

    proptest! {
        #[test]
        fn gzip_of_other_encoders_is_decoded(
            members in prop::collection::vec(prop::collection::vec(0u8..4, 0..3000), 1..4),
        ) {
            let body: Vec<u8> = members.iter().flat_map(|member| compress(member)).collect();
            let plain = members.concat();
            prop_assert_eq!(decompress(&body.into(), plain.len()).unwrap(), plain);
        }

        #[test]
        fn whatever_comes_is_taken_or_refused(
            mut bytes in prop::collection::vec(any::<u8>(), 0..80), begins: bool,
        ) {
            if begins {
                bytes.splice(0..0, [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0]);
            }
            let _ = decompress(&bytes.into(), 100);
        }
    }
}

//! Request bodies that came compressed: gzip (RFC 1952) around what `miniz_oxide` inflates.

mod crc32;

use std::fmt;

use bytes::Bytes;
use miniz_oxide::inflate::TINFLStatus as Status;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF as WHOLE;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress as inflate};

use crc32::crc32;

/// Why a body could not be decompressed.
#[derive(Debug)]
pub(crate) enum GzipError {
    /// It is longer than the limit once decoded.
    TooLarge,
    /// It is no gzip, or is cut short.
    Malformed(Malformed),
}

/// What is wrong with a body that is no gzip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    Cut,
    Header,
    Deflate,
    Checksum,
    Members,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cut => "it is cut short",
            Self::Header => "it does not begin like gzip",
            Self::Deflate => "what is in it is not deflate",
            Self::Checksum => "its checksum or its length does not fit",
            Self::Members => "it has more members than are taken",
        })
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for GzipError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// How much longer than what came the first buffer is: what JSON usually shrinks by.
const GROWTH: usize = 4;

/// Most bytes that are made room for before any has been decompressed.
const FIRST_BYTES_MAX: usize = 64 * 1024;

/// Most members of a body: each costs some 10 KiB of state to begin with, however short it is. Tools
/// that write blocks of 64 KiB need 16 for the longest body by default.
const MEMBERS_MAX: usize = 64;

/// Decompresses a body, of one or several members, into at most `max` bytes. An empty one is
/// empty: it was never compressed.
pub(crate) fn decompress(body: &Bytes, max: usize) -> Result<Bytes, GzipError> {
    let mut rest = &body[..];
    let mut out = Out { bytes: Vec::new(), written: 0, max };
    out.grow(rest.len().saturating_mul(GROWTH).min(FIRST_BYTES_MAX));
    let mut state = Box::<DecompressorOxide>::default();
    let mut members = 0;
    while !rest.is_empty() {
        members += 1;
        if members > MEMBERS_MAX {
            return Err(Malformed::Members.into());
        }
        let begin = out.written;
        rest = skip_header(rest)?;
        state.init();
        rest = out.inflate(&mut state, rest)?;
        let (sums, next) = rest.split_first_chunk::<8>().ok_or(Malformed::Cut)?;
        let member = &out.bytes[begin..out.written];
        let [a, b, c, d, length @ ..] = *sums;
        // The length is given modulo 2³².
        let fits = u32::from_le_bytes(length) == member.len() as u32
            && u32::from_le_bytes([a, b, c, d]) == crc32(member);
        if !fits {
            return Err(Malformed::Checksum.into());
        }
        rest = next;
    }
    out.bytes.truncate(out.written);
    if out.bytes.capacity() / 2 > out.written {
        // The handler may keep it for long.
        out.bytes.shrink_to_fit();
    }
    Ok(out.bytes.into())
}

/// What has been decompressed, and room for more of it.
struct Out {
    bytes: Vec<u8>,
    written: usize,
    max: usize,
}

impl Out {
    /// Makes room, for one byte more than allowed: it tells a body that is too long from one that
    /// just fits.
    fn grow(&mut self, room: usize) {
        self.bytes.resize(room.min(self.max.saturating_add(1)), 0);
    }

    /// Decompresses one member; returns what comes after it.
    fn inflate<'a>(
        &mut self,
        state: &mut DecompressorOxide,
        mut from: &'a [u8],
    ) -> Result<&'a [u8], GzipError> {
        let begin = self.written;
        loop {
            // A member refers back to nothing that is not its own.
            let (own, at) = (&mut self.bytes[begin..], self.written - begin);
            let (status, read, written) = inflate(state, from, own, at, WHOLE);
            from = &from[read..];
            self.written += written;
            if self.written > self.max {
                return Err(GzipError::TooLarge);
            }
            match status {
                Status::Done => return Ok(from),
                Status::HasMoreOutput if self.bytes.len() > self.max => {
                    return Err(GzipError::TooLarge);
                }
                // At least by something, should it have been nothing.
                Status::HasMoreOutput => self.grow(self.bytes.len().saturating_mul(2).max(64)),
                Status::FailedCannotMakeProgress => return Err(Malformed::Cut.into()),
                _ => return Err(Malformed::Deflate.into()),
            }
        }
    }
}

/// Whether the header has these parts (RFC 1952 §2.3.1).
const HAS_CHECKSUM: u8 = 1 << 1;
const HAS_EXTRA: u8 = 1 << 2;
const HAS_NAME: u8 = 1 << 3;
const HAS_COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// Checks the header of a member; returns what comes after it.
fn skip_header(from: &[u8]) -> Result<&[u8], Malformed> {
    let (fixed, mut rest) = from.split_first_chunk::<10>().ok_or(Malformed::Cut)?;
    let [0x1f, 0x8b, 8, flags, ..] = *fixed else { return Err(Malformed::Header) };
    if flags & RESERVED != 0 {
        return Err(Malformed::Header);
    }
    if flags & HAS_EXTRA != 0 {
        let (length, after) = rest.split_first_chunk::<2>().ok_or(Malformed::Cut)?;
        rest = after.get(usize::from(u16::from_le_bytes(*length))..).ok_or(Malformed::Cut)?;
    }
    for text in [HAS_NAME, HAS_COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|&byte| byte == 0).ok_or(Malformed::Cut)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & HAS_CHECKSUM != 0 {
        let header = &from[..from.len() - rest.len()];
        let (sum, after) = rest.split_first_chunk::<2>().ok_or(Malformed::Cut)?;
        if u16::from_le_bytes(*sum) != crc32(header) as u16 {
            return Err(Malformed::Checksum);
        }
        rest = after;
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::write::GzEncoder;
    use flate2::{Compression, GzBuilder};
    use proptest::prelude::*;

    use super::*;

    fn compress(body: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap().into()
    }

    fn malformed(body: &[u8]) -> Option<Malformed> {
        match decompress(&Bytes::copy_from_slice(body), 100) {
            Err(GzipError::Malformed(malformed)) => Some(malformed),
            _ => None,
        }
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
        assert_eq!(malformed(&members(MEMBERS_MAX + 1)), Some(Malformed::Members));
        assert_eq!(decompress(&Bytes::new(), 0).unwrap(), "");
        assert_eq!(decompress(&compress(b""), 0).unwrap(), "");
    }

    #[test]
    fn garbage_cut_and_changed_bodies_are_malformed() {
        assert_eq!(malformed(b"hello, world"), Some(Malformed::Header));
        let body = compress(b"hello");
        for end in 1..body.len() {
            assert_eq!(malformed(&body[..end]), Some(Malformed::Cut), "{end}");
        }
        for at in [body.len() - 8, body.len() - 1] {
            let mut changed = body.to_vec();
            changed[at] ^= 1;
            assert_eq!(malformed(&changed), Some(Malformed::Checksum));
        }
        let mut reserved = body.to_vec();
        reserved[3] = 0x80;
        assert_eq!(malformed(&reserved), Some(Malformed::Header));
        assert_eq!(malformed(&[&body[..], b"x"].concat()), Some(Malformed::Cut));
        assert_eq!(malformed(&[&body[..], b"hello, world"].concat()), Some(Malformed::Header));
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
        header[3] = HAS_CHECKSUM;
        let sum = (crc32(&header) as u16).to_le_bytes();
        let sealed = [&header[..], &sum, &plain[10..]].concat();
        assert_eq!(decompress(&sealed.clone().into(), 5).unwrap(), "hello");
        let mut changed = sealed;
        changed[10] ^= 1;
        assert_eq!(malformed(&changed), Some(Malformed::Checksum));
    }

    #[test]
    fn a_member_cannot_refer_to_another() {
        let first = compress(b"hello");
        // A match of length 3 at distance 5, with fixed codes: it reaches before its own member.
        let second = [&first[..10], &[0x03, 0x12, 0x00], &[0; 8]].concat();
        assert_eq!(malformed(&[&first[..], &second].concat()), Some(Malformed::Deflate));
    }

    proptest! {
        #[test]
        fn what_others_compress_comes_back(
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

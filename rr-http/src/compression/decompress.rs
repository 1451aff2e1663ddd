//! Decompression of bodies within a limit.

use std::io::{self, BufRead, Read};

use bytes::Bytes;
use flate2::bufread::GzDecoder;

use super::Codec;

/// Failure to decompress a body.
#[derive(Debug)]
pub(crate) enum DecompressError {
    /// Longer than the limit once decoded.
    TooLarge,
    /// Valid perhaps, but beyond a limit of the decoder, which the text names.
    Unsupported(&'static str),
    /// Not of this coding, or cut short.
    Malformed(io::Error),
}

/// Ratio of the first buffer to the compressed body: the usual compression ratio of JSON.
const GROWTH: usize = 4;

/// Maximum number of bytes allocated before any have been decompressed.
const FIRST_BYTES_MAX: usize = 64 * 1024;

/// Maximum number of decoded bytes of one step, which takes 0.3 ms.
const STEP_BYTES: usize = 64 * 1024;

/// Maximum number of compressed bytes of one step: blocks may be empty, and headers long.
const STEP_INPUT_BYTES: usize = 64 * 1024;

/// Maximum number of members of a gzip body, or frames of a zstd body: each costs 43 KiB or more of
/// initial state while it is decoded, however short it is. Tools that write blocks of 64 KiB need
/// 16 for the longest body by default.
const MEMBERS_MAX: usize = 64;

/// Text about a body with more members.
const MANY_MEMBERS: &str = "the compressed body has more than 64 members";

/// Largest window of a zstd frame, as a power of two: 8 MiB, which every decoder of the coding
/// supports and no encoder of it may exceed (RFC 9659 §3).
#[cfg(feature = "zstd")]
const WINDOW_LOG_MAX: u32 = 23;

/// Text about a frame with a larger window.
#[cfg(feature = "zstd")]
const LARGE_WINDOW: &str = "the zstd body has a window of more than 8 MiB";

/// Decompresses a body of one or several members into at most `max` bytes.
pub(crate) async fn decompress(
    codec: Codec,
    body: &[u8],
    max: usize,
) -> Result<Bytes, DecompressError> {
    let mut decompression = Decompression::new(codec, body, max);
    while decompression.step()? {
        tokio::task::yield_now().await;
    }
    Ok(decompression.into_bytes())
}

/// Decompresses as much of a body as is readable, at most `max` bytes.
pub(crate) async fn decompress_start(codec: Codec, body: &[u8], max: usize) -> Bytes {
    let mut decompression = Decompression::new(codec, body, max);
    while let Ok(true) = decompression.step() {
        tokio::task::yield_now().await;
    }
    decompression.out.truncate(max);
    decompression.into_bytes()
}

/// Decompression of one body, in steps.
///
/// A reference to before the start of its member reads zeros or is malformed; it never reads
/// another member.
pub(crate) struct Decompression<'a> {
    codec: Codec,
    member: Option<Member<'a>>,
    members: usize,
    /// The input, while no member has it.
    rest: Input<'a>,
    out: Vec<u8>,
    max: usize,
}

impl<'a> Decompression<'a> {
    pub(crate) fn new(codec: Codec, body: &'a [u8], max: usize) -> Self {
        let first = body.len().saturating_mul(GROWTH).min(FIRST_BYTES_MAX);
        let out = Vec::with_capacity(first.min(max.saturating_add(1)));
        let rest = Input { bytes: body, allowance: 0 };
        Self { codec, member: None, members: 0, rest, out, max }
    }

    /// Decodes at most [`STEP_BYTES`] further bytes, from at most [`STEP_INPUT_BYTES`]. Returns
    /// whether there is more to decode.
    pub(crate) fn step(&mut self) -> Result<bool, DecompressError> {
        let input = self.member.as_mut().map_or(&mut self.rest, Member::input);
        input.allowance = STEP_INPUT_BYTES;
        let end = self.out.len().saturating_add(STEP_BYTES);
        while self.out.len() < end {
            let Some(member) = &mut self.member else {
                if self.rest.bytes.is_empty() {
                    return Ok(false);
                }
                self.begin_member()?;
                continue;
            };
            // One byte more than allowed distinguishes a body that is too long from one that just
            // fits.
            let room = end.min(self.max.saturating_add(1)) - self.out.len();
            let read = member.take(room as u64).read_to_end(&mut self.out);
            if self.out.len() > self.max {
                return Err(DecompressError::TooLarge);
            }
            match read {
                Ok(read) if read < room => {
                    self.rest = self.member.take().map_or(self.rest, Member::into_rest);
                }
                Ok(_) => {}
                // The allowance of this step is used up.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(refused(error)),
            }
        }
        Ok(true)
    }

    fn begin_member(&mut self) -> Result<(), DecompressError> {
        if self.members == MEMBERS_MAX {
            return Err(DecompressError::Unsupported(MANY_MEMBERS));
        }
        self.members += 1;
        let member = Member::new(self.codec, self.rest).map_err(DecompressError::Malformed)?;
        self.member = Some(member);
        Ok(())
    }

    /// Returns the number of bytes decoded so far.
    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// Returns the decoded bytes.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        if self.out.capacity() - self.out.len() > self.out.len() / 4 {
            // The receiver may keep the body for long.
            self.out.shrink_to_fit();
        }
        self.out.into()
    }
}

/// Makes the error of a decoder.
fn refused(error: io::Error) -> DecompressError {
    // Zstd's error has no other sign.
    #[cfg(feature = "zstd")]
    if error.to_string().starts_with("Frame requires too much memory") {
        return DecompressError::Unsupported(LARGE_WINDOW);
    }
    DecompressError::Malformed(error)
}

/// Compressed bytes. Once the allowance is used up, reading fails with `WouldBlock`, upon which
/// decoders keep their state.
#[derive(Clone, Copy)]
struct Input<'a> {
    bytes: &'a [u8],
    allowance: usize,
}

impl Read for Input<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.allowance == 0 && !self.bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(&self.bytes[..self.bytes.len().min(self.allowance)])
    }

    fn consume(&mut self, count: usize) {
        self.bytes = &self.bytes[count..];
        self.allowance -= count;
    }
}

/// Decoder of one gzip member or zstd frame.
enum Member<'a> {
    Gzip(Box<GzDecoder<Input<'a>>>),
    #[cfg(feature = "zstd")]
    Zstd(Box<zstd::stream::read::Decoder<'static, Input<'a>>>),
}

impl<'a> Member<'a> {
    fn new(codec: Codec, input: Input<'a>) -> io::Result<Self> {
        Ok(match codec {
            Codec::Gzip => Self::Gzip(Box::new(GzDecoder::new(input))),
            #[cfg(feature = "zstd")]
            Codec::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?.single_frame();
                decoder.window_log_max(WINDOW_LOG_MAX)?;
                Self::Zstd(Box::new(decoder))
            }
        })
    }

    fn input(&mut self) -> &mut Input<'a> {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            #[cfg(feature = "zstd")]
            Self::Zstd(decoder) => decoder.get_mut(),
        }
    }

    /// Returns the bytes that follow the member.
    fn into_rest(self) -> Input<'a> {
        match self {
            Self::Gzip(decoder) => decoder.into_inner(),
            #[cfg(feature = "zstd")]
            Self::Zstd(decoder) => decoder.finish(),
        }
    }
}

impl Read for Member<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(decoder) => decoder.read(into),
            #[cfg(feature = "zstd")]
            Self::Zstd(decoder) => decoder.read(into),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::write::GzEncoder;
    use flate2::{Compression, Crc, GzBuilder};
    use proptest::prelude::*;

    use super::*;

    fn decompress_all(codec: Codec, body: &[u8], max: usize) -> Result<Bytes, DecompressError> {
        let mut decompression = Decompression::new(codec, body, max);
        while decompression.step()? {}
        Ok(decompression.into_bytes())
    }

    fn decompress(body: &Bytes, max: usize) -> Result<Bytes, DecompressError> {
        decompress_all(Codec::Gzip, body, max)
    }

    fn compress(body: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap().into()
    }

    fn is_unsupported(outcome: &Result<Bytes, DecompressError>, expected: &str) -> bool {
        matches!(outcome, Err(DecompressError::Unsupported(text)) if *text == expected)
    }

    fn is_malformed(body: &[u8]) -> bool {
        let outcome = decompress(&Bytes::copy_from_slice(body), 100);
        matches!(outcome, Err(DecompressError::Malformed(_)))
    }

    #[test]
    fn the_limit_counts_decoded_bytes() {
        let body = compress(&[b'a'; 1000]);
        assert!(body.len() < 100);
        assert_eq!(decompress(&body, 1000).unwrap().len(), 1000);
        for max in [0, 1, 500, 999] {
            assert!(matches!(decompress(&body, max), Err(DecompressError::TooLarge)), "{max}");
        }
        let twice = [&body[..], &body].concat().into();
        assert_eq!(decompress(&twice, 2000).unwrap().len(), 2000);
        assert!(matches!(decompress(&twice, 1999), Err(DecompressError::TooLarge)));
        let members = |count| vec![compress(b"a"); count].concat();
        assert_eq!(decompress(&members(MEMBERS_MAX).into(), 100).unwrap().len(), MEMBERS_MAX);
        let many = decompress(&members(MEMBERS_MAX + 1).into(), 100);
        assert!(is_unsupported(&many, MANY_MEMBERS) && MANY_MEMBERS.contains("64"));
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

    /// Decodes a body and returns the number of steps too.
    fn steps(codec: Codec, body: &[u8], max: usize) -> (Bytes, usize) {
        let mut decompression = Decompression::new(codec, body, max);
        let mut count = 1;
        while decompression.step().unwrap() {
            count += 1;
        }
        (decompression.into_bytes(), count)
    }

    #[test]
    fn a_step_takes_few_compressed_bytes_whatever_they_decode_to() {
        let plain = compress(b"");
        // A stored block without bytes, which is not the last one.
        let blocks = [0, 0, 0, 0xff, 0xff].repeat(200_000);
        let body = [&plain[..10], &blocks, &plain[10..]].concat();
        let (decoded, count) = steps(Codec::Gzip, &body, 0);
        assert_eq!((decoded.len(), count), (0, body.len().div_ceil(STEP_INPUT_BYTES)));
    }

    #[test]
    fn a_body_survives_the_pauses_wherever_they_fall() {
        let mut noise = vec![0; 3 * STEP_INPUT_BYTES];
        let mut seed = 1_u32;
        for byte in &mut noise {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (seed >> 24) as u8;
        }
        // The pause falls into the header, the blocks or the trailer of a member.
        for first in (STEP_INPUT_BYTES - 60..STEP_INPUT_BYTES + 10).step_by(3) {
            let parts = [&noise[..first], &noise[..300], &noise[first..]];
            let body: Vec<u8> = parts.iter().flat_map(|part| compress(part)).collect();
            let (decoded, count) = steps(Codec::Gzip, &body, 1 << 20);
            assert!(decoded == parts.concat() && count > 3, "{first}: {count}");
            #[cfg(feature = "zstd")]
            {
                let frames = parts.iter().flat_map(|part| zstd::encode_all(*part, 1).unwrap());
                let (decoded, count) = steps(Codec::Zstd, &frames.collect::<Vec<_>>(), 1 << 20);
                assert!(decoded == parts.concat() && count > 3, "{first}: {count}");
            }
        }
    }

    #[tokio::test]
    async fn the_readable_start_of_a_broken_body_is_kept() {
        let body = compress(&[b'a'; 1000]);
        let start =
            |body: Bytes, max| async move { decompress_start(Codec::Gzip, &body, max).await };
        assert_eq!(start(body.clone(), 1000).await.len(), 1000);
        assert_eq!(start(body.clone(), 10).await, "aaaaaaaaaa");
        assert_eq!(start(body.slice(..body.len() - 1), 1000).await.len(), 1000);
        assert_eq!(start([&body[..], b"garbage"].concat().into(), 2000).await.len(), 1000);
        assert_eq!(start(Bytes::from_static(b"garbage"), 1000).await, "");
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

    #[cfg(feature = "zstd")]
    mod zstd_frames {
        use super::*;

        fn decompress(body: &[u8], max: usize) -> Result<Bytes, DecompressError> {
            decompress_all(Codec::Zstd, body, max)
        }

        fn frame(body: &[u8]) -> Vec<u8> {
            zstd::encode_all(body, 1).unwrap()
        }

        #[test]
        fn the_limits_are_those_of_gzip() {
            let body = frame(&[b'a'; 1000]);
            assert_eq!(decompress(&body, 1000).unwrap().len(), 1000);
            for max in [0, 1, 999] {
                assert!(matches!(decompress(&body, max), Err(DecompressError::TooLarge)), "{max}");
            }
            let frames = |count| frame(b"a").repeat(count);
            assert_eq!(decompress(&frames(MEMBERS_MAX), 100).unwrap().len(), MEMBERS_MAX);
            let many = decompress(&frames(MEMBERS_MAX + 1), 100);
            assert!(is_unsupported(&many, MANY_MEMBERS));
            for end in 1..body.len() {
                let cut = decompress(&body[..end], 1000);
                assert!(matches!(cut, Err(DecompressError::Malformed(_))), "{end}");
            }
            assert_eq!(decompress(b"", 0).unwrap(), "");
        }

        #[test]
        fn a_window_beyond_8_mib_is_refused_by_name_whatever_the_frame_holds() {
            use std::io::Write as _;
            for (log, fits) in [(23, true), (24, false)] {
                let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
                encoder.window_log(log).unwrap();
                encoder.write_all(b"hello").unwrap();
                let body = encoder.finish().unwrap();
                let outcome = decompress(&body, 100);
                assert_eq!(outcome.is_ok(), fits, "{log}");
                assert_eq!(is_unsupported(&outcome, LARGE_WINDOW), !fits, "{log}");
            }
        }
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
            for &codec in Codec::ALL {
                let _ = decompress_all(codec, &bytes, 100);
            }
        }
    }
}

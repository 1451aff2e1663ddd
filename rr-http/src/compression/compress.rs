//! Compression of bodies.

use std::io;
use std::sync::Mutex;

use bytes::Bytes;
use flate2::{Compress, Compression as Level, Crc, FlushCompress, Status};

use super::Codec;
use crate::sync::lock;

/// Maximum number of bodies that a server compresses simultaneously. An encoder holds 0.3 MiB for
/// gzip and up to 1.5 MiB for zstd. Meanwhile the result takes up to the length of the body, which
/// the budget of bodies does not count.
const ENCODERS_MAX: usize = 64;

/// Maximum number of unused encoders that are kept. A steady load on few cores seldom needs more.
const IDLE_MAX: usize = 8;

/// Number of bytes that one step compresses, which takes 0.3 ms.
const STEP_BYTES: usize = 32 * 1024;

/// Level of gzip: the fastest. On JSON of 1 MiB, the default level takes seven times as long for a
/// body that is a third shorter.
const GZIP_LEVEL: Level = Level::fast();

/// Level of zstd: the fastest of the usual ones.
#[cfg(feature = "zstd")]
const ZSTD_LEVEL: i32 = 1;

/// Encoders of one server. An encoder is reused, since making one takes as long as
/// compressing 1 KiB.
#[derive(Default)]
pub(crate) struct Compressors(Mutex<Encoders>);

#[derive(Default)]
struct Encoders {
    in_use: usize,
    idle: Vec<Encoder>,
}

impl Compressors {
    /// Leases an encoder; `None` if [`ENCODERS_MAX`] are in use.
    fn lease(&self, codec: Codec) -> Option<Lease<'_>> {
        let idle = {
            let mut encoders = lock(&self.0);
            if encoders.in_use == ENCODERS_MAX {
                return None;
            }
            encoders.in_use += 1;
            let at = encoders.idle.iter().rposition(|encoder| encoder.codec() == codec);
            at.map(|at| encoders.idle.swap_remove(at))
        };
        let mut lease = Lease { from: self, encoder: idle };
        if lease.encoder.is_none() {
            lease.encoder = Encoder::new(codec).ok();
        }
        Some(lease)
    }
}

/// Encoder in use. Dropping it returns the encoder.
struct Lease<'a> {
    from: &'a Compressors,
    encoder: Option<Encoder>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut encoders = lock(&self.from.0);
        encoders.in_use -= 1;
        if encoders.idle.len() < IDLE_MAX {
            encoders.idle.extend(self.encoder.take());
        }
    }
}

/// Compresses a body. Returns `None` if the result would not be shorter, or if too many bodies are
/// being compressed: a body is then sent as it is, instead of waiting.
pub(crate) async fn compress(
    compressors: &Compressors,
    codec: Codec,
    body: &[u8],
) -> Option<Bytes> {
    let mut lease = compressors.lease(codec)?;
    let mut compression = Compression::new(lease.encoder.as_mut()?, body)?;
    loop {
        match compression.step() {
            Step::More => tokio::task::yield_now().await,
            Step::Done => return Some(compression.into_bytes()),
            Step::Useless => return None,
        }
    }
}

/// Compression of one body, in steps.
struct Compression<'a> {
    encoder: &'a mut Encoder,
    body: &'a [u8],
    taken: usize,
    /// Never grows beyond its first capacity: a result that does not fit is not shorter.
    out: Vec<u8>,
}

/// Outcome of one step.
enum Step {
    More,
    Done,
    /// The result would not be shorter than the body.
    Useless,
}

impl<'a> Compression<'a> {
    fn new(encoder: &'a mut Encoder, body: &'a [u8]) -> Option<Self> {
        let mut out = Vec::with_capacity(body.len());
        encoder.start_body(body.len(), &mut out).ok()?;
        Some(Self { encoder, body, taken: 0, out })
    }

    /// Compresses at most [`STEP_BYTES`] further bytes.
    fn step(&mut self) -> Step {
        let end = self.body.len().min(self.taken + STEP_BYTES);
        let is_last = end == self.body.len();
        loop {
            let before = (self.taken, self.out.len());
            let rest = &self.body[self.taken..end];
            let Ok(fed) = self.encoder.feed(rest, is_last, &mut self.out) else {
                return Step::Useless;
            };
            self.taken += fed.taken;
            let is_short = self.out.len() < self.body.len();
            match fed.has_ended {
                true if is_short => return Step::Done,
                false if self.taken == end && !is_last => return Step::More,
                // Without progress, the output is full.
                false if is_short && (self.taken, self.out.len()) != before => {}
                _ => return Step::Useless,
            }
        }
    }

    fn into_bytes(mut self) -> Bytes {
        self.out.shrink_to_fit();
        self.out.into()
    }
}

/// Reusable encoder.
enum Encoder {
    Gzip(Box<Gzip>),
    #[cfg(feature = "zstd")]
    Zstd(zstd::stream::raw::Encoder<'static>),
}

/// Outcome of one call of an encoder.
struct Fed {
    /// Number of bytes that the encoder has taken.
    taken: usize,
    /// Whether the result is complete.
    has_ended: bool,
}

impl Encoder {
    fn new(codec: Codec) -> io::Result<Self> {
        Ok(match codec {
            Codec::Gzip => Self::Gzip(Box::default()),
            #[cfg(feature = "zstd")]
            Codec::Zstd => Self::Zstd(zstd::stream::raw::Encoder::new(ZSTD_LEVEL)?),
        })
    }

    fn codec(&self) -> Codec {
        match self {
            Self::Gzip(_) => Codec::Gzip,
            #[cfg(feature = "zstd")]
            Self::Zstd(_) => Codec::Zstd,
        }
    }

    /// Begins a body of a given length, whatever became of the one before.
    fn start_body(&mut self, length: usize, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Gzip(gzip) => gzip.start_body(length, out),
            #[cfg(feature = "zstd")]
            Self::Zstd(encoder) => {
                use zstd::stream::raw::Operation as _;
                encoder.reinit()?;
                encoder.set_pledged_src_size(Some(length as u64))
            }
        }
    }

    /// Compresses bytes into the free capacity of `out`.
    fn feed(&mut self, bytes: &[u8], is_last: bool, out: &mut Vec<u8>) -> io::Result<Fed> {
        match self {
            Self::Gzip(gzip) => gzip.feed(bytes, is_last, out),
            #[cfg(feature = "zstd")]
            Self::Zstd(encoder) => {
                use zstd::stream::raw::{InBuffer, Operation as _, OutBuffer};
                let (mut input, start) = (InBuffer::around(bytes), out.len());
                let mut output = OutBuffer::around_pos(out, start);
                encoder.run(&mut input, &mut output)?;
                let taken = input.pos();
                let ends = is_last && taken == bytes.len();
                Ok(Fed { taken, has_ended: ends && encoder.finish(&mut output, true)? == 0 })
            }
        }
    }
}

/// Encoder of gzip, around the encoder of deflate that can be reused.
struct Gzip {
    deflate: Compress,
    sum: Crc,
}

/// Header of a gzip member (RFC 1952 §2.3.1): deflate, no name and no time, compressed by the fastest
/// algorithm, on an unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// Length of the checksum and the length that end a gzip member.
const GZIP_TRAILER_BYTES: usize = 8;

impl Default for Gzip {
    fn default() -> Self {
        Self { deflate: Compress::new(GZIP_LEVEL, false), sum: Crc::new() }
    }
}

impl Gzip {
    fn start_body(&mut self, length: usize, out: &mut Vec<u8>) -> io::Result<()> {
        if length < GZIP_HEADER.len() + GZIP_TRAILER_BYTES {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.deflate.reset();
        self.sum.reset();
        out.extend_from_slice(&GZIP_HEADER);
        Ok(())
    }

    fn feed(&mut self, bytes: &[u8], is_last: bool, out: &mut Vec<u8>) -> io::Result<Fed> {
        let before = self.deflate.total_in();
        let flush = if is_last { FlushCompress::Finish } else { FlushCompress::None };
        let status = self.deflate.compress_vec(bytes, out, flush)?;
        let taken = (self.deflate.total_in() - before) as usize;
        self.sum.update(&bytes[..taken]);
        let has_ended =
            matches!(status, Status::StreamEnd) && out.capacity() - out.len() >= GZIP_TRAILER_BYTES;
        if has_ended {
            out.extend_from_slice(&self.sum.sum().to_le_bytes());
            out.extend_from_slice(&self.sum.amount().to_le_bytes());
        }
        Ok(Fed { taken, has_ended })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use proptest::prelude::*;

    use super::super::decompress;
    use super::*;

    /// Polls a future of this module to its end, and counts the polls.
    fn polled<F: Future>(future: F) -> (F::Output, usize) {
        let mut future = pin!(future);
        let mut polls = 0;
        loop {
            polls += 1;
            if let Poll::Ready(output) =
                future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            {
                return (output, polls);
            }
        }
    }

    fn compressed(compressors: &Compressors, codec: Codec, body: &[u8]) -> Option<Bytes> {
        polled(compress(compressors, codec, body)).0
    }

    fn decompressed(codec: Codec, body: &[u8], max: usize) -> Bytes {
        polled(decompress(codec, body, max)).0.unwrap()
    }

    #[test]
    fn a_long_body_is_compressed_in_steps_and_comes_back() {
        let compressors = Compressors::default();
        let body: Vec<u8> = (0..150_000_u32).flat_map(|at| (at / 7).to_le_bytes()).collect();
        for &codec in Codec::ALL {
            let (short, polls) = polled(compress(&compressors, codec, &body));
            let short = short.unwrap();
            assert!(short.len() < body.len() / 2, "{codec:?}");
            assert_eq!(polls, body.len().div_ceil(STEP_BYTES), "{codec:?}");
            let (plain, polls) = polled(decompress(codec, &short, body.len()));
            assert!(plain.unwrap() == body && polls > 8, "{codec:?}: {polls}");
        }
    }

    #[test]
    fn a_body_that_does_not_become_shorter_is_left_alone() {
        let compressors = Compressors::default();
        let mut seed = 1_u32;
        let noise = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        });
        let noise: Vec<u8> = noise.take(100_000).collect();
        for &codec in Codec::ALL {
            for length in [0, 1, 17, 18, 19, 100, STEP_BYTES, STEP_BYTES + 1, 100_000] {
                let short = compressed(&compressors, codec, &noise[..length]);
                assert_eq!(short, None, "{codec:?}: {length}");
            }
            // The encoder that gave up serves the next body.
            let zeros = compressed(&compressors, codec, &[0; 1000]).unwrap();
            assert_eq!(decompressed(codec, &zeros, 1000), &[0; 1000][..]);
        }
    }

    #[test]
    fn a_body_beyond_the_encoders_is_left_alone_and_a_dropped_one_returns_its_encoder() {
        let compressors = Compressors::default();
        let body = vec![b'a'; 2 * STEP_BYTES];
        let mut running: Vec<_> = (0..ENCODERS_MAX)
            .map(|_| Box::pin(compress(&compressors, Codec::Gzip, &body)))
            .collect();
        let mut cx = Context::from_waker(Waker::noop());
        for compression in &mut running {
            assert!(compression.as_mut().poll(&mut cx).is_pending());
        }
        assert_eq!(compressed(&compressors, Codec::Gzip, &body), None);
        drop(running.pop());
        let short = compressed(&compressors, Codec::Gzip, &body).unwrap();
        assert_eq!(decompressed(Codec::Gzip, &short, body.len()), body);
        drop(running);
        for _ in 0..2 * ENCODERS_MAX {
            for &codec in Codec::ALL {
                assert!(compressed(&compressors, codec, &body).is_some());
            }
        }
        let encoders = lock(&compressors.0);
        assert!(encoders.in_use == 0 && encoders.idle.len() == IDLE_MAX);
    }

    proptest! {
        #[test]
        fn a_compressed_body_comes_back(
            body in prop::collection::vec(0u8..4, 0..5000), times in 1usize..20,
        ) {
            let body = body.repeat(times);
            let compressors = Compressors::default();
            for &codec in Codec::ALL {
                if let Some(short) = compressed(&compressors, codec, &body) {
                    prop_assert!(short.len() < body.len());
                    prop_assert_eq!(decompressed(codec, &short, body.len()), &body[..]);
                } else {
                    prop_assert!(body.len() < 100, "{}", body.len());
                }
            }
        }
    }
}

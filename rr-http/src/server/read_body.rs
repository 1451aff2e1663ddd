//! Reads request bodies: as a whole, in time, and within the server's body budget.

use std::borrow::Cow;
use std::pin::{Pin, pin};
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use rr_spi::{BodyShare, Cause, Code, Context, Delivery, Error};

use super::ServerState;
use crate::body::{self, BodyError};
use crate::compression::{Codec, DecompressError, Decompression};
use crate::wire::{Coding, Refusal, unsupported_coding};

/// Number of polls of a body before a timer is made for it: a small body has arrived by the second
/// poll.
const POLLS_WITHOUT_TIMER: u32 = 2;

/// Reads the body of a request before its handler runs, so that the connection can notice when the
/// peer disconnects. Sets `unread` to `None` once the body was read to its end. The share grows to
/// the length that the head declares, or without one to the bytes that have arrived.
pub(super) async fn read_body<B, E>(
    state: &ServerState,
    ctx: &Context,
    unread: &mut Option<B>,
    coding: &Coding,
    share: &mut BodyShare,
) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes, Error = E> + Unpin,
    E: std::error::Error + Send + Sync + 'static,
{
    let Some(body) = unread else { return Ok(Bytes::new()) };
    let max = state.intake.config().limits.request_bytes_max;
    let raw_max = match coding {
        Coding::Identity => max,
        Coding::Encoded(_) => Codec::encoded_bytes_max(max),
        Coding::Unsupported(_) => 0,
    };
    let promised = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if promised > raw_max {
        return Err(too_large(state, coding));
    }
    share.grow(promised)?;
    let mut body = Charged { body, read: 0, share: &mut *share };
    let read = match read_within(state, ctx, &mut body, raw_max).await? {
        Ok(read) => read,
        Err(BodyError::TooLarge) => return Err(too_large(state, coding)),
        Err(BodyError::Broken(Broken::OverBudget(error))) => return Err(error.into()),
        Err(BodyError::Broken(Broken::Transport(error))) => {
            return Err(invalid("the body is malformed or cut short", error));
        }
    };
    *unread = None;
    decode(state, read, coding, share).await
}

/// Decodes a body. An empty body was never encoded, whatever its head declares.
pub(super) async fn decode(
    state: &ServerState,
    body: Bytes,
    coding: &Coding,
    share: &mut BodyShare,
) -> Result<Bytes, Refusal> {
    let max = state.intake.config().limits.request_bytes_max;
    match coding {
        _ if body.is_empty() => Ok(body),
        Coding::Identity => Ok(body),
        Coding::Unsupported(shown) => Err(unsupported_coding(shown)),
        // Boxed: compressed requests are rare, and inline this would enlarge every request.
        Coding::Encoded(codec) => {
            Box::pin(decompress(*codec, &body, max, share)).await?.map_err(|error| match error {
                DecompressError::TooLarge => too_large(state, coding),
                DecompressError::Unsupported(text) => unsupported(text).into(),
                DecompressError::Malformed(error) => {
                    let text = format!("the body is no {}", codec.token());
                    invalid(text, error)
                }
            })
        }
    }
}

/// Decompresses a body. The share covers the compressed bytes and those decoded so far, and in the
/// end the latter.
async fn decompress(
    codec: Codec,
    body: &[u8],
    max: usize,
    share: &mut BodyShare,
) -> Result<Result<Bytes, DecompressError>, Error> {
    let mut decompression = Decompression::new(codec, body, max);
    loop {
        let step = decompression.step();
        share.grow(body.len().saturating_add(decompression.len()))?;
        match step {
            Ok(true) => tokio::task::yield_now().await,
            Ok(false) => break,
            Err(error) => return Ok(Err(error)),
        }
    }
    share.shrink(decompression.len());
    Ok(Ok(decompression.into_bytes()))
}

/// Reads a body until the context ends or the server stops serving requests.
async fn read_within<B>(
    state: &ServerState,
    ctx: &Context,
    body: &mut Charged<'_, B>,
    max: usize,
) -> Result<Result<Bytes, BodyError<Broken<B::Error>>>, Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut reading = pin!(body::read(body, max));
    if let Some(read) = soon(reading.as_mut()).await {
        return Ok(read);
    }
    let bound = ctx.with_timeout(state.config.body_read_timeout);
    // Boxed, so that it does not enlarge every request.
    let read = Box::pin(async { state.stop.race(pin!(bound.race(reading))).await });
    let cause = match read.await {
        Some(Ok(read)) => return Ok(read),
        Some(Err(Cause::DeadlineExceeded)) if ctx.cause().is_none() => return Err(too_slow()),
        Some(Err(cause)) => cause,
        None => Cause::Shutdown,
    };
    Err(Error::from_cause(cause, Delivery::Rejected))
}

/// Polls a future [`POLLS_WITHOUT_TIMER`] times, without a timer. Returns `None` if it is still pending.
pub(super) async fn soon<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    let mut polls = 0;
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => {
            polls += 1;
            if polls == POLLS_WITHOUT_TIMER {
                return Poll::Ready(None);
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

/// Body whose share of the budget grows with the bytes that arrive.
struct Charged<'a, B> {
    body: &'a mut B,
    read: usize,
    share: &'a mut BodyShare,
}

/// Failure to read a body to its end.
#[derive(Debug)]
enum Broken<E> {
    OverBudget(Error),
    Transport(E),
}

impl<B: Body<Data = Bytes> + Unpin> Body for Charged<'_, B> {
    type Data = Bytes;
    type Error = Broken<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = match ready!(Pin::new(&mut *self.body).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(frame) => frame.map_err(Broken::Transport)?,
        };
        self.read += frame.data_ref().map_or(0, Bytes::len);
        let read = self.read;
        Poll::Ready(Some(self.share.grow(read).map(|()| frame).map_err(Broken::OverBudget)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn too_large(state: &ServerState, coding: &Coding) -> Refusal {
    match coding {
        // No byte of such a body is accepted.
        Coding::Unsupported(shown) => unsupported_coding(shown),
        _ => state.intake.config().limits.request_too_large(Delivery::Rejected).into(),
    }
}

fn too_slow() -> Error {
    let text = "the body did not arrive in time";
    Error::failure(Code::DeadlineExceeded, Delivery::Rejected, None, text)
}

fn unsupported(text: &'static str) -> Error {
    Error::failure(Code::InvalidArgument, Delivery::Rejected, None, text)
        .with_hint("compress the body with the usual settings, or send it as it is")
}

fn invalid(
    message: impl Into<Cow<'static, str>>,
    source: impl std::error::Error + Send + Sync + 'static,
) -> Refusal {
    Error::failure(Code::InvalidArgument, Delivery::Rejected, None, message)
        .with_source(source)
        .into()
}

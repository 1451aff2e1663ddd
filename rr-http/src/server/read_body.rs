//! Reading request bodies: whole, in time, and within what the server holds at once.

use std::pin::{Pin, pin};
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use rr_spi::{BodyShare, Cause, Code, Context, Delivery, Error};

use super::ServerState;
use super::gzip::{GzipError, decompress};
use crate::body::{self, BodyError};
use crate::wire::{Coding, Refusal, unsupported_coding};

/// How often a body is polled before a timer is made for it: the bytes of a small one are there at
/// the second poll.
const POLLS_AT_ONCE: u32 = 2;

/// Reads the body of a request before its handler runs, so that the connection is free to notice
/// when the peer goes. A body that was read to its end is no longer `unread`. The share grows to all
/// that the head promises, or, without a promise, to what has come.
pub(super) async fn read_body(
    site: &ServerState,
    ctx: &Context,
    unread: &mut Option<Incoming>,
    coding: &Coding,
    share: &mut BodyShare,
) -> Result<Bytes, Refusal> {
    let Some(body) = unread else { return Ok(Bytes::new()) };
    let max = site.config.intake.limits.request_bytes_max;
    let raw_max = match coding {
        Coding::Identity => max,
        // What does not compress gets a little longer.
        Coding::Gzip => max.saturating_add(max / 1024 + 64),
        Coding::Unsupported(_) => 0,
    };
    let promised = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if promised > raw_max {
        return Err(too_large(site, coding));
    }
    share.grow(promised)?;
    let mut body = Charged { body, read: 0, share };
    let read = match read_within(site, ctx, &mut body, raw_max).await? {
        Ok(read) => read,
        Err(BodyError::TooLarge) => return Err(too_large(site, coding)),
        Err(BodyError::Broken(Broken::OverBudget(error))) => return Err(error.into()),
        Err(BodyError::Broken(Broken::Transport(error))) => {
            return Err(invalid("the body is malformed or cut short", error));
        }
    };
    *unread = None;
    decode(site, read, coding)
}

/// Decodes a body. An empty one was never encoded, whatever its head says.
pub(super) fn decode(site: &ServerState, body: Bytes, coding: &Coding) -> Result<Bytes, Refusal> {
    let max = site.config.intake.limits.request_bytes_max;
    match coding {
        _ if body.is_empty() => Ok(body),
        Coding::Identity => Ok(body),
        Coding::Unsupported(shown) => Err(unsupported_coding(shown)),
        Coding::Gzip => decompress(&body, max).map_err(|error| match error {
            GzipError::TooLarge => too_large(site, coding),
            GzipError::Malformed(error) => invalid("the body is no gzip", error),
        }),
    }
}

/// Reads a body until the context or the serving of requests ends.
async fn read_within(
    site: &ServerState,
    ctx: &Context,
    body: &mut Charged<'_>,
    max: usize,
) -> Result<Result<Bytes, BodyError<Broken>>, Error> {
    let mut reading = pin!(body::read(body, max));
    if let Some(read) = soon(reading.as_mut()).await {
        return Ok(read);
    }
    let bound = ctx.with_timeout(site.config.body_read_timeout);
    // In a box, since room for it would be kept in every request.
    let read = Box::pin(async { site.stop.race(pin!(bound.race(reading))).await });
    let cause = match read.await {
        Some(Ok(read)) => return Ok(read),
        Some(Err(Cause::DeadlineExceeded)) if ctx.cause().is_none() => return Err(too_slow()),
        Some(Err(cause)) => cause,
        None => Cause::Shutdown,
    };
    Err(Error::from_cause(cause, Delivery::Rejected))
}

/// Polls a future a few times and returns `None` when it takes longer; no timer is needed before.
pub(super) async fn soon<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    let mut polls = 0;
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => {
            polls += 1;
            if polls == POLLS_AT_ONCE {
                return Poll::Ready(None);
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

/// A body whose share of the budget grows with what comes.
struct Charged<'a> {
    body: &'a mut Incoming,
    read: usize,
    share: &'a mut BodyShare,
}

/// Why a body ended before its end.
#[derive(Debug)]
enum Broken {
    OverBudget(Error),
    Transport(hyper::Error),
}

impl Body for Charged<'_> {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
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

fn too_large(site: &ServerState, coding: &Coding) -> Refusal {
    match coding {
        // Not a single byte of such a body is taken.
        Coding::Unsupported(shown) => unsupported_coding(shown),
        _ => site.intake.config().limits.request_too_large(Delivery::Rejected).into(),
    }
}

fn too_slow() -> Error {
    let text = "the body did not arrive in time";
    Error::failure(Code::DeadlineExceeded, Delivery::Rejected, None, text)
}

fn invalid(
    message: &'static str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> Refusal {
    Error::failure(Code::InvalidArgument, Delivery::Rejected, None, message)
        .with_source(source)
        .into()
}

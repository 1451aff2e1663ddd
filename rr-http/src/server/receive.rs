//! Reading request bodies: whole, in time, and within what the server holds at once.

use std::pin::{Pin, pin};
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use rr_spi::{Cause, Code, Context, Delivery, Error, Reason};

use super::Site;
use super::budget::{Budget, Share};
use super::gzip::{GzipError, decompress};
use crate::body::{self, BodyError};
use crate::wire::{Coding, Refusal, unsupported_coding};

/// How often a body is polled before it counts as one that takes its time: the bytes of a small
/// one are there at the second poll.
const POLLS_AT_ONCE: u32 = 2;

/// Reads the body of a request before its handler runs, so that the connection is free to notice
/// when the peer goes. A body that was read to its end is no longer `unread`.
pub(super) async fn read_body(
    site: &Site,
    ctx: &Context,
    unread: &mut Option<Incoming>,
    coding: &Coding,
) -> Result<Bytes, Refusal> {
    let Some(body) = unread else { return Ok(Bytes::new()) };
    let max = site.config.request_bytes_max;
    let raw_max = match coding {
        Coding::Identity => max,
        // What does not compress gets a little longer.
        Coding::Gzip => max.saturating_add(max / 1024 + 64),
        Coding::Unsupported(_) => 0,
    };
    let mut body = Charged { body, budget: &site.bodies, polls: 0, read: 0, share: None };
    let read = match read_within(site, ctx, &mut body, raw_max).await? {
        Ok(read) => read,
        Err(BodyError::TooLarge) => return Err(too_large(site, coding)),
        Err(BodyError::Broken(Broken::OverBudget)) => return Err(over_budget(site).into()),
        Err(BodyError::Broken(Broken::Transport(error))) => {
            return Err(invalid("the body is malformed or cut short", error));
        }
    };
    *unread = None;
    decode(site, read, coding)
}

/// Decodes a body. An empty one was never encoded, whatever its head says.
pub(super) fn decode(site: &Site, body: Bytes, coding: &Coding) -> Result<Bytes, Refusal> {
    let max = site.config.request_bytes_max;
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
    site: &Site,
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
async fn soon<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
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

/// A body that takes its share of the budget when it is not there at once: for all that its head
/// promises, or, without a promise, for what has come so far.
struct Charged<'a> {
    body: &'a mut Incoming,
    budget: &'a Budget,
    polls: u32,
    read: usize,
    share: Option<Share>,
}

/// Why a body ended before its end.
#[derive(Debug)]
enum Broken {
    OverBudget,
    Transport(hyper::Error),
}

impl Charged<'_> {
    /// Takes a share once it is clear that the body takes its time.
    fn charge(&mut self) -> bool {
        self.polls += 1;
        if self.polls < POLLS_AT_ONCE || self.share.is_some() {
            return true;
        }
        let promised = usize::try_from(self.body.size_hint().lower()).unwrap_or(usize::MAX);
        self.share = self.budget.take(self.read.saturating_add(promised));
        self.share.is_some()
    }
}

impl Body for Charged<'_> {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Poll::Ready(polled) = Pin::new(&mut *self.body).poll_frame(cx) else {
            return match self.charge() {
                true => Poll::Pending,
                false => Poll::Ready(Some(Err(Broken::OverBudget))),
            };
        };
        let frame = match polled {
            None => return Poll::Ready(None),
            Some(frame) => frame.map_err(Broken::Transport)?,
        };
        self.read += frame.data_ref().map_or(0, Bytes::len);
        let read = self.read;
        let fits = self.share.as_mut().is_none_or(|share| share.grow(read));
        Poll::Ready(Some(if fits { Ok(frame) } else { Err(Broken::OverBudget) }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn too_large(site: &Site, coding: &Coding) -> Refusal {
    match coding {
        // Not a single byte of such a body is taken.
        Coding::Unsupported(shown) => unsupported_coding(shown),
        _ => site.intake.config().limits.request_too_large(Delivery::Rejected).into(),
    }
}

fn over_budget(site: &Site) -> Error {
    let most = site.config.bodies_bytes_max;
    let text = format!("request bodies of {most} bytes are being read already");
    Error::failure(Code::ResourceExhausted, Delivery::Rejected, Reason::OVERLOADED, text)
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

//! One request: its head, its body, its handler, its reply.

use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request as HttpRequest, Response as HttpResponse, Version};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use rr_spi::{
    CancelHandle, Cause, Code, Context, Delivery, Error, Reason, Request, Response, Target,
};

use super::Site;
use super::discard::{BYTES_MAX, discard};
use super::gzip::{GzipError, decompress};
use super::stop::Stop;
use super::tasks::Tasks;
use crate::body::{self, BodyError};
use crate::wire::{
    Coding, Head, Refusal, ReplyStyle, check_host, decode_path, encode_error, encode_health,
    encode_response,
};

/// Where a load balancer asks whether this server takes work.
const HEALTH: &str = "/.well-known/rr/health";

/// Answers one request. Dropping the future cancels its handler: the peer is gone.
pub(super) async fn answer(
    site: &Site,
    tasks: &Tasks,
    request: HttpRequest<Incoming>,
) -> HttpResponse<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let is_head = parts.method == Method::HEAD;
    let is_get = is_head || parts.method == Method::GET;
    let mut unread = Some(body);
    let outcome = if is_get && parts.uri.path() == HEALTH {
        check_host(&parts).map(|()| None)
    } else {
        exchange(site, &parts, &mut unread).await.map(Some)
    };
    let rest = unread.filter(|body| !body.is_end_stream());
    let is_h1 = parts.version < Version::HTTP_2;
    let closes = is_h1 && (site.intake.is_draining() || rest.as_ref().is_some_and(is_long));
    let style = ReplyStyle { is_get, is_head, closes };
    if let Some(rest) = rest {
        discard(tasks, rest);
    }
    match outcome {
        Ok(Some((response, content_type))) => {
            encode_response(response, content_type.as_ref(), style)
        }
        Ok(None) => encode_health(site.intake.is_draining(), style),
        Err(refusal) => encode_error(&refusal, style),
    }
}

/// Tells whether more of a body may be left than is read to keep its connection.
fn is_long(body: &Incoming) -> bool {
    body.size_hint().upper().is_none_or(|left| left > BYTES_MAX as u64)
}

type Answer = (Response, Option<HeaderValue>);

async fn exchange(
    site: &Site,
    parts: &Parts,
    unread: &mut Option<Incoming>,
) -> Result<Answer, Refusal> {
    check_host(parts)?;
    let target = site.target(parts.uri.path())?;
    let declared = site.intake.find(&target)?.declared();
    let head = Head::read(parts, declared)?;
    let (ctx, cancel) = site.intake.context(head.inbound);
    let body = match head.message {
        // A request that would be refused anyway is refused before its body has arrived.
        _ if site.intake.is_draining() => Bytes::new(),
        Some(message) => decode(site, message, head.coding)?,
        None => read_body(site, &ctx, unread, head.coding).await?,
    };
    let request =
        Request::new(target, body).with_headers(head.headers).with_idempotency(head.idempotency);
    let mut handler = pin!(site.intake.handle(&ctx, request));
    // Declared after the handler, and so dropped before it: when the peer goes, the handler's
    // own drops find the context cancelled.
    let peer = Peer(cancel);
    let outcome = handler.as_mut().await;
    peer.0.cancel_with(Cause::Finished);
    Ok((outcome?, head.content_type))
}

/// Cancels a call whose peer has gone.
struct Peer(CancelHandle);

impl Drop for Peer {
    fn drop(&mut self) {
        self.0.cancel_with(Cause::PeerGone);
    }
}

impl Site {
    fn target(&self, path: &str) -> Result<Target, Error> {
        if let Some(target) = self.paths.get(path) {
            return Ok(target.clone());
        }
        decode_path(&self.prefix, path).ok_or_else(|| {
            let text = "no target has this path";
            let reason = Reason::NO_SUCH_TARGET;
            Error::failure(Code::Unimplemented, Delivery::Rejected, reason, text)
                .with_hint("paths are /method and /service/method")
        })
    }
}

/// Reads the body of a request before its handler runs, so that the connection is free to notice
/// when the peer goes. A body that was read to its end is no longer `unread`.
async fn read_body(
    site: &Site,
    ctx: &Context,
    unread: &mut Option<Incoming>,
    coding: Coding,
) -> Result<Bytes, Refusal> {
    let Some(body) = unread else { return Ok(Bytes::new()) };
    let max = site.config.request_bytes_max;
    let raw_max = match coding {
        Coding::Identity => max,
        // What does not compress gets a little longer.
        Coding::Gzip => max.saturating_add(max / 1024 + 64),
    };
    let bound = ctx.with_timeout(site.config.body_read_timeout);
    let read = read_within(&site.stop, &bound, body, raw_max).await?;
    let body = read.map_err(|error| match error {
        BodyError::TooLarge => too_large(site),
        BodyError::Broken(error) => invalid("the body is malformed or cut short", error),
    })?;
    *unread = None;
    decode(site, body, coding)
}

/// Reads a body until the context or the serving of requests ends.
async fn read_within(
    stop: &Stop,
    bound: &Context,
    body: &mut Incoming,
    max: usize,
) -> Result<Result<Bytes, BodyError<hyper::Error>>, Error> {
    let mut reading = pin!(body::read(body, max));
    if let Some(read) = soon(reading.as_mut()).await {
        return Ok(read);
    }
    let cause = match stop.race(pin!(bound.race(reading))).await {
        Some(Ok(read)) => return Ok(read),
        Some(Err(cause)) => cause,
        None => Cause::Shutdown,
    };
    Err(Error::from_cause(cause, Delivery::Rejected))
}

/// Polls a future twice and returns `None` when it takes longer. The bytes of a small body are
/// there at the second poll, and then no timer is needed.
async fn soon<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    let mut polled = false;
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if polled => Poll::Ready(None),
        Poll::Pending => {
            polled = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

fn decode(site: &Site, body: Bytes, coding: Coding) -> Result<Bytes, Refusal> {
    let max = site.config.request_bytes_max;
    match coding {
        Coding::Identity => Ok(body),
        Coding::Gzip => decompress(&body, max).map_err(|error| match error {
            GzipError::TooLarge => too_large(site),
            GzipError::Malformed(error) => invalid("the body is no gzip", error),
        }),
    }
}

fn too_large(site: &Site) -> Refusal {
    site.intake.config().limits.request_too_large(Delivery::Rejected).into()
}

fn invalid(
    message: &'static str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> Refusal {
    Error::failure(Code::InvalidArgument, Delivery::Rejected, None, message)
        .with_source(source)
        .into()
}

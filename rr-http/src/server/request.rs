//! One request: its head, its body, its handler, its reply.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response as HttpResponse, Version, header};
use http_body::Body as _;
use rr_spi::observe::{self, WatchedRequest};
use rr_spi::{
    BodyShare, CancelHandle, Cause, Code, Declared, Delivery, Error, Inbound, Peer, Readiness,
    Reason, Response, Target,
};

use super::ServerState;
use super::admin_page;
use super::carrier::Carrier;
use super::cors::{self, Cors};
use super::drain_body::is_drained;
use super::fallback::Fallback;
use super::read_body::{decode, read_body};
use crate::wire::{
    Head, Lines, Refusal, ReplyStyle, check_framing, decode_path, emptied, encode_descriptions,
    encode_error, encode_head, encode_health, encode_live, encode_no_content, encode_response,
    is_replayable, negotiate,
};

/// Path at which a load balancer asks whether this server is to get requests.
const HEALTH: &str = "/.well-known/rr/health";

/// Path at which an orchestrator asks whether this process answers at all.
const LIVE: &str = "/.well-known/rr/health/live";

/// Path of the descriptions of the services.
const DESCRIPTIONS: &str = "/.well-known/rr";

/// Answers one request. Dropping the future, as when the peer disconnects, cancels the handler.
pub(super) async fn answer<C: Carrier>(
    carrier: &C,
    parts: &mut Parts,
    body: C::Body,
) -> HttpResponse<C::Reply> {
    let state = carrier.state();
    let is_head = parts.method == Method::HEAD;
    let is_get = is_head || parts.method == Method::GET;
    let is_replayable = is_replayable(&parts.method, &parts.headers, body.size_hint().lower());
    let (mut unread, mut watched) = (Some(body), WatchedRequest::default());
    let outcome = match state.kind(parts) {
        Kind::Call => {
            exchange(carrier, parts, &mut unread, &mut watched).await.map(Outcome::Answer)
        }
        Kind::Health => match check(parts) {
            Ok(()) => Ok(Outcome::Health(state.intake.readiness().await)),
            Err(refusal) => Err(refusal),
        },
        Kind::Live => check(parts).map(|()| Outcome::Live),
        Kind::Descriptions(body) => check(parts).map(|()| Outcome::Descriptions(body.clone())),
        Kind::Preflight(cors) => check(parts).and_then(|()| {
            let headers = cors.preflight(&parts.headers)?;
            Ok(Outcome::Preflight(headers))
        }),
    };
    let mut rest = unread.filter(|body| !body.is_end_stream());
    let is_h1 = parts.version < Version::HTTP_2;
    // Reading would request a body that waits for `100 Continue`.
    let may_have_come = |_: &&mut C::Body| is_h1 && !parts.headers.contains_key(header::EXPECT);
    if let Some(body) = rest.as_mut().filter(may_have_come) {
        // Most unread bodies have arrived together with their heads.
        rest = if is_drained(body).await { None } else { rest };
    }
    // A reply that leaves before its request has wholly arrived is the last on its connection.
    // Otherwise hyper would read the next head while the reply waits for the socket, and answer a
    // malformed head in the middle of the reply. Replies are whole and in order (RFC 9112 §9.3.2).
    let closes = is_h1 && (state.intake.is_draining() || carrier.retires() || rest.is_some());
    let style = ReplyStyle { is_get, is_head, closes };
    if let Some(rest) = rest {
        carrier.discard(rest);
    }
    let mut held = None;
    let cors = state.cors.as_ref().filter(|_| !matches!(outcome, Ok(Outcome::Preflight(_))));
    let grant = cors.map(|cors| cors.grant(&parts.headers));
    let compression = state.compression.as_ref();
    // The headers of the request are reused for the reply.
    let accepted = compression.and_then(|_| negotiate(&parts.headers));
    let mut reply = match outcome {
        Ok(Outcome::Answer((response, content_type, share))) => {
            held = Some(share);
            let map = emptied(std::mem::take(&mut parts.headers));
            match encode_head(&response, content_type.as_ref(), map) {
                Ok(map) => {
                    watched.end(observe::Outcome::Success(&response));
                    encode_response(response, map, style)
                }
                Err(error) => refuse(watched, &Refusal::from(error), style),
            }
        }
        Ok(Outcome::Health(readiness)) => encode_health(&readiness, style),
        Ok(Outcome::Live) => encode_live(style),
        Ok(Outcome::Descriptions(body)) => encode_descriptions(body, style),
        Ok(Outcome::Preflight(map)) => encode_no_content(map, style),
        // A proxy may have repeated the request, and another server may have run it.
        Err(refusal) if is_replayable => {
            // This server's own handler did not run, which is what it reports.
            watched.end(observe::Outcome::Failure(&refusal.error));
            encode_error(&refusal.raised_to(Delivery::Unknown), style)
        }
        Err(refusal) => refuse(watched, &refusal, style),
    };
    if let Some(grant) = grant {
        cors::mark(grant, reply.headers_mut());
    }
    if let Some(compression) = compression.filter(|compression| compression.is_long(&reply)) {
        // Boxed, so that it does not enlarge every request.
        Box::pin(compression.apply(accepted, is_get, &mut reply)).await;
    }
    // Successes and errors alike hold their bytes until these have left.
    let mut share = held.unwrap_or_else(|| carrier.account().open());
    share.raise(reply.body().len());
    // Compression has made it shorter.
    share.shrink(reply.body().len());
    reply.map(|body| carrier.reply(body, share, parts.version))
}

/// Makes the reply for a request that failed or was refused, and reports it.
fn refuse(watched: WatchedRequest, refusal: &Refusal, style: ReplyStyle) -> HttpResponse<Bytes> {
    watched.end(observe::Outcome::Failure(&refusal.error));
    encode_error(refusal, style)
}

/// Kind of a request: a call, or one that the server answers by itself, also during a drain.
enum Kind<'a> {
    Call,
    Health,
    Live,
    Descriptions(&'a Bytes),
    Preflight(&'a Cors),
}

/// Checks a request that no handler sees.
fn check(parts: &Parts) -> Result<(), Refusal> {
    check_framing(parts.version, &parts.uri, &Lines::of(&parts.headers))
}

/// Outcome of a request that is not refused.
enum Outcome {
    Answer(Answer),
    Health(Readiness),
    Live,
    Descriptions(Bytes),
    /// The headers of the reply, including those of CORS.
    Preflight(HeaderMap),
}

type Answer = (Response, Option<HeaderValue>, BodyShare);

/// Runs a call, from its head to its outcome. Sets `watched` if the call is observed: the caller of
/// this function reports the outcome.
async fn exchange<C: Carrier>(
    carrier: &C,
    parts: &Parts,
    unread: &mut Option<C::Body>,
    watched: &mut WatchedRequest,
) -> Result<Answer, Refusal> {
    let state = carrier.state();
    let (target, head) = match state.read_head(parts) {
        Ok(read) => read,
        Err(refusal) => {
            *watched = state.watch_refused(parts, carrier.caller());
            return Err(refusal);
        }
    };
    state.stats.drop_headers(head.common.dropped);
    let mut inbound = head.inbound();
    let rebound = admin_page::rebound(&target, parts, carrier.caller());
    inbound.peer = rebound.as_ref().or_else(|| carrier.caller());
    let (ctx, cancel) = state.intake.context(inbound);
    *watched = state.intake.watch(&ctx, Some(&target));
    let ctx = watched.context(&ctx);
    let mut share = carrier.account().open();
    let body = match head.message {
        // A request that would be refused anyway is refused before its body has arrived.
        _ if state.intake.is_draining() => Bytes::new(),
        Some(message) => decode(state, message, &head.coding, &mut share).await?,
        None => read_body(state, ctx, unread, &head.coding, &mut share).await?,
    };
    let request = head.common.into_request(target, body);
    let mut handler = pin!(state.intake.handle(ctx, request).charged(share).watched(watched));
    // Declared after the handler, and so dropped before it: when the peer disconnects, destructors
    // in the handler find the context cancelled.
    let caller = Caller(cancel);
    let outcome = handler.as_mut().await;
    caller.0.cancel_with(Cause::Finished);
    let (outcome, share) = carrier.account().reply(outcome);
    Ok((outcome?, head.content_type, share))
}

/// Guard of the context of a request: cancels it if the peer disconnects before the outcome.
struct Caller(CancelHandle);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.cancel_with(Cause::PeerGone);
    }
}

impl ServerState {
    /// Returns the service that answers a request, if it is not for the routes.
    pub(super) fn fallback(&self, parts: &Parts) -> Option<&Fallback> {
        let fallback = self.fallback.as_ref()?;
        let is_own = match self.kind(parts) {
            Kind::Health | Kind::Live | Kind::Descriptions(_) => true,
            Kind::Call | Kind::Preflight(_) => {
                let target = self.target(parts.uri.path());
                target.is_ok_and(|target| self.intake.find(&target).is_ok())
            }
        };
        // Malformed requests are refused in one place.
        (!is_own && check(parts).is_ok()).then_some(fallback)
    }

    fn kind(&self, parts: &Parts) -> Kind<'_> {
        let is_get = parts.method == Method::GET || parts.method == Method::HEAD;
        match &self.cors {
            Some(cors) if Cors::is_preflight(&parts.method, &parts.headers) => {
                Kind::Preflight(cors)
            }
            _ if is_get && parts.uri.path() == HEALTH => Kind::Health,
            _ if is_get && parts.uri.path() == LIVE => Kind::Live,
            _ if is_get && parts.uri.path() == DESCRIPTIONS => {
                self.descriptions.as_ref().map_or(Kind::Call, Kind::Descriptions)
            }
            _ => Kind::Call,
        }
    }

    /// Reads the head of a request: its target, and its other fields.
    fn read_head<'a>(&self, parts: &'a Parts) -> Result<(Target, Head<'a>), Refusal> {
        let lines = Lines::of(&parts.headers);
        check_framing(parts.version, &parts.uri, &lines)?;
        let target = self.target(parts.uri.path())?;
        let declared = self.intake.find(&target)?.declared();
        Ok((target, Head::read(parts, &lines, declared)?))
    }

    /// Observes a request whose head was refused, with what can be read of it.
    fn watch_refused(&self, parts: &Parts, caller: Option<&Arc<Peer>>) -> WatchedRequest {
        if self.intake.monitor().observers().is_empty() {
            // It is counted only.
            return self.intake.watch_refused(Inbound::default(), None);
        }
        let target = self.target(parts.uri.path()).ok();
        let head = Head::read(parts, &Lines::of(&parts.headers), Declared::Unspecified).ok();
        let mut inbound = head.as_ref().map(Head::inbound).unwrap_or_default();
        inbound.peer = caller;
        self.intake.watch_refused(inbound, target.as_ref())
    }

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

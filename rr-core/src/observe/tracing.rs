//! Spans and events of `tracing` for every request, attempt and call.

mod events;
mod failures;
mod levels;

use rr_spi::Target;
use rr_spi::observe::{End, Event, Kind, Observer, Span, Start};
use tracing::field::Empty;
use tracing::{Level, enabled, info_span};

use super::in_call::{is_part_of_call, polled};
use super::shown::{millis, peer, request_id, retries};

/// Observer that reports to [`tracing`](https://docs.rs/tracing): a span for each operation, and an
/// event for each operation that failed. Needs the feature `tracing`.
///
/// With the feature, it works without further code: [`connect`](crate::connect()) and
/// [`serve`](crate::serve()) in all their forms add it to the observers of their configuration, and
/// [`recommended`](crate::recommended) observes calls with it. It is not added where it is set
/// already. While no subscriber is interested in its targets, it costs a few nanoseconds for each
/// operation. The filter `rr=off` silences it.
///
/// Names, targets, levels and fields are an interface: a release that changes one says so in its
/// changelog.
///
/// # Spans
///
/// | operation | span | target | parent |
/// |---|---|---|---|
/// | call | `call` | `rr::client` | the span that makes the call |
/// | attempt | `attempt` | `rr::attempt` | the call |
/// | request | `request` | `rr::server` | the attempt if the transport is in-process, otherwise none |
///
/// The level of all spans is `INFO`. A span is entered for each poll of its operation, so events
/// inside of a handler belong to the span of its request.
///
/// # Fields of spans
///
/// | field | in | value |
/// |---|---|---|
/// | `otel.kind` | all | `client`, or `server` for a request |
/// | `otel.name` | request | the route, such as `orders.place` or `orders.*`: one of a bounded number |
/// | `otel.status_code` | all | `ERROR` if the operation failed; for a request only if the service is at fault |
/// | `rpc.system` | all | `rr` |
/// | `rpc.service`, `rpc.method` | all | the parts of the target |
/// | `rr.retries` | all | the number of earlier attempts |
/// | `request_id` | all | the request id of the context, at most 128 characters |
/// | `peer` | request | the address of the other end of the connection |
/// | `rr.code` | all | the code at the end, or `ok` |
/// | `rr.reason` | all | the reason of the error |
/// | `rr.delivery` | all | the delivery: whether the handler may have run |
/// | `elapsed_ms` | all | the duration in milliseconds; of a request, from its arrival |
/// | `request_bytes`, `response_bytes` | all | the lengths of the bodies |
///
/// A field without a value is left out. The names of spans are fixed, and a target that a server
/// does not have is in `rpc.service` and `rpc.method` only.
///
/// # Events
///
/// A failed operation is one event, inside of its span and with the span's target: `call failed`,
/// `attempt failed` or `request failed`. A success is the end of its span and no event.
///
/// | level | failures |
/// |---|---|
/// | `ERROR` | of requests: a panic, `internal`, `unknown`, `data_loss`, a reply that is too large |
/// | `WARN` | `deadline_exceeded`, `unavailable`, `resource_exhausted`; those of `ERROR` at a client |
/// | `INFO` | faults of the caller: `invalid_argument`, `unimplemented`, `unauthenticated`, `permission_denied`, a request that is too large |
/// | `DEBUG` | everything else: `not_found`, `already_exists`, `failed_precondition`, `aborted`, `out_of_range`, `canceled` |
///
/// A failed attempt that is part of an observed call is at `DEBUG`, since the failure of the call
/// tells of it. The fields are `rpc.service`, `rpc.method`, `request_id`, `peer`, `rr.code`,
/// `rr.reason`, `rr.delivery` and `elapsed_ms` as above, and:
///
/// | field | in | value |
/// |---|---|---|
/// | `error` | all | the message of the error, at most 256 characters |
/// | `account` | call, attempt | where the time went: [`Error::account`](rr_spi::Error::account), at most 512 characters |
/// | `panic` | request | the message of the handler's panic, at most 512 characters |
/// | `source` | request, at `ERROR` | the sources of the error, such as the encoder's own error, at most 256 characters |
///
/// The target `rr::event` has the events that are not operations: `retry` at `INFO` and `retry refused` at `WARN`,
/// which means that the retry budget is spent, both with the field `decision`;
/// `drain started` and `drain ended` at `INFO`; `disconnected` and `recording incomplete` at `WARN`;
/// `reconnected` and `handshake refused` at `INFO`; `late reply` at `DEBUG`. The reason of `disconnected`,
/// `handshake refused` and `recording incomplete` is the field `error`.
///
/// A [`Balance`](crate::balance::Balance) that has the observer adds `endpoint ejected` at `WARN`, with the
/// fields `endpoint`, `ejected_ms` and `cause`, and `endpoint returned` and `ejected endpoint removed` at
/// `INFO`. Other layers add events of single calls at `DEBUG`: `second request sent` with the field `after_ms`,
/// `second request won`, `second request refused`, `throttled`, and `limit refused` with `rr.reason` and
/// `limit`. All of these have the fields `rpc.service`, `rpc.method` and `request_id`.
///
/// # Secrets
///
/// No field has headers, bodies, hints, details or credentials. Text that a peer chose is escaped
/// and cut. The message of an error is left out at a client if the peer wrote it, and at a server if
/// the request was refused for a fault of the caller, since it may quote the request. Messages,
/// sources and panics of a service's own handlers are logged at that server only: they are the text
/// of the application, which must not put secrets there.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct TracingObserver;

impl TracingObserver {
    /// Makes the observer.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Observer for TracingObserver {
    #[inline]
    fn observes(&self, kind: Kind) -> bool {
        // The highest level of each target: what this level does not pass, no other does.
        match kind {
            Kind::ClientCall => enabled!(target: "rr::client", Level::WARN),
            Kind::ClientAttempt => enabled!(target: "rr::attempt", Level::WARN),
            Kind::ServerRequest => enabled!(target: "rr::server", Level::ERROR),
            _ => false,
        }
    }

    fn started(&self, start: &Start<'_>) -> Option<Box<dyn Span>> {
        if !self.observes(start.kind) {
            return None;
        }
        let is_part_of_call = is_part_of_call(start.kind);
        Some(Box::new(Operation { span: span(start), kind: start.kind, is_part_of_call }))
    }

    fn event(&self, event: &Event<'_>) {
        events::log(event);
    }
}

/// Operation that is observed. Its span is disabled if a subscriber wants events only.
struct Operation {
    span: tracing::Span,
    kind: Kind,
    is_part_of_call: bool,
}

impl Span for Operation {
    fn within(&self, poll: &mut dyn FnMut()) {
        polled(self.kind, || self.span.in_scope(poll));
    }

    fn ended(self: Box<Self>, end: &End<'_>) {
        let level = levels::of(end);
        if !self.span.is_disabled() {
            record(&self.span, end, level);
        }
        if let Some(level) = level {
            let level = if self.is_part_of_call { Level::DEBUG } else { level };
            self.span.in_scope(|| failures::log(end, level));
        }
    }
}

/// Makes the span of an operation.
fn span(start: &Start<'_>) -> tracing::Span {
    macro_rules! span {
        ($target:literal, $name:literal, $kind:literal) => {
            info_span!(
                target: $target,
                $name,
                otel.kind = $kind,
                otel.name = start.route.filter(|_| start.kind == Kind::ServerRequest),
                otel.status_code = Empty,
                rpc.system = "rr",
                rpc.service = service(start),
                rpc.method = start.target.map(Target::method),
                rr.retries = retries(start.kind, start.context),
                request_id = request_id(start.context),
                peer = peer(start),
                rr.code = Empty,
                rr.reason = Empty,
                rr.delivery = Empty,
                elapsed_ms = Empty,
                request_bytes = Empty,
                response_bytes = Empty,
            )
        };
    }
    match start.kind {
        Kind::ClientCall => span!("rr::client", "call", "client"),
        Kind::ClientAttempt => span!("rr::attempt", "attempt", "client"),
        _ => span!("rr::server", "request", "server"),
    }
}

/// Records the outcome in the span. The level is that of the failure, if the operation failed.
fn record(span: &tracing::Span, end: &End<'_>, level: Option<Level>) {
    let outcome = &end.outcome;
    span.record("rr.code", end.outcome.status());
    span.record("rr.reason", levels::reason(end));
    span.record("rr.delivery", outcome.delivery().as_str());
    span.record("elapsed_ms", millis(end.elapsed()));
    span.record("request_bytes", end.request_bytes);
    span.record("response_bytes", outcome.response_bytes());
    if level.is_some_and(|level| levels::is_error(end, level)) {
        span.record("otel.status_code", "ERROR");
    }
}

fn service<'a>(start: &Start<'a>) -> Option<&'a str> {
    start.target.map(Target::service).filter(|service| !service.is_empty())
}

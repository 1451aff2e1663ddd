//! Instruments, and what is recorded in them.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

use opentelemetry::metrics::{Counter, Histogram, Meter, UpDownCounter};
use opentelemetry::{KeyValue, StringValue};
use rr_spi::observe::{End, Event, Kind, Start};
use rr_spi::{Code, Delivery, Reason, Target};

use crate::names;

/// Bounds of the buckets of durations in seconds, as the conventions advise.
const BOUNDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Maximum number of different targets of calls. A program that forwards calls may see any number.
const TARGETS_MAX: usize = 1000;

pub(crate) struct Metrics {
    calls: Histogram<f64>,
    attempts: Histogram<f64>,
    requests: Histogram<f64>,
    queued: Histogram<f64>,
    client_in_flight: UpDownCounter<i64>,
    server_in_flight: UpDownCounter<i64>,
    refused: Counter<u64>,
    retries: Counter<u64>,
    late_replies: Counter<u64>,
    disconnects: Counter<u64>,
    reconnects: Counter<u64>,
    handshakes_refused: Counter<u64>,
    known: RwLock<HashSet<Target>>,
}

impl Metrics {
    pub(crate) fn new(meter: &Meter) -> Self {
        let durations = |name| {
            meter.f64_histogram(name).with_unit("s").with_boundaries(BOUNDS.to_vec()).build()
        };
        let gauge = |name, unit| meter.i64_up_down_counter(name).with_unit(unit).build();
        let counter = |name, unit| meter.u64_counter(name).with_unit(unit).build();
        Self {
            calls: durations(names::CLIENT_CALL_DURATION),
            attempts: durations(names::CLIENT_ATTEMPT_DURATION),
            requests: durations(names::SERVER_CALL_DURATION),
            queued: durations(names::SERVER_QUEUE_DURATION),
            client_in_flight: gauge(names::CLIENT_IN_FLIGHT, "{attempt}"),
            server_in_flight: gauge(names::SERVER_IN_FLIGHT, "{request}"),
            refused: counter(names::SERVER_REFUSED, "{request}"),
            retries: counter(names::CLIENT_RETRIES, "{attempt}"),
            late_replies: counter(names::CLIENT_LATE_REPLIES, "{reply}"),
            disconnects: counter(names::DISCONNECTS, "{connection}"),
            reconnects: counter(names::RECONNECTS, "{connection}"),
            handshakes_refused: counter(names::HANDSHAKES_REFUSED, "{connection}"),
            known: RwLock::default(),
        }
    }

    pub(crate) fn started(&self, start: &Start<'_>) {
        self.in_flight(start.kind, 1);
    }

    pub(crate) fn ended(&self, end: &End<'_>) {
        self.in_flight(end.start.kind, -1);
        let seconds = end.elapsed().as_secs_f64();
        let method = self.method(&end.start);
        let mut attributes = vec![
            KeyValue::new(names::RPC_SYSTEM_NAME, names::SYSTEM),
            KeyValue::new(names::RPC_METHOD, method),
            KeyValue::new(names::RPC_RESPONSE_STATUS_CODE, status(end)),
        ];
        if let Some(kind) = error_type(end) {
            attributes.push(KeyValue::new(names::ERROR_TYPE, kind));
        }
        match end.start.kind {
            Kind::ClientCall => self.calls.record(seconds, &attributes),
            Kind::ClientAttempt => self.attempts.record(seconds, &attributes),
            Kind::ServerRequest => {
                self.requests.record(seconds, &attributes);
                if let Some(entered) = end.entered {
                    let queued = entered.duration_since(end.began).as_secs_f64();
                    self.queued.record(queued, &attributes[..2]);
                }
                if end.outcome.delivery() == Delivery::Rejected {
                    self.refused.add(1, &attributes);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn event(&self, event: &Event<'_>) {
        match event {
            Event::Retry { target, .. } => {
                let method = self.bounded(target);
                self.retries.add(1, &[KeyValue::new(names::RPC_METHOD, method)]);
            }
            Event::LateReply => self.late_replies.add(1, &[]),
            Event::Disconnected { .. } => self.disconnects.add(1, &[]),
            Event::Reconnected { .. } => self.reconnects.add(1, &[]),
            Event::HandshakeRefused { .. } => self.handshakes_refused.add(1, &[]),
            _ => {}
        }
    }

    fn in_flight(&self, kind: Kind, change: i64) {
        match kind {
            Kind::ClientAttempt => self.client_in_flight.add(change, &[]),
            Kind::ServerRequest => self.server_in_flight.add(change, &[]),
            _ => {}
        }
    }

    /// Returns the method of an operation, out of a bounded number of names.
    fn method(&self, start: &Start<'_>) -> StringValue {
        match (start.kind, start.route, start.target) {
            // A server has a bounded number of routes.
            (Kind::ServerRequest, Some(route), _) => method_of(route).into(),
            (Kind::ClientCall | Kind::ClientAttempt, _, Some(target)) => self.bounded(target),
            _ => names::OTHER.into(),
        }
    }

    fn bounded(&self, target: &Target) -> StringValue {
        let method = || method_of(target.as_str()).into();
        if self.known.read().unwrap_or_else(PoisonError::into_inner).contains(target) {
            return method();
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.contains(target) || known.len() < TARGETS_MAX {
            known.insert(target.clone());
            return method();
        }
        names::OTHER.into()
    }
}

/// Returns a target or a route as the conventions write a method: `orders.v1/place`.
pub(crate) fn method_of(target: &str) -> String {
    match target.rsplit_once('.') {
        Some((service, method)) => format!("{service}/{method}"),
        None => target.to_owned(),
    }
}

/// Returns the code of an operation, `ok` for a success.
pub(crate) fn status(end: &End<'_>) -> &'static str {
    end.outcome.code().map_or("ok", Code::as_str)
}

/// Returns the reason of a failure, or else its code. The reasons of peers are an open set: only
/// those that rr gives count.
pub(crate) fn error_type(end: &End<'_>) -> Option<&'static str> {
    let code = end.outcome.code()?;
    let reason = end.outcome.error().and_then(|error| error.reason());
    Some(reason.and_then(Reason::known).unwrap_or(code.as_str()))
}

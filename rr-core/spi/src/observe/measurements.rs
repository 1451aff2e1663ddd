//! Measurements that metrics record when an operation starts or ends, and at an event.
//!
//! An exporter of metrics is an [`Observer`](super::Observer) that passes its reports to
//! [`Measurements`], and an implementation of [`Instruments`] that records in the instruments of a
//! metrics library. Names, units and attributes are then the same in each library.

mod instrument;
mod methods;

use std::sync::Arc;

use super::names;
use super::{EjectionCause, End, Event, Kind, Outcome, Start};
use crate::contained::contained;
use crate::error::Delivery;
use crate::target::Target;
use methods::Methods;

pub use instrument::{Instrument, InstrumentKind};
pub use methods::method_of;

/// Instruments of a metrics library.
///
/// # Examples
///
/// An observer that prints each measurement:
///
/// ```
/// # mod rr_core { pub use rr_spi::*; }
/// use rr_core::observe::measurements::{Attribute, Instrument, Instruments, Measurements};
/// use rr_core::observe::{End, Event, Observer, Span, Start};
///
/// struct Prints;
///
/// impl Instruments for Prints {
///     fn record(&self, instrument: Instrument, value: f64, attributes: &[Attribute]) {
///         println!("{} {value} {attributes:?}", instrument.name());
///     }
/// }
///
/// struct Printing(Measurements);
///
/// impl Observer for Printing {
///     fn started(&self, start: &Start<'_>) -> Option<Box<dyn Span>> {
///         self.0.started(start, &Prints);
///         None
///     }
///
///     fn ended(&self, end: &End<'_>) {
///         self.0.ended(end, &Prints);
///     }
///
///     fn event(&self, event: &Event<'_>) {
///         self.0.event(event, &Prints);
///     }
/// }
/// ```
pub trait Instruments {
    /// Records a value: an observation of a histogram, an increment of a counter, a change of an
    /// up-down counter, or the new value of a gauge. All but observations are whole numbers.
    ///
    /// A panic is contained and does not keep the other values of the operation from being recorded.
    fn record(&self, instrument: Instrument, value: f64, attributes: &[Attribute]);
}

/// Attribute of a measurement: a name of [`names`], and a value.
#[derive(Clone, Debug)]
pub struct Attribute {
    name: &'static str,
    value: Text,
}

/// Text that is cheap to clone.
#[derive(Clone, Debug)]
enum Text {
    Fixed(&'static str),
    Shared(Arc<str>),
}

impl Attribute {
    const fn fixed(name: &'static str, value: &'static str) -> Self {
        Self { name, value: Text::Fixed(value) }
    }

    const fn of(name: &'static str, value: Text) -> Self {
        Self { name, value }
    }

    /// Returns the name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.value {
            Text::Fixed(text) => text,
            Text::Shared(text) => text,
        }
    }

    /// Returns the value as the text type of a metrics library. Does not copy the text.
    #[must_use]
    pub fn value<T: From<&'static str> + From<Arc<str>>>(&self) -> T {
        match &self.value {
            Text::Fixed(text) => T::from(*text),
            Text::Shared(text) => T::from(Arc::clone(text)),
        }
    }
}

/// Turns the reports of an observer into measurements.
///
/// Holds the methods that it has seen: attributes have a bounded number of values, whatever targets
/// callers name. The method of a request that no route answers is [`names::OTHER`]. A target of calls
/// has a name from its first answer on: a reply, or an error of its handler. Until then its calls are
/// [`names::OTHER`], whether a server refused them as unknown, no server received them, or no reply
/// came. The first 1000 targets that answer have names; further ones are [`names::OTHER`].
#[derive(Debug, Default)]
pub struct Measurements {
    methods: Methods,
}

impl Measurements {
    /// Makes measurements that have seen no method.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records the start of an operation.
    pub fn started(&self, start: &Start<'_>, instruments: &impl Instruments) {
        in_flight(start.kind, 1.0, instruments);
    }

    /// Records the end of an operation.
    pub fn ended(&self, end: &End<'_>, instruments: &impl Instruments) {
        in_flight(end.start.kind, -1.0, instruments);
        let error = end.outcome.error_type();
        let attributes = [
            Attribute::fixed(names::RPC_SYSTEM_NAME, names::SYSTEM),
            Attribute::of(names::RPC_METHOD, self.methods.of(end)),
            Attribute::fixed(names::RPC_RESPONSE_STATUS_CODE, end.outcome.status()),
            Attribute::fixed(names::ERROR_TYPE, error.unwrap_or_default()),
        ];
        let attributes = if error.is_some() { &attributes[..] } else { &attributes[..3] };
        let duration = match end.start.kind {
            Kind::ClientCall => Instrument::ClientCallDuration,
            Kind::ClientAttempt => Instrument::ClientAttemptDuration,
            Kind::ServerRequest => Instrument::ServerCallDuration,
        };
        record(instruments, duration, end.elapsed().as_secs_f64(), attributes);
        if end.start.kind == Kind::ServerRequest {
            request_ended(end, attributes, instruments);
        }
    }

    /// Records an event.
    pub fn event(&self, event: &Event<'_>, instruments: &impl Instruments) {
        let count = |instrument| record(instruments, instrument, 1.0, &[]);
        match event {
            Event::Retry { target, failed, .. } => {
                let method = self.methods.of_failed(target, failed);
                counted(Instrument::ClientRetries, method, instruments);
            }
            Event::RetryRefused { target, failed, .. } => {
                let method = self.methods.of_failed(target, failed);
                counted(Instrument::ClientRetriesRefused, method, instruments);
            }
            Event::RetryBudget { target, left, .. } => {
                self.of_service(Instrument::ClientRetryBudget, target, *left, instruments);
            }
            Event::LateReply => count(Instrument::ClientLateReplies),
            Event::Disconnected { .. } => count(Instrument::Disconnects),
            Event::Reconnected { .. } => count(Instrument::Reconnects),
            Event::HandshakeRefused { .. } => count(Instrument::HandshakesRefused),
            Event::EndpointEjected { cause, .. } => ejected(*cause, instruments),
            Event::EndpointReturned { .. } | Event::EjectedEndpointRemoved { .. } => {
                record(instruments, Instrument::ClientEndpointsEjected, -1.0, &[]);
            }
            Event::DrainStarted { .. }
            | Event::DrainEnded { .. }
            | Event::RecordingIncomplete { .. } => {}
            _ => self.layer_event(event, instruments),
        }
    }

    /// Records an event of a layer around a requester or a handler.
    fn layer_event(&self, event: &Event<'_>, instruments: &impl Instruments) {
        let count = |instrument, target| {
            counted(instrument, self.methods.known(target), instruments);
        };
        match event {
            Event::Hedged { target, .. } => count(Instrument::ClientHedges, target),
            Event::HedgeWon { target, .. } => count(Instrument::ClientHedgesWon, target),
            Event::HedgeRefused { target, .. } => count(Instrument::ClientHedgesRefused, target),
            Event::Throttled { target, .. } => count(Instrument::ClientThrottled, target),
            Event::LimitRefused { target, error, .. } => {
                let error = Outcome::Failure(error).error_type().unwrap_or_default();
                let attributes = [
                    Attribute::of(names::RPC_METHOD, self.methods.known(target)),
                    Attribute::fixed(names::ERROR_TYPE, error),
                ];
                record(instruments, Instrument::LimitRefused, 1.0, &attributes);
            }
            Event::LimitReported { target, limit, .. } => {
                self.of_service(Instrument::ConcurrencyLimit, target, *limit, instruments);
            }
            _ => {}
        }
    }

    /// Records the value of a gauge for the service of a target.
    fn of_service(
        &self,
        instrument: Instrument,
        target: &Target,
        value: u64,
        instruments: &impl Instruments,
    ) {
        if let Some(service) = self.methods.service_of(target) {
            let attributes = [Attribute::of(names::RR_SERVICE, service)];
            record(instruments, instrument, value as f64, &attributes);
        }
    }
}

/// Counts an event of a method.
fn counted(instrument: Instrument, method: Text, instruments: &impl Instruments) {
    record(instruments, instrument, 1.0, &[Attribute::of(names::RPC_METHOD, method)]);
}

/// Counts an ejection. A failed probe prolongs the ejection of an endpoint that is ejected already.
fn ejected(cause: EjectionCause, instruments: &impl Instruments) {
    let attributes = [Attribute::fixed(names::RR_CAUSE, cause.as_str())];
    record(instruments, Instrument::ClientEjections, 1.0, &attributes);
    if cause != EjectionCause::ProbeFailed {
        record(instruments, Instrument::ClientEndpointsEjected, 1.0, &[]);
    }
}

/// Records a value. A panic of the library is contained here, so that the other values of the same
/// operation are still recorded.
fn record(
    instruments: &impl Instruments,
    instrument: Instrument,
    value: f64,
    attributes: &[Attribute],
) {
    let _ = contained(|| instruments.record(instrument, value, attributes));
}

fn in_flight(kind: Kind, change: f64, instruments: &impl Instruments) {
    match kind {
        Kind::ClientCall => {}
        Kind::ClientAttempt => record(instruments, Instrument::ClientInFlight, change, &[]),
        Kind::ServerRequest => record(instruments, Instrument::ServerInFlight, change, &[]),
    }
}

fn request_ended(end: &End<'_>, attributes: &[Attribute], instruments: &impl Instruments) {
    if let Some(entered) = end.entered {
        let queued = entered.duration_since(end.began).as_secs_f64();
        record(instruments, Instrument::ServerQueueDuration, queued, &attributes[..2]);
    }
    if end.outcome.delivery() == Delivery::Rejected {
        record(instruments, Instrument::ServerRefused, 1.0, attributes);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::context::Context;
    use crate::error::{Code, Error, Reason};

    /// Keeps the method of each duration.
    #[derive(Default)]
    struct Seen(Mutex<Vec<String>>);

    impl Instruments for Seen {
        fn record(&self, instrument: Instrument, _: f64, attributes: &[Attribute]) {
            if instrument.kind() == InstrumentKind::Histogram {
                self.0.lock().unwrap().push(attributes[1].as_str().to_owned());
            }
        }
    }

    /// Panics at each up-down counter.
    #[derive(Default)]
    struct PanicsInFlight(Mutex<Vec<Instrument>>);

    impl Instruments for PanicsInFlight {
        fn record(&self, instrument: Instrument, _: f64, _: &[Attribute]) {
            assert!(instrument.kind() != InstrumentKind::UpDownCounter, "at a gauge");
            self.0.lock().unwrap().push(instrument);
        }
    }

    #[test]
    fn an_instrument_that_panics_keeps_no_other_value_from_being_recorded() {
        let seen = PanicsInFlight::default();
        end("orders.v1.place", Outcome::Replies(1), |end| Measurements::new().ended(end, &seen));
        assert_eq!(*seen.0.lock().unwrap(), [Instrument::ClientAttemptDuration]);
    }

    fn end(target: &str, outcome: Outcome<'_>, run: impl FnOnce(&End<'_>)) {
        let (context, target) = (Context::background(), Target::try_from(target).unwrap());
        let start = Start {
            kind: Kind::ClientAttempt,
            context: &context,
            target: Some(&target),
            route: None,
            peer: None,
            progress: None,
        };
        let began = tokio::time::Instant::now();
        run(&End { start, outcome, request_bytes: 0, began, entered: None, panic: None });
    }

    fn report(measurements: &Measurements, target: &str, error: Option<&Error>) -> String {
        let seen = Seen::default();
        let outcome = error.map_or(Outcome::Replies(1), Outcome::Failure);
        end(target, outcome, |end| measurements.ended(end, &seen));
        let seen = seen.0.lock().unwrap();
        assert_eq!(seen.len(), 1);
        seen[0].clone()
    }

    #[test]
    fn targets_that_servers_refuse_as_unknown_share_a_name() {
        let measurements = Measurements::new();
        let unknown = Error::new(Code::Unimplemented, "").with_reason(Reason::NO_SUCH_TARGET);
        for number in 0..1_000_000 {
            let method = report(&measurements, &format!("made.up{number}"), Some(&unknown));
            assert_eq!(method, names::OTHER);
        }
        assert_eq!(report(&measurements, "orders.v1.place", None), "orders.v1/place");
        // A method that is known remains known while one of its servers does not have it.
        let method = report(&measurements, "orders.v1.place", Some(&unknown));
        assert_eq!(method, "orders.v1/place");
    }

    #[test]
    fn a_target_has_a_name_from_its_first_answer_on() {
        let failure = |code, delivery| Error::new(code, "").with_delivery(delivery);
        let no_responder = failure(Code::Unavailable, Delivery::Rejected);
        let no_responder = no_responder.with_reason(Reason::NO_RESPONDER);
        let expired = failure(Code::DeadlineExceeded, Delivery::Unknown);
        let not_sent = failure(Code::Unavailable, Delivery::NotSent);
        let unanswered = [&no_responder, &expired, &not_sent];
        let measurements = Measurements::new();
        for number in 0..3000 {
            let target = format!("made.up{number}");
            for error in unanswered {
                assert_eq!(report(&measurements, &target, Some(error)), names::OTHER);
            }
            let seen = Seen::default();
            let dropped = Outcome::Dropped(Delivery::Processed);
            end(&target, dropped, |end| measurements.ended(end, &seen));
            assert_eq!(*seen.0.lock().unwrap(), [names::OTHER]);
        }
        let handlers = failure(Code::NotFound, Delivery::Processed);
        for answer in [None, Some(&handlers)] {
            let target = if answer.is_none() { "shop.buy" } else { "shop.find" };
            assert_eq!(report(&measurements, target, Some(&expired)), names::OTHER);
            let name = method_of(target);
            assert_eq!(report(&measurements, target, answer), name);
            assert_eq!(report(&measurements, target, Some(&expired)), name);
        }
    }

    #[test]
    fn targets_of_calls_have_a_thousand_names() {
        let measurements = Measurements::new();
        let report = |number: u32| report(&measurements, &format!("any.t{number}"), None);
        assert_eq!(report(0), "any/t0");
        let others = (1..3000).filter(|number| report(*number) == names::OTHER).count();
        assert_eq!(others, 2000);
        assert_eq!((report(0), report(999)), ("any/t0".to_owned(), "any/t999".to_owned()));
    }
}

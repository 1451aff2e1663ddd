//! The observer: spans, and the metrics of the same operations.

use std::fmt;

use opentelemetry::global::{BoxedTracer, ObjectSafeTracer};
use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider};
use opentelemetry::{Context as OtelContext, InstrumentationScope, KeyValue, global};
use rr_spi::Code;
use rr_spi::observe::measurements::{Measurements, method_of};
use rr_spi::observe::{End, Event, Kind, Observer, Span, Start};

use crate::metrics::Metrics;
use crate::{names, trace_context};

/// Observer that makes spans and metrics of OpenTelemetry.
///
/// The providers of the application export. Use batch exporters, which export outside of the calls.
pub struct OtelObserver {
    tracer: BoxedTracer,
    metrics: Metrics,
    measurements: Measurements,
}

impl OtelObserver {
    /// Makes an observer for the global providers. Install them before.
    #[must_use]
    pub fn global() -> Self {
        let tracer = global::tracer_with_scope(scope());
        let meter = global::meter_with_scope(scope());
        Self::of(tracer, &meter)
    }

    /// Makes an observer for the given providers.
    pub fn with_providers<T>(tracers: &T, meters: &impl MeterProvider) -> Self
    where
        T: TracerProvider,
        T::Tracer: ObjectSafeTracer + Send + Sync + 'static,
    {
        let tracer = BoxedTracer::new(Box::new(tracers.tracer_with_scope(scope())));
        Self::of(tracer, &meters.meter_with_scope(scope()))
    }

    fn of(tracer: BoxedTracer, meter: &Meter) -> Self {
        Self { tracer, metrics: Metrics::new(meter), measurements: Measurements::new() }
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("rr")
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(names::SCHEMA_URL)
        .build()
}

impl Observer for OtelObserver {
    fn started(&self, start: &Start<'_>) -> Option<Box<dyn Span>> {
        self.measurements.started(start, &self.metrics);
        let kind = match start.kind {
            Kind::ServerRequest => SpanKind::Server,
            _ => SpanKind::Client,
        };
        let mut attributes = vec![KeyValue::new(names::RPC_SYSTEM_NAME, names::SYSTEM)];
        let method = start.route.map(method_of);
        if method.is_none() {
            let original = start.target.map(|target| method_of(target.as_str()));
            attributes.extend(original.map(|it| KeyValue::new(names::RPC_METHOD_ORIGINAL, it)));
        }
        let method = method.unwrap_or_else(|| names::OTHER.to_owned());
        attributes.push(KeyValue::new(names::RPC_METHOD, method.clone()));
        let retries = match start.kind {
            Kind::ServerRequest => start.context.inbound_retries(),
            _ => start.context.retries(),
        };
        if retries > 0 {
            attributes.push(KeyValue::new(names::RR_RETRIES, i64::from(retries)));
        }
        if let Some(peer) = start.context.request().peer().and_then(|peer| peer.address()) {
            if start.kind == Kind::ServerRequest {
                attributes.push(KeyValue::new(names::NETWORK_PEER_ADDRESS, peer.ip().to_string()));
                attributes.push(KeyValue::new(names::NETWORK_PEER_PORT, i64::from(peer.port())));
            }
        }
        let parent = trace_context::parent(start.context);
        let builder = self.tracer.span_builder(method).with_kind(kind).with_attributes(attributes);
        let span = builder.start_with_context(&self.tracer, &parent);
        Some(Box::new(OtelSpan(parent.with_span(span))))
    }

    fn ended(&self, end: &End<'_>) {
        self.measurements.ended(end, &self.metrics);
    }

    fn event(&self, event: &Event<'_>) {
        self.measurements.event(event, &self.metrics);
    }
}

impl fmt::Debug for OtelObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtelObserver").finish_non_exhaustive()
    }
}

struct OtelSpan(OtelContext);

impl Span for OtelSpan {
    fn within(&self, poll: &mut dyn FnMut()) {
        let _attached = self.0.clone().attach();
        poll();
    }

    fn trace(&self) -> Option<(String, Option<String>)> {
        trace_context::write(self.0.span().span_context())
    }

    fn ended(self: Box<Self>, end: &End<'_>) {
        let span = self.0.span();
        span.set_attribute(KeyValue::new(names::RPC_RESPONSE_STATUS_CODE, end.outcome.status()));
        if let Some(kind) = end.outcome.error_type() {
            span.set_attribute(KeyValue::new(names::ERROR_TYPE, kind));
            let delivery = end.outcome.delivery().as_str();
            span.set_attribute(KeyValue::new(names::RR_DELIVERY, delivery));
        }
        if let Some(error) = end.outcome.error().filter(|_| end.start.kind != Kind::ServerRequest) {
            let account = error.account().to_string();
            span.set_attribute(KeyValue::new(names::RR_ACCOUNT, account));
        }
        if let Some(message) = end.panic {
            let message = KeyValue::new(names::EXCEPTION_MESSAGE, message.to_owned());
            span.add_event(names::EXCEPTION, vec![message]);
        }
        if end.outcome.code().is_some_and(|code| is_error(end.start.kind, code)) {
            span.set_status(Status::error(end.outcome.status()));
        }
        span.end();
    }
}

/// Returns whether a code makes a span an error: for a server only the codes that say that the
/// server is at fault, as the conventions for RPC advise.
fn is_error(kind: Kind, code: Code) -> bool {
    kind != Kind::ServerRequest
        || matches!(
            code,
            Code::Unknown
                | Code::DeadlineExceeded
                | Code::Unimplemented
                | Code::Internal
                | Code::Unavailable
                | Code::DataLoss
        )
}

//! OpenTelemetry for rr: spans and metrics of every call, attempt and request.
//!
//! [`OtelObserver`] is an [`Observer`](rr_spi::observe::Observer). Set it in the configuration of
//! clients and servers, and around the whole call if it is retried:
//!
//! ```
//! use rr_otel::OtelObserver;
//! use rr_spi::observe::Observers;
//! use rr_spi::{CallConfig, IntakeConfig};
//!
//! // After the application has installed its providers with `opentelemetry::global`:
//! let observers = Observers::new(OtelObserver::global());
//! let client = CallConfig::default().with_observers(observers.clone());
//! let server = IntakeConfig::default().with_observers(observers);
//! ```
//!
//! # Spans
//!
//! A call and each of its attempts are `CLIENT` spans, a request of a server is a `SERVER` span; the
//! name is the method. The trace context travels on as W3C `traceparent` and `tracestate` over every
//! transport, so that the span of a request is a child of the attempt that sent it. The parent of a
//! call is the current OpenTelemetry span, or else the `traceparent` of its context. Spans of the
//! application inside of a handler are children of the request's span.
//!
//! # Metrics
//!
//! [`names`] lists the instruments and attributes. The method of a request that no route answers is
//! `_OTHER`, and so is that of a call that its server refused as unknown, and of further targets of
//! calls once 1000 are known.
//!
//! Values of headers, bodies and messages of errors are in no span and no metric. The message of a
//! handler's panic is an event of the request's span.

#![forbid(unsafe_code)]

mod metrics;
mod observer;
mod trace_context;

pub use observer::OtelObserver;
#[doc(inline)]
pub use rr_spi::observe::names;

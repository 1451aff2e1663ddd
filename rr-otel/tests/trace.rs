//! One trace over HTTP, NATS and memory, as a receiver of OTLP gets it.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::trace::{TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use rr_core::config::{CallConfig, IntakeConfig};
use rr_core::observe::measurements::Instrument;
use rr_core::observe::{EjectionCause, Event, Observers};
use rr_core::retry::AttemptRecord;
use rr_core::{
    CallError, Client, Code, Context, Error, Reason, RequesterExt, Router, Server, Target,
    connect_with, recommended_with, serve_with,
};
use rr_otel::{OtelObserver, names};
use rr_testkit::NatsServer;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// Receiver of OTLP.
#[derive(Clone, Default)]
struct Receiver {
    spans: Arc<Mutex<Vec<Span>>>,
    metrics: Arc<Mutex<Vec<ExportMetricsServiceRequest>>>,
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        let spans = resources.flat_map(|it| it.scope_spans).flat_map(|it| it.spans);
        self.spans.lock().unwrap().extend(spans);
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.metrics.lock().unwrap().push(request.into_inner());
        Ok(Response::new(Default::default()))
    }
}

impl Receiver {
    async fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(self.clone()))
            .add_service(MetricsServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        address
    }

    /// Returns the spans of the only trace, from its root on.
    fn chain(&self) -> Vec<Span> {
        let spans = self.spans.lock().unwrap();
        let mut parent: &[u8] = &[];
        let mut chain = Vec::new();
        while let Some(span) = spans.iter().find(|span| span.parent_span_id == parent) {
            parent = &span.span_id;
            chain.push(span.clone());
        }
        assert_eq!(chain.len(), spans.len(), "{spans:#?}");
        chain
    }
}

/// Providers that export to a receiver.
struct Telemetry {
    tracers: SdkTracerProvider,
    meters: SdkMeterProvider,
    observers: Observers,
}

impl Telemetry {
    async fn start(receiver: &Receiver) -> Self {
        let endpoint = format!("http://{}", receiver.start().await);
        let spans = opentelemetry_otlp::SpanExporter::builder().with_tonic();
        let spans = spans.with_endpoint(&endpoint).build().unwrap();
        let metrics = opentelemetry_otlp::MetricExporter::builder().with_tonic();
        let metrics = metrics.with_endpoint(&endpoint).build().unwrap();
        let tracers = SdkTracerProvider::builder().with_batch_exporter(spans).build();
        let meters = SdkMeterProvider::builder().with_periodic_exporter(metrics).build();
        let observers = Observers::new(OtelObserver::with_providers(&tracers, &meters));
        Self { tracers, meters, observers }
    }

    async fn serve(&self, url: &str, router: Router) -> Server {
        let intake = IntakeConfig::default().with_observers(self.observers.clone());
        serve_with(url, router, intake).await.unwrap()
    }

    async fn connect(&self, url: &str) -> Client {
        let calls = CallConfig::default().with_observers(self.observers.clone());
        connect_with(url, calls).await.unwrap()
    }

    /// Exports everything. The exporters block the thread that flushes.
    async fn flush(&self) {
        let (tracers, meters) = (self.tracers.clone(), self.meters.clone());
        let flush = move || (tracers.force_flush(), meters.force_flush());
        let (spans, metrics) = tokio::task::spawn_blocking(flush).await.unwrap();
        spans.unwrap();
        metrics.unwrap();
    }
}

fn text<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a str> {
    let value = attributes.iter().find(|it| it.key == name)?.value.as_ref()?;
    match value.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// Passes a call on to the next service.
fn passes_on(next: Client, target: &'static str) -> Router {
    let pass = move |ctx: Context, (): ()| {
        let next = next.clone();
        async move { Ok::<(), Error>(next.call(&ctx, target, &()).await?) }
    };
    Router::new().route("first", pass.clone()).route("second", pass)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_over_http_nats_and_memory() {
    let receiver = Receiver::default();
    let telemetry = Telemetry::start(&receiver).await;
    let broker = NatsServer::start().await.unwrap();
    let last = Router::new().route("last", async |_: Context, (): ()| Ok::<(), Error>(()));
    let memory = telemetry.serve("memory://last", last).await;
    let last = telemetry.connect(memory.url()).await;
    let nats = telemetry.serve(&broker.url(), passes_on(last, "last")).await;
    let second = telemetry.connect(nats.url()).await;
    let http = telemetry.serve("http://127.0.0.1:0", passes_on(second, "second")).await;
    let first = telemetry.connect(http.url()).await;

    let tracer = telemetry.tracers.tracer("application");
    let root = opentelemetry::Context::current_with_span(tracer.start("root"));
    let call = async {
        let ctx = Context::background().with_timeout(Duration::from_secs(30));
        first.call::<()>(&ctx, "first", &()).await.unwrap();
    };
    opentelemetry::context::FutureExt::with_context(call, root.clone()).await;
    root.span().end();
    telemetry.flush().await;

    let chain = receiver.chain();
    let (client, server) = (SpanKind::Client as i32, SpanKind::Server as i32);
    let seen: Vec<_> = chain.iter().map(|span| (span.name.as_str(), span.kind)).collect();
    assert_eq!(
        seen,
        [
            ("root", SpanKind::Internal as i32),
            ("first", client),
            ("first", server),
            ("second", client),
            ("second", server),
            ("last", client),
            ("last", server),
        ]
    );
    for span in &chain[1..] {
        assert_eq!(span.trace_id, chain[0].trace_id);
        assert_eq!(text(&span.attributes, names::RPC_SYSTEM_NAME), Some("rr"));
        assert_eq!(text(&span.attributes, names::RPC_RESPONSE_STATUS_CODE), Some("ok"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_counted_by_their_reason_and_unknown_targets_share_a_name() {
    let receiver = Receiver::default();
    let telemetry = Telemetry::start(&receiver).await;
    let router = Router::new()
        .route("panics", async |_: Context, (): ()| -> Result<(), Error> { panic!("out of tea") })
        .route("works", async |_: Context, (): ()| Ok::<(), Error>(()));
    let server = telemetry.serve("memory://failures", router).await;
    let client = telemetry.connect(server.url()).await;
    let ctx = Context::background();
    for number in 0..3 {
        let outcome: Result<(), CallError> =
            client.call(&ctx, format!("unknown.{number}"), &()).await;
        assert!(
            matches!(outcome, Err(CallError::Rr(error)) if error.code() == Code::Unimplemented)
        );
    }
    client.call::<()>(&ctx, "panics", &()).await.unwrap_err();
    client.call::<()>(&ctx, "works", &()).await.unwrap();
    telemetry.flush().await;

    let mut counts = receiver.counts(names::SERVER_CALL_DURATION);
    counts.sort_unstable();
    assert_eq!(
        counts,
        ["_OTHER no-such-target 3", "panics panic 1", "works - 1"].map(str::to_owned)
    );
    let spans = receiver.spans.lock().unwrap();
    let panicked = spans.iter().find(|span| span.name == "panics" && !span.events.is_empty());
    let event = &panicked.unwrap().events[0];
    assert_eq!(text(&event.attributes, names::EXCEPTION_MESSAGE), Some("out of tea"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_instrument_reaches_the_receiver_with_its_unit() {
    let receiver = Receiver::default();
    let telemetry = Telemetry::start(&receiver).await;
    let router = Router::new().route("works", async |_: Context, (): ()| Ok::<(), Error>(()));
    let server = telemetry.serve("memory://instruments", router).await;
    let client = telemetry.connect(server.url()).await;
    let client = recommended_with(client, telemetry.observers.clone());
    let ctx = Context::background();
    client.call::<()>(&ctx, "works", &()).await.unwrap();
    client.call::<()>(&ctx, "unknown", &()).await.unwrap_err();
    let failed = AttemptRecord::of(&Error::new(Code::Unavailable, "lost"), Duration::ZERO);
    let target = Target::from_static("works").unwrap();
    let refused = Error::new(Code::ResourceExhausted, "").with_reason(Reason::OVERLOADED);
    for event in [
        Event::retry(&ctx, &target, &failed),
        Event::retry_refused(&ctx, &target, &failed),
        Event::retry_budget(&target, 7),
        Event::LateReply,
        Event::disconnected("nats://broker", None),
        Event::reconnected("nats://broker"),
        Event::handshake_refused(None, "no certificate"),
        Event::hedged(&ctx, &target, Duration::ZERO),
        Event::hedge_won(&ctx, &target),
        Event::hedge_refused(&ctx, &target),
        Event::throttled(&ctx, &target),
        Event::limit_refused(&ctx, &target, &refused, 5),
        Event::limit_reported(&target, 6),
        Event::endpoint_ejected("a", Duration::ZERO, EjectionCause::FailuresInRow),
    ] {
        telemetry.observers.event(&event);
    }
    telemetry.flush().await;

    let exports = receiver.metrics.lock().unwrap();
    let newest = exports.last().unwrap().resource_metrics.iter();
    let metrics = newest.flat_map(|it| &it.scope_metrics).flat_map(|it| &it.metrics);
    let mut exported: Vec<_> =
        metrics.map(|it| (it.name.as_str(), it.unit.as_str(), it.description.as_str())).collect();
    let mut expected: Vec<_> =
        Instrument::ALL.iter().map(|it| (it.name(), it.unit(), it.description())).collect();
    exported.sort_unstable();
    expected.sort_unstable();
    assert_eq!(exported, expected);
}

impl Receiver {
    /// Returns the numbers of a histogram: method, kind of the error, and number.
    fn counts(&self, name: &str) -> Vec<String> {
        let exports = self.metrics.lock().unwrap();
        let newest = exports.last().unwrap().resource_metrics.iter();
        let metrics = newest.flat_map(|it| &it.scope_metrics).flat_map(|it| &it.metrics);
        let found = metrics.filter(|metric| metric.name == name);
        let points = found.flat_map(|metric| match &metric.data {
            Some(Data::Histogram(histogram)) => histogram.data_points.clone(),
            _ => Vec::new(),
        });
        let line = |attributes: &[KeyValue], count| {
            let method = text(attributes, names::RPC_METHOD).unwrap_or("?");
            format!("{method} {} {count}", text(attributes, names::ERROR_TYPE).unwrap_or("-"))
        };
        points.map(|point| line(&point.attributes, point.count)).collect()
    }
}

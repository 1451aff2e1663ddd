//! The observer alone: names, units and bounded labels.

use std::sync::Arc;
use std::time::Duration;

use rr_core::config::{ClientConfig, ServerConfig};
use rr_core::limit::{RateConfig, RateLimit};
use rr_core::observe::measurements::{Instrument, InstrumentKind};
use rr_core::observe::{EjectionCause, Event, MetricsObserver, Observer, Observers};
use rr_core::retry::AttemptRecord;
use rr_core::{
    Code, Context, Error, Reason, RequesterExt, Router, Stack, Target, connect_with,
    recommended_with, serve_with,
};

use super::support::Exporter;

/// Returns the name of an instrument as the book says that Prometheus has it.
fn for_prometheus(instrument: Instrument) -> (String, &'static str) {
    let name = instrument.name().replace('.', "_");
    match instrument.kind() {
        InstrumentKind::Histogram => (format!("{name}_seconds"), "histogram"),
        InstrumentKind::Counter => (format!("{name}_total"), "counter"),
        _ => (name, "gauge"),
    }
}

/// Makes 10,000 calls to targets that the server does not have, and some that it has.
#[tokio::test]
async fn unknown_targets_make_one_label_value_at_both_ends() {
    let (exporter, _guard) = Exporter::install();
    let router = Router::new().route("shop.double", async |n: u32| Ok::<u32, Error>(n * 2));
    let server = serve_with("memory://cardinality", router, ServerConfig::default());
    let server = server.await.unwrap();
    let client = connect_with(server.url(), ClientConfig::default()).await.unwrap();
    let client = recommended_with(client, Observers::default());
    let ctx = Context::background();
    for number in 0..10_000 {
        let target = format!("made.up.t{number}");
        client.call::<u32>(&ctx, target, &1).await.unwrap_err();
        client.call::<u32>(&ctx, "shop.double", &1).await.unwrap();
    }
    let expected = ["no-such-target _OTHER unimplemented 10000", "shop/double ok 10000"];
    for metric in [
        "rpc_server_call_duration_seconds_count",
        "rr_client_attempt_duration_seconds_count",
        "rpc_client_call_duration_seconds_count",
    ] {
        assert_eq!(exporter.values(metric), expected);
    }
    assert!(!exporter.text().contains("made"), "{}", exporter.text());
}

#[tokio::test]
async fn events_are_counted_and_each_instrument_is_described() {
    let (exporter, _guard) = Exporter::install();
    let router = Router::new().route("shop.double", async |n: u32| Ok::<u32, Error>(n * 2));
    let observer = Arc::new(MetricsObserver::new());
    let observers = Observers::default().and_shared(observer.clone());
    let config = ServerConfig::default().with_observers(observers.clone());
    let server = serve_with("memory://events", router, config).await.unwrap();
    let config = ClientConfig::default().with_observers(observers.clone());
    let client = connect_with(server.url(), config).await.unwrap();
    let client = recommended_with(client, observers);
    let ctx = Context::background();
    client.call::<u32>(&ctx, "shop.double", &1).await.unwrap();
    client.call::<u32>(&ctx, "shop.none", &1).await.unwrap_err();
    let failed = AttemptRecord::of(&Error::new(Code::Unavailable, "lost"), Duration::ZERO);
    let target = Target::from_static("shop.double").unwrap();
    let refused = Error::new(Code::ResourceExhausted, "").with_reason(Reason::OVERLOADED);
    for event in [
        Event::retry(&ctx, &target, &failed),
        Event::retry_refused(&ctx, &target, &failed),
        Event::retry_budget(&target, 7),
        Event::LateReply,
        Event::disconnected("nats://broker", None),
        Event::reconnected("nats://broker"),
        Event::handshake_refused(None, "no certificate"),
        Event::drain_started(1),
        Event::hedged(&ctx, &target, Duration::ZERO),
        Event::hedge_won(&ctx, &target),
        Event::hedge_refused(&ctx, &target),
        Event::throttled(&ctx, &target),
        Event::limit_refused(&ctx, &target, &refused, 5),
        Event::limit_reported(&target, 6),
        Event::endpoint_ejected("a", Duration::ZERO, EjectionCause::FailuresInRow),
    ] {
        observer.event(&event);
    }
    assert_eq!(exporter.values("rr_limit_refused_total"), ["overloaded shop/double 1"]);
    assert_eq!(exporter.values("rr_concurrency_limit"), ["shop 6"]);
    assert_eq!(exporter.values("rr_client_retry_budget"), ["shop 7"]);
    assert_eq!(exporter.values("rr_client_retries_refused_total"), ["shop/double 1"]);
    for name in ["hedges", "hedges_won", "hedges_refused", "throttled"] {
        let name = format!("rr_client_{name}_total");
        assert_eq!(exporter.values(&name), ["shop/double 1"], "{name}");
    }
    let text = exporter.text();
    for instrument in Instrument::ALL {
        let (name, kind) = for_prometheus(*instrument);
        let described = format!("# HELP {name} {}\n", instrument.description());
        assert!(text.contains(&described), "{described} in {text}");
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name} in {text}");
    }
}

#[test]
fn ejections_are_counted_by_cause_and_ejected_endpoints_while_they_are() {
    let (exporter, _guard) = Exporter::install();
    let observer = MetricsObserver::new();
    let eject = |name, cause| observer.event(&Event::endpoint_ejected(name, Duration::ZERO, cause));
    let ejected = || exporter.values("rr_client_endpoints_ejected");
    eject("a", EjectionCause::FailuresInRow);
    eject("b", EjectionCause::SuccessRate);
    eject("a", EjectionCause::ProbeFailed);
    assert_eq!(ejected(), ["2"]);
    assert_eq!(
        exporter.values("rr_client_ejections_total"),
        ["failures-in-row 1", "probe-failed 1", "success-rate 1"]
    );
    observer.event(&Event::endpoint_returned("a"));
    assert_eq!(ejected(), ["1"]);
    observer.event(&Event::ejected_endpoint_removed("b"));
    assert_eq!(ejected(), ["0"]);
}

#[tokio::test]
async fn calls_that_layers_refuse_have_no_more_names_than_those_that_answer() {
    let (exporter, _guard) = Exporter::install();
    let limit = RateLimit::new(RateConfig::default().with_burst(1).with_calls_per_second(1));
    let observer = Arc::new(MetricsObserver::new());
    let observers = Observers::default().and_shared(observer);
    let router = Router::new()
        .route("shop.double", async |n: u32| Ok::<u32, Error>(n * 2))
        .with(limit.with_observers(observers.clone()));
    let config = ServerConfig::default().with_observers(observers.clone());
    let server = serve_with("memory://limited", router, config).await.unwrap();
    // Around the client, made-up targets are refused too.
    let limit = RateLimit::new(RateConfig::default().with_burst(2).with_calls_per_second(1));
    let client = connect_with(server.url(), ClientConfig::default()).await.unwrap();
    let client = Stack::new(client).with(limit.with_observers(observers));
    let ctx = Context::background();
    client.call::<u32>(&ctx, "shop.double", &1).await.unwrap();
    client.call::<u32>(&ctx, "shop.double", &1).await.unwrap_err();
    for number in 0..100 {
        client.call::<u32>(&ctx, format!("made.up{number}"), &1).await.unwrap_err();
    }
    assert_eq!(
        exporter.values("rr_limit_refused_total"),
        ["rate-limited _OTHER 100", "rate-limited shop/double 1"]
    );
}

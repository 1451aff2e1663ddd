//! Recorders: none, one that panics, and one that comes late.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{
    Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    set_default_local_recorder,
};
use metrics_exporter_prometheus::PrometheusBuilder;
use metrics_util::MetricKindMask;
use rr_core::config::ServerConfig;
use rr_core::observe::{Event, Kind, MetricsObserver, Observer};
use rr_core::{
    Context, Error, RequesterExt, Router, Service, connect, recommended, serve, serve_with,
};
use rr_testkit::Reports;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::support::Exporter;

fn router() -> Router {
    Router::new().route("shop.double", async |n: u32| Ok::<u32, Error>(n * 2))
}

/// Panics in every method.
struct Panics(#[allow(dead_code, reason = "gives the recorder a size")] u8);

impl Recorder for Panics {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        panic!("when a counter is described")
    }

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        panic!("when a gauge is described")
    }

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        panic!("when a histogram is described")
    }

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        panic!("at a counter")
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        panic!("at a gauge")
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        panic!("at a histogram")
    }
}

#[tokio::test]
async fn a_recorder_that_panics_harms_no_call() {
    let _guard = set_default_local_recorder(&Panics(0));
    let server = serve("memory://recorder-panics", router()).await.unwrap();
    let client = recommended(connect(server.url()).await.unwrap());
    let ctx = Context::background();
    for _ in 0..3 {
        assert_eq!(client.call::<u32>(&ctx, "shop.double", &2).await.unwrap(), 4);
        client.call::<u32>(&ctx, "shop.none", &2).await.unwrap_err();
    }
    assert_eq!(server.shutdown(Duration::from_secs(5)).await.aborted, 0);
}

#[test]
fn without_a_recorder_nothing_is_observed() {
    let observer = MetricsObserver::new();
    let kinds = [Kind::ClientCall, Kind::ClientAttempt, Kind::ServerRequest];
    assert!(kinds.iter().all(|kind| !observer.observes(*kind)));
    let (_exporter, guard) = Exporter::install();
    assert!(kinds.iter().all(|kind| observer.observes(*kind)));
    drop(guard);
    assert!(kinds.iter().all(|kind| !observer.observes(*kind)));
}

/// Handler that states when it is entered, and ends when it is told to.
struct Slow {
    entered: Semaphore,
    may_end: Semaphore,
}

impl Slow {
    async fn run(self: Arc<Self>, _: u32) -> Result<u32, Error> {
        self.entered.add_permits(1);
        self.may_end.acquire().await.unwrap().forget();
        Ok(1)
    }
}

#[tokio::test]
async fn operations_that_began_before_the_recorder_came_leave_the_number_in_flight_right() {
    let slow = Arc::new(Slow { entered: Semaphore::new(0), may_end: Semaphore::new(0) });
    let service = Service::new("slow", Arc::clone(&slow)).method("run", Slow::run);
    // Another observer has the operations reported before there is a recorder.
    let observers = Reports::new().observers();
    let config = ServerConfig::default().with_observers(observers);
    let server = serve_with("memory://late-recorder", router().merge(service), config);
    let server = server.await.unwrap();
    let client = connect(server.url()).await.unwrap();
    let ctx = Context::background();
    let early = tokio::spawn({
        let (client, ctx) = (client.clone(), ctx.clone());
        async move { client.call::<u32>(&ctx, "slow.run", &1).await }
    });
    slow.entered.acquire().await.unwrap().forget();

    let (exporter, _guard) = Exporter::install();
    client.call::<u32>(&ctx, "shop.double", &1).await.unwrap();
    assert_eq!(exporter.values("rr_server_in_flight"), ["1"]);
    slow.may_end.add_permits(1);
    early.await.unwrap().unwrap();
    assert_eq!(exporter.values("rr_server_in_flight"), ["0"]);
}

#[tokio::test(start_paused = true)]
async fn a_metric_that_the_exporter_forgot_while_it_was_idle_is_there_again_when_it_is_used() {
    let builder = PrometheusBuilder::new();
    let timeout = Some(Duration::from_millis(1));
    let recorder = Box::leak(Box::new(
        builder.idle_timeout(MetricKindMask::COUNTER, timeout).build_recorder(),
    ));
    let handle = recorder.handle();
    let _guard = set_default_local_recorder(recorder);
    let observer = MetricsObserver::new();
    observer.event(&Event::LateReply);
    assert!(handle.render().contains("late_replies 1"));
    // The exporter reads the real clock. It forgets what did not change between two renderings.
    assert!((0..1_000_000).any(|_| !handle.render().contains("late_replies")));
    sleep(Duration::from_secs(1)).await;
    observer.event(&Event::LateReply);
    assert!(handle.render().contains("late_replies 1"));
}

#[tokio::test(start_paused = true)]
async fn the_number_in_flight_is_right_after_the_exporter_forgot_it_during_a_call() {
    let builder = PrometheusBuilder::new();
    let timeout = Some(Duration::from_millis(1));
    let recorder =
        Box::leak(Box::new(builder.idle_timeout(MetricKindMask::ALL, timeout).build_recorder()));
    let handle = recorder.handle();
    let _guard = set_default_local_recorder(recorder);
    let slow = Arc::new(Slow { entered: Semaphore::new(0), may_end: Semaphore::new(0) });
    let service = Service::new("slow", Arc::clone(&slow)).method("run", Slow::run);
    let server = serve("memory://forgotten-in-flight", Router::new().merge(service)).await.unwrap();
    let client = connect(server.url()).await.unwrap();
    let call =
        tokio::spawn(
            async move { client.call::<u32>(&Context::background(), "slow.run", &1).await },
        );
    slow.entered.acquire().await.unwrap().forget();
    assert!(handle.render().contains("rr_client_in_flight 1\n"), "{}", handle.render());
    // The exporter reads the real clock. It forgets what did not change between two renderings.
    assert!((0..1_000_000).any(|_| !handle.render().contains("in_flight")));
    sleep(Duration::from_secs(1)).await;
    slow.may_end.add_permits(1);
    call.await.unwrap().unwrap();
    let text = handle.render();
    assert!(text.contains("rr_client_in_flight 0\n"), "{text}");
    assert!(text.contains("rr_server_in_flight 0\n"), "{text}");
}

/// Gauge that panics at every seventh record.
#[derive(Default)]
struct SeventhPanics {
    records: AtomicU64,
    value: AtomicU64,
}

impl SeventhPanics {
    fn change(&self, change: impl Fn(f64) -> f64) {
        let record = self.records.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(record % 7 != 0, "at record {record}");
        let value = change(f64::from_bits(self.value.load(Ordering::Relaxed)));
        self.value.store(value.to_bits(), Ordering::Relaxed);
    }
}

impl GaugeFn for SeventhPanics {
    fn increment(&self, value: f64) {
        self.change(|before| before + value);
    }

    fn decrement(&self, value: f64) {
        self.change(|before| before - value);
    }

    fn set(&self, value: f64) {
        self.change(|_| value);
    }
}

/// Recorder whose gauges of attempts in flight panic at times.
struct PanicsAtTimes<R>(R, Arc<SeventhPanics>);

impl<R: Recorder> Recorder for PanicsAtTimes<R> {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.0.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        if key.name() == "rr.client.in_flight" {
            return Gauge::from_arc(Arc::clone(&self.1));
        }
        self.0.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.0.register_histogram(key, metadata)
    }
}

#[tokio::test]
async fn a_gauge_that_panics_at_times_is_right_again_and_costs_no_other_value() {
    let prometheus = PrometheusBuilder::new().build_recorder();
    let handle = prometheus.handle();
    let gauge = Arc::new(SeventhPanics::default());
    let recorder = PanicsAtTimes(prometheus, Arc::clone(&gauge));
    let _guard = set_default_local_recorder(&recorder);
    let server = serve("memory://panics-at-times", router()).await.unwrap();
    let client = connect(server.url()).await.unwrap();
    for _ in 0..20 {
        client.call::<u32>(&Context::background(), "shop.double", &2).await.unwrap();
    }
    assert_eq!(gauge.records.load(Ordering::Relaxed), 40);
    assert_eq!(f64::from_bits(gauge.value.load(Ordering::Relaxed)), 0.0);
    let text = handle.render();
    let count = text.lines().find(|it| it.starts_with("rr_client_attempt_duration_count"));
    assert!(count.is_some_and(|count| count.ends_with(" 20")), "{text}");
}

#[test]
fn each_recorder_gets_what_is_recorded_while_it_is_installed() {
    let observer = MetricsObserver::new();
    for _ in 0..2 {
        let (exporter, _guard) = Exporter::install();
        observer.event(&Event::LateReply);
        assert_eq!(exporter.values("rr_client_late_replies_total"), ["1"]);
        let described = exporter.text().contains("# HELP rr_client_late_replies_total Replies");
        assert!(described, "{}", exporter.text());
    }
}

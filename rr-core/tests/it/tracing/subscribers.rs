//! Subscribers that are not interested, and subscribers that panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rr_core::config::IntakeConfig;
use rr_core::observe::{Kind, Observer as _, TracingObserver};
use rr_core::{Code, Context, Error, Request, Requester as _, Response, Router, recommended};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Registry, filter::LevelFilter};

use super::support::*;

async fn answers(_: Context, request: Request) -> Result<Response, Error> {
    match &*request.body {
        b"fail" => Err(Error::new(Code::Internal, "as asked")),
        _ => Ok(Response::new("done")),
    }
}

fn client() -> impl rr_core::Requester {
    let router = Router::new().route("answers", answers);
    recommended(InProcess::new(router, IntakeConfig::default()))
}

#[tokio::test]
async fn a_subscriber_of_warnings_gets_failures_without_spans() {
    let log = Log::default();
    let subscriber = Registry::default().with(log.clone()).with(LevelFilter::WARN);
    let _guard = tracing::subscriber::set_default(subscriber);
    let client = client();
    client.request(&Context::background(), request("answers")).await.unwrap();
    assert!(log.take().is_empty());
    let mut failing = request("answers");
    failing.body = "fail".into();
    client.request(&Context::background(), failing).await.unwrap_err();
    let lines = [": request failed ERROR internal", ": call failed WARN internal"];
    assert_eq!(log.lines(), lines);
}

#[tokio::test]
async fn nothing_is_observed_that_no_subscriber_is_interested_in() {
    let log = Log::default();
    let subscriber = Registry::default().with(log.clone()).with(LevelFilter::OFF);
    let _guard = tracing::subscriber::set_default(subscriber);
    for kind in [Kind::ClientCall, Kind::ClientAttempt, Kind::ServerRequest] {
        assert!(!TracingObserver::new().observes(kind), "{kind:?}");
    }
    client().request(&Context::background(), request("answers")).await.unwrap();
    assert!(log.take().is_empty());
}

/// Panics in one of its methods, and counts how often.
struct Panics(&'static str, Arc<AtomicU32>);

impl Panics {
    fn here(&self, method: &str) {
        // A subscriber that panics once more while a panic unwinds would end any process.
        if self.0 == method && !std::thread::panicking() {
            self.1.fetch_add(1, Ordering::Relaxed);
            panic!("a subscriber panics in {method}");
        }
    }
}

impl Subscriber for Panics {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        self.here("enabled");
        true
    }

    fn register_callsite(&self, _: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        tracing::subscriber::Interest::sometimes()
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        self.here("new_span");
        Id::from_u64(7)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {
        self.here("record");
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        self.here("event");
    }

    fn enter(&self, _: &Id) {
        self.here("enter");
    }

    fn exit(&self, _: &Id) {
        self.here("exit");
    }

    fn try_close(&self, _: Id) -> bool {
        self.here("try_close");
        true
    }
}

#[tokio::test]
async fn a_subscriber_that_panics_harms_no_call() {
    const METHODS: [&str; 8] =
        ["none", "enabled", "new_span", "record", "event", "enter", "exit", "try_close"];
    for method in METHODS {
        let panics = Arc::new(AtomicU32::new(0));
        let subscriber = Panics(method, Arc::clone(&panics));
        let _guard = tracing::subscriber::set_default(subscriber);
        let client = client();
        let reply = client.request(&Context::background(), request("answers")).await;
        assert_eq!(reply.unwrap().body, "done", "{method}");
        let mut failing = request("answers");
        failing.body = "fail".into();
        let error = client.request(&Context::background(), failing).await.unwrap_err();
        assert_eq!((error.code(), error.message()), (Code::Internal, "as asked"), "{method}");
        assert_eq!(panics.load(Ordering::Relaxed) > 0, method != "none", "{method}");
    }
}

#[tokio::test]
async fn levels_of_the_targets_are_set_apart() {
    let log = Log::default();
    let of_servers = tracing_subscriber::filter::filter_fn(|metadata| {
        *metadata.level() <= Level::INFO && metadata.target() == "rr::server"
    });
    let subscriber = Registry::default().with(log.clone()).with(of_servers);
    let _guard = tracing::subscriber::set_default(subscriber);
    client().request(&Context::background(), request("answers")).await.unwrap();
    assert_eq!(log.lines(), ["request: request ends ok"]);
}

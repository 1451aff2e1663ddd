//! Failures: each is one event of its operation, at the level of whom it concerns.

use std::future::pending;
use std::time::Duration;

use rr_core::config::{IntakeConfig, Limits};
use rr_core::observe::{Event, Observer as _, TracingObserver};
use rr_core::retry::AttemptRecord;
use rr_core::transport::Attempt;
use rr_core::{
    Code, Context, Delivery, DrainReport, Error, Reason, Request, Requester, RequesterExt as _,
    Response, Router, Stack, async_trait, defaults,
};
use serde::{Serialize, Serializer};
use tracing::Level;

use super::support::*;

/// A value that has no encoding.
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("a map that has no keys"))
    }
}

async fn double(n: u32) -> Result<u32, Error> {
    Ok(n * 2)
}

async fn unwritable((): ()) -> Result<Unwritable, Error> {
    Ok(Unwritable)
}

async fn panics(_: Context, _: Request) -> Result<Response, Error> {
    panic!("index 7 is\nout of bounds")
}

async fn hangs(_: Context, _: Request) -> Result<Response, Error> {
    pending().await
}

fn client(config: IntakeConfig) -> Stack<InProcess> {
    let router = Router::new()
        .route("double", double)
        .route("unwritable", unwritable)
        .route("panics", panics)
        .route("hangs", hangs);
    Stack::new(InProcess::new(router, config)).observed_by(observers())
}

/// Makes a call that fails; returns the events, which are those of the request, the attempt and the
/// call.
async fn failing(
    log: &Log,
    client: &Stack<InProcess>,
    target: &'static str,
    body: &'static str,
) -> [Entry; 3] {
    let mut request = request(target);
    request.body = body.into();
    request.headers.insert("content-type", "application/json").unwrap();
    let ctx = Context::background().with_timeout(Duration::from_millis(50));
    let error = client.request(&ctx, request).await.unwrap_err();
    let events: [Entry; 3] = log.events().try_into().unwrap();
    for (event, name, operation) in [
        (&events[0], "request failed", "rr::server"),
        (&events[1], "attempt failed", "rr::attempt"),
        (&events[2], "call failed", "rr::client"),
    ] {
        assert_eq!((&*event.name, event.target), (name, operation), "{target}");
        assert_eq!(event.get("rr.code"), error.code().as_str(), "{target}");
        assert_eq!(event.get("rr.reason"), error.reason().map_or("", Reason::as_str));
        assert_eq!(event.get("rpc.method"), target);
    }
    assert_eq!(events[1].level, Level::DEBUG, "the call tells of it");
    events
}

#[tokio::test(start_paused = true)]
async fn each_failure_is_logged_once_at_the_level_of_whom_it_concerns() {
    let (log, _guard) = Log::capture();
    let small = Limits::default().with_request_bytes_max(8);
    let client = client(IntakeConfig::default().with_limits(small));
    for (target, body, reason, at_server, at_client) in [
        ("unknown", "1", "no-such-target", Level::INFO, Level::INFO),
        ("double", "123456789", "request-too-large", Level::INFO, Level::INFO),
        ("double", "\"x\"", "decode", Level::INFO, Level::INFO),
        ("panics", "", "panic", Level::ERROR, Level::WARN),
        ("hangs", "", "", Level::WARN, Level::WARN),
        ("unwritable", "null", "", Level::ERROR, Level::WARN),
    ] {
        let [request, _, call] = failing(&log, &client, target, body).await;
        assert_eq!(request.get("rr.reason"), reason, "{target}");
        assert_eq!((request.level, call.level), (at_server, at_client), "{target}");
    }
    let full = self::client(IntakeConfig::default().with_in_flight_max(0));
    let [request, _, call] = failing(&log, &full, "double", "1").await;
    assert_eq!((request.level, call.level), (Level::WARN, Level::WARN));
    assert_eq!(request.get("rr.reason"), "overloaded");
    assert_ne!(request.get("error"), "", "it says which limit");
}

#[tokio::test(start_paused = true)]
async fn the_text_of_a_panic_is_logged_at_the_server_only() {
    let (log, _guard) = Log::capture();
    let [request, attempt, call] =
        failing(&log, &client(IntakeConfig::default()), "panics", "").await;
    assert_eq!(request.get("panic"), "index 7 is\\nout of bounds");
    for event in [attempt, call] {
        assert!(!format!("{event:?}").contains("out of bounds"), "{event:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_without_an_encoding_is_logged_with_the_reason_of_serde() {
    let (log, _guard) = Log::capture();
    let client = client(IntakeConfig::default());
    let [request, attempt, call] = failing(&log, &client, "unwritable", "null").await;
    assert!(request.get("source").contains("a map that has no keys"), "{request:?}");
    for event in [attempt, call] {
        assert!(!format!("{event:?}").contains("no keys"), "{event:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_code_has_its_level() {
    for code in Code::ALL {
        let (log, _guard) = Log::capture();
        let router = Router::new().route("fails", move |_: Context, _: Request| async move {
            Err::<Response, _>(Error::new(code, "as asked"))
        });
        let requester = InProcess::new(router, IntakeConfig::default());
        let _ = requester.request(&Context::background(), request("fails")).await;
        let levels: Vec<_> = log.events().iter().map(|event| event.level).collect();
        let (server, client) = match code {
            Code::Internal | Code::Unknown | Code::DataLoss => (Level::ERROR, Level::WARN),
            Code::DeadlineExceeded | Code::Unavailable | Code::ResourceExhausted => {
                (Level::WARN, Level::WARN)
            }
            Code::InvalidArgument
            | Code::Unimplemented
            | Code::Unauthenticated
            | Code::PermissionDenied => (Level::INFO, Level::INFO),
            _ => (Level::DEBUG, Level::DEBUG),
        };
        // Without a call around it, an attempt tells of itself.
        assert_eq!(levels, [server, client], "{code}");
    }
}

/// Sends the request and never receives a reply.
struct Silent;

#[async_trait]
impl Requester for Silent {
    async fn request(&self, ctx: &Context, _: Request) -> Result<Response, Error> {
        let attempt = Attempt::start(ctx, defaults::CLIENT_TIMEOUT)?;
        attempt.sent();
        attempt.run(pending()).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_expired_tells_where_its_time_went() {
    let (log, _guard) = Log::capture();
    let client = Stack::new(Silent).observed_by(observers());
    let ctx = Context::background().with_timeout(Duration::from_millis(20));
    let error = client.request(&ctx, request("t")).await.unwrap_err();
    let [event] = log.events().try_into().unwrap();
    assert_eq!(event.get("account"), error.account().to_string());
    assert!(event.get("account").ends_with("waiting for the reply"), "{event:?}");
    assert_eq!(event.get("rr.reason"), "expired-awaiting-reply");
    assert_eq!(event.get("elapsed_ms"), "20.0");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_is_logged_as_cancelled() {
    let (log, _guard) = Log::capture();
    let client = Stack::new(Silent).observed_by(observers());
    let ctx = Context::background();
    let call = client.request(&ctx, request("t"));
    assert!(tokio::time::timeout(Duration::from_millis(20), call).await.is_err());
    let entries = log.lines();
    assert_eq!(entries, ["call: call failed DEBUG canceled", "call: call ends canceled"]);
}

#[tokio::test(start_paused = true)]
async fn a_typed_error_of_a_downstream_is_logged_by_its_code_only() {
    let (log, _guard) = Log::capture();
    let downstream = InProcess::new(
        Router::new().route("fails", |_: Context, _: Request| async {
            Err::<Response, _>(Error::new(Code::NotFound, "their secret"))
        }),
        IntakeConfig::default(),
    );
    let router = Router::new().route("calls", move |ctx: Context, (): ()| {
        let downstream = downstream.clone();
        async move { Ok::<_, Error>(downstream.call_raw(&ctx, "fails", "").await?.body.len()) }
    });
    let client = InProcess::new(router, IntakeConfig::default());
    let _ = client.call_raw(&Context::background(), "calls", "null").await.unwrap_err();
    let events = log.events();
    let request = events.iter().rfind(|event| event.name == "request failed").unwrap();
    assert_eq!(request.level, Level::ERROR);
    assert_eq!(request.get("source"), "not_found (processed)");
    let at_caller = events.iter().filter(|event| event.target != "rr::server");
    for event in at_caller {
        assert!(!format!("{event:?}").contains("secret"), "{event:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_of_a_handler_is_no_part_of_the_call_that_the_handler_answers() {
    let (log, _guard) = Log::capture();
    let router = Router::new().route("calls", |ctx: Context, _: Request| async move {
        InProcess::new(Router::new(), IntakeConfig::default()).request(&ctx, request("gone")).await
    });
    let client =
        Stack::new(InProcess::new(router, IntakeConfig::default())).observed_by(observers());
    client.request(&Context::background(), request("calls")).await.unwrap_err();
    let path = "call>attempt>request>attempt";
    assert_eq!(
        log.events().iter().map(Entry::to_string).collect::<Vec<_>>(),
        [
            &format!("{path}>request: request failed INFO unimplemented"),
            &format!("{path}: attempt failed INFO unimplemented"),
            "call>attempt>request: request failed ERROR internal",
            "call>attempt: attempt failed DEBUG internal",
            "call: call failed WARN internal",
        ]
    );
}

#[test]
fn what_is_no_operation_is_logged_as_an_event() {
    let (log, _guard) = Log::capture();
    let lost =
        Error::failure(Code::Unavailable, Delivery::Unknown, Reason::CONNECTION_LOST, "cut\n");
    let (ctx, target) = (Context::background(), request("t").target);
    let failed = AttemptRecord::of(&lost, Duration::from_millis(3));
    for (event, level, name, fields) in [
        (Event::retry(&ctx, &target, &failed), Level::INFO, "retry", &[("elapsed_ms", "3.0")][..]),
        (
            Event::retry_refused(&ctx, &target, &failed),
            Level::WARN,
            "retry refused",
            &[("elapsed_ms", "3.0")][..],
        ),
        (Event::LateReply, Level::DEBUG, "late reply", &[]),
        (Event::drain_started(3), Level::INFO, "drain started", &[("in_flight", "3")]),
        (
            Event::drain_ended(DrainReport::default()),
            Level::INFO,
            "drain ended",
            &[("completed", "0"), ("aborted", "0"), ("refused", "0")],
        ),
        (
            Event::disconnected("nats://h\n:4222", Some(&lost)),
            Level::WARN,
            "disconnected",
            &[("peer", "nats://h\\n:4222"), ("rr.reason", "connection-lost"), ("error", "cut\\n")],
        ),
        (Event::reconnected("h"), Level::INFO, "reconnected", &[("peer", "h")]),
        (
            Event::handshake_refused(Some(PEER.into()), "no certificate"),
            Level::INFO,
            "handshake refused",
            &[("peer", "127.0.0.1:4711"), ("error", "no certificate")],
        ),
        (
            Event::recording_incomplete("the disk\n"),
            Level::WARN,
            "recording incomplete",
            &[("error", "the disk\\n")],
        ),
    ] {
        TracingObserver::new().event(&event);
        let [entry] = log.events().try_into().unwrap();
        assert_eq!((&*entry.name, entry.level, entry.target), (name, level, "rr::event"));
        for (field, value) in fields {
            assert_eq!(entry.get(field), *value, "{name}");
        }
    }
}

#[cfg(feature = "record")]
#[tokio::test]
async fn calls_that_are_not_recorded_are_logged_once() {
    use rr_core::record::{Recorder, RecorderConfig};
    use rr_core::{Response, Stack};

    struct Answers;

    #[rr_core::async_trait]
    impl Requester for Answers {
        async fn request(&self, _: &Context, _: Request) -> Result<Response, Error> {
            Ok(Response::new("ok"))
        }
    }

    let (log, _guard) = Log::capture();
    let config = RecorderConfig::default().with_queued_bytes_max(1);
    let recorder = Recorder::new(std::io::sink(), config).unwrap();
    let client = Stack::new(Answers).with(recorder);
    for _ in 0..3 {
        client.request(&Context::background(), request("t")).await.unwrap();
    }
    let [entry] = log.events().try_into().unwrap();
    assert_eq!((&*entry.name, entry.level), ("recording incomplete", Level::WARN));
    assert_eq!(entry.get("error"), "calls end faster than the recorder writes them");
}

//! The tree of spans, and their fields.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use rr_core::config::IntakeConfig;
use rr_core::observe::Outcome;
use rr_core::transport::Inbound;
use rr_core::{
    Code, Context, Delivery, Error, Idempotency, Reason, Request, Requester, Response, Router,
    Target, recommended, recommended_with,
};
use tracing::{Level, info};

use super::support::*;

static RUNS: AtomicU32 = AtomicU32::new(0);

/// Is away at first.
async fn second_time(_: Context, _: Request) -> Result<Response, Error> {
    info!(target: "app", "handling");
    match RUNS.fetch_add(1, Ordering::Relaxed) {
        0 => Err(Error::new(Code::Unavailable, "not yet")),
        _ => Ok(Response::new("done")),
    }
}

async fn echo(_: Context, request: Request) -> Result<Response, Error> {
    Ok(Response::new(request.body))
}

#[tokio::test(start_paused = true)]
async fn attempts_are_in_their_call_and_requests_and_what_handlers_log_in_their_attempt() {
    let (log, _guard) = Log::capture();
    let router = Router::new().route("orders.place", second_time);
    let client = recommended(InProcess::new(router, IntakeConfig::default()));
    let request = request("orders.place").with_idempotency(Idempotency::Idempotent);
    client.request(&Context::background(), request).await.unwrap();
    assert_eq!(
        log.lines(),
        [
            "call>attempt>request: handling INFO",
            "call>attempt>request: request failed WARN unavailable",
            "call>attempt>request: request ends unavailable",
            "call>attempt: attempt failed DEBUG unavailable",
            "call>attempt: attempt ends unavailable",
            "call: retry INFO unavailable",
            "call>attempt>request: handling INFO",
            "call>attempt>request: request ends ok",
            "call>attempt: attempt ends ok",
            "call: call ends ok",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_is_observed_once_also_if_the_observer_is_set_twice() {
    let (log, _guard) = Log::capture();
    let local = InProcess::new(Router::new().route("echo", echo), IntakeConfig::default());
    let client = recommended_with(local, observers());
    client.request(&Context::background(), request("echo")).await.unwrap();
    let names: Vec<_> = log.take().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["request", "attempt", "call"]);
}

#[tokio::test(start_paused = true)]
async fn spans_have_the_fields_of_the_documentation_and_no_others() {
    let (log, _guard) = Log::capture();
    let client = recommended(InProcess::new(
        Router::new().service("shop.orders", echo),
        IntakeConfig::default(),
    ));
    let ctx = Context::background().with_request_id("r-1").unwrap();
    client.request(&ctx, request("shop.orders.place")).await.unwrap();
    let spans = log.take();
    let of_all = [
        ("rpc.system", "rr"),
        ("rpc.service", "shop.orders"),
        ("rpc.method", "place"),
        ("rr.retries", "0"),
        ("request_id", "r-1"),
        ("rr.code", "ok"),
        ("rr.delivery", "processed"),
        ("elapsed_ms", "0.0"),
        ("request_bytes", "4"),
        ("response_bytes", "4"),
    ];
    let of_request =
        [("otel.kind", "server"), ("otel.name", "shop.orders.*"), ("peer", "127.0.0.1:4711")];
    for (span, name, target, more) in [
        (&spans[0], "request", "rr::server", &of_request[..]),
        (&spans[1], "attempt", "rr::attempt", &[("otel.kind", "client")]),
        (&spans[2], "call", "rr::client", &[("otel.kind", "client")]),
    ] {
        assert_eq!((&*span.name, span.target, span.level), (name, target, Level::INFO));
        let expected = of_all.iter().chain(more).map(|(k, v)| (*k, (*v).to_owned())).collect();
        assert_eq!(span.fields, expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_in_the_span_and_counts_as_an_error_where_somebody_has_to_act() {
    let (log, _guard) = Log::capture();
    let router = Router::new().route("gone", |_: Context, _: Request| async {
        Err::<Response, _>(Error::new(Code::NotFound, "no order 17"))
    });
    let client = recommended(InProcess::new(router, IntakeConfig::default()));
    let _ = client.request(&Context::background(), request("gone")).await;
    let _ = client.request(&Context::background(), request("unknown")).await;
    let spans: Vec<_> = log.take().into_iter().filter(|entry| entry.is_span).collect();
    for (span, code, status) in [
        (&spans[0], "not_found", ""),
        (&spans[1], "not_found", "ERROR"),
        (&spans[2], "not_found", "ERROR"),
        (&spans[3], "unimplemented", ""),
        (&spans[4], "unimplemented", "ERROR"),
        (&spans[5], "unimplemented", "ERROR"),
    ] {
        assert_eq!((span.get("rr.code"), span.get("otel.status_code")), (code, status), "{span}");
    }
    assert_eq!(
        (spans[3].get("rr.reason"), spans[3].get("rr.delivery")),
        ("no-such-target", "rejected")
    );
    assert_eq!((spans[3].get("rpc.method"), spans[3].get("otel.name")), ("unknown", ""));
    assert_eq!(spans[3].get("rpc.service"), "");
}

#[tokio::test(start_paused = true)]
async fn a_retry_tells_the_server_how_many_attempts_preceded_it() {
    let (log, _guard) = Log::capture();
    let router = Router::new().route("busy", |_: Context, _: Request| async {
        Err::<Response, _>(Error::new(Code::Unavailable, "later"))
    });
    let client = recommended(InProcess::new(router, IntakeConfig::default()));
    let idempotent = request("busy").with_idempotency(Idempotency::Idempotent);
    let error = client.request(&Context::background(), idempotent).await.unwrap_err();
    let entries = log.take();
    let of = |name| -> Vec<_> {
        let spans = entries.iter().filter(|entry| entry.is_span && entry.name == name);
        spans.map(|span| span.get("rr.retries")).collect()
    };
    assert_eq!(
        (of("request"), of("attempt"), of("call")),
        (vec!["0", "1", "2"], vec!["0", "1", "2"], vec!["0"])
    );
    let retries: Vec<_> = entries.iter().filter(|entry| entry.name == "retry").collect();
    assert_eq!(retries.len(), 2);
    for (retry, attempt) in retries.iter().zip(error.attempts()) {
        assert_eq!(retry.get("decision"), attempt.decision.unwrap().to_string());
        assert_eq!((retry.get("rpc.method"), retry.target), ("busy", "rr::event"));
    }
}

#[tokio::test(start_paused = true)]
async fn any_number_of_unknown_targets_leaves_the_names_of_spans_bounded() {
    let (log, _guard) = Log::capture();
    let local = InProcess::new(Router::new().route("echo", echo), IntakeConfig::default());
    let (ctx, _handle) = local.intake().context(Inbound::default());
    let error = Error::failure(Code::Unimplemented, Delivery::Rejected, Reason::NO_SUCH_TARGET, "");
    let mut names = BTreeSet::new();
    for number in 0..10_000 {
        let target = Target::parse(&format!("random.t{number}")).unwrap();
        let watched = local.intake().watch(&ctx, Some(&target));
        watched.end(Outcome::Failure(&error));
        let span = log.take().pop().unwrap();
        assert_eq!(span.get("rpc.method"), target.method());
        names.insert((span.name.clone(), span.get("otel.name").to_owned()));
    }
    assert_eq!(Vec::from_iter(names), [("request".to_owned(), String::new())]);
}

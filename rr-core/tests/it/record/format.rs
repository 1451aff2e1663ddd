//! The form of the lines, and that nothing is lost in it.

use std::time::Duration;

use proptest::prelude::*;
use rr_core::call::Detail;
use rr_core::observe::{Spent, Stage, Timeline};
use rr_core::record::{Recorder, RecorderConfig, Replay};
use rr_core::retry::{AttemptRecord, RetryDecision, RetryHint};
use rr_core::transport::{Dedup, Origin};
use rr_core::{
    Code, Context, Delivery, Error, Headers, Idempotency, Reason, Request, Requester, Response,
    Router, Stack,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::support::{Memory, Outcome, Prepared, keyed, open, parts, record, request};

fn lines(file: &Memory) -> Vec<Value> {
    file.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Removes the members whose values differ from run to run.
fn without_times(mut line: Value) -> Value {
    let line_members = line.as_object_mut().unwrap();
    let at = line_members.remove("at").unwrap();
    assert!(at.as_str().unwrap().ends_with('Z') && at.as_str().unwrap().len() == 24, "{at}");
    assert!(line_members.remove("elapsed_us").unwrap().is_u64());
    assert!(line_members.remove("timeout_us").is_none_or(|time| time.is_u64()));
    line
}

#[tokio::test]
async fn a_call_is_a_line() {
    let mut headers = Headers::new();
    headers.insert("content-type", "application/json").unwrap();
    headers.insert("x-tenant", "berlin").unwrap();
    let reply = Response::new("[1]").with_headers(headers.clone()).with_dedup(Dedup::On);
    let place = request("orders.place", "tea").with_headers(headers).with_idempotency(keyed("k"));
    let file = record(RecorderConfig::default(), [(place, Ok(reply))]).await;
    let [line] = lines(&file).try_into().unwrap();
    let expected = json!({
        "v": 1, "n": 1, "target": "orders.place", "idempotency": "keyed",
        "request": {
            "headers": [
                ["content-type", "application/json"], ["x-tenant", null], ["idempotency-key", null],
            ],
            "body": {"text": "tea"},
        },
        "reply": {
            "headers": [["content-type", "application/json"], ["x-tenant", null]],
            "body": {"json": [1]},
            "dedup": "on",
        },
    });
    assert!(line["timeout_us"].as_u64().unwrap() <= 10_000_000, "{line}");
    assert_eq!(without_times(line), expected);
}

#[tokio::test]
async fn a_failure_is_a_line_with_every_part() {
    let away = Error::failure(Code::Unavailable, Delivery::Unknown, Reason::CONNECTION_LOST, "cut")
        .with_origin(Origin::Peer)
        .with_hint("call again")
        .with_detail(Detail::new("a.B", r#"{"left":2}"#))
        .with_retry(RetryHint::After(Duration::from_millis(20)))
        .with_timeline(timeline());
    let first = AttemptRecord::of(&away, Duration::from_nanos(1_500_001))
        .with_decision(RetryDecision::Again(Duration::from_millis(5)))
        .with_endpoint("b:1".into());
    let away = away.with_attempts(vec![first]);
    let file = record(RecorderConfig::default(), [(request("t", ""), Err(away))]).await;
    let [line] = lines(&file).try_into().unwrap();
    let ledger = json!({
        "last": "awaiting-reply", "stages_us": [["connect", 7], ["awaiting-reply", 1000]],
        "note": "1 of 1 in use", "spent": "1,2",
    });
    let expected = json!({
        "code": "unavailable", "reason": "connection-lost", "delivery": "unknown",
        "origin": "peer", "message": "cut", "hint": "call again", "retry_after_ms": 20,
        "details": [{"type": "a.B", "value": {"json": {"left": 2}}}],
        "timeline": ledger,
        "attempts": [{
            "code": "unavailable", "reason": "connection-lost", "delivery": "unknown",
            "elapsed_ns": 1_500_001, "decision": "again", "pause_ns": 5_000_000, "endpoint": "b:1",
            "timeline": ledger,
        }],
    });
    assert_eq!(line["error"], expected);
    assert_eq!(line["request"], json!({}));
}

fn timeline() -> Timeline {
    let spent = Spent::decode("1,2").unwrap();
    Timeline::new(Stage::AwaitingReply)
        .with_spent(Stage::Connect, Duration::from_micros(7))
        .with_spent(Stage::AwaitingReply, Duration::from_millis(1))
        .with_note("1 of 1 in use")
        .with_server(Some(Box::new(spent)))
}

struct Hangs;

#[rr_core::async_trait]
impl Requester for Hangs {
    async fn request(&self, _: &Context, _: Request) -> Outcome {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_is_a_line_and_numbers_are_those_of_starts() {
    let file = Memory::default();
    let recorder = Recorder::new(file.clone(), open()).unwrap();
    let client = Stack::new(Hangs).with(recorder.clone());
    let ctx = Context::background();
    let call = |target, millis| {
        timeout(Duration::from_millis(millis), client.request(&ctx, request(target, "")))
    };
    let (first, second) = tokio::join!(call("a", 20), call("b", 10));
    assert!(first.is_err() && second.is_err());
    recorder.flush().await.unwrap();
    let lines = lines(&file);
    assert_eq!((&lines[0]["target"], &lines[0]["n"]), (&json!("b"), &json!(2)));
    assert_eq!((&lines[1]["target"], &lines[1]["n"]), (&json!("a"), &json!(1)));
    assert_eq!((&lines[1]["dropped"], &lines[1]["elapsed_us"]), (&json!(true), &json!(20_000)));
    assert_eq!(recorder.written(), 2);
}

#[tokio::test]
async fn a_router_records_its_requests_with_the_retries_that_the_caller_states() {
    async fn double(n: u32) -> Result<u32, Error> {
        Ok(n * 2)
    }

    let file = Memory::default();
    let recorder = Recorder::new(file.clone(), open()).unwrap();
    let router = Router::new().route("math.double", double).with(recorder.clone());
    let client = rr_core::Local::new(router);
    let ctx = Context::background().with_retries(2).with_request_id("r-17").unwrap();
    client.request(&ctx, request("math.double", "3")).await.unwrap();
    client.request(&ctx, request("math.double", "tea")).await.unwrap_err();
    recorder.flush().await.unwrap();
    let lines = lines(&file);
    assert_eq!(lines[0]["inbound_retries"], 2);
    assert_eq!(lines[0]["request"]["headers"], json!([["x-request-id", "r-17"]]));
    assert_eq!(lines[0]["reply"]["body"], json!({"json": 6}));
    assert_eq!(lines[1]["error"]["reason"], "decode");
}

#[tokio::test]
async fn the_last_drop_writes_what_is_left() {
    let file = Memory::default();
    let outcomes = (0..100).map(|_| Ok(Response::new("")));
    let client = Stack::new(Prepared::new(outcomes))
        .with(Recorder::new(file.clone(), RecorderConfig::default()).unwrap());
    for _ in 0..100 {
        client.request(&Context::background(), request("t", "")).await.unwrap();
    }
    drop(client);
    assert_eq!(file.text().lines().count(), 100);
}

fn headers() -> impl Strategy<Value = Headers> {
    let text = ("x-[a-z]{1,6}", "[!-~]{0,9}").prop_map(|(name, value)| (name, value.into_bytes()));
    let binary = ("x-[a-z]{1,6}-bin", prop::collection::vec(any::<u8>(), 0..9));
    prop::collection::vec(prop_oneof![text, binary], 0..4).prop_map(|entries| {
        let mut headers = Headers::new();
        for (name, value) in entries {
            headers.receive(&name, value.into());
        }
        headers
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        ".{0,20}".prop_map(String::into_bytes),
        "[\\[\\]{}\",:0-9a \n]{0,9}".prop_map(String::into_bytes),
        Just(b"{\"b\":[1.50,null],\"a\":\"\\u00e4\"}".to_vec()),
    ]
}

fn dedup() -> impl Strategy<Value = Option<Dedup>> {
    prop::sample::select(vec![None, Some(Dedup::On), Some(Dedup::Replayed)])
}

fn failure() -> impl Strategy<Value = Error> {
    use Delivery::{NotSent, Processed, Rejected, Unknown};
    let after = (0..400_000u64).prop_map(|ms| RetryHint::After(Duration::from_millis(ms)));
    let retry = prop_oneof![Just(RetryHint::Unset), Just(RetryHint::Never), after];
    let origins = vec![Origin::Local, Origin::Peer, Origin::Intermediary];
    let head = (
        prop::sample::select(Code::ALL.to_vec()),
        prop::sample::select(vec![NotSent, Rejected, Unknown, Processed]),
        prop::option::of("[a-z0-9-]{1,20}|draining|app"),
        prop::sample::select(origins),
    );
    let text = (".{0,40}", prop::option::of(".{0,40}"));
    let rest = (headers(), body(), retry, dedup(), any::<bool>(), any::<u32>());
    (head, text, rest).prop_map(|(head, text, rest)| {
        let (code, delivery, reason, origin) = head;
        let (headers, detail, retry, dedup, has_times, micros) = rest;
        let reason = reason.and_then(|reason| Reason::parse(&reason));
        let mut error = Error::failure(code, delivery, reason, text.0)
            .with_origin(origin)
            .with_headers(headers)
            .with_detail(Detail::new("a.B", detail))
            .with_retry(retry)
            .with_dedup(dedup);
        if let Some(hint) = text.1 {
            error = error.with_hint(hint);
        }
        if has_times {
            let time = Duration::from_micros(micros.into());
            error = error.with_timeline(timeline().with_spent(Stage::Lookup, time));
            let attempt = AttemptRecord::of(&error, time).with_decision(RetryDecision::Final);
            error = error.with_attempts(vec![attempt]);
        }
        error
    })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let response = (headers(), body(), dedup()).prop_map(|(headers, body, dedup)| {
        Response::new(body).with_headers(headers).with_dedup(dedup)
    });
    prop_oneof![response.prop_map(Ok), failure().prop_map(Err)]
}

fn any_request() -> impl Strategy<Value = Request> {
    let idempotency = prop_oneof![
        Just(Idempotency::Unspecified),
        Just(Idempotency::Safe),
        Just(Idempotency::Idempotent),
        "[!-~]{1,9}".prop_map(|key| keyed(&key)),
    ];
    ("[a-z]{1,3}(\\.[a-zA-Z0-9_-]{1,3}){0,2}", headers(), body(), idempotency).prop_map(
        |(target, headers, body, idempotency)| {
            request(&target, body).with_headers(headers).with_idempotency(idempotency)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_outcome_is_replayed_as_it_was(
        calls in prop::collection::vec((any_request(), outcome()), 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let file = record(open(), calls.clone()).await;
            let (strict, best) = (
                Replay::strict(&*file.bytes()).unwrap(),
                Replay::best_match(&*file.bytes()).unwrap(),
            );
            for (request, outcome) in calls {
                let ctx = Context::background();
                let replayed = strict.request(&ctx, request.clone()).await;
                prop_assert_eq!(parts(&replayed), parts(&outcome), "{}", file.text());
                let replayed = best.request(&ctx, request).await;
                prop_assert_eq!(parts(&replayed), parts(&outcome), "{}", file.text());
            }
            prop_assert!(strict.remaining().is_empty() && best.remaining().is_empty());
            Ok(())
        })?;
    }
}

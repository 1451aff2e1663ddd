//! Strict replay and best match, what they refuse, and malformed recordings.

use std::io::{self, Read};
use std::time::Duration;

use proptest::prelude::*;
use rr_core::record::{Part, RecorderConfig, Redaction, Replay};
use rr_core::{
    Bytes, Code, Context, Delivery, Error, Idempotency, Reason, Request, Requester, Response,
};
use tokio::time::{Instant, timeout};

use super::support::{Memory, keyed, open, record, request};

/// A recording in which each call is answered with its number.
async fn numbered(requests: impl IntoIterator<Item = Request>) -> Memory {
    let answer = |number: usize| Ok(Response::new(number.to_string()));
    record(open(), requests.into_iter().zip((1..).map(answer))).await
}

async fn call(replay: &Replay, request: Request) -> Result<Bytes, Error> {
    replay.request(&Context::background(), request).await.map(|response| response.body)
}

/// Calls and returns the hint of the refusal.
async fn refusal(replay: &Replay, request: Request) -> String {
    let error = call(replay, request).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::FailedPrecondition, Delivery::NotSent));
    assert_eq!(error.reason().map(Reason::as_str), Some("not-recorded"));
    format!("{}: {}", error.message(), error.hint())
}

#[tokio::test]
async fn strict_replay_follows_the_order_of_each_target() {
    let file = numbered(["a", "b", "a", "a"].map(|target| request(target, "{}"))).await;
    let replay = Replay::strict(&*file.bytes()).unwrap();
    for (target, answer) in [("a", "1"), ("a", "3"), ("b", "2")] {
        assert_eq!(call(&replay, request(target, "{}")).await.unwrap(), answer);
    }
    assert_eq!(replay.remaining(), ["line 4: a (unspecified) `{}`"]);
    assert_eq!(call(&replay, request("a", "{}")).await.unwrap(), "4");
    assert!(replay.remaining().is_empty());
    assert_eq!(
        refusal(&replay, request("a", "{}")).await,
        "all recorded calls to a have answered: the recording has 3; this call is one more"
    );
    assert_eq!(
        refusal(&replay, request("c", "{}")).await,
        "no call to c is recorded: the recording has a, b"
    );
}

#[tokio::test]
async fn the_order_is_that_in_which_calls_started() {
    let line = |n: u32| {
        format!(
            r#"{{"v":1,"n":{n},"at":"","elapsed_us":0,"target":"a","idempotency":"unspecified","request":{{}},"reply":{{"body":{{"json":{n}}}}}}}"#
        )
    };
    // The second call ended first.
    let replay = Replay::strict(format!("{}\n{}\n", line(2), line(1)).as_bytes()).unwrap();
    assert_eq!(replay.remaining()[0], "line 1: a (unspecified) ``");
    assert_eq!(call(&replay, request("a", "")).await.unwrap(), "1");
    assert_eq!(call(&replay, request("a", "")).await.unwrap(), "2");
}

#[tokio::test]
async fn a_strict_call_that_differs_is_told_how_and_uses_up_nothing() {
    let first = request("a", r#"{"item":"tea","count":1}"#).with_idempotency(Idempotency::Safe);
    let second = request("a", "second").with_idempotency(keyed("k"));
    let file = numbered([first.clone(), second.clone()]).await;
    let replay = Replay::strict(&*file.bytes()).unwrap();
    assert_eq!(
        refusal(&replay, request("a", r#"{"item":"tea","count":2}"#)).await,
        r#"the call to a is not the recorded one: line 1 comes next, and differs: idempotency: recorded safe, called unspecified; body from byte 22: recorded ..`":"tea","count":1}`, called ..`":"tea","count":2}`"#
    );
    let unspecified = first.with_idempotency(Idempotency::Unspecified);
    let hint = refusal(&replay, unspecified).await;
    assert!(hint.ends_with("differs: idempotency: recorded safe, called unspecified"), "{hint}");
    let hint = refusal(&replay, second.clone()).await;
    assert!(hint.ends_with("; line 2 has the call, in another order"), "{hint}");
    // The same JSON in another order, and another key.
    let same = request("a", r#"{"count":1, "item":"tea"}"#).with_idempotency(Idempotency::Safe);
    assert_eq!(call(&replay, same).await.unwrap(), "1");
    assert_eq!(call(&replay, second.with_idempotency(keyed("other"))).await.unwrap(), "2");
}

#[tokio::test]
async fn best_match_prefers_idempotency_then_the_body_then_json_then_order() {
    let safe = |body: &str| request("a", body.to_owned()).with_idempotency(Idempotency::Safe);
    let calls = [
        request("a", r#"{"x":1,"y":2}"#),
        safe("other"),
        safe(r#"{"y":2,"x":1}"#),
        safe(r#"{"x":1,"y":2}"#),
        safe("another"),
    ];
    let file = numbered(calls).await;
    let replay = Replay::best_match(&*file.bytes()).unwrap();
    for answer in ["4", "3", "2", "5", "1"] {
        let replayed = call(&replay, safe(r#"{"x":1,"y":2}"#)).await;
        assert_eq!(replayed.unwrap(), answer);
    }
    let hint = refusal(&replay, safe("")).await;
    assert!(hint.starts_with("all recorded calls to a have answered"), "{hint}");
    assert!(refusal(&replay, request("b", "")).await.starts_with("no call to b is recorded"));
}

#[tokio::test]
async fn what_was_cut_or_removed_is_never_faked() {
    let redaction =
        Redaction::default().with_body_bytes_max(10).with_rule(|part, _, content| {
            match (part, &content[..]) {
                (Part::ReplyBody, b"secret") => None,
                (Part::ErrorText, _) => Some("hidden".into()),
                _ => Some(content.clone()),
            }
        });
    let detail = rr_core::call::Detail::new("a.B", "x".repeat(11));
    let calls = [
        (request("a", "12345678901"), Ok(Response::new("fits"))),
        (request("a", ""), Ok(Response::new("12345678901"))),
        (request("a", ""), Ok(Response::new("secret"))),
        (request("a", ""), Err(Error::new(Code::NotFound, "none").with_detail(detail))),
        (request("a", ""), Err(Error::new(Code::NotFound, "none"))),
    ];
    let file = record(RecorderConfig::default().with_redaction(redaction), calls).await;
    let replay = Replay::strict(&*file.bytes()).unwrap();
    // Of a request that was cut, the recorded part and the length count.
    let differs = refusal(&replay, request("a", "123456789012")).await;
    assert!(differs.contains("body from byte 10"), "{differs}");
    assert_eq!(call(&replay, request("a", "1234567890x")).await.unwrap(), "fits");
    for part in ["body of the reply of line 2", "body of the reply of line 3"] {
        let refused = refusal(&replay, request("a", "")).await;
        assert!(refused.starts_with(&format!("the {part} to a was cut or removed")), "{refused}");
        assert!(refused.contains("with_body_bytes_max"), "{refused}");
    }
    let refused = refusal(&replay, request("a", "")).await;
    assert!(refused.starts_with("the details of the error of line 4"), "{refused}");
    let error = call(&replay, request("a", "")).await.unwrap_err();
    assert_eq!((error.message(), error.hint()), ("hidden", "hidden"));
}

#[tokio::test]
async fn a_rule_of_the_recorder_applies_to_the_calls_of_the_replay_too() {
    let without_digits = |content: &Bytes| -> Bytes {
        content.iter().copied().filter(|byte| !byte.is_ascii_digit()).collect()
    };
    let redaction = Redaction::default().with_rule(move |part, target, content| match part {
        Part::RequestBody if target == "removed" => None,
        Part::RequestBody => Some(without_digits(content)),
        _ => Some(content.clone()),
    });
    let answer = || Ok(Response::new("ok"));
    let calls = [(request("pin", "pin 1234"), answer()), (request("removed", "1234"), answer())];
    let file = record(RecorderConfig::default().with_redaction(redaction.clone()), calls).await;
    assert!(file.text().contains(r#""body":{"text":"pin ","rewritten":true}"#), "{}", file.text());
    let plain = Replay::strict(&*file.bytes()).unwrap();
    refusal(&plain, request("pin", "pin 5678")).await;
    let replay = plain.with_redaction(redaction);
    assert_eq!(call(&replay, request("pin", "pin 5678")).await.unwrap(), "ok");
    // Of a body that was removed, the length is known.
    refusal(&replay, request("removed", "123")).await;
    assert_eq!(call(&replay, request("removed", "5678")).await.unwrap(), "ok");
}

#[tokio::test(start_paused = true)]
async fn deadlines_hold_and_latencies_are_replayed_in_virtual_time() {
    let line = |n: u32, outcome: &str| {
        format!(
            r#"{{"v":1,"n":{n},"at":"","elapsed_us":50000,"target":"a","idempotency":"safe","request":{{}},{outcome}}}"#
        )
    };
    let file = [line(1, r#""reply":{}"#), line(2, r#""reply":{}"#), line(3, r#""dropped":true"#)];
    let file = file.join("\n");
    let safe = || request("a", "").with_idempotency(Idempotency::Safe);
    let replay = Replay::strict(file.as_bytes()).unwrap().with_latencies();
    let within = |millis| Context::background().with_timeout(Duration::from_millis(millis));

    let start = Instant::now();
    replay.request(&within(60), safe()).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_millis(50));
    let error = replay.request(&within(20), safe()).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::DeadlineExceeded, Delivery::Unknown));
    let error = replay.request(&within(30), safe()).await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::from_millis(100), "a dropped call never answers");
    assert_eq!((error.code(), error.delivery()), (Code::DeadlineExceeded, Delivery::Unknown));

    let replay = Replay::strict(file.as_bytes()).unwrap();
    let (ctx, handle) = Context::background().child();
    handle.cancel();
    let error = replay.request(&ctx, safe()).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Canceled, Delivery::NotSent));
    assert_eq!(replay.remaining().len(), 3, "a call that has ended before uses up nothing");
    let start = Instant::now();
    assert!(timeout(Duration::from_secs(1), replay.request(&within(20), safe())).await.is_ok());
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn a_call_that_ends_while_it_is_compared_uses_up_nothing() {
    let file = numbered([request("a", "x")]).await;
    let (ctx, handle) = Context::background().child();
    let redaction = Redaction::default().with_rule(move |_, _, body| {
        handle.cancel();
        Some(body.clone())
    });
    let replay = Replay::strict(&*file.bytes()).unwrap().with_redaction(redaction);
    let error = replay.request(&ctx, request("a", "x")).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Canceled, Delivery::NotSent));
    assert_eq!(replay.remaining().len(), 1);
}

/// A line that can be read.
const GOOD: &str = r#"{"v":1,"n":1,"at":"","elapsed_us":0,"target":"a","idempotency":"safe","request":{},"reply":{},"later":[1]}"#;

fn misread(recording: impl Read) -> (String, String) {
    let error = Replay::strict(recording).unwrap_err();
    assert_eq!(error.delivery(), Delivery::NotSent);
    (error.message().to_owned(), error.hint().to_owned())
}

#[test]
fn a_malformed_line_is_an_error_with_its_number() {
    for (change, hint) in [
        (("\"safe\"", "\"maybe\""), "malformed `idempotency`"),
        (("\"a\"", "\"a b\""), "malformed `target`"),
        (("\"reply\":{}", "\"dropped\":false"), "malformed `reply, error or dropped`"),
        (("\"reply\":{}", "\"reply\":{\"body\":{\"base64\":\"%\"}}"), "malformed `reply.body`"),
        (("\"reply\":{}", "\"reply\":{\"headers\":[[\"\",\"\"]]}"), "malformed `reply.headers`"),
        (("\"n\":1,", ""), "missing field `n`"),
        (("{\"v\":1,", "{\"v\":\"1\","), "invalid type: string"),
        (("{", "["), "invalid"),
    ] {
        let bad = GOOD.replacen(change.0, change.1, 1);
        assert_ne!(bad, GOOD);
        let (message, told) = misread(format!("{GOOD}\n\n{bad}\n").as_bytes());
        assert_eq!(message, "line 3 of the recording is malformed", "{bad}");
        assert!(told.contains(hint), "{told}");
    }
    let (message, hint) = misread(format!("{GOOD}\n{}", &GOOD[..50]).as_bytes());
    assert_eq!(message, "line 2 of the recording is malformed");
    assert!(hint.contains("remove it"), "{hint}");
    assert_eq!(Replay::strict(format!("{GOOD}\n{GOOD}").as_bytes()).unwrap().remaining().len(), 2);
}

#[test]
fn an_unknown_version_is_named() {
    let (message, hint) = misread(r#"{"v":2,"calls":[]}"#.as_bytes());
    assert_eq!(message, "line 1 of the recording has the version 2");
    assert!(hint.contains("version 1"), "{hint}");
}

#[test]
fn a_line_of_any_length_is_refused_before_it_is_in_memory() {
    let (message, _) = misread(io::repeat(b'x'));
    assert_eq!(message, "line 1 of the recording: the line is longer than 16 MiB");
    let (message, _) = misread(io::Cursor::new(GOOD).chain(io::repeat(b'{')));
    assert_eq!(message, "line 1 of the recording: the line is longer than 16 MiB");
    let (message, _) = misread(io::Cursor::new(GOOD).chain(io::repeat(b'\n')));
    assert!(message.ends_with(": the recording is longer than 256 MiB"), "{message}");
    let spaced = format!("\r\n \n{}  {GOOD}\n \n{GOOD}\n\n", "\n".repeat(20_000));
    let replay = Replay::strict(spaced.as_bytes()).unwrap();
    assert_eq!(replay.remaining(), ["line 20003: a (safe) ``", "line 20005: a (safe) ``"]);
    // Depth that would exhaust a stack.
    let deep = GOOD.replacen("[1]", &"[".repeat(1 << 20), 1);
    assert_eq!(misread(deep.as_bytes()).0, "line 1 of the recording is malformed");
}

#[test]
fn a_reader_that_fails_is_an_error() {
    struct Fails;

    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("torn off"))
        }
    }

    let (message, _) = misread(Fails);
    assert_eq!(message, "line 1 of the recording cannot be read: torn off");
}

proptest! {
    #[test]
    fn reading_never_panics(
        noise in prop::collection::vec(any::<u8>(), 0..80),
        at in 0..GOOD.len(),
        flipped in any::<u8>(),
    ) {
        let _ = Replay::strict(&*noise);
        let mut line = GOOD.as_bytes().to_vec();
        line[at] = flipped;
        let _ = Replay::best_match(&*line);
        line.splice(at..at, noise);
        let _ = Replay::best_match(&*line);
    }
}

//! What a recording hides, and what a rule may change.

use std::collections::HashMap;
use std::time::Duration;

use rr_core::observe::{Stage, Timeline};
use rr_core::record::{Part, Recorder, RecorderConfig, Redaction};
use rr_core::retry::AttemptRecord;
use rr_core::transport::wire::encode_binary;
use rr_core::{
    Bytes, Code, Context, Delivery, Error, Headers, Reason, Requester, Responder, Response, Router,
    Stack,
};

use super::support::{Memory, Prepared, keyed, record, request};

/// Written in the place of every credential.
const SECRET: &str = "hunter2-9f8e7d";

/// Headers that carry credentials, in their own forms.
fn secrets() -> Headers {
    let mut headers = Headers::new();
    for (name, value) in [
        ("authorization", format!("Bearer {SECRET}")),
        ("cookie", format!("session={SECRET}; theme=dark")),
        ("set-cookie", format!("session={SECRET}; HttpOnly")),
        ("x-api-key", SECRET.to_owned()),
        ("x-forwarded-uri", format!("/pay?token={SECRET}&amount=1")),
        ("referer", format!("https://user:{SECRET}@shop.example/?key={SECRET}")),
        ("x-amz-security-token", SECRET.to_owned()),
        ("x-auth-token", SECRET.to_owned()),
    ] {
        headers.insert(name, value).unwrap();
    }
    headers.append_bin("x-goog-iam-authorization-token-bin", SECRET).unwrap();
    headers
}

fn assert_hidden(file: &Memory) {
    let text = file.text();
    assert!(text.contains(r#"["authorization",null]"#), "the name is known: {text}");
    for form in [SECRET.to_owned(), encode_binary(SECRET.as_bytes())] {
        assert!(!text.contains(&form), "{text}");
    }
}

#[tokio::test]
async fn no_credential_is_recorded_by_default() {
    let file = Memory::default();
    let recorder = Recorder::new(file.clone(), RecorderConfig::default()).unwrap();
    let source = std::io::Error::other(format!("password {SECRET} refused"));
    let failure = Error::new(Code::Unauthenticated, "who are you")
        .with_headers(secrets())
        .with_source(source);
    let outcomes = [Ok(Response::new("ok").with_headers(secrets())), Err(failure)];
    let client = Stack::new(Prepared::new(outcomes)).with(recorder.clone());
    let ctx = Context::background().with_baggage(&format!("user={SECRET}")).unwrap();
    let ctx = ctx.with_trace("00-1-2-01", Some(&format!("vendor={SECRET}"))).unwrap();
    for _ in 0..2 {
        let request = request("t", "body").with_headers(secrets());
        let _ = client.request(&ctx, request.with_idempotency(keyed(SECRET))).await;
    }
    recorder.flush().await.unwrap();
    assert_eq!(file.text().lines().count(), 2);
    assert_hidden(&file);
    assert!(file.text().contains(r#"["baggage",null]"#) && file.text().contains("00-1-2-01"));
}

#[tokio::test]
async fn a_header_is_shown_if_it_is_named() {
    let mut headers = Headers::new();
    headers.insert("x-tenant", "berlin").unwrap();
    headers.insert("x-other", "paris").unwrap();
    let redaction = Redaction::default().with_header("X-Tenant").with_header("idempotency-key");
    let call = request("t", "").with_headers(headers).with_idempotency(keyed("k-1"));
    let config = RecorderConfig::default().with_redaction(redaction);
    let text = record(config, [(call, Ok(Response::new("")))]).await.text();
    let headers = r#"[["x-tenant","berlin"],["x-other",null],["idempotency-key","\"k-1\""]]"#;
    assert!(text.contains(headers), "{text}");
}

#[tokio::test]
async fn a_rule_rewrites_or_removes_each_part_and_its_panic_removes() {
    let redaction = Redaction::default().with_rule(|part, target, content| match part {
        Part::RequestBody if target == "panics" => panic!("as asked"),
        Part::RequestBody => {
            Some(String::from_utf8_lossy(content).replace(SECRET, "***").into_bytes().into())
        }
        Part::ReplyBody | Part::ErrorDetail => None,
        _ => Some("a message".into()),
    });
    let failure = Error::new(Code::NotFound, SECRET)
        .with_hint(SECRET)
        .with_detail(rr_core::call::Detail::new("a.B", SECRET));
    let calls = [
        (request("t", format!("{{\"pin\":\"{SECRET}\"}}")), Ok(Response::new(SECRET))),
        (request("panics", SECRET), Err(failure)),
    ];
    let config = RecorderConfig::default().with_redaction(redaction);
    let text = record(config, calls).await.text();
    assert!(!text.contains(SECRET), "{text}");
    for form in [
        r#""request":{"body":{"json":{"pin":"***"},"rewritten":true}}"#,
        r#""reply":{"body":{"bytes":14}}"#,
        r#""request":{"body":{"bytes":14}}"#,
        r#""message":"a message","hint":"a message""#,
        r#""details":[{"type":"a.B","value":{"bytes":14}}]"#,
    ] {
        assert!(text.contains(form), "{form} in {text}");
    }
}

/// Decoding failure whose message quotes a body.
fn undecoded(code: Code) -> Error {
    let (delivery, reason) = (Delivery::Processed, Reason::DECODE);
    Error::failure(code, delivery, reason, format!("another shape at `{SECRET}`"))
}

#[tokio::test]
async fn the_message_of_a_decoding_failure_follows_the_rule_of_the_body_it_quotes() {
    let rewritten = |body: &Bytes| body.iter().map(u8::to_ascii_uppercase).collect::<Bytes>();
    for (code, hidden) in
        [(Code::InvalidArgument, Part::RequestBody), (Code::Internal, Part::ReplyBody)]
    {
        for (name, hides) in [("removed", true), ("rewritten", true), ("kept", false)] {
            let redaction = Redaction::default().with_rule(move |part, _, body| match name {
                "removed" if part == hidden => None,
                "rewritten" if part == hidden => Some(rewritten(body)),
                _ => Some(body.clone()),
            });
            let config = RecorderConfig::default().with_redaction(redaction);
            let text = record(config, [(request("t", "{}x"), Err(undecoded(code)))]).await.text();
            assert_eq!(text.contains(SECRET), !hides, "{code:?} {name}: {text}");
            assert_eq!(text.contains(r#""message":"""#), hides, "{code:?} {name}: {text}");
        }
    }
}

async fn sizes(_: Context, sizes: HashMap<String, u8>) -> Result<u64, Error> {
    Ok(sizes.len() as u64)
}

#[tokio::test]
async fn a_router_records_no_key_of_a_body_that_a_rule_removes() {
    let redaction = Redaction::default().with_rule(|part, _, body| match part {
        Part::RequestBody => None,
        _ => Some(body.clone()),
    });
    let file = Memory::default();
    let config = RecorderConfig::default().with_redaction(redaction);
    let recorder = Recorder::new(file.clone(), config).unwrap();
    let router = Router::new().route("sizes", sizes).with(recorder.clone());
    let body = format!(r#"{{"{SECRET}":"a"}}"#);
    let handled = router.respond(&Context::background(), request("sizes", body)).await;
    assert!(handled.unwrap_err().message().contains(SECRET));
    recorder.flush().await.unwrap();
    assert_eq!(file.text().lines().count(), 1);
    assert!(!file.text().contains(SECRET), "{}", file.text());
}

#[tokio::test]
async fn a_rule_for_texts_applies_to_notes_and_endpoints() {
    let timeline = || Timeline::new(Stage::Connect).with_note(SECRET);
    let failure = || Error::new(Code::NotFound, "no tea").with_timeline(timeline());
    let attempt = AttemptRecord::of(&failure(), Duration::ZERO).with_endpoint(SECRET.into());
    let call = || (request("t", ""), Err(failure().with_attempts(vec![attempt.clone()])));
    for (kept, shown) in [(None, 0), (Some("***"), 3)] {
        let redaction = Redaction::default().with_rule(move |part, _, text| match part {
            Part::ErrorText if text == SECRET => kept.map(Bytes::from),
            _ => Some(text.clone()),
        });
        let config = RecorderConfig::default().with_redaction(redaction);
        let text = record(config, [call()]).await.text();
        assert!(!text.contains(SECRET) && text.contains("no tea"), "{text}");
        assert_eq!(text.matches("***").count(), shown, "{text}");
    }
}

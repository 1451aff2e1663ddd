//! Application headers arrive as they were set, and no other header appears among them.

use std::time::Duration;

use rr_spi::wire::ErrorDocument;
use rr_spi::{
    Code, Context, Delivery, Error, Headers, Idempotency, IdempotencyKey, Reason, defaults,
};

use tokio::time::{Instant, sleep};

use super::{assert_error, own};
use crate::conformance::lab::{Ask, fill, pattern};
use crate::conformance::stage::{Scene, Stage};
use crate::conformance::{RawAnswer, RawReply};

/// Names reserved for the protocol, its carriers, `Context` or `Idempotency`
/// (docs/src/wire.md#headers).
const RESERVED: [&str; 25] = [
    "rr",
    "rr-code",
    "rr-anything",
    "nats-msg-id",
    "connect-timeout-ms",
    "connect-protocol-version",
    "grpc-timeout",
    "connection",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "content-length",
    "content-encoding",
    "accept-encoding",
    "expect",
    "date",
    "traceparent",
    "tracestate",
    "baggage",
    "x-request-id",
    "idempotency-key",
];

/// Asserts that headers arrive at the responder, and come back on an answer and on an error.
async fn assert_round_trip(scene: &Scene, ask: Ask) {
    let sent = own(&ask.headers);
    let ask = ask.echo();
    assert_eq!(own(&scene.ok(&ask).await.headers), sent, "on the answer");
    assert_eq!(own(&scene.run(&ask).headers), sent, "at the responder");
    let error = scene.err(&ask.fail(Code::NotFound)).await;
    assert_eq!(own(error.headers()), sent, "on the error");
}

pub(crate) async fn request_reaches_responder(stage: &Stage) {
    let scene = stage.open().await;
    let ask = scene
        .ask()
        .header("x-shop", "berlin")
        .header("x-punctuation", "a=b; c=\"d\", e:f (g) {h} ~!@#$%^&*|\\/?<>'`")
        .header("x-number", "0")
        .header("x-0.dotted-name", "inner  spaces   stay");
    scene.ok(&ask).await;
    assert_eq!(own(&scene.run(&ask).headers), own(&ask.headers));
}

pub(crate) async fn response_reaches_requester(stage: &Stage) {
    let scene = stage.open().await;
    let ask = scene.ask().header("x-shop", "berlin").header("x-json", "{\"a\": [1, 2]}").echo();
    let response = scene.ok(&ask).await;
    assert_eq!(own(&response.headers), own(&ask.headers));
    assert_eq!(response.headers.get("X-SHOP"), Some("berlin"));
    // Headers of one answer do not appear on the next answer.
    assert_eq!(own(&scene.ok(&scene.ask()).await.headers), []);
}

pub(crate) async fn on_error_reply(stage: &Stage) {
    let scene = stage.open().await;
    let ask = scene.ask().header("x-shop", "berlin").header("x-tag", "a").header("x-tag", "b");
    let ask = ask.echo().fail(Code::PermissionDenied);
    let error = scene.err(&ask).await;
    assert_error(&error, Code::PermissionDenied, &[Delivery::Processed], None);
    assert_eq!(own(error.headers()), own(&ask.headers));
}

pub(crate) async fn repeated_names_keep_order(stage: &Stage) {
    let scene = stage.open().await;
    let tags = ["b", "a", "c", "a", "", "b,c"];
    let ask = tags.iter().fold(scene.ask(), |ask, tag| ask.header("x-tag", tag));
    assert_round_trip(&scene, ask.clone()).await;
    // With other names in between, the order within one name is kept.
    let ask = scene.ask().header("x-tag", "2").header("x-else", "e").header("x-tag", "1").echo();
    let response = scene.ok(&ask).await;
    assert_eq!(response.headers.get_all("x-tag").collect::<Vec<_>>(), ["2", "1"]);
    assert_eq!(scene.run(&ask).headers.get_all("x-tag").collect::<Vec<_>>(), ["2", "1"]);
}

pub(crate) async fn names_fold_case(stage: &Stage) {
    let scene = stage.open().await;
    let ask = scene.ask().header("X-MiXeD", "CaSe stays in values").echo();
    let response = scene.ok(&ask).await;
    for headers in [&response.headers, &scene.run(&ask).headers] {
        assert_eq!(own(headers), [("x-mixed".to_owned(), b"CaSe stays in values".to_vec())]);
        assert_eq!(headers.get("X-MIXED"), Some("CaSe stays in values"));
    }
}

pub(crate) async fn empty_value(stage: &Stage) {
    let scene = stage.open().await;
    let ask = scene.ask().header("x-empty", "").header("x-full", "f").header("x-last", "");
    assert_round_trip(&scene, ask).await;
}

pub(crate) async fn binary_names(stage: &Stage) {
    let scene = stage.open().await;
    let all: Vec<u8> = (0..=255).collect();
    let ask = scene
        .ask()
        .binary("x-all-bin", all)
        .binary("x-one-bin", vec![0])
        .binary("x-two-bin", vec![0xff, 0xfe])
        .binary("x-text-bin", b"text".to_vec())
        .binary("x-text-bin", b"a,b".to_vec())
        .binary("x-empty-bin", Vec::new());
    assert_round_trip(&scene, ask).await;
    let long = scene.ask().binary("x-long-bin", pattern(8 * 1024).to_vec());
    assert_round_trip(&scene, long).await;
}

/// Asserts that setting a header fails locally, and that no part of it is sent with a later call.
async fn assert_refused(scene: &Scene, name: &'static str, value: &'static str) {
    let mut ask = scene.ask().header("x-kept", "1");
    let refused = ask.headers.append(name, value).expect_err("the header is refused");
    assert_error(&refused, Code::InvalidArgument, &[Delivery::NotSent], None);
    scene.ok(&ask).await;
    let seen = scene.run(&ask).headers;
    assert_eq!(own(&seen), [("x-kept".to_owned(), b"1".to_vec())]);
    assert!(seen.iter().all(|(_, seen)| value.is_empty() || seen != value.as_bytes()));
}

pub(crate) async fn non_ascii_refused(stage: &Stage) {
    let scene = stage.open().await;
    for value in ["ü", "漢", "a\u{a0}b", "\u{7f}", "emoji 🦀"] {
        assert_refused(&scene, "x-text", value).await;
    }
    for name in ["x-ü", "x_underscore", "x y", ""] {
        assert_refused(&scene, name, "value-of-a-bad-name").await;
    }
}

pub(crate) async fn crlf_refused_locally(stage: &Stage) {
    let scene = stage.open().await;
    for value in ["a\r\nx-forged: 1", "a\nb", "a\rb", "\r\n", "a\0b", "a\tb", " a", "a "] {
        assert_refused(&scene, "x-text", value).await;
    }
    for name in ["x-a\r\nx-forged", "x-a:", "x-a\n"] {
        assert_refused(&scene, name, "value-of-a-bad-name").await;
    }
}

pub(crate) async fn reserved_refused(stage: &Stage) {
    let scene = stage.open().await;
    for name in RESERVED {
        assert_refused(&scene, name, "forged-value").await;
    }
    assert_refused(&scene, "RR-Code", "forged-value").await;
    // Allowed in replies, so that only sending it in a request is refused.
    let trailing = scene.ask().header("trailer-x", "forged-value");
    let refused = scene.err(&trailing).await;
    assert_error(&refused, Code::InvalidArgument, &[Delivery::NotSent], None);
}

fn assert_none_reserved(headers: &Headers, whose: &str) {
    let prefixes = ["rr-", "nats-", "connect-", "grpc-", "proxy-"];
    for (name, _) in headers.iter() {
        let prefixed = prefixes.iter().any(|prefix| name.starts_with(prefix));
        assert!(!RESERVED.contains(&name) && !prefixed, "{whose} sees `{name}`");
    }
}

pub(crate) async fn reserved_never_seen(stage: &Stage) {
    let scene = stage.open().await;
    let key = IdempotencyKey::new("key-17").expect("the key fits");
    // All properties for which a transport writes headers.
    let ctx = Context::background()
        .with_timeout(Duration::from_secs(9))
        .with_retries(2)
        .with_request_id("id-17")
        .and_then(|ctx| ctx.with_trace(TRACEPARENT, Some("a=b")))
        .and_then(|ctx| ctx.with_baggage("c=d"))
        .expect("the values fit");
    for idempotency in [Idempotency::Safe, Idempotency::Idempotent, Idempotency::Keyed(key)] {
        let ask = scene.ask().idempotency(idempotency.clone()).header("x-own", "1").echo();
        let response = scene.call(&ctx, &ask).await.expect("an answer");
        let run = scene.run(&ask);
        assert_none_reserved(&run.headers, "the responder");
        assert_none_reserved(&response.headers, "the requester");
        assert_eq!(own(&run.headers).len(), 1);
        assert_eq!((run.retries, &run.idempotency), (2, &idempotency));
    }
    let failing = scene.ask().fail(Code::Unavailable).reason("lab-reason").retry_ms(250).echo();
    let error = scene.call(&ctx, &failing).await.expect_err("the lab fails as asked");
    assert_none_reserved(error.headers(), "the requester, on an error,");
    if stage.capabilities().raw {
        assert_forged_never_seen(&scene).await;
    }
}

/// Sends reserved headers as a foreign requester and asserts that the responder does not see them.
async fn assert_forged_never_seen(scene: &Scene) {
    let ask = scene.ask().body("forged");
    let forged = ["rr-code", "RR-Delivery", "Nats-Forged", "grpc-forged", "connect-forged"];
    let raw = forged.into_iter().fold(ask.raw(), |raw, name| raw.with_header(name, "forged"));
    let raw = raw.with_header("x_under", "1").with_header("x-latin", "\u{fc}");
    let reply = scene.raw().send(raw.with_header("X-Upper", "Kept")).await.expect("a reply");
    assert_eq!((reply.code, &reply.body[..]), (None, &b"forged"[..]));
    let seen = scene.run(&ask).headers;
    assert_none_reserved(&seen, "the responder of a foreign peer");
    assert_eq!(own(&seen), [("x-upper".to_owned(), b"Kept".to_vec())]);
}

pub(crate) async fn _64_entries_16_kib(stage: &Stage) {
    let scene = stage.open().await;
    let (entries, bytes) = (defaults::HEADER_ENTRIES_MAX, defaults::HEADER_BYTES_MAX);
    let mut ask = scene.ask();
    fill(&mut ask.headers, entries, bytes);
    scene.ok(&ask).await;
    assert_eq!(own(&scene.run(&ask).headers), own(&ask.headers));
    let response = scene.ok(&scene.ask().reply_headers(entries, bytes)).await;
    let mut expected = Headers::new();
    fill(&mut expected, entries, bytes);
    assert_eq!(own(&response.headers), own(&expected));
    let error = scene.err(&scene.ask().fail(Code::Aborted).reply_headers(entries, bytes)).await;
    assert_error(&error, Code::Aborted, &[Delivery::Processed], None);
    assert_eq!(own(error.headers()), own(&expected));
    // A single value that reaches the limit.
    let mut ask = scene.ask();
    let entries = ask.headers.len() + 1;
    fill(&mut ask.headers, entries, bytes);
    scene.ok(&ask).await;
    assert_eq!(own(&scene.run(&ask).headers), own(&ask.headers));
}

pub(crate) async fn too_many_refused(stage: &Stage) {
    let scene = stage.open().await;
    let refused = |refused: Result<(), Error>| {
        let error = refused.expect_err("the header is one too many");
        assert_error(
            &error,
            Code::ResourceExhausted,
            &[Delivery::NotSent],
            Some(&Reason::REQUEST_TOO_LARGE),
        );
        assert_eq!(error.message(), Headers::too_many(Delivery::NotSent).message());
    };
    let mut ask = scene.ask();
    fill(&mut ask.headers, defaults::HEADER_ENTRIES_MAX, 4096);
    refused(ask.headers.append("x-more", "1"));
    scene.ok(&ask).await;
    assert_eq!(own(&scene.run(&ask).headers), own(&ask.headers));
    let mut ask = scene.ask();
    fill(&mut ask.headers, 8, defaults::HEADER_BYTES_MAX);
    refused(ask.headers.append("x-more", ""));
    scene.ok(&ask).await;
    assert_eq!(own(&scene.run(&ask).headers), own(&ask.headers));
}

/// Asserts that a foreign peer was refused for too many headers: by rr, or by the carrier with
/// status 431 (RFC 6585 §5).
#[track_caller]
fn assert_too_many(reply: &RawReply, what: &str) {
    let said = (reply.code.as_deref(), reply.delivery.as_deref(), reply.reason.as_deref());
    let ours = (Code::ResourceExhausted.as_str(), Delivery::Rejected.as_str());
    let ours = (Some(ours.0), Some(ours.1), Some(Reason::REQUEST_TOO_LARGE.as_str()));
    if reply.code.is_none() && reply.mark.as_deref() == Some("431") {
        return;
    }
    assert_eq!(said, ours, "{what}: {reply:?}");
    // The message is the same on every transport and names the headers, not the body.
    let document = ErrorDocument::decode(&reply.body).expect("an error has a document");
    assert_eq!(document.message, Headers::too_many(Delivery::Rejected).message(), "{what}");
}

pub(crate) async fn too_many_of_a_foreign_peer_refused(stage: &Stage) {
    let scene = stage.open().await;
    let raw = scene.raw();
    let (entries, bytes) = (defaults::HEADER_ENTRIES_MAX, defaults::HEADER_BYTES_MAX);
    // Headers at the limit pass, so that the refusals below are due to the excess.
    let mut fits = scene.ask();
    fill(&mut fits.headers, entries, bytes);
    let reply = raw.send(fits.raw()).await.expect("a reply");
    assert_eq!(reply.code, None, "{reply:?}");
    assert_eq!(own(&scene.run(&fits).headers), own(&fits.headers));

    let (entry, value) = ("an entry too many", "v".to_owned());
    let mut over: Vec<_> = vec![(entry, fits.raw().with_header("x-more", value.clone()))];
    let mut full = scene.ask();
    fill(&mut full.headers, 8, bytes);
    over.push(("a byte too many", full.raw().with_header("x", "")));
    let many = |count| {
        let names = (0..count).map(|at| format!("x-many-{at}"));
        names.fold(scene.ask().raw(), |raw, name| raw.with_header(name, value.clone()))
    };
    over.push(("twice as many entries", many(2 * entries)));
    over.push(("ten times as many entries", many(10 * entries)));
    let long = |bytes| scene.ask().raw().with_header("x-long", "v".repeat(bytes));
    over.push(("a value twice as long as all may be", long(2 * bytes)));
    // Less than 64 KiB, so that a carrier with 16-bit lengths can write it.
    over.push(("a value three times as long as all may be", long(3 * bytes)));
    for (what, request) in over {
        let before = scene.lab.total();
        let reply = raw.send(request).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_too_many(&reply, what);
        assert_eq!(scene.lab.total(), before, "{what} ran");
        scene.ok(&scene.ask().target("ping")).await;
    }
}

/// Size of an endless head that the server must not accept: far more than any system or proxy
/// buffers.
const ENDLESS_BYTES: usize = 96 * 1024 * 1024;

/// Time within which the server must end an endless head: less than the timeout of a case.
const ENDS_WITHIN: Duration = Duration::from_secs(50);

pub(crate) async fn without_end_are_refused(stage: &Stage) {
    let scene = stage.open().await;
    let connections = scene.rig.live().connections;
    let (raw, ask) = (scene.raw(), scene.ask());
    let request = ask.raw();
    let endless = tokio::spawn(async move { raw.endless(request, ENDLESS_BYTES).await });
    let end = Instant::now() + ENDS_WITHIN;
    while !endless.is_finished() {
        // Other calls are answered meanwhile.
        scene.ok(&scene.ask().target("ping")).await;
        assert!(Instant::now() < end, "the server neither takes more nor ends the connection");
        sleep(stage.units(1) / 10).await;
    }
    let taken = endless.await.expect("the task ends").expect("it can be sent");
    assert!(taken > 0, "the peer has sent nothing");
    assert!(taken < ENDLESS_BYTES, "the server has taken {taken} bytes of one head");
    assert_eq!(scene.lab.count(ask.key()), 0);
    scene.alive(|live| live.connections.unwrap_or(0) <= connections.unwrap_or(0)).await;
    scene.ok(&scene.ask()).await;
}

/// Returns the headers that start with `trailer-`, Connect's prefix for trailing metadata, under
/// their names without the prefix.
fn trailers(headers: &Headers) -> Vec<(String, Vec<u8>)> {
    let trailers = headers.iter().filter_map(|(name, value)| {
        Some((name.strip_prefix("trailer-")?.to_owned(), value.to_vec()))
    });
    let mut trailers: Vec<_> = trailers.collect();
    trailers.sort_by(|(one, _), (other, _)| one.cmp(other));
    trailers
}

pub(crate) async fn trailers_of_replies_pass(stage: &Stage) {
    let scene = stage.open().await;
    let ask = scene.ask().header("x-cost", "17").header("x-tag", "b").header("x-tag", "a");
    let ask = ask.header("x-empty", "").binary("x-all-bin", (0..=255).collect()).trailers();
    let sent = own(&ask.headers);
    let response = scene.ok(&ask).await;
    assert_eq!(trailers(&response.headers), sent, "on the answer");
    assert_eq!(own(&response.headers), [], "without the prefix, on the answer");
    let error = scene.err(&ask.clone().fail(Code::NotFound)).await;
    assert_error(&error, Code::NotFound, &[Delivery::Processed], None);
    assert_eq!(trailers(error.headers()), sent, "on the error");
    // Trailers pass together with headers of the same names, and do not appear unless set.
    let both = scene.ok(&ask.echo()).await.headers;
    assert_eq!((trailers(&both), own(&both)), (sent.clone(), sent));
    assert_eq!(trailers(&scene.ok(&scene.ask()).await.headers), []);
    if stage.capabilities().raw {
        assert_foreign_trailers_pass(&scene).await;
    }
}

/// Asserts that trailers of a foreign responder pass.
async fn assert_foreign_trailers_pass(scene: &Scene) {
    let expected = [("x-cost".to_owned(), b"17".to_vec())];
    for reply in [RawReply::success("body"), RawReply::failure("not_found")] {
        let answer = RawAnswer::Reply(reply.with_header("trailer-x-cost", "17"));
        let client = scene.raw().answering(answer).await.expect("a foreign responder");
        let outcome = client.request(&Context::background(), scene.ask().request()).await;
        let headers = outcome.map_or_else(|error| error.headers().clone(), |answer| answer.headers);
        assert_eq!(trailers(&headers), expected);
    }
}

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

pub(crate) async fn trace_context_passes(stage: &Stage) {
    let scene = stage.open().await;
    let (state, baggage) = ("vendor=abc,other=d:e", "user=17,tier=gold;meta");
    let ctx = Context::background()
        .with_request_id("request 17/a")
        .and_then(|ctx| ctx.with_trace(TRACEPARENT, Some(state)))
        .and_then(|ctx| ctx.with_baggage(baggage))
        .expect("the values fit");
    let ask = scene.ask().onward(1);
    scene.call(&ctx, &ask).await.expect("an answer");
    let runs = scene.lab.runs(ask.key());
    assert_eq!(runs.len(), 2);
    for run in runs {
        assert_eq!(run.traceparent.as_deref(), Some(TRACEPARENT));
        assert_eq!(run.tracestate.as_deref(), Some(state));
        assert_eq!(run.baggage.as_deref(), Some(baggage));
        assert_eq!(run.request_id.as_deref(), Some("request 17/a"));
    }
    // The trace context does not leak to the next call.
    let plain = scene.ask();
    scene.ok(&plain).await;
    let run = scene.run(&plain);
    let sticks = [run.traceparent, run.tracestate, run.baggage, run.request_id];
    assert!(sticks.iter().all(Option::is_none), "{sticks:?}");
}

/// Longest request id, trace state and baggage, in bytes (docs/src/wire.md#headers).
const ID_BYTES: usize = 256;
const STATE_BYTES: usize = 512;
const BAGGAGE_BYTES: usize = 8192;

pub(crate) async fn trace_context_of_full_length(stage: &Stage) {
    let scene = stage.open().await;
    let (id, state) = ("i".repeat(ID_BYTES), format!("v={}", "s".repeat(STATE_BYTES - 2)));
    let baggage = format!("b={}", "g".repeat(BAGGAGE_BYTES - 2));
    let ctx = Context::background()
        .with_request_id(&id)
        .and_then(|ctx| ctx.with_trace(TRACEPARENT, Some(&state)))
        .and_then(|ctx| ctx.with_baggage(&baggage))
        .expect("the values fit");
    let mut ask = scene.ask();
    let entries = ask.headers.len() + 1;
    fill(&mut ask.headers, entries, 4096);
    scene.call(&ctx, &ask).await.expect("an answer");
    let run = scene.run(&ask);
    assert!(run.request_id.as_ref() == Some(&id), "the id is {:?}", run.request_id);
    assert!(run.tracestate.as_ref() == Some(&state), "the state is {:?}", run.tracestate);
    assert!(run.baggage.as_ref() == Some(&baggage), "the baggage is {:?}", run.baggage);
    assert_eq!(own(&run.headers), own(&ask.headers));
}

/// List members that a foreign peer or its proxies send as separate headers.
const STATES: [&str; 3] = ["vendor=abc", "other=d:e,third=f", "last=g"];
const BAGGAGE: [&str; 3] = ["user=17,tier=gold;meta", "region=eu", "cart=3"];

pub(crate) async fn repeated_baggage_is_joined(stage: &Stage) {
    let scene = stage.open().await;
    let ask = scene.ask().onward(1).header("x-own", "1");
    let raw = ask.raw().with_header("traceparent", TRACEPARENT);
    // The headers of the two names are interleaved.
    let raw = STATES.into_iter().zip(BAGGAGE).fold(raw, |raw, (state, baggage)| {
        raw.with_header("tracestate", state).with_header("baggage", baggage)
    });
    let reply = scene.raw().send(raw).await.expect("a reply");
    assert_eq!(reply.code, None, "{reply:?}");
    // The handler and the handlers that it calls with this context see every member.
    let runs = scene.lab.runs(ask.key());
    assert_eq!(runs.len(), 2);
    for run in runs {
        assert_eq!(run.traceparent.as_deref(), Some(TRACEPARENT));
        assert_eq!(run.tracestate, Some(STATES.join(",")));
        assert_eq!(run.baggage, Some(BAGGAGE.join(",")));
        assert_eq!(own(&run.headers), [("x-own".to_owned(), b"1".to_vec())]);
    }
}

//! An error reaches the caller as the handler made it, without internal data of the handler.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rr_spi::{
    AppError, Bytes, Code, Context, Delivery, Error, Middleware, Next, Origin, Reason, Request,
    Requester, Response, RetryHint, defaults,
};
use tokio::time::sleep;

use super::{MAY_HAVE_RUN, assert_error, error_of, own, shown};
use crate::conformance::chaos::{self, Chance};
use crate::conformance::lab::{Ask, Lab, pattern, unicode};
use crate::conformance::stage::{Scene, Stage};
use crate::conformance::typed::Refusal;
use crate::conformance::{RawAnswer, RawGarbage, RawReply, StartOptions};

pub(crate) async fn every_code_round_trips(stage: &Stage) {
    let scene = stage.open().await;
    for code in Code::ALL {
        let message = format!("it is {code}; \"quoted\", {{braces}} & <tags>");
        let ask = scene.ask().fail(code).message(&message).reason("lab-reason").details(3);
        let ask = ask.retry_ms(1500).header("x-why", code.as_str()).echo();
        let error = scene.err(&ask).await;
        let reason = Reason::parse("lab-reason");
        assert_error(&error, code, &[Delivery::Processed], reason.as_ref());
        assert_eq!(error.message(), message);
        assert_eq!(error.origin(), Origin::Peer);
        assert_eq!(error.retry(), RetryHint::After(Duration::from_millis(1500)));
        assert_eq!(error.details().len(), 3, "{error:?}");
        for (at, detail) in error.details().iter().enumerate() {
            assert_eq!(detail.kind, format!("lab.Detail{at}"));
            assert_eq!(detail.value, pattern(300 * at));
        }
        assert_eq!(own(error.headers()), own(&ask.headers));
        assert_eq!(scene.lab.count(ask.key()), 1);

        let plain = scene.err(&scene.ask().fail(code)).await;
        assert_error(&plain, code, &[Delivery::Processed], None);
        assert_eq!((plain.retry(), plain.details().len()), (RetryHint::Unset, 0));
        let never = scene.err(&scene.ask().fail(code).retry_ms(-1)).await;
        assert_eq!(never.retry(), RetryHint::Never);
    }
}

pub(crate) async fn retry_hints_are_whole_milliseconds_up_to_300_s(stage: &Stage) {
    let scene = stage.open().await;
    let after = |millis| RetryHint::After(Duration::from_millis(millis));
    for (micros, held) in [
        (0, after(0)),
        (1, after(1)),
        (1_500, after(2)),
        (70_000_000, after(70_000)),
        (300_000_000, after(300_000)),
        (300_000_001, RetryHint::Never),
        (600_000_000, RetryHint::Never),
        (u64::MAX, RetryHint::Never),
    ] {
        let error = scene.err(&scene.ask().fail(Code::Unavailable).retry_us(micros)).await;
        assert_eq!(error.retry(), held, "{micros} us");
    }
}

pub(crate) async fn messages_pass_as_they_are(stage: &Stage) {
    let scene = stage.open().await;
    for (asked, text) in [
        ("", ""),
        ("several\\nlines\\n\\nand an end\\n", "several\nlines\n\nand an end\n"),
        ("\\n", "\n"),
        ("\"}", "\"}"),
        ("100 %0a &amp; =?utf-8?q?=", "100 %0a &amp; =?utf-8?q?="),
    ] {
        let error = scene.err(&scene.ask().fail(Code::NotFound).message(asked)).await;
        assert_error(&error, Code::NotFound, &[Delivery::Processed], None);
        assert_eq!(error.message(), text);
    }
    // Up to the longest text that fits.
    for bytes in [1, 255, 256, 257, 1000, 1023] {
        let error = scene.err(&scene.ask().fail(Code::NotFound).message_bytes(bytes)).await;
        let length = error.message().len();
        assert!(
            length <= 1024 && unicode(bytes).starts_with(error.message()),
            "{bytes}: {error:?}"
        );
        assert!(length >= bytes.min(1021), "{bytes}: {length}");
    }
}

pub(crate) async fn reasons_of_64_bytes(stage: &Stage) {
    let scene = stage.open().await;
    for bytes in [1, 23, 24, 25, 32, 33, 63, 64] {
        let token = "lab-reason-".repeat(6)[..bytes].trim_end_matches('-').to_owned();
        let reason = Reason::parse(&token);
        assert!(reason.is_some(), "`{token}` is a reason");
        let error = scene.err(&scene.ask().fail(Code::Aborted).reason(&token)).await;
        assert_error(&error, Code::Aborted, &[Delivery::Processed], reason.as_ref());
    }
}

pub(crate) async fn details_of_8_kib(stage: &Stage) {
    let scene = stage.open().await;
    let kind = "lab.Detail0".len();
    let all = defaults::ERROR_DETAIL_BYTES_MAX;
    // Details that reach the limit, alone and together.
    for (count, bytes) in [(1, 1024), (1, 1025), (1, all - kind), (10, all / 10 - kind), (64, 100)]
    {
        let ask = scene.ask().fail(Code::Aborted).details_of(count, bytes);
        let error = scene.err(&ask).await;
        assert_eq!(error.details().len(), count, "of {bytes} bytes");
        for (at, detail) in error.details().iter().enumerate() {
            assert_eq!(detail.kind, format!("lab.Detail{at}"));
            assert!(
                detail.value == pattern(bytes),
                "{at} of {count}, of {bytes} bytes, is another"
            );
        }
    }
    // Details over the limit are dropped as a whole, from the last one on.
    let error = scene.err(&scene.ask().fail(Code::Aborted).details_of(3, all / 2 - kind)).await;
    assert_error(&error, Code::Aborted, &[Delivery::Processed], None);
    assert_eq!(error.details().len(), 2);
    assert!(error.details().iter().all(|detail| detail.value == pattern(all / 2 - kind)));
    let error = scene.err(&scene.ask().fail(Code::Aborted).details_of(1, all)).await;
    assert_eq!(error.details().len(), 0);
}

pub(crate) async fn unicode_4k_message_is_cut(stage: &Stage) {
    let scene = stage.open().await;
    let short = scene.err(&scene.ask().fail(Code::NotFound).message_bytes(500)).await;
    assert_eq!(short.message(), unicode(500));
    let error = scene.err(&scene.ask().fail(Code::NotFound).message_bytes(4096)).await;
    assert_error(&error, Code::NotFound, &[Delivery::Processed], None);
    assert!(unicode(4096).starts_with(error.message()), "{}", error.message());
    let length = error.message().len();
    // The cut is on a character boundary; the longest character has four bytes.
    assert!((1021..=1024).contains(&length), "{length} bytes");
}

/// Calls a foreign responder that gives `answer`, and returns the error of the requester.
async fn answered(scene: &Scene, answer: RawAnswer) -> Error {
    let client = scene.raw().answering(answer).await.expect("a foreign responder");
    let watch = scene.watch();
    let first = error_of(client.request(&Context::background(), scene.ask().request()).await);
    // The first reply does not affect the next call.
    let second = error_of(client.request(&Context::background(), scene.ask().request()).await);
    watch.assert_at_once();
    assert_eq!((first.code(), first.delivery()), (second.code(), second.delivery()));
    first
}

pub(crate) async fn unknown_code_tolerated(stage: &Stage) {
    let scene = stage.open().await;
    let newer = || RawReply::failure("from_the_future").with_reason("lab-newer");
    // A known delivery is kept; an unknown or missing one becomes `Unknown`.
    for (said, held) in [
        (Some("processed"), Delivery::Processed),
        (Some("unknown"), Delivery::Unknown),
        (Some("maybe"), Delivery::Unknown),
        (None, Delivery::Unknown),
    ] {
        let reply = said.map_or_else(newer, |said| newer().with_delivery(said));
        let error = answered(&scene, RawAnswer::Reply(reply.with_header("x-kept", "1"))).await;
        assert_eq!((error.code(), error.delivery()), (Code::Unknown, held), "{error:?}");
        assert_eq!(own(error.headers()), [("x-kept".to_owned(), b"1".to_vec())]);
    }
    // For an unknown code in the header, the body's code decides; an unknown reason is kept.
    let reply = newer().with_delivery("processed").with_body(r#"{"code":"aborted","new":[1]}"#);
    let error = answered(&scene, RawAnswer::Reply(reply)).await;
    let reason = Reason::parse("lab-newer");
    assert_error(&error, Code::Aborted, &[Delivery::Processed], reason.as_ref());
}

pub(crate) async fn malformed_reply_is_bad_response(stage: &Stage) {
    let scene = stage.open().await;
    let nothing_like_it = Bytes::from_static(b"nonsense\r\n\r\n");
    for garbage in [nothing_like_it, pattern(300)] {
        let error = answered(&scene, RawAnswer::Garbage(garbage)).await;
        assert_error(&error, Code::Internal, MAY_HAVE_RUN, Some(&Reason::BAD_RESPONSE));
    }
    // The rig's requester is not affected.
    scene.ok(&scene.ask()).await;
}

/// Sizes of the noise that a foreign peer sends, up to more than carriers read in one go.
const NOISE_BYTES: [usize; 6] = [1, 9, 64, 1000, 20_000, 200_000];

/// Lengths after which a foreign peer stops sending: in the first line, the headers or the body.
const PART_BYTES: [usize; 8] = [1, 4, 20, 60, 120, 250, 400, usize::MAX];

/// Numbers of body bytes that a foreign peer announces but does not send.
const PROMISE_BYTES: [usize; 3] = [1, 4096, 500_000];

/// Returns noise and incomplete requests of all kinds.
fn garbage(scene: &Scene, chance: &Chance) -> Vec<RawGarbage> {
    let request = || scene.ask().body(pattern(300)).raw();
    let noise = NOISE_BYTES.map(|bytes| RawGarbage::Noise(chance.bytes(bytes).into()));
    let parts = PART_BYTES.map(|bytes| RawGarbage::Part(request(), bytes));
    let promises = PROMISE_BYTES.map(|bytes| RawGarbage::Promise(request(), bytes));
    noise.into_iter().chain(parts).chain(promises).collect()
}

pub(crate) async fn garbage_harms_nobody(stage: &Stage) {
    let scene = stage.open().await;
    let seed = chaos::seed(stage);
    let held = scene.ask().gate("held").body("held");
    let holding = scene.spawn(&Context::background(), &held);
    scene.entered(&held).await;
    // Some carriers open another connection for a concurrent call.
    scene.ok(&scene.ask()).await;
    let connections = scene.rig.live().connections;
    let mut peers = Vec::new();
    for garbage in garbage(&scene, &Chance::new(seed)) {
        let before = scene.lab.total();
        peers.push(scene.raw().garbage(garbage.clone()).await.expect("it can be sent"));
        // The server reads the garbage while it answers other calls.
        for at in 0..3 {
            scene.echo(format!("beside {at}")).await;
        }
        sleep(stage.units(1) / 10).await;
        assert_eq!(scene.lab.total() - before, 3, "it ran: {garbage:?}");
    }
    let newcomer = scene.rig.connect_again().await.expect("a client beside them");
    let answer = scene.call_by(&*newcomer, &Context::background(), &scene.ask()).await;
    assert!(answer.is_ok(), "{answer:?}");
    // An incomplete request does not run when its peer disconnects.
    let total = scene.lab.total();
    drop((newcomer, peers));
    scene.lab.open_gate("held");
    let answer = holding.await.expect("the task ends").expect("an answer");
    assert_eq!(answer.body, "held");
    scene.idle().await;
    scene.alive(|live| live.connections.unwrap_or(0) <= connections.unwrap_or(0)).await;
    sleep(stage.units(1)).await;
    assert_eq!(scene.lab.total(), total, "it ran once its peer had gone");
}

pub(crate) async fn app_error_round_trips(stage: &Stage) {
    let scene = stage.open().await;
    for (left, code) in [(2, Code::FailedPrecondition), (0, Code::NotFound)] {
        let error = scene.err(&scene.ask().app_error(left)).await;
        assert_error(&error, code, &[Delivery::Processed], Some(&Reason::APP));
        assert_eq!((error.message(), error.retry()), (&*format!("{left} left"), RetryHint::Never));
        let [detail] = error.details() else { panic!("one detail, not {:?}", error.details()) };
        assert_eq!(detail.kind, Refusal::TYPE);
        assert_eq!(detail.value, format!("{{\"left\":{left}}}"));
    }
}

pub(crate) async fn display_leaks_nothing(stage: &Stage) {
    let scene = stage.open().await;
    let ask = scene
        .ask()
        .body("secret-of-the-body")
        .header("x-token", "secret-of-the-headers")
        .fail(Code::Internal)
        .message("what the handler says")
        .source("secret-of-the-source");
    let error = scene.err(&ask).await;
    assert_eq!(error.message(), "what the handler says");
    let shown = shown(&error);
    assert!(!shown.contains("secret"), "{shown}");
    assert!(!shown.contains("lab-key"), "{shown}");
    assert!(error.attempts().is_empty());
}

/// Codes that keep their meaning one hop up.
const KEPT: [Code; 4] =
    [Code::DeadlineExceeded, Code::Canceled, Code::ResourceExhausted, Code::Unavailable];

pub(crate) async fn downstream_error_is_rescoped(stage: &Stage) {
    let scene = stage.open().await;
    for code in Code::ALL {
        let ask = scene.ask().onward(1).fail(code).message("secret-of-the-downstream");
        let ask = ask.reason("secret-reason").details(2).retry_ms(250).header("x-secret", "s");
        let error = scene.err(&ask.echo()).await;
        let expected = if KEPT.contains(&code) { code } else { Code::Internal };
        assert_error(&error, expected, &[Delivery::Processed], None);
        assert!(!error.message().contains("secret"), "{error:?}");
        assert!(error.details().is_empty() && own(error.headers()).is_empty(), "{error:?}");
        assert_eq!(error.retry(), RetryHint::Unset);
        let never = scene.err(&scene.ask().onward(1).fail(code).retry_ms(-1)).await;
        assert_eq!(never.retry(), RetryHint::Never);
    }
    // The downstream handler did not run, but the one in between did: its error is `Processed`.
    let ask = scene.ask().onward_to("nobody.home");
    let error = scene.err(&ask).await;
    assert!([Code::Internal, Code::Unavailable].contains(&error.code()), "{error:?}");
    assert_eq!(error.delivery(), Delivery::Processed);
    assert_eq!(scene.lab.count(ask.key()), 1);
}

/// Middleware that calls another service before the rest of the chain, like a quota check.
#[derive(Default)]
struct Quota(OnceLock<(Arc<dyn Requester>, Ask)>);

#[rr_spi::async_trait]
impl Middleware for Quota {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        if let Some((client, ask)) = self.0.get().filter(|_| request.target == "lab.other") {
            client.request(ctx, ask.request()).await?;
        }
        next.run(ctx, request).await
    }
}

pub(crate) async fn called_by_server_middleware_is_rescoped(stage: &Stage) {
    for (code, expected) in
        [(Code::Unavailable, Code::Unavailable), (Code::PermissionDenied, Code::Internal)]
    {
        let (lab, quota) = (Lab::new(), Arc::new(Quota::default()));
        let routes = lab.routes().wrap(&[Arc::clone(&quota) as _]);
        let scene = stage.open_routes(lab, routes, StartOptions::default()).await;
        let asked = scene.ask().fail(code).message("secret-of-the-quota").reason("secret-reason");
        let asked = asked.details(2).retry_ms(1).header("x-secret", "s").echo();
        assert!(quota.0.set((Arc::clone(&scene.client), asked)).is_ok());
        let ask = scene.ask().target("lab.other");
        let error = scene.err(&ask).await;
        assert_error(&error, expected, &[Delivery::Rejected], None);
        assert!(!error.message().contains("secret"), "{error:?}");
        assert!(error.details().is_empty() && own(error.headers()).is_empty(), "{error:?}");
        assert_eq!((error.retry(), scene.lab.count(ask.key())), (RetryHint::Unset, 0));
        drop(quota);
    }
}

pub(crate) async fn expose_passes(stage: &Stage) {
    let scene = stage.open().await;
    let ask = scene.ask().onward(1).expose().fail(Code::NotFound).message("no order 17");
    let ask = ask.reason("secret-reason").details(2).header("x-secret", "s").echo();
    let error = error_of(scene.call(&Context::background(), &ask).await);
    assert_error(&error, Code::Internal, &[Delivery::Processed], None);
    assert_eq!(error.message(), "no order 17");
    assert!(error.details().is_empty() && own(error.headers()).is_empty(), "{error:?}");
}

//! The idempotency of a request reaches the handler, and suppressed duplicates do not run.

use std::time::Duration;

use rr_spi::{Code, Context, Dedup, Delivery, Idempotency, IdempotencyKey, Reason};
use tokio::time::sleep;

use super::super::lab::{Ask, pattern};
use super::super::stage::{Scene, Stage};
use super::{assert_error, assert_expired, error_of, own};

/// Longer than any case but `ttl_expires`, which sets its own.
const TTL: Duration = Duration::from_secs(60);

/// Returns a keyed request with a pattern body and headers to be echoed.
fn rich(scene: &Scene, key: &str) -> Ask {
    let ask = scene.ask().body(pattern(3000)).header("x-tag", "a").header("x-tag", "b");
    ask.binary("x-sig-bin", vec![0, 255]).echo().keyed(key)
}

pub(crate) async fn key_passes(stage: &Stage) {
    let scene = stage.open().await;
    let visible: String = ('!'..='~').collect();
    let longest = "k".repeat(255);
    for key in ["k", "order-17", "\"", "\\\"a\\", ";=,:/?#%00", &visible, &longest] {
        let ask = scene.ask().keyed(key);
        scene.ok(&ask).await;
        let key = IdempotencyKey::new(key).expect("the key fits");
        assert_eq!(scene.run(&ask).idempotency, Idempotency::Keyed(key));
    }
    for other in [Idempotency::Unspecified, Idempotency::Safe, Idempotency::Idempotent] {
        let ask = scene.ask().idempotency(other.clone());
        scene.ok(&ask).await;
        assert_eq!(scene.run(&ask).idempotency, other);
    }
}

pub(crate) async fn replay(stage: &Stage) {
    let scene = stage.open_deduplicating(TTL).await;
    let ask = rich(&scene, "a");
    let first = scene.ok(&ask).await;
    assert_eq!(first.dedup(), Some(Dedup::On));
    let other_client = scene.rig.connect_again().await.expect("a second client");
    for client in [&scene.client, &other_client] {
        let again = scene.call_by(&**client, &Context::background(), &ask).await;
        let again = again.expect("a duplicate is answered");
        assert_eq!(again.dedup(), Some(Dedup::Replayed));
        assert_eq!((own(&again.headers), &again.body), (own(&first.headers), &first.body));
    }
    assert_eq!(scene.run(&ask).body, first.body);

    let ask = rich(&scene, "b").fail(Code::NotFound).message("no such order").details(2);
    let first = scene.err(&ask).await;
    assert_eq!((first.dedup(), first.delivery()), (Some(Dedup::On), Delivery::Processed));
    let again = scene.err(&ask).await;
    assert_eq!((again.dedup(), again.delivery()), (Some(Dedup::Replayed), Delivery::Processed));
    assert_eq!((again.code(), again.message()), (first.code(), first.message()));
    assert_eq!((again.details(), own(again.headers())), (first.details(), own(first.headers())));
    assert_eq!(scene.lab.count(ask.key()), 1);

    // A request without a key runs each time, and a request with another key is a new request.
    let plain = scene.ask().idempotency(Idempotency::Idempotent);
    for runs in 1..=2 {
        assert_eq!(scene.ok(&plain).await.dedup(), None);
        assert_eq!(scene.lab.count(plain.key()), runs);
    }
    let other = rich(&scene, "c");
    assert_eq!(scene.ok(&other).await.dedup(), Some(Dedup::On));
    assert_eq!(scene.lab.count(other.key()), 1);
}

pub(crate) async fn join_in_flight(stage: &Stage) {
    let scene = stage.open_deduplicating(TTL).await;
    let ask = rich(&scene, "a").gate("go");
    let ctx = Context::background().with_timeout(stage.units(200));
    let first = scene.spawn(&ctx, &ask);
    scene.entered(&ask).await;
    let twins: Vec<_> = (0..3).map(|_| scene.spawn(&ctx, &ask)).collect();
    // A twin ends at its own deadline. The run that it waits for continues, so that its error
    // reports that the handler may have run.
    let watch = scene.watch();
    let hasty = scene.call(&ctx.with_timeout(stage.units(3)), &ask).await;
    watch.assert_about(stage.units(3));
    assert_expired(&error_of(hasty));
    assert_eq!(scene.lab.count(ask.key()), 1, "a twin ran");
    scene.lab.open_gate("go");
    let answer = first.await.expect("the task ends").expect("the first is answered");
    assert_eq!(answer.dedup(), Some(Dedup::On));
    for twin in twins {
        let same = twin.await.expect("the task ends").expect("a twin is answered");
        assert_eq!(same.dedup(), Some(Dedup::Replayed));
        assert_eq!((own(&same.headers), &same.body), (own(&answer.headers), &answer.body));
    }
    assert_eq!(scene.lab.count(ask.key()), 1);

    // The twin gets the error of the first request, from the same run.
    let ask = rich(&scene, "b").gate("fail").fail(Code::NotFound);
    let first = scene.spawn(&ctx, &ask);
    scene.entered(&ask).await;
    let twin = scene.spawn(&ctx, &ask);
    sleep(stage.units(3)).await;
    scene.lab.open_gate("fail");
    for (call, dedup) in [(first, Dedup::On), (twin, Dedup::Replayed)] {
        let error = error_of(call.await.expect("the task ends"));
        assert_error(&error, Code::NotFound, &[Delivery::Processed], None);
        assert_eq!(error.dedup(), Some(dedup));
    }
    assert_eq!(scene.lab.count(ask.key()), 1);
}

pub(crate) async fn other_body_refused(stage: &Stage) {
    let scene = stage.open_deduplicating(TTL).await;
    let ask = rich(&scene, "a").gate("go");
    let ctx = Context::background().with_timeout(stage.units(200));
    let first = scene.spawn(&ctx, &ask);
    scene.entered(&ask).await;
    for round in ["while it runs", "after its end"] {
        let body = rich(&scene, "a").body(pattern(2999));
        let target = rich(&scene, "a").target("lab.other");
        for other in [body, target] {
            let error = scene.err(&other).await;
            let reason = Some(&Reason::IDEMPOTENCY_KEY_REUSE);
            assert_error(&error, Code::InvalidArgument, &[Delivery::Rejected], reason);
            assert_eq!(error.dedup(), Some(Dedup::On), "{round}");
            assert_eq!(scene.lab.count(other.key()), 0, "{round}");
        }
        scene.lab.open_gate("go");
        scene.ended(&ask).await;
    }
    assert!(first.await.expect("the task ends").is_ok(), "the first is left alone");
    assert_eq!(scene.ok(&ask).await.dedup(), Some(Dedup::Replayed));
}

pub(crate) async fn ttl_expires(stage: &Stage) {
    let ttl = stage.units(40);
    let scene = stage.open_deduplicating(ttl).await;
    let ask = rich(&scene, "a");
    scene.ok(&ask).await;
    assert_eq!(scene.ok(&ask).await.dedup(), Some(Dedup::Replayed));
    sleep(ttl + stage.units(2)).await;
    // The same request under another lab key, which the store ignores.
    let again = rich(&scene, "a");
    assert_eq!(scene.ok(&again).await.dedup(), Some(Dedup::On));
    assert_eq!((scene.lab.count(ask.key()), scene.lab.count(again.key())), (1, 1));
}

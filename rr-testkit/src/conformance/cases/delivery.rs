//! An error never claims that the handler did not run when it did.

use std::time::Duration;

use rr_spi::{Code, Context, Delivery, Idempotency, IntakeConfig, Reason};
use tokio::time::sleep;

use super::{assert_error, assert_lost, assert_unreached, error_of};
use crate::conformance::Timing;
use crate::conformance::chaos::{self, Chance};
use crate::conformance::cuts;
use crate::conformance::lab::Ask;
use crate::conformance::stage::{Scene, Stage};
use crate::stream_link::Direction;

/// Reasons of errors when no server can be reached.
const NOBODY: [Reason; 6] = [
    Reason::NO_RESPONDER,
    Reason::NOT_CONNECTED,
    Reason::CONNECT_FAILED,
    Reason::CONNECTION_LOST,
    Reason::DRAINING,
    Reason::CLOSED,
];

pub(crate) async fn nobody_there_not_sent(stage: &Stage) {
    let scene = stage.open().await;
    let unused = scene.rig.connect_again().await.expect("a second client");
    scene.rig.stop(Duration::ZERO).await;
    // A call that overtakes the end of its connection may report Unknown.
    sleep(stage.units(2)).await;
    for _ in 0..3 {
        for client in [&scene.client, &unused] {
            let ask = scene.ask();
            let watch = scene.watch();
            let error = error_of(scene.call_by(&**client, &Context::background(), &ask).await);
            watch.assert_at_once();
            assert_eq!(error.code(), Code::Unavailable, "{error:?}");
            assert!(error.reason().is_some_and(|reason| NOBODY.contains(reason)), "{error:?}");
            // An in-process server can still refuse calls after its end.
            let refused = error.reason() == Some(&Reason::DRAINING);
            let expected = if refused { Delivery::Rejected } else { Delivery::NotSent };
            assert_eq!(error.delivery(), expected, "{error:?}");
        }
    }
}

pub(crate) async fn killed_before_accept(stage: &Stage) {
    let scene = stage.open().await;
    let mut failed = Vec::new();
    for _ in 0..3 {
        let unused = scene.rig.connect_again().await.expect("a second client");
        scene.rig.kill_link().await;
        for client in [&scene.client, &unused] {
            let ask = scene.ask();
            let ctx = Context::background().with_timeout(stage.units(3));
            let error = error_of(scene.call_by(&**client, &ctx, &ask).await);
            assert_unreached(&error);
            failed.push((ask, error));
        }
        scene.rig.restore_link().await;
        scene.recovers(&*scene.client).await;
    }
    sleep(stage.units(3)).await;
    for (ask, error) in failed {
        assert_eq!(scene.lab.count(ask.key()), 0, "it ran after it had failed: {error:?}");
    }
}

pub(crate) async fn killed_after_accept_unknown(stage: &Stage) {
    let scene = stage.open().await;
    for _ in 0..3 {
        let asks: Vec<_> = (0..5).map(|_| scene.ask().hang()).collect();
        let ctx = Context::background().with_timeout(stage.units(200));
        let calls = scene.start(&ctx, &asks).await;
        let watch = scene.watch();
        scene.rig.kill_link().await;
        for call in calls {
            assert_lost(&error_of(call.await.expect("the task ends")));
        }
        watch.assert_at_once();
        scene.rig.restore_link().await;
        scene.recovers(&*scene.client).await;
        for ask in &asks {
            assert_eq!(scene.lab.count(ask.key()), 1);
        }
    }
}

pub(crate) async fn cut_within_a_request(stage: &Stage) {
    let cuts = cuts::everywhere(stage, Direction::Requests).await;
    // Otherwise the case has tested nothing: a request that was cut before its end cannot run.
    assert!(cuts.unrun > 0, "{cuts:?}");
}

pub(crate) async fn cut_within_a_reply(stage: &Stage) {
    let cuts = cuts::everywhere(stage, Direction::Replies).await;
    // The carrier may write bytes before the request has arrived, so that some calls do not run.
    assert!(cuts.ran > cuts.unrun, "{cuts:?}");
}

pub(crate) async fn refused_by_limit_rejected(stage: &Stage) {
    let server = IntakeConfig::default().with_in_flight_max(2);
    let scene = stage.open_server(server).await;
    let (mut answered, mut refused) = (0, 0);
    for _ in 0..3 {
        let asks: Vec<_> = (0..20).map(|_| scene.ask().sleep(stage.units(2))).collect();
        let calls: Vec<_> =
            asks.iter().map(|ask| scene.spawn(&Context::background(), ask)).collect();
        for (call, ask) in calls.into_iter().zip(&asks) {
            match call.await.expect("the task ends") {
                Ok(_) => {
                    answered += 1;
                    assert_eq!(scene.lab.count(ask.key()), 1);
                }
                outcome => {
                    refused += 1;
                    let (code, reason) = (Code::ResourceExhausted, Some(&Reason::OVERLOADED));
                    assert_error(&error_of(outcome), code, &[Delivery::Rejected], reason);
                    assert_eq!(scene.lab.count(ask.key()), 0);
                }
            }
        }
    }
    assert!(answered >= 6 && refused > 0, "{answered} answered, {refused} refused");
}

pub(crate) async fn never_claims_unrun_when_counter_moved(stage: &Stage) {
    let seed = chaos::seed(stage);
    let mut outcomes = chaos::Outcomes::default();
    for round in 0..chaos::rounds(stage.timing()) {
        let chance = Chance::new(seed.wrapping_add(round));
        outcomes += chaos::round(stage, &chance).await;
    }
    // Otherwise the case has tested nothing.
    assert!(outcomes.answered > 0 && outcomes.unexecuted > 0, "{outcomes:?}");
    if stage.capabilities().link {
        assert!(outcomes.unknown > 0, "{outcomes:?}");
    }
}

/// Returns calls that a transport might be tempted to retry.
fn tempting(scene: &Scene, time: Duration) -> Vec<(Context, Ask)> {
    let background = Context::background();
    let mut calls: Vec<_> =
        [Code::Unavailable, Code::Aborted, Code::ResourceExhausted, Code::Internal]
            .into_iter()
            .map(|code| (background.clone(), scene.ask().fail(code).retry_ms(0)))
            .collect();
    let safe = scene.ask().idempotency(Idempotency::Safe).fail(Code::Unavailable);
    calls.push((background.clone(), safe));
    calls.push((background.clone(), scene.ask().panic_later()));
    calls.push((background.with_timeout(time), scene.ask().hang()));
    calls.push((background.with_timeout(time), scene.ask().keyed("tempting").hang()));
    calls
}

pub(crate) async fn handler_runs_at_most_once_per_call(stage: &Stage) {
    let scene = stage.open().await;
    let time = stage.units(3);
    let mut asks = Vec::new();
    for (ctx, ask) in tempting(&scene, time) {
        let error = error_of(scene.call(&ctx, &ask).await);
        // On a loaded machine the request may expire before it arrives.
        if error.delivery() == Delivery::Processed || scene.lab.count(ask.key()) > 0 {
            asks.push(ask);
        }
    }
    if stage.capabilities().link {
        // Calls whose replies are lost.
        let ctx = Context::background().with_timeout(stage.units(200));
        for round in 0..3 {
            let kinds = [Idempotency::Unspecified, Idempotency::Safe, Idempotency::Idempotent];
            let kinds = kinds.map(|kind| scene.ask().idempotency(kind).hang());
            let keyed = scene.ask().keyed(&format!("lost-{round}")).hang();
            let lost: Vec<_> = kinds.into_iter().chain([keyed]).collect();
            let calls = scene.start(&ctx, &lost).await;
            scene.rig.kill_link().await;
            scene.rig.restore_link().await;
            for call in calls {
                assert_lost(&error_of(call.await.expect("the task ends")));
            }
            scene.recovers(&*scene.client).await;
            asks.extend(lost);
        }
    }
    if stage.timing() == Timing::Virtual {
        // A long call: a transport may take its reply for lost and send the request again.
        let ask = scene.ask().hang();
        let ctx = Context::background().with_timeout(stage.late());
        error_of(scene.call(&ctx, &ask).await);
        asks.push(ask);
    }
    sleep(stage.late()).await;
    for ask in asks {
        assert_eq!(scene.lab.count(ask.key()), 1, "runs of {ask:?}");
    }
}

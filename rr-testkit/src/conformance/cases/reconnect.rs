//! An outage ends only the calls during it: the same requester reconnects to its server.

use std::sync::Arc;
use std::time::Duration;

use rr_spi::{Cause, Code, Context, Delivery};
use tokio::time::sleep;

use super::{assert_lost, assert_unreached, error_of};
use crate::conformance::Timing;
use crate::conformance::lab::{Ask, RunEnd};
use crate::conformance::stage::{CallTask, Scene, Stage};

/// Starts calls whose handlers hang, and waits until all handlers are entered.
async fn hanging(scene: &Arc<Scene>, count: usize, time: Duration) -> Vec<(Ask, CallTask)> {
    let asks: Vec<_> = (0..count).map(|_| scene.ask().hang()).collect();
    let calls = scene.start(&Context::background().with_timeout(time), &asks).await;
    asks.into_iter().zip(calls).collect()
}

pub(crate) async fn outage_fails_within_deadline(stage: &Stage) {
    let scene = stage.open().await;
    let unused = scene.rig.connect_again().await.expect("a second client");
    scene.rig.kill_link().await;
    let time = stage.units(5);
    let ctx = Context::background().with_timeout(time);
    // The second time, the requesters already know that the link is down.
    for _ in 0..2 {
        for client in [&scene.client, &unused] {
            let ask = scene.ask();
            let watch = scene.watch();
            assert_unreached(&error_of(scene.call_by(&**client, &ctx, &ask).await));
            watch.assert_by(time);
            assert_eq!(scene.lab.count(ask.key()), 0);
        }
    }
    let watch = scene.watch();
    let calls: Vec<_> = (0..20).map(|_| scene.spawn(&ctx, &scene.ask())).collect();
    for call in calls {
        assert_unreached(&error_of(call.await.expect("the task ends")));
    }
    watch.assert_by(time);
    scene.rig.restore_link().await;
}

pub(crate) async fn recovers_without_new_client(stage: &Stage) {
    let scene = stage.open().await;
    let ctx = Context::background().with_timeout(stage.units(3));
    for round in 0..3 {
        scene.rig.kill_link().await;
        // With and without calls during the outage.
        if round > 0 {
            assert_unreached(&error_of(scene.call(&ctx, &scene.ask()).await));
        }
        scene.rig.restore_link().await;
        scene.recovers(&*scene.client).await;
        for at in 0..10 {
            scene.echo(format!("{round} {at}")).await;
        }
    }
}

pub(crate) async fn idle_for_a_minute(stage: &Stage) {
    let scene = stage.open().await;
    let other = scene.rig.connect_again().await.expect("a second client");
    // Shorter and longer than the idle timeouts of servers, clients and intermediaries.
    let pauses: &[Duration] = match stage.timing() {
        Timing::Virtual => &[31, 61, 100, 310, 3601].map(Duration::from_secs),
        Timing::Real { unit } => &[unit * 20],
    };
    for &pause in pauses {
        sleep(pause).await;
        for client in [&scene.client, &other] {
            for _ in 0..3 {
                let ask = scene.ask().body("after a pause");
                let watch = scene.watch();
                let answer = scene.call_by(&**client, &Context::background(), &ask).await;
                watch.assert_at_once();
                let answer = answer.unwrap_or_else(|error| panic!("after {pause:?}: {error:?}"));
                assert_eq!(answer.body, "after a pause");
            }
        }
    }
}

pub(crate) async fn pending_all_resolve(stage: &Stage) {
    let scene = stage.open().await;
    let calls = hanging(&scene, 40, stage.units(400)).await;
    assert_ne!(scene.rig.live().pending, Some(0));
    let watch = scene.watch();
    scene.rig.kill_link().await;
    for (_, call) in calls {
        assert_lost(&error_of(call.await.expect("the task ends")));
    }
    watch.assert_at_once();
    scene.alive(|live| live.pending.unwrap_or(0) == 0).await;
    scene.rig.restore_link().await;
    scene.recovers(&*scene.client).await;
}

pub(crate) async fn server_restart_same_address(stage: &Stage) {
    let scene = stage.open().await;
    let other = scene.rig.connect_again().await.expect("a second client");
    scene.call_by(&*other, &Context::background(), &scene.ask()).await.expect("an answer");
    for _ in 0..2 {
        let time = stage.units(40);
        let calls = hanging(&scene, 5, time).await;
        let watch = scene.watch();
        scene.rig.restart().await.expect("the server comes up again");
        for (ask, _) in &calls {
            // A handler does not survive its process.
            let Some(how) = scene.run(ask).end() else { panic!("{} still runs", ask.key()) };
            let by_its_time = RunEnd::Dropped(Some(Cause::DeadlineExceeded));
            assert!(how != by_its_time, "{} was ended by its deadline", ask.key());
        }
        // The calls were lost with the server: some transports report that, on others the deadline
        // ends the calls.
        for (ask, call) in calls {
            let error = error_of(call.await.expect("the task ends"));
            assert_unreached(&error);
            assert_eq!(error.delivery(), Delivery::Unknown, "{error:?}");
            assert_eq!(scene.lab.count(ask.key()), 1);
        }
        watch.assert_by(time);
        for client in [&scene.client, &other] {
            scene.recovers(&**client).await;
            for at in 0..10 {
                let ask = scene.ask().body(format!("{at}"));
                let answer = scene.call_by(&**client, &Context::background(), &ask).await;
                assert_eq!(answer.expect("an answer").body, ask.request().body);
            }
        }
    }
}

pub(crate) async fn no_stale_send_after_reconnect(stage: &Stage) {
    let scene = stage.open().await;
    let ctx = Context::background().with_timeout(stage.units(3));
    for _ in 0..2 {
        scene.rig.kill_link().await;
        let stale: Vec<_> = (0..10).map(|_| scene.ask().body("stale")).collect();
        let calls: Vec<_> = stale.iter().map(|ask| scene.spawn(&ctx, ask)).collect();
        for call in calls {
            assert_unreached(&error_of(call.await.expect("the task ends")));
        }
        scene.rig.restore_link().await;
        scene.recovers(&*scene.client).await;
        sleep(stage.units(5)).await;
        for ask in &stale {
            assert_eq!(scene.lab.count(ask.key()), 0, "it was sent after it had failed");
        }
    }
}

pub(crate) async fn no_double_run(stage: &Stage) {
    let scene = stage.open().await;
    let step = stage.timing().unit();
    for round in 0..4 {
        let ctx = Context::background().with_timeout(stage.units(20));
        let asks: Vec<_> = (0..6).map(|at| scene.ask().sleep(step / 2 * (at % 4))).collect();
        let calls: Vec<_> = asks.iter().map(|ask| scene.spawn(&ctx, ask)).collect();
        sleep(step / 4 * round).await;
        scene.rig.kill_link().await;
        scene.rig.restore_link().await;
        for call in calls {
            if let Err(error) = call.await.expect("the task ends") {
                assert_eq!(error.code(), Code::Unavailable, "{error:?}");
            }
        }
        scene.recovers(&*scene.client).await;
        for ask in &asks {
            assert!(scene.lab.count(ask.key()) <= 1, "{} ran twice", ask.key());
        }
    }
}

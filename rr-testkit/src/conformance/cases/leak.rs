//! Ended calls, clients and servers leave no call, connection, subscription or task behind.

use std::sync::Arc;
use std::time::Duration;

use rr_spi::{Code, Context, Reason, defaults};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};

use super::error_of;
use crate::conformance::Live;
use crate::conformance::lab::pattern;
use crate::conformance::stage::{Scene, Stage};

/// Total number of calls, and of callers that make them concurrently.
const CALLS: usize = 10_000;
const CALLERS: usize = 50;

/// Number of additional tasks that an idle rig may have, for example for open connections.
const TASKS_SLACK: usize = 2 * CALLERS + 8;

/// Returns the number of live tasks on the runtime of the case.
fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Waits until at most `most` tasks are left.
async fn tasks_at_most(stage: &Stage, most: usize, whose: &str) {
    let end = Instant::now() + stage.timing().patience();
    while tasks() > most {
        assert!(Instant::now() < end, "{} tasks, not {most}: {whose} leaves some", tasks());
        sleep(stage.timing().unit() / 10).await;
    }
}

/// Makes calls that end in every possible way; 3 of 40 calls last a while.
async fn mixed_calls(scene: Arc<Scene>, calls: usize, unit: Duration) {
    let background = Context::background();
    // Without the capability `cancel`, the deadline ends the handler.
    let bounded = || background.with_timeout(unit * 5);
    let too_large = pattern(defaults::BODY_BYTES_MAX + 1);
    for at in 0..calls {
        match at % 40 {
            0 => {
                let ctx = background.with_timeout(unit);
                let error = error_of(scene.call(&ctx, &scene.ask().hang()).await);
                assert_eq!(error.code(), Code::DeadlineExceeded, "{error:?}");
            }
            1 => {
                let ask = scene.ask().hang();
                let dropped = timeout(unit / 2, scene.call(&bounded(), &ask)).await;
                // On a busy machine the call may reach its own deadline before it is dropped.
                if let Ok(outcome) = dropped {
                    assert_eq!(error_of(outcome).code(), Code::DeadlineExceeded);
                }
            }
            2 => {
                let (ctx, handle) = bounded().child();
                let call = scene.spawn(&ctx, &scene.ask().hang());
                sleep(unit / 2).await;
                handle.cancel();
                let error = error_of(call.await.expect("the task ends"));
                let ends = [Code::Canceled, Code::DeadlineExceeded];
                assert!(ends.contains(&error.code()), "{error:?}");
            }
            3 => {
                error_of(scene.call(&background, &scene.ask().body(too_large.clone())).await);
            }
            4 => {
                error_of(scene.call(&background, &scene.ask().target("nobody.home")).await);
            }
            5 | 6 => {
                error_of(scene.call(&background, &scene.ask().fail(Code::Unavailable)).await);
            }
            7 => {
                let ask = scene.ask().body(pattern(20_000));
                scene.call(&background, &ask).await.expect("an answer");
            }
            _ => {
                scene.call(&background, &scene.ask().body("x")).await.expect("an answer");
            }
        }
    }
}

/// Makes `calls` calls, spread over all callers, waits until the rig is idle, and returns the live
/// resources and the number of tasks.
async fn at_rest_after(stage: &Stage, scene: &Arc<Scene>, calls: usize) -> (Live, usize) {
    let callers = CALLERS.min(stage.capabilities().parallel_max);
    let unit = stage.timing().unit();
    let each = calls / callers;
    let working: Vec<_> =
        (0..callers).map(|_| tokio::spawn(mixed_calls(Arc::clone(scene), each, unit))).collect();
    for caller in working {
        caller.await.expect("the calls end as they should");
    }
    scene.idle().await;
    (scene.rig.live(), tasks())
}

pub(crate) async fn _10k_mixed_calls_flat(stage: &Stage) {
    let scene = stage.open().await;
    let (before, tasks_before) = at_rest_after(stage, &scene, CALLS / 5).await;
    let (after, _) = at_rest_after(stage, &scene, CALLS - CALLS / 5).await;
    for (before, after, slack) in [
        (before.connections, after.connections, CALLERS),
        (before.subscriptions, after.subscriptions, 0),
    ] {
        let grown = before.zip(after).is_some_and(|(before, after)| after > before + slack);
        assert!(!grown, "{before:?} became {after:?}");
    }
    tasks_at_most(stage, tasks_before + TASKS_SLACK, "a call").await;
    scene.ok(&scene.ask()).await;
}

/// Makes a client, calls through it, drops one of its calls, and drops the client.
async fn come_and_go(stage: &Stage, scene: &Arc<Scene>) {
    let client = scene.rig.connect_again().await.expect("another client");
    let ctx = Context::background();
    let calls = (0..4).map(|_| {
        let (scene, client, ctx) = (Arc::clone(scene), Arc::clone(&client), ctx.clone());
        tokio::spawn(async move { scene.call_by(&*client, &ctx, &scene.ask()).await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.expect("the task ends").expect("an answer");
    }
    let ask = scene.ask().hang();
    // Without the capability `cancel`, the deadline ends the handler.
    let ctx = ctx.with_timeout(stage.timing().patience() / 2);
    scene.call_and_drop(&*client, &ctx, &ask).await;
}

pub(crate) async fn dropped_client_closes(stage: &Stage) {
    let scene = stage.open().await;
    come_and_go(stage, &scene).await;
    scene.idle().await;
    let (before, tasks_before) = (scene.rig.live().connections, tasks());
    for _ in 0..6 {
        come_and_go(stage, &scene).await;
    }
    scene.idle().await;
    scene.alive(|live| live.connections.unwrap_or(0) <= before.unwrap_or(0)).await;
    tasks_at_most(stage, tasks_before, "a client").await;
    scene.ok(&scene.ask()).await;
}

pub(crate) async fn dropped_server_unsubscribes(stage: &Stage) {
    let scene = stage.open().await;
    let subscribed = scene.rig.live().subscriptions;
    assert_ne!(subscribed, Some(0), "a server without a subscription cannot be reached");
    scene.rig.stop(Duration::ZERO).await;
    scene.alive(|live| live.subscriptions.unwrap_or(0) == 0).await;
    scene.idle().await;
    // A call that overtakes the end of its connection may report Unknown.
    sleep(stage.units(2)).await;
    let error = scene.err_at_once(&scene.ask()).await;
    assert!(error.delivery().is_unexecuted(), "{error:?}");
}

/// Number of calls that may open connections, and of those after them that must leave no task.
const FIRST_CALLS: usize = 4;
const FURTHER_CALLS: usize = 60;

pub(crate) async fn panics_leave_no_task(stage: &Stage) {
    let scene = stage.open().await;
    let mut before = 0;
    for at in 0..FIRST_CALLS + FURTHER_CALLS {
        if at == FIRST_CALLS {
            scene.idle().await;
            before = tasks();
        }
        let ask = if at % 2 == 0 { scene.ask().panic_now() } else { scene.ask().panic_later() };
        assert_eq!(scene.err(&ask).await.reason(), Some(&Reason::PANIC));
    }
    scene.idle().await;
    tasks_at_most(stage, before, "a panic").await;
    scene.ok(&scene.ask()).await;
}

pub(crate) async fn large_replies_leave_no_task(stage: &Stage) {
    let scene = stage.open().await;
    let step = stage.timing().unit() / 10;
    let mut before = 0;
    for at in 0..FIRST_CALLS + FURTHER_CALLS {
        if at == FIRST_CALLS {
            scene.idle().await;
            before = tasks();
        }
        // Every second call is dropped before or during its reply.
        let ask = scene.ask().reply_bytes(defaults::BODY_BYTES_MAX);
        if at % 2 == 0 {
            let ask = ask.sleep(step * 2);
            let patience = step * u32::try_from(at % 5).unwrap_or(0);
            drop(timeout(patience, scene.call(&Context::background(), &ask)).await);
        } else {
            assert_eq!(scene.ok(&ask).await.body.len(), defaults::BODY_BYTES_MAX);
        }
    }
    scene.idle().await;
    tasks_at_most(stage, before, "a large reply").await;
    scene.ok(&scene.ask()).await;
}

pub(crate) async fn no_task_outlives(stage: &Stage) {
    let before = tasks();
    for _ in 0..3 {
        let scene = stage.open().await;
        come_and_go(stage, &scene).await;
        let waiting = scene.spawn(&Context::background(), &scene.ask().sleep(stage.units(1)));
        waiting.await.expect("the task ends").expect("an answer");
        stage.close(scene).await;
    }
    tasks_at_most(stage, before, "a rig").await;
}

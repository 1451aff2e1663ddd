//! Cancelling a call ends it immediately at the caller and promptly on every hop.

use std::time::Duration;

use rr_spi::{Cause, Code, Context, Delivery, IntakeConfig};
use tokio::time::{Instant, sleep, timeout};

use super::{MAY_HAVE_RUN, assert_error, error_of};
use crate::conformance::lab::{Ask, RunEnd};
use crate::conformance::stage::{Scene, Stage};

/// Causes that the peer may see after the caller has gone.
const GONE: [Cause; 3] = [Cause::CallerDropped, Cause::Cancelled, Cause::PeerGone];

/// Number of calls by which the latency of a cancel is judged.
const TIMED_CALLS: usize = 8;

/// More calls than fit into a queue of 1024.
const MANY: usize = 1500;

/// Time for many calls together on a loaded machine, and the timeout of each call.
const PATIENCE: Duration = Duration::from_secs(30);
const MUCH_LATER: Duration = Duration::from_secs(200);

/// Calls, waits until the handler runs, and drops the call.
async fn call_and_drop(scene: &Scene, ask: &Ask) {
    scene.call_and_drop(&*scene.client, &Context::background(), ask).await;
}

pub(crate) async fn drop_frees_slot(stage: &Stage) {
    let config = IntakeConfig::default().with_in_flight_max(1);
    let scene = stage.open_server(config).await;
    for _ in 0..5 {
        let ask = scene.ask().hang();
        call_and_drop(&scene, &ask).await;
        scene.ended(&ask).await;
        scene.idle().await;
        // The single in-flight slot is free again.
        scene.ok(&scene.ask()).await;
    }
}

pub(crate) async fn token_returns_canceled(stage: &Stage) {
    let scene = stage.open().await;
    let (ctx, handle) = Context::background().child();
    let ask = scene.ask().hang();
    let call = scene.spawn(&ctx, &ask);
    scene.entered(&ask).await;
    let watch = scene.watch();
    handle.cancel();
    let error = error_of(call.await.expect("the task ends"));
    watch.assert_at_once();
    assert_error(&error, Code::Canceled, MAY_HAVE_RUN, None);
    scene.ok(&scene.ask()).await;
}

pub(crate) async fn reaches_responder(stage: &Stage) {
    let scene = stage.open().await;
    // Once by cancel handle, then by dropping the future.
    let (ctx, handle) = Context::background().child();
    let ask = scene.ask().hang();
    let call = scene.spawn(&ctx, &ask);
    scene.entered(&ask).await;
    let watch = scene.watch();
    handle.cancel();
    assert!(scene.ended(&ask).await[0].was_dropped());
    watch.assert_at_once();
    error_of(call.await.expect("the task ends"));

    let mut lateness = Vec::new();
    for _ in 0..TIMED_CALLS {
        // One way takes at most a round trip, which is subtracted below.
        let start = Instant::now();
        scene.ok(&scene.ask()).await;
        let round_trip = start.elapsed();
        let ask = scene.ask().hang();
        call_and_drop(&scene, &ask).await;
        let dropped_at = Instant::now();
        let run = scene.ended(&ask).await.remove(0);
        assert!(run.was_dropped());
        let (ended_at, _) = run.ended.expect("it was waited for");
        let late = ended_at.saturating_duration_since(dropped_at);
        lateness.push(late.saturating_sub(round_trip));
    }
    stage.assert_prompt(lateness, "cancels arrive");
    scene.idle().await;
}

pub(crate) async fn before_send_not_sent(stage: &Stage) {
    let scene = stage.open().await;
    let (ctx, handle) = Context::background().child();
    handle.cancel();
    let (below, _below_handle) = ctx.child();
    for ctx in [ctx, below] {
        let ask = scene.ask();
        let error = error_of(scene.call(&ctx, &ask).await);
        assert_error(&error, Code::Canceled, &[Delivery::NotSent], None);
        sleep(stage.units(2)).await;
        assert_eq!(scene.lab.count(ask.key()), 0);
    }
}

pub(crate) async fn after_completion_noop(stage: &Stage) {
    let scene = stage.open().await;
    let (ctx, handle) = Context::background().child();
    let ask = scene.ask().body("done");
    let response = scene.call(&ctx, &ask).await.expect("an answer");
    // During another call, so that an effect on a shared connection is detected.
    let beside = scene.ask().gate("beside");
    let call = scene.spawn(&Context::background(), &beside);
    scene.entered(&beside).await;
    handle.cancel();
    drop(handle);
    sleep(stage.units(2)).await;
    assert_eq!(response.body, "done");
    assert_eq!(scene.run(&ask).end(), Some(RunEnd::Finished));
    scene.lab.open_gate("beside");
    call.await.expect("the task ends").expect("an answer");
    assert_eq!(scene.run(&beside).end(), Some(RunEnd::Finished));
}

pub(crate) async fn one_of_many(stage: &Stage) {
    let scene = stage.open().await;
    let calls: Vec<_> = (0..20)
        .map(|at| {
            let (ctx, handle) = Context::background().child();
            let ask = scene.ask().gate("all").body(format!("call {at}"));
            let call = scene.spawn(&ctx, &ask);
            (ask, handle, call)
        })
        .collect();
    for (ask, ..) in &calls {
        scene.entered(ask).await;
    }
    calls[7].1.cancel();
    if stage.capabilities().cancel {
        scene.ended(&calls[7].0).await;
    }
    sleep(stage.units(2)).await;
    scene.lab.open_gate("all");
    for (at, (ask, _handle, call)) in calls.into_iter().enumerate() {
        let outcome = call.await.expect("the task ends");
        if at == 7 {
            assert_error(&error_of(outcome), Code::Canceled, MAY_HAVE_RUN, None);
        } else {
            assert_eq!(outcome.expect("an answer").body, ask.request().body);
            assert_eq!(scene.ended(&ask).await[0].end(), Some(RunEnd::Finished));
        }
    }
}

pub(crate) async fn many_together(stage: &Stage) {
    let config = IntakeConfig::default().with_in_flight_max(MANY);
    let scene = stage.open_server(config).await;
    let before = scene.lab.total();
    let many = stage.capabilities().parallel_max.min(MANY);
    let (ctx, handle) = Context::background().with_timeout(MUCH_LATER).child();
    let apart = Context::background().with_timeout(MUCH_LATER);
    // Some calls are kept, some are cancelled by one handle, and the others are dropped.
    let (mut untouched, mut cancelled, mut dropped) = (Vec::new(), Vec::new(), Vec::new());
    for at in 0..many {
        let ask = scene.ask().gate("all").body(format!("{at}"));
        let (ctx, calls) = match at % 100 {
            0 => (&apart, &mut untouched),
            odd if odd % 2 == 1 => (&ctx, &mut cancelled),
            _ => (&apart, &mut dropped),
        };
        calls.push((scene.spawn(ctx, &ask), ask));
    }
    let all = timeout(PATIENCE, scene.lab.until(|lab| lab.total() - before >= many)).await;
    assert!(all.is_ok(), "{} of {many} are there at once", scene.lab.total() - before);
    handle.cancel();
    dropped.iter().for_each(|(call, _)| call.abort());
    let ended = |ask: &Ask| scene.lab.runs(ask.key()).iter().all(|run| run.ended.is_some());
    let told = cancelled.iter().chain(&dropped);
    let all = timeout(PATIENCE, async {
        for (_, ask) in told.clone() {
            scene.lab.until(|_| ended(ask)).await;
        }
    });
    let in_time = all.await.is_ok();
    let running = told.clone().filter(|(_, ask)| !ended(ask)).count();
    assert!(in_time, "{running} handlers of {many} did not hear that their callers had gone");
    for (_, ask) in told {
        assert!(scene.run(ask).was_dropped(), "{:?}", scene.run(ask).end());
    }
    for (call, _) in cancelled {
        assert_error(&error_of(call.await.expect("it ends")), Code::Canceled, MAY_HAVE_RUN, None);
    }
    assert!(!untouched.iter().any(|(_, ask)| ended(ask)), "another call was cancelled as well");
    scene.lab.open_gate("all");
    for (call, ask) in untouched {
        assert_eq!(call.await.expect("it ends").expect("an answer").body, ask.request().body);
    }
    scene.idle().await;
}

pub(crate) async fn crosses_two_hops(stage: &Stage) {
    let scene = stage.open().await;
    let ask = scene.ask().onward(2).hang();
    call_and_drop(&scene, &ask).await;
    let watch = scene.watch();
    let runs = scene.ended(&ask).await;
    watch.assert_at_once();
    assert_eq!(runs.len(), 3);
    for run in runs {
        assert!(run.was_dropped(), "{:?}", run.end());
    }
    scene.idle().await;
}

pub(crate) async fn cause_is_visible(stage: &Stage) {
    let scene = stage.open().await;
    let (ctx, handle) = Context::background().child();
    let by_token = scene.ask().watch().hang();
    let call = scene.spawn(&ctx, &by_token);
    scene.entered(&by_token).await;
    handle.cancel();
    error_of(call.await.expect("the task ends"));
    let dropped = scene.ask().watch().hang();
    call_and_drop(&scene, &dropped).await;
    for ask in [by_token, dropped] {
        let runs = scene.until(&ask, "learn of its end", |run| run.watched.is_some()).await;
        let watched = runs[0].watched.expect("it was waited for");
        assert!(GONE.contains(&watched), "a shielded section saw {watched:?}");
        let run = scene.ended(&ask).await.remove(0);
        let Some(RunEnd::Dropped(Some(cause))) = run.end() else { panic!("{:?}", run.end()) };
        assert!(GONE.contains(&cause), "the handler saw {cause:?}");
    }
    // After an answered call, work that outlives the handler sees the end of the context.
    let finished = scene.ask().watch();
    scene.ok(&finished).await;
    scene.until(&finished, "learn of its end", |run| run.watched.is_some()).await;
}

pub(crate) async fn shielded_section_finishes(stage: &Stage) {
    let scene = stage.open().await;
    let section: Duration = stage.units(5);
    let ask = scene.ask().shield(section).hang();
    let watch = scene.watch();
    call_and_drop(&scene, &ask).await;
    // The handler is dropped immediately; its section continues and counts as in flight.
    assert!(scene.ended(&ask).await[0].was_dropped());
    assert!(!scene.run(&ask).shielded, "the handler was held up by its section");
    assert_ne!(scene.rig.live().in_flight, Some(0));
    scene.until(&ask, "finish its section", |run| run.shielded).await;
    watch.assert_about(section);
    scene.idle().await;
}

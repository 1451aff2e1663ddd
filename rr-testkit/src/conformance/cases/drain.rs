//! A draining server loses no call and reports for each whether it ran.

use std::sync::Arc;
use std::time::Duration;

use rr_spi::{
    Cause, Code, Context, DrainReport, Error, IntakeConfig, Requester, RetryHint, defaults,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::{MAY_HAVE_RUN, error_of};
use crate::conformance::Timing;
use crate::conformance::lab::RunEnd;
use crate::conformance::stage::{Scene, Stage, assert_echoed};

/// Stops the rig from a separate task.
fn stop(scene: &Arc<Scene>, grace: Duration) -> JoinHandle<DrainReport> {
    let scene = Arc::clone(scene);
    tokio::spawn(async move { scene.rig.stop(grace).await })
}

/// Calls until the drain has begun and a call is refused; returns the refusal.
async fn refused(stage: &Stage, scene: &Scene, client: &dyn Requester) -> Error {
    let end = Instant::now() + stage.timing().patience();
    loop {
        let ask = scene.ask();
        match scene.call_by(client, &Context::background(), &ask).await {
            Ok(_) => assert!(Instant::now() < end, "a draining server goes on taking calls"),
            Err(error) => return error,
        }
        // Lets virtual time pass, and in real time leaves the drain a share of the CPU.
        sleep(stage.timing().unit() / 10).await;
    }
}

/// Asserts that a call came too late, did not run, and may be sent to another server.
#[track_caller]
fn assert_too_late(error: &Error) {
    assert_eq!(error.code(), Code::Unavailable, "{error:?}");
    assert!(error.delivery().is_unexecuted(), "{error:?}");
    assert_ne!(error.retry(), RetryHint::Never, "{error:?}");
}

pub(crate) async fn in_flight_finish(stage: &Stage) {
    let scene = stage.open().await;
    let asks: Vec<_> = (0..5).map(|at| scene.ask().gate("g").body(format!("{at}"))).collect();
    let calls = scene.start(&Context::background(), &asks).await;
    let stopping = stop(&scene, stage.units(1000));
    refused(stage, &scene, &*scene.client).await;
    assert!(!stopping.is_finished(), "the drain did not wait");
    scene.lab.open_gate("g");
    assert_echoed(calls, &asks).await;
    let watch = scene.watch();
    let report = stopping.await.expect("the task ends");
    watch.assert_at_once();
    assert!(report.completed >= 5 && report.aborted == 0, "{report:?}");
    scene.idle().await;
}

pub(crate) async fn newcomers_rejected_retryable(stage: &Stage) {
    let scene = stage.open().await;
    let other = scene.rig.connect_again().await.expect("a second client");
    scene.call_by(&*other, &Context::background(), &scene.ask()).await.expect("an answer");
    let held = scene.ask().gate("held");
    let call = scene.spawn(&Context::background(), &held);
    scene.entered(&held).await;
    let stopping = stop(&scene, stage.units(1000));
    assert_too_late(&refused(stage, &scene, &*scene.client).await);
    for _ in 0..5 {
        for client in [&scene.client, &other] {
            let watch = scene.watch();
            let late = scene.ask();
            let outcome = scene.call_by(&**client, &Context::background(), &late).await;
            watch.assert_at_once();
            assert_too_late(&error_of(outcome));
            assert_eq!(scene.lab.count(late.key()), 0);
        }
    }
    scene.lab.open_gate("held");
    call.await.expect("the task ends").expect("an answer");
    stopping.await.expect("the task ends");
    // The same holds after the drain.
    for client in [&scene.client, &other] {
        let outcome = scene.call_by(&**client, &Context::background(), &scene.ask()).await;
        assert_too_late(&error_of(outcome));
    }
}

pub(crate) async fn grace_exceeded_cancels(stage: &Stage) {
    let scene = stage.open().await;
    let grace = stage.units(5);
    let ask = scene.ask().hang();
    let call = scene.spawn(&Context::background(), &ask);
    scene.entered(&ask).await;
    let watch = scene.watch();
    let report = scene.rig.stop(grace).await;
    watch.assert_about(grace);
    assert_eq!((report.completed, report.aborted), (0, 1), "{report:?}");
    let run = scene.ended(&ask).await.remove(0);
    assert_eq!(run.end(), Some(RunEnd::Dropped(Some(Cause::Shutdown))));
    let error = error_of(call.await.expect("the task ends"));
    assert_eq!(error.code(), Code::Unavailable, "{error:?}");
    assert!(MAY_HAVE_RUN.contains(&error.delivery()), "{error:?}");
    watch.assert_about(grace);
}

pub(crate) async fn the_whole_grace_is_granted(stage: &Stage) {
    let scene = stage.open().await;
    let grace = match stage.timing() {
        Timing::Virtual => defaults::DRAIN_GRACE,
        Timing::Real { .. } => stage.units(20),
    };
    let work = grace - stage.units(1);
    let ask = scene.ask().sleep(work).body("long");
    let call = scene.spawn(&Context::background().with_timeout(grace * 2), &ask);
    scene.entered(&ask).await;
    let report = scene.rig.stop(grace).await;
    assert_eq!(call.await.expect("the task ends").expect("an answer").body, "long");
    assert_eq!((report.completed, report.aborted), (1, 0), "{report:?}");
}

pub(crate) async fn shorter_grace_holds(stage: &Stage) {
    let scene = stage.open().await;
    let ask = scene.ask().hang();
    let patient = Context::background().with_timeout(stage.units(2000));
    let call = scene.spawn(&patient, &ask);
    scene.entered(&ask).await;
    let long = stop(&scene, stage.units(1000));
    refused(stage, &scene, &*scene.client).await;
    // Of several grace periods the shortest applies.
    let longer = stop(&scene, stage.units(1500));
    let grace = stage.units(5);
    let watch = scene.watch();
    let report = scene.rig.stop(grace).await;
    watch.assert_about(grace);
    assert_eq!(report.aborted, 1, "{report:?}");
    for stopping in [long, longer] {
        let told = stopping.await.expect("the task ends");
        assert_eq!((told.completed, told.aborted), (report.completed, report.aborted));
    }
    watch.assert_about(grace);
    assert!(scene.ended(&ask).await[0].was_dropped());
    let error = error_of(call.await.expect("the task ends"));
    assert_eq!(error.code(), Code::Unavailable, "{error:?}");
    assert!(MAY_HAVE_RUN.contains(&error.delivery()), "{error:?}");
}

/// Number of clients that hold an idle connection.
const IDLE_CLIENTS: usize = 3;

pub(crate) async fn idle_clients_do_not_hold_it(stage: &Stage) {
    let scene = stage.open().await;
    let mut clients = Vec::new();
    for _ in 0..IDLE_CLIENTS {
        let client = scene.rig.connect_again().await.expect("another client");
        let answer = scene.call_by(&*client, &Context::background(), &scene.ask()).await;
        answer.expect("an answer");
        clients.push(client);
    }
    // The drain waits for one call in flight.
    let held = scene.ask().gate("held");
    let call = scene.spawn(&Context::background(), &held);
    scene.entered(&held).await;
    let stopping = stop(&scene, stage.units(1000));
    refused(stage, &scene, &*scene.client).await;
    scene.lab.open_gate("held");
    call.await.expect("the task ends").expect("an answer");
    let watch = scene.watch();
    let report = stopping.await.expect("the task ends");
    watch.assert_at_once();
    assert_eq!(report.aborted, 0, "{report:?}");
    drop(clients);

    // An idle client does not delay the drain without calls in flight either.
    let scene = stage.open().await;
    let client = scene.rig.connect_again().await.expect("another client");
    scene.call_by(&*client, &Context::background(), &scene.ask()).await.expect("an answer");
    sleep(stage.units(2)).await;
    let watch = scene.watch();
    scene.rig.stop(stage.units(1000)).await;
    watch.assert_at_once();
}

pub(crate) async fn stop_twice(stage: &Stage) {
    let scene = stage.open().await;
    let held = scene.ask().gate("held");
    let call = scene.spawn(&Context::background(), &held);
    scene.entered(&held).await;
    let first = stop(&scene, stage.units(1000));
    let second = stop(&scene, stage.units(500));
    refused(stage, &scene, &*scene.client).await;
    scene.lab.open_gate("held");
    call.await.expect("the task ends").expect("an answer");
    let first = first.await.expect("the task ends");
    let second = second.await.expect("the task ends");
    let watch = scene.watch();
    let third = scene.rig.stop(Duration::ZERO).await;
    watch.assert_at_once();
    assert!(first.completed >= 1 && first.aborted == 0, "{first:?}");
    assert_eq!((first.completed, first.aborted), (second.completed, second.aborted));
    assert_eq!((first.completed, first.aborted), (third.completed, third.aborted));
}

/// Number of callers that keep the server busy while it drains.
const CALLERS: usize = 16;

/// Number of drains under load: a defect there shows only occasionally.
const ROUNDS: usize = 5;

/// Calls until a call is refused; returns the number of answered calls and the refusal.
async fn call_until_refused(scene: Arc<Scene>, work: Duration, end: Instant) -> (usize, Error) {
    let mut answered = 0;
    loop {
        let ask = scene.ask().body("load");
        let ask = if work.is_zero() { ask } else { ask.sleep(work) };
        match scene.call(&Context::background(), &ask).await {
            Ok(_) => answered += 1,
            Err(error) => return (answered, error),
        }
        assert!(Instant::now() < end, "a draining server goes on taking calls");
        // Pauses for the handler's time, so that about half of the connections are idle.
        sleep(work).await;
    }
}

pub(crate) async fn under_load_loses_nothing(stage: &Stage) {
    // In real time some callers never pause. Virtual time passes only in pauses.
    let step = stage.timing().unit() / 10;
    let least = if stage.timing() == Timing::Virtual { 1 } else { 0 };
    for _ in 0..ROUNDS {
        let scene = stage.open().await;
        let before = scene.lab.total();
        let end = Instant::now() + stage.units(100) + stage.timing().patience();
        let works = (0..CALLERS).map(|at| step * u32::try_from(at % 4).unwrap_or(0).max(least));
        let callers: Vec<_> = works
            .map(|work| tokio::spawn(call_until_refused(Arc::clone(&scene), work, end)))
            .collect();
        scene.lab.until(|lab| lab.total() >= before + 5 * CALLERS).await;
        let report = scene.rig.stop(stage.units(1000)).await;
        let mut answered = 0;
        for caller in callers {
            let (count, error) = caller.await.expect("the task ends");
            assert_too_late(&error);
            answered += count;
        }
        assert_eq!(report.aborted, 0, "{report:?}");
        // Every run was answered.
        assert_eq!(scene.lab.total() - before, answered);
    }
}

pub(crate) async fn client_first(stage: &Stage) {
    let scene = stage.open().await;
    let client = scene.rig.connect_again().await.expect("a second client");
    let ask = scene.ask().hang();
    scene.call_and_drop(&*client, &Context::background(), &ask).await;
    drop(client);
    if stage.capabilities().cancel {
        scene.ended(&ask).await;
        let watch = scene.watch();
        let report = scene.rig.stop(stage.units(1000)).await;
        watch.assert_at_once();
        assert_eq!(report.aborted, 0, "{report:?}");
    } else {
        scene.rig.stop(stage.units(1)).await;
        scene.ended(&ask).await;
    }
    scene.idle().await;
}

pub(crate) async fn lame_duck_serves_until_the_drain(stage: &Stage) {
    let lame_duck = stage.units(10);
    let scene = stage.open_server(IntakeConfig::default().with_lame_duck(lame_duck)).await;
    let held = scene.ask().gate("held");
    let call = scene.spawn(&Context::background(), &held);
    scene.entered(&held).await;
    let begin = Instant::now();
    let stopping = stop(&scene, stage.units(1000));
    // New clients and known ones are served, until shortly before the drain.
    let other = scene.rig.connect_again().await.expect("a second client");
    while begin.elapsed() < lame_duck / 2 {
        for client in [&scene.client, &other] {
            let outcome = scene.call_by(&**client, &Context::background(), &scene.ask()).await;
            // A busy machine may run this after the lame duck.
            assert!(outcome.is_ok() || begin.elapsed() >= lame_duck, "{outcome:?}");
        }
        sleep(stage.timing().unit()).await;
    }
    assert_too_late(&refused(stage, &scene, &*scene.client).await);
    assert!(begin.elapsed() >= lame_duck, "the drain began after {:?}", begin.elapsed());
    assert!(!stopping.is_finished(), "the drain did not wait");
    scene.lab.open_gate("held");
    call.await.expect("the task ends").expect("an answer");
    let report = stopping.await.expect("the task ends");
    assert!(report.completed >= 1 && report.aborted == 0, "{report:?}");
}

pub(crate) async fn second_stop_ends_the_lame_duck(stage: &Stage) {
    let lame_duck = stage.units(100_000);
    let scene = stage.open_server(IntakeConfig::default().with_lame_duck(lame_duck)).await;
    let held = scene.ask().gate("held");
    let call = scene.spawn(&Context::background(), &held);
    scene.entered(&held).await;
    let first = stop(&scene, stage.units(1000));
    sleep(stage.units(2)).await;
    scene.call_by(&*scene.client, &Context::background(), &scene.ask()).await.expect("an answer");
    let second = stop(&scene, stage.units(1000));
    assert_too_late(&refused(stage, &scene, &*scene.client).await);
    scene.lab.open_gate("held");
    call.await.expect("the task ends").expect("an answer");
    let watch = scene.watch();
    let first = first.await.expect("the task ends");
    let second = second.await.expect("the task ends");
    watch.assert_at_once();
    assert!(first.completed >= 1 && first.aborted == 0, "{first:?}");
    assert_eq!((first.completed, first.aborted), (second.completed, second.aborted));
}

//! Concurrent calls neither mix nor block each other.

use std::sync::Arc;
use std::time::Duration;

use rr_spi::{Code, Context, Delivery, IntakeConfig, Reason};
use tokio::time::timeout;

use super::{assert_error, error_of};
use crate::conformance::StartOptions;
use crate::conformance::lab::Ask;
use crate::conformance::stage::{Scene, Stage};

/// Time for many calls together on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Opens a rig whose server admits this many concurrent requests.
async fn open_limited(stage: &Stage, in_flight_max: usize) -> Arc<Scene> {
    let server = IntakeConfig::default().with_in_flight_max(in_flight_max);
    stage.open_with(StartOptions::default().with_server(server)).await
}

pub(crate) async fn _1000_parallel_no_crosstalk(stage: &Stage) {
    let scene = stage.open().await;
    let before = scene.lab.total();
    let many = stage.capabilities().parallel_max.min(1000);
    let ctx = Context::background().with_timeout(PATIENCE);
    let ask = |at: usize| {
        let body = format!("{at} {}", "x".repeat(at % 97 * 13));
        scene.ask().gate("all").header("x-at", &at.to_string()).echo().body(body)
    };
    let asks: Vec<Ask> = (0..many).map(ask).collect();
    let calls: Vec<_> = asks.iter().map(|ask| scene.spawn(&ctx, ask)).collect();
    let all = scene.lab.until(|lab| lab.total() - before >= many);
    let all = timeout(PATIENCE, all).await;
    assert!(all.is_ok(), "{} of {many} are there at once", scene.lab.total() - before);
    scene.lab.open_gate("all");
    for (at, (call, ask)) in calls.into_iter().zip(&asks).enumerate() {
        let answer = call.await.expect("the task ends").expect("an answer");
        assert!(answer.body == ask.request().body, "call {at} was given another's body");
        assert_eq!(answer.headers.get("x-at"), Some(at.to_string().as_str()));
    }
    assert_eq!(scene.lab.total() - before, many);
    scene.idle().await;
}

/// More than a table or queue of 1024 entries holds.
const BEYOND_1024: usize = 1500;

pub(crate) async fn more_than_1024_replies_at_once(stage: &Stage) {
    let scene = open_limited(stage, BEYOND_1024).await;
    let before = scene.lab.total();
    let many = stage.capabilities().parallel_max.min(BEYOND_1024);
    let ctx = Context::background().with_timeout(PATIENCE);
    let asks: Vec<Ask> =
        (0..many).map(|at| scene.ask().gate("all").body(format!("{at}"))).collect();
    let calls: Vec<_> = asks.iter().map(|ask| scene.spawn(&ctx, ask)).collect();
    let all = scene.lab.until(|lab| lab.total() - before >= many);
    let all = timeout(PATIENCE, all).await;
    assert!(all.is_ok(), "{} of {many} are there at once", scene.lab.total() - before);
    scene.lab.open_gate("all");
    for (call, ask) in calls.into_iter().zip(&asks) {
        let answer = call.await.expect("the task ends").expect("an answer");
        assert_eq!(answer.body, ask.request().body);
    }
    scene.idle().await;
}

pub(crate) async fn slow_does_not_block_fast(stage: &Stage) {
    let scene = stage.open().await;
    let slow: Vec<Ask> = (0..8).map(|at| scene.ask().gate("slow").body(format!("{at}"))).collect();
    let calls: Vec<_> = slow.iter().map(|ask| scene.spawn(&Context::background(), ask)).collect();
    for ask in &slow {
        scene.entered(ask).await;
    }
    let watch = scene.watch();
    for at in 0..20 {
        let ask = scene.ask().body(format!("fast {at}"));
        assert_eq!(scene.ok(&ask).await.body, ask.request().body);
    }
    watch.assert_at_once();
    assert!(calls.iter().all(|call| !call.is_finished()));
    scene.lab.open_gate("slow");
    for (call, ask) in calls.into_iter().zip(&slow) {
        let answer = call.await.expect("the task ends").expect("an answer");
        assert_eq!(answer.body, ask.request().body);
    }
}

pub(crate) async fn replies_out_of_order(stage: &Stage) {
    let scene = stage.open().await;
    let gates: Vec<String> = (0..12).map(|at| format!("gate {at}")).collect();
    let asks: Vec<Ask> =
        gates.iter().map(|gate| scene.ask().gate(gate).body(gate.clone())).collect();
    let mut calls: Vec<_> =
        asks.iter().map(|ask| scene.spawn(&Context::background(), ask)).collect();
    for ask in &asks {
        scene.entered(ask).await;
    }
    // The last call is answered first, while the earlier calls keep waiting.
    for gate in gates.iter().rev() {
        scene.lab.open_gate(gate);
        let call = calls.pop().expect("one per gate");
        let watch = scene.watch();
        let answer = call.await.expect("the task ends").expect("an answer");
        watch.assert_at_once();
        assert_eq!(answer.body, *gate);
        assert!(calls.iter().all(|call| !call.is_finished()));
    }
}

pub(crate) async fn limit_rejects_not_hangs(stage: &Stage) {
    let scene = open_limited(stage, 3).await;
    let held: Vec<Ask> = (0..3).map(|_| scene.ask().gate("held")).collect();
    let calls: Vec<_> = held.iter().map(|ask| scene.spawn(&Context::background(), ask)).collect();
    for ask in &held {
        scene.entered(ask).await;
    }
    let overloaded = Some(&Reason::OVERLOADED);
    for _ in 0..5 {
        let watch = scene.watch();
        let error = scene.err(&scene.ask()).await;
        watch.assert_at_once();
        assert_error(&error, Code::ResourceExhausted, &[Delivery::Rejected], overloaded);
    }
    scene.lab.open_gate("held");
    for call in calls {
        call.await.expect("the task ends").expect("an answer");
    }
    scene.idle().await;
    scene.ok(&scene.ask()).await;
}

pub(crate) async fn responder_calls_back_no_deadlock(stage: &Stage) {
    let scene = stage.open().await;
    let ctx = Context::background().with_timeout(PATIENCE);
    // Each call takes three in-flight slots at its last hop. All calls take their first slot before
    // any calls onward.
    let many = (stage.capabilities().parallel_max / 3).clamp(1, 50);
    let step = stage.units(2);
    let asks: Vec<Ask> =
        (0..many).map(|at| scene.ask().sleep(step).onward(2).body(format!("from {at}"))).collect();
    let calls: Vec<_> = asks.iter().map(|ask| scene.spawn(&ctx, ask)).collect();
    let watch = scene.watch();
    for (call, ask) in calls.into_iter().zip(&asks) {
        let answer = call.await.expect("the task ends").expect("an answer");
        assert_eq!(answer.body, ask.request().body);
        assert_eq!(scene.lab.count(ask.key()), 3);
    }
    watch.assert_about(step);

    // Handlers that fill the server and then call it are refused immediately.
    let scene = open_limited(stage, 2).await;
    let asks: Vec<Ask> = (0..2).map(|_| scene.ask().sleep(step).onward(1)).collect();
    let calls: Vec<_> = asks.iter().map(|ask| scene.spawn(&ctx, ask)).collect();
    let watch = scene.watch();
    for call in calls {
        if let Err(error) = call.await.expect("the task ends") {
            assert_error(&error, Code::ResourceExhausted, &[Delivery::Processed], None);
        }
    }
    watch.assert_about(step);
    scene.ok(&scene.ask()).await;
}

pub(crate) async fn late_reply_poisons_nothing(stage: &Stage) {
    // The server grants more time than the caller has, so that replies come too late.
    let server = IntakeConfig::default().with_timeout_min(stage.units(1000));
    let scene = stage.open_with(StartOptions::default().with_server(server)).await;
    let mut late = 0;
    for at in 0..24_u32 {
        let time = stage.units(1);
        // The timeouts range from shortly before to shortly after the reply.
        let patience = time + time / 8 * (at % 8) - time / 2;
        let ask = scene.ask().sleep(time).body(format!("late {at}"));
        match scene.call(&Context::background().with_timeout(patience), &ask).await {
            Ok(answer) => assert_eq!(answer.body, ask.request().body),
            Err(error) => {
                assert_eq!(error.code(), Code::DeadlineExceeded, "{error:?}");
                late += 1;
            }
        }
        for next in 0..3 {
            let ask = scene.ask().body(format!("next {at} {next}")).header("x-own", "1").echo();
            let answer = scene.ok(&ask).await;
            assert_eq!(answer.body, ask.request().body);
            assert_eq!(answer.headers.get("x-own"), Some("1"));
        }
    }
    assert!(late > 0, "no call expired");
    // Concurrent calls, half of whose replies come too late.
    let calls: Vec<_> = (0..20_u32)
        .map(|at| {
            let ask = scene.ask().sleep(stage.units(2)).body(format!("at once {at}"));
            let patience = stage.units(1 + 2 * (at % 2));
            (scene.spawn(&Context::background().with_timeout(patience), &ask), ask)
        })
        .collect();
    for (call, ask) in calls {
        match call.await.expect("the task ends") {
            Ok(answer) => assert_eq!(answer.body, ask.request().body),
            outcome => assert_eq!(error_of(outcome).code(), Code::DeadlineExceeded),
        }
    }
}

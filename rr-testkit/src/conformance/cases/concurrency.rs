//! Concurrent calls neither mix nor block each other.

use std::sync::Arc;
use std::time::Duration;

use rr_spi::{Code, Context, Delivery, IntakeConfig, Reason};
use tokio::time::timeout;

use super::{assert_error, error_of};
use crate::conformance::lab::Ask;
use crate::conformance::stage::{Scene, Stage, assert_echoed};

/// Time for many calls together on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes calls that are all in their handlers at the same time, and asserts that each is answered
/// with its own body and header.
async fn all_at_once(stage: &Stage, scene: &Arc<Scene>, calls_max: usize) {
    let before = scene.lab.total();
    let many = stage.capabilities().parallel_max.min(calls_max);
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

pub(crate) async fn _1000_parallel_no_crosstalk(stage: &Stage) {
    all_at_once(stage, &stage.open().await, 1000).await;
}

/// More than a table or queue of 1024 entries holds.
const BEYOND_1024: usize = 1500;

pub(crate) async fn more_than_1024_replies_at_once(stage: &Stage) {
    let server = IntakeConfig::default().with_in_flight_max(BEYOND_1024);
    all_at_once(stage, &stage.open_server(server).await, BEYOND_1024).await;
}

pub(crate) async fn slow_does_not_block_fast(stage: &Stage) {
    let scene = stage.open().await;
    let slow: Vec<Ask> = (0..8).map(|at| scene.ask().gate("slow").body(format!("{at}"))).collect();
    let calls = scene.start(&Context::background(), &slow).await;
    let watch = scene.watch();
    for at in 0..20 {
        scene.echo(format!("fast {at}")).await;
    }
    watch.assert_at_once();
    assert!(calls.iter().all(|call| !call.is_finished()));
    scene.lab.open_gate("slow");
    assert_echoed(calls, &slow).await;
}

pub(crate) async fn replies_out_of_order(stage: &Stage) {
    let scene = stage.open().await;
    let gates: Vec<String> = (0..12).map(|at| format!("gate {at}")).collect();
    let asks: Vec<Ask> =
        gates.iter().map(|gate| scene.ask().gate(gate).body(gate.clone())).collect();
    let mut calls = scene.start(&Context::background(), &asks).await;
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
    let scene = stage.open_server(IntakeConfig::default().with_in_flight_max(3)).await;
    let held: Vec<Ask> = (0..3).map(|_| scene.ask().gate("held")).collect();
    let calls = scene.start(&Context::background(), &held).await;
    let overloaded = Some(&Reason::OVERLOADED);
    for _ in 0..5 {
        let error = scene.err_at_once(&scene.ask()).await;
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
    let scene = stage.open_server(IntakeConfig::default().with_in_flight_max(2)).await;
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
    let scene = stage.open_server(server).await;
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

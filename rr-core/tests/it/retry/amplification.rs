//! How much more a destination sees when every call fails.

use std::sync::Arc;

use rr_core::{Context, Error, Requester};
use tokio::time::{Instant, sleep};

use super::support::*;

/// Calls per second, and for how long.
const RATE: u64 = 1000;
const SECONDS: u64 = 60;

/// Makes the calls, every one of which fails so, and returns what the destination saw of each.
async fn amplified(name: &str, error: Error) {
    let script = Script::new([Step::Fail(ms(5), error)]);
    let client = Arc::new(client(&script));
    let start = Instant::now();
    let mut calls = Vec::new();
    for _ in 0..RATE * SECONDS {
        let client = Arc::clone(&client);
        let ctx = Context::background().with_timeout(ms(2000));
        calls.push(tokio::spawn(async move { client.request(&ctx, idempotent()).await }));
        sleep(ms(1000 / RATE)).await;
    }
    for call in calls {
        assert!(call.await.unwrap().is_err());
    }
    let (calls, seen) = (RATE * SECONDS, script.seen().len() as u64);
    println!(
        "{name}: {seen} attempts for {calls} calls in {:?}: {:.4} of them",
        start.elapsed(),
        seen as f64 / calls as f64
    );
    // Beside a fifth of the calls, the floor of 10/s for each window of 10 s that was begun.
    let windows = start.elapsed().as_secs() / 10 + 1;
    assert!(seen <= calls + calls / 5 + windows * 100);
    assert!(seen > calls + calls / 5, "the budget is used up");
}

#[tokio::test(start_paused = true)]
async fn when_every_call_fails_the_destination_sees_a_fifth_more_and_the_floor() {
    amplified("lost", lost()).await;
    amplified("refused", refused()).await;
    amplified("away", unavailable(rr_core::Delivery::NotSent)).await;
}

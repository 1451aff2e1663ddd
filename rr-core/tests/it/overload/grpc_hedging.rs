//! The cases on hedging of grpc-java's `RetriableStreamTest`, by their names there, and rules of gRFC A6. grpc-go and
//! grpc-core have no hedging.
//!
//! In `src/hedge/tests.rs` are `hedging_everythingDrained_oneHedgeReceivesNonFatal_oneHedgeReceivesFatalStatus`
//! (`an_error_that_is_final_ends_the_call`), `hedging_pushback_negative` (there too) and `hedging_receiveHeaders`
//! (`a_slow_call_is_sent_again_and_the_first_reply_wins`).
//!
//! `hedging_perRpcBufferLimitExceeded` and `hedging_channelBufferLimitExceeded` do not apply: both requests share one
//! body, and nothing is buffered for a second one.
#![allow(non_snake_case, reason = "the names are those of the suite they come from")]

use std::sync::Arc;

use rr_core::hedge::{Hedge, HedgeStats};
use rr_core::retry::{Retry, RetryBudget, RetryBudgetConfig};
use rr_core::{Code, Context, Delivery, Error, Requester, Stack, retry::RetryHint};
use tokio::time::{sleep, timeout};

use super::support::*;

/// Budget of a number of requests, and not more in the time of a test.
fn budget(requests: u32) -> RetryBudget {
    let config = RetryBudgetConfig::default().with_percent(0).with_window(ms(60_000));
    let budget = RetryBudget::with_config(&config.with_floor_per_second(1));
    for _ in requests..60 {
        assert!(budget.withdraw());
    }
    budget
}

/// There are as many requests as configured; here there are two.
#[tokio::test(start_paused = true)]
async fn hedging_maxAttempts() {
    let hedged = Hedged::new(Hedge::new(), [Step::Hang, Step::Hang, Step::Hang]).await;
    let (client, ctx) = (&hedged.of.client, within(5000));
    let error = client.request(&ctx, idempotent()).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert_eq!(hedged.of.watch.sent() - USUAL, 2);
    // Nor is there a third one after both have failed.
    let steps = [Step::Fail(ms(20), lost()), Step::Fail(ms(20), lost())];
    let (outcome, _, sent) = Hedged::new(Hedge::new(), steps).await.call().await;
    assert_eq!((outcome.unwrap_err().attempts().len(), sent), (2, 2));
}

/// There, two streams that end simultaneously wait for each other's locks.
#[tokio::test(start_paused = true)]
async fn hedging_deadlock() {
    let hedged = Hedged::new(Hedge::new(), []).await;
    let first = hedged.delay() + ms(10);
    for last in [Step::Answer(first), Step::Fail(first, lost())] {
        let hedged = Hedged::new(Hedge::new(), [last, Step::Answer(ms(10))]).await;
        let (outcome, took, sent) = timeout(ms(1000), hedged.call()).await.unwrap();
        assert!(outcome.is_ok(), "{outcome:?}");
        assert!(took <= first + ms(1), "{took:?}");
        assert_eq!((sent, hedged.of.watch.in_flight()), (2, 0));
    }
}

/// In gRPC a pushback postpones the next hedge. Here a call has one hedge at most, and the retry layer waits for that time.
#[tokio::test(start_paused = true)]
async fn hedging_pushback_positive() {
    let asked = Step::Fail(ms(20), after(exhausted(), 700));
    let hedged = Hedged::new(Hedge::new(), [asked.clone(), asked]).await;
    let retry = Retry::new().with_entropy(Least);
    let client = Stack::new(Arc::clone(&hedged.of.client)).with(retry);
    client.request(&within(60_000), idempotent()).await.unwrap();
    let seen = &hedged.script.seen()[USUAL..];
    let [first, second, third] = seen else { panic!("{} requests", seen.len()) };
    assert!(second.at - first.at <= ms(13), "{:?}", second.at - first.at);
    assert_eq!(third.at - second.at, ms(20 + 700), "from the end of the request that failed last");
}

#[tokio::test(start_paused = true)]
async fn hedging_cancelled() {
    let hedged = Hedged::new(Hedge::new(), [Step::Hang, Step::Hang]).await;
    let (ctx, handle) = Context::background().child();
    let client = Arc::clone(&hedged.of.client);
    let call = tokio::spawn(async move { client.request(&ctx, idempotent()).await });
    sleep(ms(100)).await;
    assert_eq!(hedged.of.watch.in_flight(), 2);
    handle.cancel();
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Canceled, Delivery::Unknown));
    assert_eq!((hedged.of.watch.in_flight(), hedged.of.watch.sent() - USUAL), (0, 2));
}

/// There, a refused hedge is sent once more. Here a balance inside of the layer does that, at another endpoint; this
/// layer waits for the other request.
#[tokio::test(start_paused = true)]
async fn hedging_transparentRetry() {
    let steps = [Step::Answer(ms(50)), Step::Fail(ms(1), refused())];
    let (outcome, took, sent) = Hedged::new(Hedge::new(), steps).await.call().await;
    assert!(outcome.is_ok());
    assert_eq!((took, sent), (ms(50), 2));
}

#[tokio::test(start_paused = true)]
async fn hedging_transparentRetryNotAllowed() {
    let fatal = Error::failure(Code::InvalidArgument, Delivery::Rejected, None, "wrong");
    let steps = [Step::Fail(ms(20), lost()), Step::Fail(ms(30), fatal)];
    let (outcome, _, sent) = Hedged::new(Hedge::new(), steps).await.call().await;
    let error = outcome.unwrap_err();
    assert_eq!((error.code(), sent), (Code::InvalidArgument, 2));
    assert_eq!(error.delivery(), Delivery::Unknown, "the first request may have run");
}

#[tokio::test(start_paused = true)]
async fn hedging_throttledByOtherCall() {
    for (left, sent) in [(2, 2), (1, 1)] {
        let budget = budget(left);
        let hedge = Hedge::new().with_budget(budget.clone());
        let hedged = Hedged::new(hedge, [Step::Answer(ms(50))]).await;
        let other = Stack::new(Script::failing([lost()])).with(Retry::new().with_budget(budget));
        other.request(&within(9000), idempotent()).await.unwrap();
        assert_eq!(hedged.call().await.2, sent, "{left}");
    }
}

#[tokio::test(start_paused = true)]
async fn hedging_throttledByHedgingStreams() {
    let steps = [Step::Answer(ms(50)), Step::Answer(ms(50)), Step::Answer(ms(50))];
    let hedged = Hedged::new(Hedge::new().with_budget(budget(1)), steps).await;
    assert_eq!((hedged.call().await.2, hedged.call().await.2), (2, 1));
    assert_eq!(hedged.of.layer.stats().refused, 1);
}

/// A6: "If a non-fatal status is received before the delay, the next hedge is sent immediately". Here the retry layer
/// decides on it: the call ends.
#[tokio::test(start_paused = true)]
async fn a6_a_non_fatal_status_before_the_delay() {
    let hedged = Hedged::new(Hedge::new(), [Step::Fail(ms(1), lost())]).await;
    let (outcome, took, sent) = hedged.call().await;
    assert_eq!(outcome.unwrap_err().reason(), lost().reason());
    assert_eq!((took, sent), (ms(1), 1));
    assert_eq!(hedged.of.layer.stats(), HedgeStats::default());
}

/// A6: a server's pushback ends the hedging of a call.
#[tokio::test(start_paused = true)]
async fn a6_a_negative_pushback_before_the_delay() {
    let never = lost().with_retry(RetryHint::Never);
    let hedged = Hedged::new(Hedge::new(), [Step::Fail(ms(1), never)]).await;
    let (outcome, _, sent) = hedged.call().await;
    assert_eq!((outcome.unwrap_err().retry(), sent), (RetryHint::Never, 1));
}

/// A6: the deadline is that of the call, not of each hedge.
#[tokio::test(start_paused = true)]
async fn a6_all_hedges_share_the_deadline_of_the_call() {
    let hedged = Hedged::new(Hedge::new(), [Step::Hang, Step::Hang]).await;
    let ctx = within(500);
    hedged.of.client.request(&ctx, idempotent()).await.unwrap_err();
    let deadlines: Vec<_> =
        hedged.script.seen()[USUAL..].iter().map(|seen| seen.deadline.unwrap().instant()).collect();
    assert_eq!(deadlines, [ctx.deadline().unwrap().instant(); 2]);
}

/// A6 counts earlier attempts on each request. A second request has none: nothing has failed, and calls that it makes
/// further down may be retried.
#[tokio::test(start_paused = true)]
async fn a6_previous_attempts_of_a_hedge() {
    let hedged = Hedged::new(Hedge::new(), [Step::Hang]).await;
    hedged.call().await.0.unwrap();
    assert_eq!(hedged.script.retries()[USUAL..], [0, 0]);
}

//! The cases on retry of grpc-java's `RetriableStreamTest`, by their names there.
#![allow(non_snake_case, reason = "the names are those of the suite they come from")]

use rr_core::retry::{Retry, RetryBudget, RetryConfig, RetryDecision};
use rr_core::{Code, Context, Delivery, Error, Requester, Stack, retry::RetryHint};
use tokio::time::{Instant, sleep};

use super::support::*;

fn invalid() -> Error {
    Error::failure(Code::InvalidArgument, Delivery::Processed, None, "wrong")
}

#[tokio::test(start_paused = true)]
async fn expBackoff_maxBackoff_maxRetryAttempts() {
    let script = Script::broken(lost());
    let config = RetryConfig::default()
        .with_attempts_max(5)
        .with_backoff_base(ms(100))
        .with_backoff_max(ms(300));
    let error = client_with(&script, config).request(&within(9000), idempotent()).await;
    assert_eq!(script.gaps(), [50, 100, 150, 150].map(ms));
    assert_eq!(decisions(&error.unwrap_err()).last(), Some(&RetryDecision::AttemptsSpent));
}

#[tokio::test(start_paused = true)]
async fn pushback() {
    let script = Script::broken(lost());
    let steps = [lost(), lost(), after(lost(), 700), lost()].map(|e| Step::Fail(ms(0), e));
    let script_with_pushback = Script::new(steps);
    for (script, gaps) in
        [(&script, [25, 50, 100, 200]), (&script_with_pushback, [25, 50, 770, 25])]
    {
        let config = RetryConfig::default().with_attempts_max(5);
        let outcome = client_with(script, config).request(&within(9000), idempotent()).await;
        assert!(outcome.is_err());
        assert_eq!(script.gaps(), gaps.map(ms), "the backoff starts anew after a pushback");
    }
}

#[tokio::test(start_paused = true)]
async fn pushback_noRetry() {
    let script = Script::broken(lost().with_retry(RetryHint::Never));
    let error = client(&script).request(&within(9000), idempotent()).await.unwrap_err();
    assert_eq!((script.seen().len(), decisions(&error)), (1, vec![RetryDecision::Never]));
}

#[tokio::test(start_paused = true)]
async fn throttle() {
    let budget = RetryBudget::with_config(&no_budget().with_percent(50));
    for _ in 0..6 {
        budget.deposit();
    }
    assert_eq!(budget.balance(), 3);
    assert!(budget.withdraw() && budget.withdraw() && budget.withdraw());
    assert!(!budget.withdraw());
    budget.deposit();
    assert!(!budget.withdraw(), "half of a retry is none");
    budget.deposit();
    assert!(budget.withdraw());
}

/// A call that finds the budget empty, and what it left of a budget of one.
async fn throttled(error: Error) -> (Vec<RetryDecision>, usize, u64) {
    let script = Script::broken(error.clone());
    let client = Stack::new(script.clone()).with(Retry::new().with_budget(empty_budget()));
    let outcome = client.request(&within(9000), idempotent()).await.unwrap_err();
    // One retry every second: the window of 1 s holds one.
    let config = no_budget().with_floor_per_second(1).with_window(ms(1000));
    let one = RetryBudget::with_config(&config);
    let layer = Retry::new().with_budget(one.clone()).with_entropy(Least);
    let other = Stack::new(Script::failing([error])).with(layer);
    let _ = other.request(&within(9000), idempotent()).await;
    (decisions(&outcome), script.seen().len(), one.balance())
}

#[tokio::test(start_paused = true)]
async fn throttledStream_FailWithRetriableStatusCode_WithoutPushback() {
    assert_eq!(throttled(lost()).await, (vec![RetryDecision::BudgetSpent], 1, 0));
}

#[tokio::test(start_paused = true)]
async fn throttledStream_FailWithRetriableStatusCode_WithRetriablePushback() {
    let asked = after(lost(), 1);
    assert_eq!(throttled(asked).await, (vec![RetryDecision::BudgetSpent], 1, 0));
}

#[tokio::test(start_paused = true)]
async fn throttledStream_FailWithRetriableStatusCode_WithNonRetriablePushback() {
    let never = lost().with_retry(RetryHint::Never);
    assert_eq!(throttled(never).await, (vec![RetryDecision::Never], 1, 1));
}

#[tokio::test(start_paused = true)]
async fn throttledStream_FailWithNonRetriableStatusCode_WithoutPushback() {
    assert_eq!(throttled(invalid()).await, (vec![RetryDecision::Final], 1, 1));
}

/// There, a pushback makes any status retriable; here it only says when, and the code says whether.
#[tokio::test(start_paused = true)]
async fn throttledStream_FailWithNonRetriableStatusCode_WithRetriablePushback() {
    assert_eq!(throttled(after(invalid(), 1)).await, (vec![RetryDecision::Final], 1, 1));
}

#[tokio::test(start_paused = true)]
async fn throttledStream_FailWithNonRetriableStatusCode_WithNonRetriablePushback() {
    let never = invalid().with_retry(RetryHint::Never);
    assert_eq!(throttled(never).await, (vec![RetryDecision::Never], 1, 1));
}

#[tokio::test(start_paused = true)]
async fn throttleStream_Succeed() {
    let layer =
        Retry::with_config(RetryConfig::default().with_budget(no_budget().with_percent(50)));
    let budget = layer.budget().clone();
    let client = Stack::new(Script::failing([])).with(layer);
    for _ in 0..4 {
        client.request(&within(9000), idempotent()).await.unwrap();
    }
    assert_eq!(budget.balance(), 2, "each call adds its part");
}

#[tokio::test(start_paused = true)]
async fn transparentRetry_onlyOnceOnRefused() {
    let script = Script::broken(refused());
    let error = client(&script).request(&within(9000), plain()).await.unwrap_err();
    assert_eq!(script.retries(), [0, 0, 1, 2]);
    assert_eq!(decisions(&error)[..2], [RetryDecision::Resend, RetryDecision::Again(ms(25))]);
}

/// There, without end until the deadline; here once, then as any other failure: a destination that
/// cannot be reached is not called in a loop.
#[tokio::test(start_paused = true)]
async fn transparentRetry_unlimitedTimesOnMiscarried() {
    let script = Script::broken(unavailable(Delivery::NotSent));
    let error = client(&script).request(&within(9000), plain()).await.unwrap_err();
    assert_eq!(script.gaps(), [0, 25, 50].map(ms));
    assert_eq!(error.delivery(), Delivery::NotSent);
}

#[tokio::test(start_paused = true)]
async fn normalRetry_thenNoTransparentRetry_butNormalRetry() {
    let script = Script::failing([lost(), refused()]);
    client(&script).request(&within(9000), idempotent()).await.unwrap();
    assert_eq!((script.retries(), script.gaps()), (vec![0, 1, 2], [25, 50].map(ms).to_vec()));
}

#[tokio::test(start_paused = true)]
async fn normalRetry_thenNoTransparentRetry_andNoMoreRetry() {
    let script = Script::failing([lost(), refused()]);
    let client = client_with(&script, RetryConfig::default().with_attempts_max(2));
    let error = client.request(&within(9000), idempotent()).await.unwrap_err();
    assert_eq!(script.retries(), [0, 1]);
    assert_eq!(error.delivery(), Delivery::Unknown, "the first attempt may have run");
}

#[tokio::test(start_paused = true)]
async fn droppedShouldNeverRetry() {
    let reason = rr_core::Reason::BREAKER_OPEN;
    let script =
        Script::broken(Error::failure(Code::Unavailable, Delivery::NotSent, reason, "open"));
    let error = client(&script).request(&within(9000), idempotent()).await.unwrap_err();
    assert_eq!((script.seen().len(), decisions(&error)), (1, vec![RetryDecision::Final]));
}

#[tokio::test(start_paused = true)]
async fn retry_cancelWhileBackoff() {
    let script = Script::broken(lost());
    let (ctx, handle) = Context::background().child();
    let client = client(&script);
    let call = tokio::spawn(async move { client.request(&ctx, idempotent()).await });
    sleep(ms(24)).await;
    handle.cancel();
    assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Canceled);
    sleep(ms(60_000)).await;
    assert_eq!(script.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn cancelWhileDraining() {
    let script = Script::new([Step::Fail(ms(0), lost()), Step::Hang]);
    let (ctx, handle) = Context::background().child();
    let client = client(&script);
    let call = tokio::spawn(async move { client.request(&ctx, idempotent()).await });
    sleep(ms(100)).await;
    assert_eq!(script.retries(), [0, 1]);
    handle.cancel();
    let error = call.await.unwrap().unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Canceled, Delivery::Unknown));
    assert_eq!(decisions(&error).last(), Some(&RetryDecision::CallEnded));
}

#[tokio::test(start_paused = true)]
async fn transparentRetry_cancel_race() {
    let script = Script::broken(refused());
    let (ctx, handle) = Context::background().child();
    script.cancel_on_failure(handle);
    let error = client(&script).request(&ctx, plain()).await.unwrap_err();
    assert_eq!((script.seen().len(), decisions(&error)), (1, vec![RetryDecision::CallEnded]));
}

/// There on the reply; here each request says how many preceded it, and the error lists them.
#[tokio::test(start_paused = true)]
async fn addPrevRetryAttemptsToRespHeaders() {
    let script = Script::new([Step::Fail(ms(5), lost()), Step::Fail(ms(7), refused())]);
    let start = Instant::now();
    let error = client(&script).request(&within(9000), idempotent()).await.unwrap_err();
    assert_eq!(script.retries(), [0, 1, 2]);
    let elapsed: Vec<_> = error.attempts().iter().map(|attempt| attempt.elapsed).collect();
    assert_eq!(elapsed, [5, 7, 7].map(ms));
    assert_eq!(start.elapsed(), ms(5 + 25 + 7 + 50 + 7));
}

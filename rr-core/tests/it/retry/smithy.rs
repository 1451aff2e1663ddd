//! The cases of smithy-rs' standard retry strategy, by their names there, with our numbers.

use std::time::Duration;

use rr_core::retry::{Retry, RetryBudget, RetryConfig, RetryDecision};
use rr_core::transport::Entropy;
use rr_core::{Code, Delivery, Error, Requester, Stack};
use tokio::time::Instant;

use super::support::*;

struct Most;

impl Entropy for Most {
    fn next_u64(&self) -> u64 {
        u64::MAX
    }
}

#[tokio::test(start_paused = true)]
async fn eventual_success() {
    let script = Script::failing([lost(), lost()]);
    let layer = retry(RetryConfig::default());
    let budget = layer.budget().clone();
    let client = Stack::new(script.clone()).with(layer);
    client.request(&within(9000), idempotent()).await.unwrap();
    assert_eq!(script.seen().len(), 3);
    assert_eq!(budget.balance(), 98, "the floor of ten seconds less two retries");
}

#[tokio::test(start_paused = true)]
async fn no_more_attempts() {
    let script = Script::broken(lost());
    let error = client(&script).request(&within(9000), idempotent()).await.unwrap_err();
    assert_eq!(error.attempts().len(), 3);
    assert_eq!(decisions(&error)[2], RetryDecision::AttemptsSpent);
}

#[tokio::test(start_paused = true)]
async fn no_quota() {
    let script = Script::broken(lost());
    let config = RetryConfig::default().with_budget(no_budget());
    let error = client_with(&script, config).request(&within(9000), idempotent()).await;
    assert_eq!(decisions(&error.unwrap_err()), [RetryDecision::BudgetSpent]);
}

/// There, a success gives back what its retries took; here only calls pay, so that a destination
/// that fails every other time is not called twice as often for ever.
#[tokio::test(start_paused = true)]
async fn quota_replenishes_on_success() {
    let layer = retry(RetryConfig::default().with_budget(no_budget().with_percent(100)));
    let budget = layer.budget().clone();
    let client = Stack::new(Script::failing([lost()])).with(layer);
    client.request(&within(9000), idempotent()).await.unwrap();
    assert_eq!(budget.balance(), 0);
}

#[tokio::test(start_paused = true)]
async fn quota_replenishes_on_first_try_success() {
    let layer = retry(RetryConfig::default().with_budget(no_budget().with_percent(20)));
    let budget = layer.budget().clone();
    let client = Stack::new(Script::failing([])).with(layer);
    for _ in 0..5 {
        client.request(&within(9000), idempotent()).await.unwrap();
    }
    assert_eq!(budget.balance(), 1);
}

#[tokio::test(start_paused = true)]
async fn backoff_timing() {
    let script = Script::broken(lost());
    let config = RetryConfig::default().with_attempts_max(5);
    let _ = client_with(&script, config).request(&within(9000), idempotent()).await;
    assert_eq!(script.gaps(), [25, 50, 100, 200].map(ms));
}

#[tokio::test(start_paused = true)]
async fn max_backoff_time() {
    let script = Script::broken(lost());
    let config = RetryConfig::default().with_attempts_max(5).with_backoff_max(ms(120));
    let _ = client_with(&script, config).request(&within(9000), idempotent()).await;
    assert_eq!(script.gaps(), [25, 50, 60, 60].map(ms));
}

/// The longest first pause after an error.
async fn longest_pause(error: Error) -> Duration {
    let script = Script::failing([error]);
    let client = Stack::new(script.clone()).with(Retry::new().with_entropy(Most));
    client.request(&within(9000), idempotent()).await.unwrap();
    script.gaps()[0]
}

#[tokio::test(start_paused = true)]
async fn v2_1_non_throttling_uses_50ms_backoff() {
    assert_eq!(longest_pause(lost()).await, ms(50));
}

#[tokio::test(start_paused = true)]
async fn v2_1_throttling_uses_1s_backoff() {
    assert_eq!(longest_pause(exhausted()).await, ms(1000));
}

/// There at most 5 s more than what would be drawn; here it is the deadline that bounds it.
#[tokio::test(start_paused = true)]
async fn v2_1_retry_after_bounded_between_t_i_and_t_i_plus_5s() {
    let script = Script::broken(after(exhausted(), 1500));
    let error = client(&script).request(&within(1500), plain()).await.unwrap_err();
    assert_eq!((error.code(), error.attempts().len()), (Code::ResourceExhausted, 1));
    assert_eq!(decisions(&error), [RetryDecision::NoTimeLeft]);
}

#[tokio::test(start_paused = true)]
async fn v2_1_retry_after_below_t_i_uses_t_i() {
    let script = Script::failing([after(exhausted(), 10)]);
    client(&script).request(&within(9000), plain()).await.unwrap();
    assert_eq!(script.gaps(), [ms(500)], "half of the second that exhaustion asks for");
}

#[tokio::test(start_paused = true)]
async fn v2_1_retry_after_above_t_i_plus_5s_capped() {
    let script = Script::broken(after(exhausted(), 300_001));
    let error = client(&script).request(&within(900_000), plain()).await.unwrap_err();
    assert_eq!(decisions(&error), [RetryDecision::Never]);
    let script = Script::failing([after(exhausted(), 8000)]);
    client(&script).request(&within(900_000), plain()).await.unwrap();
    assert_eq!(script.gaps(), [ms(8800)]);
}

#[tokio::test(start_paused = true)]
async fn retry_stops_after_retry_quota_exhaustion() {
    let script = Script::broken(lost());
    // Two retries in ten seconds.
    let budget = no_budget().with_percent(200);
    let config = RetryConfig::default().with_attempts_max(5).with_budget(budget);
    let error = client_with(&script, config).request(&within(9000), idempotent()).await;
    let error = error.unwrap_err();
    assert_eq!(script.seen().len(), 3);
    assert_eq!(decisions(&error)[2], RetryDecision::BudgetSpent);
}

#[tokio::test(start_paused = true)]
async fn retry_quota_recovery_after_successful_responses() {
    let budget = RetryBudget::with_config(&no_budget().with_percent(50));
    let calls = |script| {
        let layer = Retry::new().with_entropy(Half).with_budget(budget.clone());
        Stack::new(script).with(layer)
    };
    let broken = calls(Script::broken(lost()));
    let error = broken.request(&within(9000), idempotent()).await.unwrap_err();
    assert_eq!(decisions(&error), [RetryDecision::BudgetSpent]);
    let sound = calls(Script::failing([]));
    for _ in 0..2 {
        sound.request(&within(9000), idempotent()).await.unwrap();
    }
    let error = broken.request(&within(9000), idempotent()).await.unwrap_err();
    let again = [25, 50].map(|pause| RetryDecision::Again(ms(pause)));
    assert_eq!(decisions(&error)[..2], again, "four calls have paid for two retries");
}

#[tokio::test(start_paused = true)]
async fn calculate_backoff_overflow_should_gracefully_fallback_to_max_backoff() {
    let script = Script::broken(lost());
    let config = RetryConfig::default()
        .with_attempts_max(5)
        .with_backoff_base(Duration::MAX)
        .with_backoff_max(ms(100));
    let _ = client_with(&script, config).request(&within(9000), idempotent()).await;
    assert_eq!(script.gaps(), [50, 50, 50, 50].map(ms));
}

/// There the caller is kept waiting although the quota is spent; here it never is.
#[tokio::test(start_paused = true)]
async fn long_polling_backs_off_when_token_bucket_empty() {
    let script = Script::new([Step::Fail(ms(2000), unavailable(Delivery::Rejected))]);
    let config = RetryConfig::default().with_budget(no_budget());
    let start = Instant::now();
    let error = client_with(&script, config).request(&within(9000), plain()).await.unwrap_err();
    assert_eq!(decisions(&error), [RetryDecision::BudgetSpent]);
    assert_eq!(start.elapsed(), ms(2000));
}

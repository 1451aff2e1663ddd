//! The cases of Finagle's `RetryBudgetTest` and `RequeueFilterTest`, by their names there.

use rr_core::retry::{Retry, RetryBudget, RetryBudgetConfig, RetryConfig, RetryDecision};
use rr_core::{Code, Delivery, Error, Reason, Requester, Stack};
use tokio::time::sleep;

use super::support::*;

fn budget(percent: u32, floor: u32, window_millis: u64) -> RetryBudget {
    RetryBudget::with_config(
        &RetryBudgetConfig::default()
            .with_percent(percent)
            .with_floor_per_second(floor)
            .with_window(ms(window_millis)),
    )
}

fn withdrawn(budget: &RetryBudget) -> u64 {
    std::iter::from_fn(|| budget.withdraw().then_some(())).count() as u64
}

#[tokio::test(start_paused = true)]
async fn apply_ttl_bounds() {
    // Out of bounds there is an error; here the nearest bound is used.
    for (window, used) in [(0, 1), (500, 1), (1000, 1), (60_000, 60), (61_000, 60)] {
        assert_eq!(budget(0, 1, window).balance(), used);
    }
}

#[tokio::test(start_paused = true)]
async fn apply_min_retries_per_sec_bounds() {
    assert_eq!(budget(0, 0, 10_000).balance(), 0);
    assert_eq!(budget(0, u32::MAX, 60_000).balance(), u64::from(u32::MAX) * 60);
}

#[tokio::test(start_paused = true)]
async fn apply_percent_can_retry_bounds() {
    let all = budget(u32::MAX, 0, 10_000);
    all.deposit();
    assert_eq!(all.balance(), u64::from(u32::MAX) / 100);
}

#[tokio::test(start_paused = true)]
async fn apply_min_retries_0_percent_can_retry_0_should_be_empty() {
    let empty = empty_budget();
    assert!(!empty.withdraw());
    for _ in 0..1000 {
        empty.deposit();
    }
    assert!(!empty.withdraw() && empty.balance() == 0);
}

#[tokio::test(start_paused = true)]
async fn apply_min_retries_0() {
    for percent in [10, 25, 50, 75, 99] {
        let budget = budget(percent, 0, 10_000);
        assert!(!budget.withdraw());
        for _ in 0..10_000 {
            budget.deposit();
        }
        assert_eq!(withdrawn(&budget), u64::from(percent) * 100);
    }
}

#[tokio::test(start_paused = true)]
async fn apply_percent_can_retry_0() {
    let budget = budget(0, 10, 1000);
    for _ in 0..10 {
        budget.deposit();
        assert!(budget.withdraw(), "the floor pays");
    }
    assert!(!budget.withdraw());
}

#[tokio::test(start_paused = true)]
async fn apply_percent_can_retry_greater_than_1() {
    let budget = budget(200, 0, 60_000);
    budget.deposit();
    assert_eq!(withdrawn(&budget), 2);
    budget.deposit();
    assert_eq!(withdrawn(&budget), 2);
}

#[tokio::test(start_paused = true)]
async fn apply_ttl_enforced() {
    let budget = budget(50, 0, 1000);
    for _ in 0..10 {
        budget.deposit();
    }
    assert_eq!(budget.balance(), 5);
    sleep(ms(1000)).await;
    assert_eq!(budget.balance(), 0);
}

#[tokio::test(start_paused = true)]
async fn respects_max_retries_per_req() {
    for attempts in 1..=5 {
        let script = Script::broken(lost());
        let config = RetryConfig::default().with_attempts_max(attempts);
        let _ = client_with(&script, config).request(&within(9000), idempotent()).await;
        assert_eq!(script.seen().len() as u32, attempts);
    }
    let script = Script::broken(lost());
    let config = RetryConfig::default().with_attempts_max(100);
    let _ = client_with(&script, config).request(&within(9000), idempotent()).await;
    assert_eq!(script.seen().len(), 5, "there is a ceiling");
}

#[tokio::test(start_paused = true)]
async fn exhausts_budget() {
    let script = Script::broken(lost());
    let config = RetryConfig::default().with_budget(no_budget().with_percent(20));
    let client = client_with(&script, config);
    for _ in 0..100 {
        let error = client.request(&within(9000), idempotent()).await.unwrap_err();
        assert_eq!(error.reason(), Some(&Reason::CONNECTION_LOST));
    }
    assert_eq!(script.seen().len(), 120);
}

#[tokio::test(start_paused = true)]
async fn applies_delay() {
    let script = Script::broken(exhausted());
    let error = client(&script).request(&within(9000), plain()).await.unwrap_err();
    assert_eq!(script.gaps(), [500, 1000].map(ms));
    assert_eq!(error.delivery(), Delivery::Rejected);
}

#[tokio::test(start_paused = true)]
async fn retries_propagated_in_context() {
    let script = Script::broken(lost());
    let config = RetryConfig::default().with_attempts_max(4);
    let _ = client_with(&script, config).request(&within(9000), idempotent()).await;
    assert_eq!(script.retries(), [0, 1, 2, 3]);
}

/// There, a closed service is not called again; here the error of a closed one says never.
#[tokio::test(start_paused = true)]
async fn requeueable_only_if_the_service_is_available() {
    let reason = Reason::CLOSED;
    let script =
        Script::broken(Error::failure(Code::Unavailable, Delivery::NotSent, reason, "closed"));
    let error = client(&script).request(&within(9000), plain()).await.unwrap_err();
    assert_eq!((script.seen().len(), decisions(&error)), (1, vec![RetryDecision::Never]));
}

/// One budget for whatever sends more than the caller asked for, which Finagle advises strongly.
#[tokio::test(start_paused = true)]
async fn a_budget_is_shared_by_its_clones() {
    let shared = budget(0, 3, 1000);
    let scripts = [Script::broken(lost()), Script::broken(lost())];
    for script in &scripts {
        let layer = Retry::new().with_entropy(Least).with_budget(shared.clone());
        let client = Stack::new(script.clone()).with(layer);
        let _ = client.request(&within(9000), idempotent()).await;
    }
    assert_eq!(scripts.map(|script| script.seen().len()), [3, 2]);
}

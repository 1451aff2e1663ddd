//! The cases of Finagle's `BackupRequestFilterTest`, by their names there.
//!
//! In `src/hedge/tests.rs` are: "Original request completes successfully before timer fires" and "unsuccessfully"
//! (`a_call_of_usual_duration_is_sent_once`), "Backup request completes successfully first"
//! (`a_slow_call_is_sent_again_and_the_first_reply_wins`), "Original request completes successfully first"
//! (`a_first_reply_that_comes_after_all_wins_too`), "Original request completes unsuccessfully first" and "Backup
//! request completes unsuccessfully first" (`an_error_that_may_be_retried_does_not_win`), and "Don't send backup when
//! backup timer fires if cannot withdraw from global retry budget" (`a_shared_budget_that_is_spent_refuses_second_requests`).
//!
//! Do not apply: "extra load must be non-negative" (it has no sign), the cases with `sendInterrupts=false` (a request
//! that loses is always cancelled), those of tunables (a configuration does not change), those of parameters and modules
//! of a stack, those of closing (nothing has to be closed), and the name of a superseded request.

use std::sync::Arc;

use rr_core::hedge::{Hedge, HedgeConfig};
use rr_core::retry::{RetryBudget, RetryBudgetConfig};
use rr_core::{Code, Context, Requester};

use super::support::*;

/// A hedge that has seen calls of this duration.
async fn seen(config: HedgeConfig, calls: usize, took: Step) -> Watched<Hedge> {
    let watched = watched(Hedge::with_config(config), Script::new([took]));
    for _ in 0..calls {
        watched.client.request(&within(3_600_000), idempotent()).await.unwrap();
    }
    watched
}

#[tokio::test(start_paused = true)]
async fn extra_load_must_be_at_most_one() {
    // There is an error; here more than one request for each call is one.
    let all = Hedge::with_config(HedgeConfig::default().with_extra_percent(500));
    let hedged = Hedged::new(all, vec![Step::Answer(ms(50)); 20]).await;
    for _ in 0..10 {
        assert_eq!(hedged.call().await.2, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn retry_budget_is_empty_if_max_extra_load_is_0() {
    let none = Hedge::with_config(HedgeConfig::default().with_extra_percent(0));
    let hedged = Hedged::new(none, [Step::Answer(ms(50))]).await;
    assert_eq!(hedged.call().await.2, 1);
    let stats = hedged.of.layer.stats();
    assert_eq!((stats.sent, stats.refused), (0, 1));
}

/// With "stat for send_backup_after": the delay is read from the layer.
#[tokio::test(start_paused = true)]
async fn adds_latency_to_windowed_percentile() {
    let target = plain().target;
    for (calls, has_delay) in [(0, false), (9, false), (10, true)] {
        let watched = seen(HedgeConfig::default(), calls, Step::Answer(ms(100))).await;
        assert_eq!(watched.layer.delay(&target).is_some(), has_delay, "{calls}");
        if let Some(delay) = watched.layer.delay(&target) {
            assert!(delay >= ms(100) && delay <= ms(113), "{delay:?} in buckets of an eighth");
        }
        let other = "orders.other".try_into().unwrap();
        assert_eq!(watched.layer.delay(&other), None, "each target has its latency");
    }
}

#[tokio::test(start_paused = true)]
async fn deposits_into_local_retry_budget_only() {
    let config = RetryBudgetConfig::default().with_percent(0).with_window(ms(60_000));
    let shared = RetryBudget::with_config(&config.with_floor_per_second(1));
    let hedge = Hedge::new().with_budget(shared.clone());
    let hedged = Hedged::new(hedge, [Step::Answer(ms(50))]).await;
    assert_eq!(shared.balance(), 60, "the retry layer deposits the calls");
    assert_eq!(hedged.call().await.2, 2);
    assert_eq!(shared.balance(), 59, "a second request withdraws from both");
}

#[tokio::test(start_paused = true)]
async fn do_not_send_backup_if_cannot_withdraw_from_backup_request_retry_budget() {
    let hedged = Hedged::new(Hedge::new(), vec![Step::Answer(ms(50)); 60]).await;
    let mut second = 0;
    while hedged.call().await.2 == 2 {
        second += 1;
    }
    assert!((5..=11).contains(&second), "1 % of the calls of the last 10 s: {second}");
    let (outcome, took, sent) = hedged.call().await;
    assert!(outcome.is_ok());
    assert_eq!((took, sent), (ms(50), 1));
    let stats = hedged.of.layer.stats();
    assert_eq!((stats.sent, stats.refused), (second, 2));
}

/// There, a timeout counts as a latency. Here only successes do: the time of a call that failed is that of its deadline,
/// which the caller chose.
#[tokio::test(start_paused = true)]
async fn record_latency_on_timeout() {
    let hedged = Hedged::new(Hedge::new(), vec![Step::Hang; 200]).await;
    let before = hedged.delay();
    for _ in 0..50 {
        let error = hedged.of.client.request(&within(100), idempotent()).await.unwrap_err();
        assert_eq!(error.code(), Code::DeadlineExceeded);
    }
    assert_eq!(hedged.delay(), before);
}

#[tokio::test(start_paused = true)]
async fn minimum_send_backup_after_of_1ms() {
    let watched = seen(HedgeConfig::default(), 100, Step::Answer(ms(0))).await;
    assert_eq!(watched.layer.delay(&plain().target), Some(ms(1)));
    assert_eq!(watched.layer.stats().sent, 0);
}

#[tokio::test(start_paused = true)]
async fn minimum_send_backup_after_can_be_overwritten() {
    let config = HedgeConfig::default().with_delay_min(ms(10));
    let watched = seen(config, 100, Step::Answer(ms(0))).await;
    assert_eq!(watched.layer.delay(&plain().target), Some(ms(10)));
}

#[tokio::test(start_paused = true)]
async fn percentile_latency_exceeds_measurable_latency() {
    // The calls come within the window of latencies, and take longer than it measures.
    let script = Script::new([Step::Answer(ms(1_000_000))]);
    let watched = watched(Hedge::new(), Arc::clone(&script));
    let mut calls = Vec::new();
    for _ in 0..100 {
        let client = Arc::clone(&watched.client);
        calls.push(tokio::spawn(
            async move { client.request(&within(3_600_000), idempotent()).await },
        ));
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let delay = watched.layer.delay(&plain().target).unwrap();
    let ctx = Context::background().with_timeout(delay / 2);
    assert!(watched.client.request(&ctx, idempotent()).await.is_err());
    assert_eq!(watched.layer.stats().sent, 0, "before {delay:?}");
}

//! The cases of governor's direct and keyed limiters, by their names there.
//!
//! Do not apply: the cases on several cells (a call is one), `default_direct` (each limit has a configuration), and
//! those on the tables of keys, of which `keys_of_a_rate_are_bounded_and_idle_ones_make_way` in `src/limit/tests.rs` is
//! what callers notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rr_core::limit::{RateConfig, RateLimit};
use rr_core::{Error, Reason, Request, Response, retry::RetryHint};
use tokio::time::sleep;

use super::support::*;

/// A limit of this rate, whose burst is the calls of one second as there.
fn per_second(calls: u32) -> Watched<RateLimit> {
    let config = RateConfig::default().with_calls_per_second(calls).with_burst(calls);
    let limit = RateLimit::new(config);
    let limit = limit.with_key(|_, request| request.headers.get("x-key").map(str::to_owned));
    watched(limit, Host::new(Does::Answers(ms(0))))
}

impl Watched<RateLimit> {
    async fn check_of(&self, request: Request) -> Result<Response, Error> {
        self.client.request(&within(60_000), request).await
    }

    async fn check(&self) -> bool {
        let outcome = self.check_of(plain()).await;
        assert!(outcome.is_ok() || is_refused(&outcome, &Reason::RATE_LIMITED), "{outcome:?}");
        outcome.is_ok()
    }

    /// Returns the time until the next call is admitted.
    async fn wait(&self) -> Duration {
        match self.check_of(plain()).await.unwrap_err().retry() {
            RetryHint::After(wait) => wait,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn accepts_first_cell() {
    assert!(per_second(5).check().await);
}

/// With `remaining_gets_reset` and `reaching_capacity` of tower's rate limit.
#[tokio::test(start_paused = true)]
async fn rejects_too_many() {
    let limit = per_second(2);
    assert!(limit.check().await);
    sleep(ms(1)).await;
    assert!(limit.check().await);
    sleep(ms(1)).await;
    assert!(!limit.check().await);
    sleep(ms(1000)).await;
    assert!(limit.check().await);
    sleep(ms(1)).await;
    assert!(limit.check().await);
    sleep(ms(1)).await;
    assert!(!limit.check().await);
}

#[tokio::test(start_paused = true)]
async fn does_not_allow_one_extra_cell_after_longer_interval() {
    let limit = per_second(5);
    for pause in [0, 2000, 3_600_000] {
        sleep(ms(pause)).await;
        for _ in 0..5 {
            assert!(limit.check().await);
        }
        assert!(!limit.check().await, "after {pause} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn correct_wait_time() {
    let limit = per_second(5);
    for _ in 0..5 {
        assert!(limit.check().await);
    }
    assert_eq!(limit.wait().await, ms(200));
    sleep(ms(150)).await;
    assert_eq!(limit.wait().await, ms(50));
    sleep(ms(49)).await;
    assert!(!limit.check().await);
    sleep(ms(1)).await;
    assert!(limit.check().await);
    assert_eq!(limit.wait().await, ms(200), "a refused call costs nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actual_threadsafety() {
    let config = RateConfig::default().with_calls_per_second(1).with_burst(20);
    let limit = Arc::new(watched(RateLimit::new(config), Host::new(Does::Answers(ms(0)))));
    let began = tokio::time::Instant::now();
    let admitted = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (limit, admitted) = (Arc::clone(&limit), Arc::clone(&admitted));
        tasks.spawn(async move {
            for _ in 0..20 {
                let is_admitted = limit.check().await;
                admitted.fetch_add(usize::from(is_admitted), Ordering::SeqCst);
            }
        });
    }
    tasks.join_all().await;
    let admitted = admitted.load(Ordering::SeqCst);
    let gained = usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
    assert!((20..=20 + gained).contains(&admitted), "{admitted}");
}

#[tokio::test(start_paused = true)]
async fn stresstest_large_quotas() {
    // An interval of a nanosecond, and of less.
    for calls in [1_000_000_000, u32::MAX] {
        let limit = per_second(calls);
        for _ in 0..1000 {
            assert!(limit.check().await);
        }
    }
}

/// `keyed`: `accepts_first_cell` and `rejects_too_many`.
#[tokio::test(start_paused = true)]
async fn keyed_rejects_too_many() {
    let limit = per_second(2);
    let of = |key: &str| {
        let mut request = plain();
        request.headers.insert("x-key", key.to_owned()).unwrap();
        request
    };
    for key in ["a", "b", "c"] {
        assert!(limit.check_of(of(key)).await.is_ok() && limit.check_of(of(key)).await.is_ok());
        let outcome = limit.check_of(of(key)).await;
        assert!(is_refused(&outcome, &Reason::RATE_LIMITED), "{key}: {outcome:?}");
    }
    // `expiration`: a key that was idle has its whole burst again.
    sleep(ms(1000)).await;
    assert!(limit.check_of(of("a")).await.is_ok() && limit.check_of(of("a")).await.is_ok());
}

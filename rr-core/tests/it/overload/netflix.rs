//! The cases of Netflix's concurrency-limits, by their names there: `AIMDLimitTest`, `VegasLimitTest`,
//! `SimpleLimiterTest`, `AbstractPartitionedLimiterTest`, `LifoBlockingLimiterTest` and `BlockingLimiterTest`. Its
//! `Gradient2Limit` has no test. A partition there is a key here.
//!
//! Do not apply: `testSimpleBypassLimiter`, `testSimpleBypassLimiterDefault`, `testBypassPartitionedLimiter` and
//! `testBypassSimpleLimiter` (no call bypasses a limit), `setLimitReservesBusy` and `adaptWhenLimitIncreases` (a limit
//! is not set, but see `increaseOnSuccess`), `largeLimitIncrease`, `noChangeIfWithinThresholds` and the cases on
//! smoothing (of Vegas' formula), `testNoTimeout` (each wait has an end), `failOnHighTimeout`,
//! `fixedTimeoutExposedWhenConfigured` and `fixedTimeoutIsNullForDynamicBacklogTimeout`.
#![allow(non_snake_case, reason = "the names are those of the suite they come from")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rr_core::limit::{AdaptiveConfig, ConcurrencyConfig, ConcurrencyLimit, Order};
use rr_core::{Reason, Request, Requester as _};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::support::*;

type Limited = Watched<ConcurrencyLimit>;

/// Puts a limit around a destination whose calls take 100 ms.
fn limited(limit: ConcurrencyLimit) -> (Limited, Arc<Host>) {
    let host = Host::new(Does::Answers(ms(100)));
    (watched(limit, Arc::clone(&host)), host)
}

fn fixed(calls: usize) -> Limited {
    limited(ConcurrencyLimit::fixed(calls)).0
}

fn of(key: &str) -> Request {
    let mut request = plain();
    request.headers.insert("x-key", key.to_owned()).unwrap();
    request
}

fn keyed(calls: usize, percent: u32) -> Limited {
    let config = ConcurrencyConfig::default().with_key_percent_max(percent);
    let limit = ConcurrencyLimit::fixed(calls).with_config(config);
    limited(limit.with_key(|_, request| request.headers.get("x-key").map(str::to_owned))).0
}

fn waits(millis: u64) -> ConcurrencyConfig {
    ConcurrencyConfig::default().with_wait_max(ms(millis)).with_waiting_max(10)
}

impl Limited {
    /// Starts calls of a key; returns how many were admitted.
    async fn admitted(&self, calls: usize, key: &str) -> usize {
        let mut admitted = 0;
        for _ in 0..calls {
            admitted += usize::from(self.is_admitted(of(key)).await);
        }
        admitted
    }

    /// Lets all calls end that are in flight.
    async fn settle(&self) {
        while self.layer.in_flight() > 0 {
            sleep(ms(10)).await;
        }
    }

    /// Makes as many calls as the limit allows, and waits for them, so many times.
    async fn rounds(&self, rounds: usize) {
        for _ in 0..rounds {
            self.admitted(self.layer.limit(), "a").await;
            self.settle().await;
        }
    }
}

fn additive(initial: usize) -> ConcurrencyLimit {
    ConcurrencyLimit::additive(AdaptiveConfig::default().with_initial(initial), ms(1000))
}

#[tokio::test(start_paused = true)]
async fn aimd_testDefault() {
    assert_eq!(additive(10).limit(), 10);
}

/// There by one with each success; here by one with each full turn, as the limits of TCP.
#[tokio::test(start_paused = true)]
async fn aimd_increaseOnSuccess() {
    let (limited, _) = limited(additive(20));
    assert_eq!(limited.admitted(21, "a").await, 20);
    limited.settle().await;
    limited.rounds(1).await;
    assert_eq!(limited.layer.limit(), 21);
    assert_eq!(limited.admitted(22, "a").await, 21);
}

#[tokio::test(start_paused = true)]
async fn aimd_decreaseOnDrops() {
    let (limited, host) = limited(additive(30));
    host.now_does(Does::Fails(exhausted()));
    let _ = limited.client.request(&within(1000), plain()).await;
    assert_eq!(limited.layer.limit(), 27);
}

#[tokio::test(start_paused = true)]
async fn aimd_successOverflow() {
    let config = AdaptiveConfig::default().with_initial(21).with_max(21).with_min(0);
    let (limited, _) = limited(ConcurrencyLimit::additive(config, ms(1000)));
    limited.rounds(5).await;
    assert_eq!(limited.layer.limit(), 21);
}

/// A latency that stays low shows that there is no queue.
#[tokio::test(start_paused = true)]
async fn vegas_increaseLimit() {
    let config = AdaptiveConfig::default().with_initial(10);
    let (limited, _) = limited(ConcurrencyLimit::adaptive(config));
    // A step of the limit has 100 calls at least.
    limited.rounds(60).await;
    assert!(limited.layer.limit() > 20, "{}", limited.layer.limit());
}

/// A latency that rises with the calls in flight shows a queue.
#[tokio::test(start_paused = true)]
async fn vegas_decreaseLimit() {
    let config = AdaptiveConfig::default().with_initial(100);
    let (limited, host) = limited(ConcurrencyLimit::adaptive(config));
    // It serves ten calls in parallel.
    let mut limits = Vec::new();
    for _ in 0..300 {
        let calls = limited.layer.limit();
        limits.push(calls);
        host.now_does(Does::Answers(ms(100).mul_f64((calls as f64 / 10.0).max(1.0))));
        limited.admitted(calls, "a").await;
        limited.settle().await;
    }
    // Several, since a probe lowers the limit for a while.
    let last = &limits[200..];
    assert!(last.iter().all(|limit| *limit < 50), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn useLimiterCapacityUntilTotalLimit() {
    let limited = fixed(10);
    assert_eq!((limited.admitted(11, "live").await, limited.layer.in_flight()), (10, 10));
}

#[tokio::test(start_paused = true)]
async fn testReleaseLimit() {
    let limited = fixed(10);
    let first = limited.start(of("live")).await;
    assert_eq!(limited.admitted(10, "live").await, 9);
    first.abort();
    yield_now().await;
    assert_eq!(limited.layer.in_flight(), 9);
    assert!(limited.is_admitted(of("live")).await);
    assert_eq!(limited.layer.in_flight(), 10);
}

/// Calls from two threads: successes and refusals.
async fn concurrently(limited: &Arc<Limited>, keys: &[&'static str]) -> (usize, usize) {
    let refused = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for &key in keys.iter().cycle().take(50) {
        let (limited, refused) = (Arc::clone(limited), Arc::clone(&refused));
        tasks.spawn(async move {
            for _ in 0..100 {
                let outcome = limited.client.request(&within(60_000), of(key)).await;
                if is_refused(&outcome, &Reason::OVERLOADED) {
                    refused.fetch_add(1, Ordering::SeqCst);
                    yield_now().await;
                } else {
                    outcome.unwrap();
                }
            }
        });
    }
    tasks.join_all().await;
    let refused = refused.load(Ordering::SeqCst);
    (limited.watch.sent(), refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn testConcurrentSimple() {
    let (limited, host) = limited(ConcurrencyLimit::fixed(10));
    host.now_does(Does::Answers(ms(1)));
    let limited = Arc::new(limited);
    let (sent, refused) = concurrently(&limited, &["default"]).await;
    assert_eq!(sent + refused, 5000);
    assert!(limited.watch.most() <= 10 && sent > 0, "{} {sent}", limited.watch.most());
    assert_eq!(limited.layer.in_flight(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn testConcurrentPartitions() {
    let limited = Arc::new(keyed(20, 50));
    let (sent, refused) = concurrently(&limited, &["A", "B", "C"]).await;
    assert_eq!(sent + refused, 5000);
    assert!(limited.watch.most() <= 20 && sent > 0, "{} {sent}", limited.watch.most());
    assert_eq!(limited.layer.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn limitAllocatedToBins() {
    let limited = keyed(10, 30);
    for key in ["batch", "live"] {
        assert_eq!(limited.admitted(10, key).await, 3, "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn useExcessCapacityUntilTotalLimit() {
    assert_eq!(keyed(10, 100).admitted(11, "batch").await, 10);
}

/// There, a partition may exceed the limit up to its part when another has used all of it. Here the limit holds.
#[tokio::test(start_paused = true)]
async fn exceedTotalLimitForUnusedBin() {
    let limited = keyed(10, 70);
    assert_eq!(limited.admitted(10, "batch").await, 7);
    assert_eq!(limited.admitted(10, "live").await, 3);
    assert_eq!(limited.layer.in_flight(), 10);
}

#[tokio::test(start_paused = true)]
async fn rejectOnceAllLimitsReached() {
    let limited = keyed(10, 50);
    assert_eq!((limited.admitted(5, "batch").await, limited.admitted(5, "live").await), (5, 5));
    for key in ["batch", "live", "other"] {
        assert!(!limited.is_admitted(of(key)).await, "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn releaseLimit() {
    let limited = keyed(10, 30);
    let first = limited.start(of("batch")).await;
    assert_eq!(limited.admitted(3, "batch").await, 2);
    first.abort();
    yield_now().await;
    assert_eq!(limited.layer.in_flight(), 2);
    assert_eq!(limited.admitted(2, "batch").await, 1);
}

#[tokio::test(start_paused = true)]
async fn blockWhenFullAndTimeout() {
    let (limited, host) = limited(ConcurrencyLimit::fixed(4).with_config(waits(1000)));
    host.now_does(Does::Hangs);
    limited.admitted(4, "a").await;
    let began = Instant::now();
    let outcome = limited.client.request(&within(60_000), plain()).await;
    assert!(is_refused(&outcome, &Reason::OVERLOADED), "{outcome:?}");
    assert_eq!(began.elapsed(), ms(1000));
}

#[tokio::test(start_paused = true)]
async fn unblockWhenFullBeforeTimeout() {
    let (limited, host) = limited(ConcurrencyLimit::fixed(4).with_config(waits(1000)));
    host.now_does(Does::Hangs);
    limited.admitted(3, "a").await;
    host.now_does(Does::Answers(ms(250)));
    limited.admitted(1, "a").await;
    let began = Instant::now();
    limited.client.request(&within(60_000), plain()).await.unwrap();
    assert_eq!(began.elapsed(), ms(250 + 250));
}

#[tokio::test(start_paused = true)]
async fn rejectWhenBacklogSizeReached() {
    let (limited, _) = limited(ConcurrencyLimit::fixed(4).with_config(waits(1000)));
    assert_eq!(limited.admitted(15, "a").await, 14);
    assert_eq!((limited.layer.in_flight(), limited.layer.waiting()), (4, 10));
}

#[tokio::test(start_paused = true)]
async fn adaptWhenLimitDecreases() {
    let (limited, host) = limited(additive(4).with_config(waits(50)));
    limited.admitted(3, "a").await;
    host.now_does(Does::Fails(exhausted()));
    let _ = limited.client.request(&within(1000), plain()).await;
    assert_eq!((limited.layer.limit(), limited.layer.in_flight()), (3, 3));
    let outcome = limited.client.request(&within(1000), plain()).await;
    assert!(is_refused(&outcome, &Reason::OVERLOADED), "{outcome:?}");
    assert_eq!(limited.watch.sent(), 4, "it waited, and did not run");
}

/// The name there says FIFO, and the case LIFO.
#[tokio::test(start_paused = true)]
async fn verifyFifoOrder() {
    let config = waits(10_000).with_order(Order::NewestFirst);
    let (limited, _) = limited(ConcurrencyLimit::fixed(1).with_config(config));
    limited.admitted(1, "a").await;
    let ended = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut calls = Vec::new();
    for number in 0..5 {
        let (client, ended) = (Arc::clone(&limited.client), Arc::clone(&ended));
        calls.push(tokio::spawn(async move {
            client.request(&within(60_000), plain()).await.unwrap();
            ended.lock().unwrap().push(number);
        }));
        yield_now().await;
    }
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(*ended.lock().unwrap(), [4, 3, 2, 1, 0]);
}

/// A permit that comes in the instant in which the wait ends is not lost.
#[tokio::test(start_paused = true)]
async fn timeoutAcquireRaceCondition() {
    let config = waits(10).with_waiting_max(1000);
    let (limited, host) = limited(ConcurrencyLimit::fixed(4).with_config(config));
    host.now_does(Does::Hangs);
    limited.admitted(3, "a").await;
    host.now_does(Does::Answers(ms(10)));
    for _ in 0..10 {
        let mut calls = Vec::new();
        for _ in 0..10 {
            calls.push(limited.start(plain()).await);
        }
        for call in calls {
            // Either is right: both come in the same instant.
            let _ = call.await.unwrap();
        }
        assert_eq!((limited.layer.in_flight(), limited.layer.waiting()), (3, 0));
    }
    limited.client.request(&within(1000), plain()).await.unwrap();
}

/// `BlockingLimiterTest.test`: a limit that has fallen to one while ten ran still has its permit.
#[tokio::test(start_paused = true)]
async fn blocking_test() {
    let config = AdaptiveConfig::default().with_initial(10).with_min(1);
    let limit = ConcurrencyLimit::additive(config, ms(50)).with_config(waits(1000));
    let (limited, _) = limited(limit);
    limited.admitted(10, "a").await;
    limited.settle().await;
    while limited.layer.limit() > 1 {
        limited.rounds(1).await;
    }
    limited.client.request(&within(1000), plain()).await.unwrap();
}

/// With `testTimeout`, which is `blockWhenFullAndTimeout`.
#[tokio::test(start_paused = true)]
async fn testMultipleBlockedThreads() {
    let (limited, _) = limited(ConcurrencyLimit::fixed(1).with_config(waits(1000)));
    let mut calls = Vec::new();
    for _ in 0..8 {
        calls.push(limited.start(plain()).await);
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(limited.watch.most(), 1);
}

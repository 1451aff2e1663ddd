//! The cases of Finagle's `NackAdmissionFilterTest`, by their names there, and the rules of Envoy's admission control and
//! of Site Reliability Engineering, chapter 21.
//!
//! In `src/throttle/tests.rs` are "Respects MaxDropProbability, and recovers" (`a_dead_destination_gets_a_fifth_..`) and
//! the formula. "EMA below accept rate threshold is sufficient" and "necessary to fail fast" are the two cases on drops
//! in advance and prematurely. Do not apply: the cases of values that have no meaning (they have no sign, and the nearest
//! bound counts), of the counter of dropped requests, and of `LossyEma`.

use rr_core::throttle::{Throttle, ThrottleConfig};
use rr_core::transport::Entropy;
use rr_core::{Code, Delivery, Error, Reason, Requester, Response, retry::RetryHint};
use std::sync::Arc;
use tokio::time::sleep;

use super::support::*;

/// A destination behind a throttle, whose chance holds back each call that may be held back.
struct Rig {
    host: Arc<Host>,
    of: Watched<Throttle>,
}

fn rig(config: ThrottleConfig, entropy: impl Entropy) -> Rig {
    let host = Host::new(Does::Answers(ms(0)));
    let throttle = Throttle::with_config(config).with_entropy(entropy);
    Rig { of: watched(throttle, Arc::clone(&host)), host }
}

fn pessimistic() -> Rig {
    rig(ThrottleConfig::default(), Least)
}

impl Rig {
    async fn call(&self) -> Result<Response, Error> {
        self.of.client.request(&within(1000), plain()).await
    }

    /// Makes calls; returns how many reached the destination.
    async fn calls(&self, calls: usize, does: Does) -> usize {
        self.host.now_does(does);
        let before = self.of.watch.sent();
        for _ in 0..calls {
            let _ = self.call().await;
        }
        self.of.watch.sent() - before
    }

    fn dropped(&self) -> u32 {
        self.of.layer.dropped_per_mille(&plain().target)
    }
}

fn nacks() -> Does {
    Does::Fails(exhausted())
}

fn answers() -> Does {
    Does::Answers(ms(0))
}

#[tokio::test(start_paused = true)]
async fn can_be_disabled_by_configuration_param() {
    let rig = rig(ThrottleConfig::default().with_dropped_percent_max(0), Least);
    assert_eq!(rig.calls(1000, nacks()).await, 1000);
}

#[tokio::test(start_paused = true)]
async fn increases_accept_probability_when_request_is_not_nacked() {
    let rig = rig(ThrottleConfig::default().with_dropped_percent_max(95), Most);
    rig.calls(100, nacks()).await;
    let before = rig.dropped();
    rig.calls(1, answers()).await;
    assert!(rig.dropped() < before, "{} of {before}", rig.dropped());
}

#[tokio::test(start_paused = true)]
async fn decreases_accept_probability_when_request_is_nacked() {
    let rig = rig(ThrottleConfig::default().with_dropped_percent_max(95), Most);
    rig.calls(20, nacks()).await;
    let mut before = 0;
    for _ in 0..20 {
        rig.calls(1, nacks()).await;
        assert!(rig.dropped() > before, "{} of {before}", rig.dropped());
        before = rig.dropped();
    }
}

#[tokio::test(start_paused = true)]
async fn does_not_drop_requests_prematurely() {
    let rig = pessimistic();
    assert_eq!(rig.calls(100, answers()).await, 100);
    // As many failures as successes, and those that are free.
    assert_eq!(rig.calls(100 + 20, nacks()).await, 120);
    assert_eq!(rig.dropped(), 0);
    rig.host.now_does(answers());
    rig.call().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn drops_requests_in_advance_when_overloaded() {
    let rig = pessimistic();
    rig.calls(100, answers()).await;
    assert_eq!(rig.calls(1000, nacks()).await, 121, "from the first call that is too many");
}

#[tokio::test(start_paused = true)]
async fn annotates_dropped_requests() {
    let rig = pessimistic();
    rig.calls(21, nacks()).await;
    let error = rig.call().await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::ResourceExhausted, Some(&Reason::THROTTLED)));
    assert_eq!((error.delivery(), error.retry()), (Delivery::NotSent, RetryHint::Never));
    assert!(error.to_string().contains("holds back"), "{error}");
    assert!(error.hint().contains("look for the cause at the service"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn does_not_drop_requests_after_accept_rate_drops_below_threshold() {
    // Chance lets each call through until the destination has recovered, and none after it.
    let rig = rig(ThrottleConfig::default(), Most);
    rig.calls(121, nacks()).await;
    assert!(rig.dropped() > 0);
    assert_eq!(rig.calls(102, answers()).await, 102);
    assert_eq!(rig.dropped(), 0, "102 of 223 calls were accepted, and 20 failures are free");
    assert_eq!(rig.calls(1, nacks()).await, 1);
    assert_eq!(rig.dropped(), 0);
}

#[tokio::test(start_paused = true)]
async fn only_accepts_increase_the_ema() {
    let rig = rig(ThrottleConfig::default(), Most);
    rig.calls(50, nacks()).await;
    let before = rig.dropped();
    let closed = Error::failure(Code::Unavailable, Delivery::NotSent, Reason::CLOSED, "closed");
    let wrong = Error::failure(Code::InvalidArgument, Delivery::NotSent, None, "wrong");
    let interrupted = Error::failure(Code::Canceled, Delivery::Unknown, None, "gone");
    for error in [interrupted, closed, wrong] {
        assert_eq!(rig.calls(50, Does::Fails(error.clone())).await, 50);
        assert_eq!(rig.dropped(), before, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn ema_value_cannot_start_at_0_if_first_request_is_nacked() {
    let rig = pessimistic();
    rig.calls(1, nacks()).await;
    assert_eq!(rig.dropped(), 0);
    assert_eq!(rig.calls(1, answers()).await, 1);
}

#[tokio::test(start_paused = true)]
async fn window_value_of_zero() {
    // There is an error; here the shortest window is 1 s.
    let rig = rig(ThrottleConfig::default().with_window(ms(0)), Least);
    rig.calls(21, nacks()).await;
    assert_eq!(rig.calls(10, nacks()).await, 0);
    sleep(ms(1000)).await;
    assert_eq!(rig.dropped(), 0);
    assert_eq!(rig.calls(20, nacks()).await, 20);
}

#[tokio::test(start_paused = true)]
async fn can_be_triggered_by_failure_flag_encoded_nacks() {
    let late = Error::failure(Code::DeadlineExceeded, Delivery::Unknown, None, "late");
    for error in [exhausted(), refused(), unavailable(Delivery::Unknown), late] {
        let rig = pessimistic();
        assert_eq!(rig.calls(100, Does::Fails(error.clone())).await, 21, "{error}");
    }
}

/// Envoy: `rps_threshold`, a number of requests below which nothing is rejected.
#[tokio::test(start_paused = true)]
async fn envoy_few_requests_are_never_rejected() {
    let rig = pessimistic();
    for _ in 0..100 {
        assert_eq!(rig.calls(2, nacks()).await, 2);
        sleep(ms(1000)).await;
    }
}

/// Envoy: `max_rejection_probability`, which is 80 % there too.
#[tokio::test(start_paused = true)]
async fn envoy_max_rejection_probability() {
    for (percent, per_mille) in [(80, 800), (50, 500), (95, 950), (100, 950), (u32::MAX, 950)] {
        let config = ThrottleConfig::default().with_dropped_percent_max(percent);
        let rig = rig(config, Most);
        rig.calls(2000, nacks()).await;
        assert_eq!(rig.dropped(), per_mille, "{percent}");
    }
}

/// Site Reliability Engineering: a lower multiplier K holds back sooner, a higher one later.
#[tokio::test(start_paused = true)]
async fn sre_the_multiplier_sets_when_calls_are_held_back() {
    for (calls_percent, reached) in [(0, 21), (100, 21), (110, 31), (200, 121), (300, 221)] {
        let rig = rig(ThrottleConfig::default().with_calls_percent(calls_percent), Least);
        rig.calls(100, answers()).await;
        assert_eq!(rig.calls(1000, nacks()).await, reached, "{calls_percent}");
    }
}

/// Chance that holds back no call, since no more than 95 % are held back.
struct Most;

impl Entropy for Most {
    fn next_u64(&self) -> u64 {
        999
    }
}

//! The cases of Finagle's `FailureAccrualFactoryTest`, by their names there, on the ejection of an endpoint.
//!
//! In `src/balance/health.rs` are "a failing service should be revived on a backoff mechanism by default" and "backoff
//! should be 5 minutes when stream runs out" (`an_ejection_ends_with_a_probe_and_grows_..`), in `src/balance/verdict.rs`
//! "uses ResponseClassifier for determining success/failure/ignorable". Do not apply: "A failure during probing that does
//! not mark dead moves back to probing" (of a policy of the application), "perturbs" (the ejection has no jitter), and the
//! cases on the status of a healthy service, on parameters and on modules.

use std::sync::Arc;
use std::time::Duration;

use rr_core::balance::{Balance, BalanceConfig};
use rr_core::{Code, Delivery, Error, Reason, Requester as _};
use tokio::time::sleep;

use super::support::{Does, Host, balance, ms, refused, request, unavailable, within};

/// An endpoint that fails, and one that answers.
struct Rig {
    failing: Arc<Host>,
    balance: Balance,
}

fn lost() -> Error {
    unavailable(Delivery::Unknown, Reason::CONNECTION_LOST)
}

fn rig(config: BalanceConfig) -> Rig {
    let hosts = [Host::failing(lost()), Host::new(Does::Answers(ms(0)))];
    let balance = balance(&hosts, config);
    let [failing, _] = hosts;
    Rig { failing, balance }
}

fn usual() -> Rig {
    rig(BalanceConfig::default())
}

impl Rig {
    /// Makes calls until so many have reached the endpoint that fails.
    async fn reach(&self, calls: usize) {
        let until = self.failing.calls() + calls;
        for _ in 0..1000 {
            let _ = self.balance.request(&within(1000), request()).await;
            if self.failing.calls() == until {
                return;
            }
        }
        panic!("calls do not reach it: {:?}", self.balance.endpoints());
    }

    async fn reach_as(&self, calls: usize, does: Does) {
        self.failing.now_does(does);
        self.reach(calls).await;
    }

    /// Makes calls; returns how many reached the endpoint that fails.
    async fn reached_of(&self, calls: usize) -> usize {
        let before = self.failing.calls();
        for _ in 0..calls {
            let _ = self.balance.request(&within(1000), request()).await;
        }
        self.failing.calls() - before
    }

    fn ejected_for(&self) -> Option<Duration> {
        self.balance.endpoints()[0].ejected_for
    }
}

fn s(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

fn answers() -> Does {
    Does::Answers(ms(0))
}

#[tokio::test(start_paused = true)]
async fn default_policy_is_hybrid() {
    let config = BalanceConfig::default();
    assert_eq!((config.failures_in_row_max, config.success_percent_min), (5, 80));
    // Never two failures in a row, but half of the calls.
    let rig = usual();
    for _ in 0..24 {
        rig.reach_as(1, Does::Fails(lost())).await;
        rig.reach_as(1, answers()).await;
        assert_eq!(rig.ejected_for(), None);
    }
    rig.reached_of(50).await;
    rig.reach_as(1, Does::Fails(lost())).await;
    assert_eq!(rig.ejected_for(), s(30));
}

#[tokio::test(start_paused = true)]
async fn a_failing_service_should_become_unavailable() {
    let rig = usual();
    rig.reach(4).await;
    assert_eq!(rig.ejected_for(), None);
    rig.reach(1).await;
    assert_eq!(rig.ejected_for(), s(30));
    assert_eq!(rig.reached_of(100).await, 0);
}

fn ignorable() -> [Error; 3] {
    let own = Error::failure(Code::InvalidArgument, Delivery::NotSent, None, "wrong");
    let full = Error::failure(Code::ResourceExhausted, Delivery::Unknown, None, "full");
    [Error::failure(Code::Canceled, Delivery::Unknown, None, "gone"), own, full]
}

#[tokio::test(start_paused = true)]
async fn does_not_count_ignorable_failure_as_failure() {
    for error in ignorable() {
        let rig = usual();
        rig.reach_as(20, Does::Fails(error)).await;
        assert_eq!(rig.ejected_for(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn does_not_count_ignorable_failure_as_success() {
    for error in ignorable() {
        let rig = usual();
        rig.reach(4).await;
        rig.reach_as(1, Does::Fails(error)).await;
        assert_eq!(rig.ejected_for(), None);
        rig.reach_as(1, Does::Fails(lost())).await;
        assert_eq!(rig.ejected_for(), s(30), "the fifth failure in a row");
    }
}

#[tokio::test(start_paused = true)]
async fn keeps_probe_open_on_ignorable_failure() {
    for error in ignorable() {
        let rig = usual();
        rig.reach(5).await;
        sleep(ms(30_000)).await;
        rig.failing.now_does(Does::Fails(error));
        assert_eq!(rig.reached_of(1).await, 1);
        assert_eq!(rig.ejected_for(), s(0), "no success, and no failure");
        assert_eq!(rig.reached_of(1).await, 1, "the next call probes again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_service_should_enter_the_probing_state_after_the_mark_dead_for_duration() {
    let rig = usual();
    rig.reach(5).await;
    sleep(ms(29_999)).await;
    assert_eq!((rig.ejected_for(), rig.reached_of(10).await), (Some(ms(1)), 0));
    sleep(ms(1)).await;
    rig.failing.now_does(answers());
    assert_eq!((rig.ejected_for(), rig.reached_of(1).await), (s(0), 1));
    assert_eq!(rig.ejected_for(), None);
}

/// There, the next ejection is as the first. Here each 30 s of health take one step back: an endpoint that fails soon
/// again has not recovered.
#[tokio::test(start_paused = true)]
async fn backoff_time_should_be_reset_after_a_success() {
    for (healthy, next) in [(0, 120), (30_000, 90), (90_000, 30), (3_600_000, 30)] {
        let rig = usual();
        rig.reach(5).await;
        for seconds in [30, 60, 90] {
            assert_eq!(rig.ejected_for(), s(seconds));
            sleep(Duration::from_secs(seconds)).await;
            if seconds < 90 {
                assert_eq!(rig.reached_of(1).await, 1);
            }
        }
        rig.failing.now_does(answers());
        assert_eq!(rig.reached_of(1).await, 1);
        sleep(ms(healthy)).await;
        rig.reach_as(5, Does::Fails(lost())).await;
        assert_eq!(rig.ejected_for(), s(next), "after {healthy} ms");
    }
}

/// With "a failing factory should be busy; done when revived".
#[tokio::test(start_paused = true)]
async fn a_failing_service_should_only_be_able_to_accept_one_request_after_being_revived() {
    let rig = usual();
    rig.reach(5).await;
    sleep(ms(30_000)).await;
    rig.failing.now_does(Does::Answers(ms(100)));
    let (ctx, before) = (within(1000), rig.failing.calls());
    let probe = rig.balance.request(&ctx, request());
    let others = async {
        sleep(ms(50)).await;
        assert_eq!(rig.failing.calls() - before, 1);
        assert_eq!(rig.reached_of(20).await, 0, "the probe is in flight");
    };
    let (outcome, ()) = tokio::join!(probe, others);
    outcome.unwrap();
    assert_eq!(rig.ejected_for(), None);
    rig.failing.now_does(answers());
    assert!(rig.reached_of(200).await > 1, "several after it");
}

#[tokio::test(start_paused = true)]
async fn a_failing_service_should_go_back_to_the_busy_state_after_probing_fails() {
    let rig = usual();
    rig.reach(5).await;
    sleep(ms(30_000)).await;
    assert_eq!(rig.reached_of(10).await, 1);
    assert_eq!(rig.ejected_for(), s(60));
}

#[tokio::test(start_paused = true)]
async fn a_failing_service_should_reset_failure_counters_after_an_individual_success() {
    let rig = usual();
    rig.reach(5).await;
    sleep(ms(30_000)).await;
    rig.reach_as(1, answers()).await;
    rig.reach_as(4, Does::Fails(lost())).await;
    assert_eq!(rig.ejected_for(), None);
    rig.reach(1).await;
    assert_eq!(rig.ejected_for(), s(60));
}

#[tokio::test(start_paused = true)]
async fn a_broken_factory_should_fail_after_the_given_number_of_tries() {
    let rig = usual();
    rig.failing.now_does(Does::Fails(refused()));
    for failures in 1..=5 {
        assert_eq!(rig.ejected_for(), None);
        rig.reach(1).await;
        // An endpoint that refused is avoided for a second.
        if failures < 5 {
            sleep(ms(1000)).await;
        }
    }
    assert_eq!(rig.ejected_for(), s(30));
}

#[tokio::test(start_paused = true)]
async fn a_customized_factory_should_become_unavailable() {
    let config = BalanceConfig::default().with_failures_in_row_max(2);
    let rig = rig(config.with_ejection_time(ms(5000)));
    rig.reach(2).await;
    assert_eq!(rig.ejected_for(), s(5));
}

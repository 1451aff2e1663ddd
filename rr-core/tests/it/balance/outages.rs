//! What callers notice of hosts that fail, at 500 calls per second in virtual time.

use std::sync::Arc;
use std::time::Duration;

use rr_core::balance::{Balance, BalanceConfig};
use rr_core::{Error, Idempotency, Requester, recommended};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::support::{Does, Host, balance, draining, ms, refused, request, within};

/// Calls that have ended: when each began, how long it took, and its error.
type Calls = Vec<(Duration, Duration, Option<Error>)>;

/// Makes 500 calls per second for a time.
async fn load(client: Arc<dyn Requester>, seconds: u64, timeout: u64) -> Calls {
    let (begin, mut calls) = (Instant::now(), JoinSet::new());
    for _ in 0..seconds * 500 {
        let client = Arc::clone(&client);
        calls.spawn(async move {
            let started = Instant::now();
            let request = request().with_idempotency(Idempotency::Idempotent);
            let outcome = client.request(&within(timeout), request).await;
            (started - begin, started.elapsed(), outcome.err())
        });
        sleep(ms(2)).await;
    }
    calls.join_all().await
}

fn failed(calls: &Calls) -> usize {
    calls.iter().filter(|(_, _, error)| error.is_some()).count()
}

fn p99(calls: &Calls) -> Duration {
    let mut times: Vec<_> = calls.iter().map(|(_, took, _)| *took).collect();
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

#[tokio::test(start_paused = true)]
async fn three_hosts_one_of_them_silent_and_one_slow_are_as_fast_as_three_healthy_ones() {
    for silent in [Does::Swallows, Does::Hangs] {
        let healthy = [Host::fast(), Host::fast(), Host::fast()];
        let usual = load(Arc::new(balance(&healthy, BalanceConfig::default())), 5, 1000).await;
        let hosts = [Host::new(silent), Host::new(Does::Answers(ms(300))), Host::fast()];
        let calls = load(Arc::new(balance(&hosts, BalanceConfig::default())), 5, 1000).await;
        assert_eq!(failed(&usual), 0);
        let rate = failed(&calls) as f64 / calls.len() as f64;
        assert!(rate < 0.01, "{rate}");
        assert!(p99(&calls) <= p99(&usual) * 2, "{:?} of {:?}", p99(&calls), p99(&usual));
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_goes_silent_later_costs_few_calls_too() {
    let hosts = [Host::fast(), Host::fast(), Host::fast()];
    let balance: Arc<Balance> = Arc::new(balance(&hosts, BalanceConfig::default()));
    assert_eq!(failed(&load(Arc::clone(&balance) as _, 2, 1000).await), 0);
    hosts[1].now_does(Does::Hangs);
    let calls = load(Arc::clone(&balance) as _, 40, 1000).await;
    let early = calls.iter().filter(|(at, ..)| *at < ms(5000)).cloned().collect();
    assert!(failed(&early) < 25, "{}", failed(&early));
    assert!(failed(&calls) < 40, "{}", failed(&calls));
}

#[tokio::test(start_paused = true)]
async fn a_rolling_restart_fails_no_idempotent_call() {
    let hosts = [Host::fast(), Host::fast(), Host::fast()];
    let client = Arc::new(recommended(balance(&hosts, BalanceConfig::default())));
    let restarts = async {
        for host in &hosts {
            sleep(ms(1000)).await;
            host.now_does(Does::Fails(draining()));
            sleep(ms(500)).await;
            host.now_does(Does::Fails(refused()));
            sleep(ms(1500)).await;
            host.now_does(Does::Answers(ms(5)));
        }
    };
    let (calls, ()) = tokio::join!(load(client, 12, 2000), restarts);
    assert_eq!(failed(&calls), 0);
    assert!(hosts.iter().all(|host| host.calls() > 500), "each host got calls");
}

#[tokio::test(start_paused = true)]
async fn if_every_host_is_down_calls_still_try_and_recover_with_the_first_that_is_up() {
    let hosts = [1, 2, 3].map(|_| Host::failing(refused()));
    let balance = Arc::new(balance(&hosts, BalanceConfig::default()));
    let calls = load(Arc::clone(&balance) as _, 2, 1000).await;
    assert_eq!(failed(&calls), calls.len());
    hosts[0].now_does(Does::Answers(ms(5)));
    // The budget of moves was spent on the outage; it comes back with its window.
    let calls = load(balance, 12, 1000).await;
    let late: Calls = calls.into_iter().filter(|(at, ..)| *at > ms(11_000)).collect();
    assert_eq!(failed(&late), 0);
}

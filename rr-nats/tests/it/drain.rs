//! Leaving a queue group loses no request.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::*;
use rr_nats::{NatsRequester, NatsServerConfig};
use rr_spi::{Code, Delivery, Response, Routes, Server};
use rr_testkit::NatsServer;

/// Drains in the ordinary test; `RR_DRAINS` sets another number.
const DRAINS: usize = 4;

fn pong(after: Duration) -> Routes {
    route("svc.ping", move |_, _| async move {
        if !after.is_zero() {
            tokio::time::sleep(after).await;
        }
        Ok(Response::new("pong"))
    })
}

/// Calls from so many tasks until told to stop; returns how many were answered and the errors.
async fn under_load(
    callers: usize,
    client: &NatsRequester,
    pause: Duration,
    work: impl Future<Output = ()>,
) -> (usize, Vec<String>) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let (client, stop) = (client.clone(), stop.clone());
        workers.spawn(async move {
            let (mut answered, mut errors) = (0, Vec::new());
            while !stop.load(Ordering::SeqCst) {
                // On a busy machine, 256 calls of a millisecond take seconds.
                match call(&client, &within(30_000), "svc.ping").await {
                    Ok(_) => answered += 1,
                    Err(error) => errors.push(error.to_string()),
                }
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            }
            (answered, errors)
        });
    }
    work.await;
    stop.store(true, Ordering::SeqCst);
    let outcomes = workers.join_all().await;
    let answered = outcomes.iter().map(|(answered, _)| answered).sum();
    (answered, outcomes.into_iter().flat_map(|(_, errors)| errors).collect())
}

async fn drains(pause: Duration, handler: Duration) {
    drains_of(32, pause, NatsServerConfig::default(), || pong(handler)).await;
}

async fn drains_of(
    callers: usize,
    pause: Duration,
    config: NatsServerConfig,
    routes: impl Fn() -> Routes,
) {
    let nats = nats().await;
    let url = nats.url();
    let _stays = rr_nats::serve(&url, routes()).await.unwrap();
    let client = client(&url).await;
    let rounds = std::env::var("RR_DRAINS").map_or(DRAINS, |rounds| rounds.parse().unwrap());
    let work = async {
        for _ in 0..rounds {
            let leaves = rr_nats::serve_with(&url, routes(), config.clone()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            let report = leaves.shutdown(Duration::from_secs(60)).await;
            assert_eq!((report.aborted, report.refused), (0, 0), "{report:?}");
        }
    };
    let (answered, errors) = under_load(callers, &client, pause, work).await;
    println!("{rounds} drains, {answered} answered, {} errors", errors.len());
    assert!(errors.is_empty(), "{:?}", &errors[..errors.len().min(5)]);
    assert!(answered > 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_full_load_loses_nothing() {
    drains(Duration::ZERO, Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_of_a_loop_that_is_behind_loses_nothing() {
    let compute = || {
        route("svc.ping", |_, request| async move {
            // About a millisecond of a busy thread, without yielding.
            let digest = (0..200_000_u32).fold(1, |sum: u32, n| std::hint::black_box(sum ^ n));
            assert!(request.body.len() < digest as usize + 2);
            Ok(Response::new("pong"))
        })
    };
    drains_of(256, Duration::ZERO, NatsServerConfig::default(), compute).await;
}

/// What a drain does where the client library no longer lets a command through in a reply subject.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_by_count_loses_nothing() {
    let mut config = NatsServerConfig::default();
    config.drain_by_count = true;
    for (pause, handler) in [(0, 0), (0, 20), (200, 0)] {
        let [pause, handler] = [pause, handler].map(Duration::from_millis);
        drains_of(32, pause, config.clone(), || pong(handler)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_of_waiting_handlers_loses_nothing() {
    drains(Duration::ZERO, Duration::from_millis(20)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_sparse_load_loses_nothing() {
    drains(Duration::from_millis(200), Duration::ZERO).await;
}

/// Bursts that meet a drain at every stage of it; returns how many calls were lost.
async fn bursts_lost(nats: &NatsServer, leaves_at: &str, rounds: u64) -> usize {
    let _stays = rr_nats::serve(&nats.url(), pong(Duration::ZERO)).await.unwrap();
    let client = client(&nats.url()).await;
    let mut lost = 0;
    for round in 0..rounds {
        let leaves = rr_nats::serve(leaves_at, pong(Duration::ZERO)).await.unwrap();
        let client = &client;
        let burst = async move {
            within(round % 16).cancelled().await;
            let calls = (0..300).map(|_| {
                let client = client.clone();
                tokio::spawn(async move { call(&client, &within(3000), "svc.ping").await.is_err() })
            });
            let mut lost = 0;
            for call in calls.collect::<Vec<_>>() {
                lost += usize::from(call.await.unwrap());
            }
            lost
        };
        let (_, now_lost) = tokio::join!(leaves.shutdown(Duration::from_secs(10)), burst);
        lost += now_lost;
    }
    lost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_in_the_middle_of_a_drain_loses_nothing() {
    let nats = nats().await;
    assert_eq!(bursts_lost(&nats, &nats.url(), 16).await, 0);
    let far = Delay::before(nats.address(), Duration::from_millis(5)).await;
    assert_eq!(bursts_lost(&nats, &far.url(), 16).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_of_many_targets_on_a_long_way_loses_nothing() {
    const TARGETS: [&str; 6] = ["svc.a", "svc.b", "svc.c", "svc.d", "svc.e", "svc.f"];
    let pong = |_, _| async {
        tokio::time::sleep(Duration::from_millis(15)).await;
        Ok(Response::new("pong"))
    };
    let routes = || TARGETS.iter().fold(Routes::new(), |routes, name| with(routes, name, pong));
    let nats = nats().await;
    let _stays = rr_nats::serve(&nats.url(), routes()).await.unwrap();
    let far = Delay::before(nats.address(), Duration::from_millis(5)).await;
    let client = client(&nats.url()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = tokio::task::JoinSet::new();
    for at in 0..24 {
        let (client, stop) = (client.clone(), stop.clone());
        callers.spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                call(&client, &within(3000), TARGETS[at % TARGETS.len()]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(30 + 5 * at as u64)).await;
            }
        });
    }
    for _ in 0..DRAINS {
        let leaves = rr_nats::serve(&far.url(), routes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(120)).await;
        let report = leaves.shutdown(Duration::from_secs(10)).await;
        assert_eq!((report.aborted, report.refused), (0, 0), "{report:?}");
    }
    stop.store(true, Ordering::SeqCst);
    callers.join_all().await;
}

/// A server whose handler waits for the test, with one call in it.
async fn one_in_flight(
    url: &str,
) -> (Server, Arc<Count>, tokio::task::JoinHandle<Result<Response, rr_spi::Error>>, NatsRequester) {
    let (entered, release) = (Count::new(), Count::new());
    let (inside, wait) = (entered.clone(), release.clone());
    let routes = route("svc.wait", move |_, _| {
        let (inside, wait) = (inside.clone(), wait.clone());
        async move {
            inside.up();
            wait.reaches(1).await;
            Ok(Response::new("done"))
        }
    });
    let server = rr_nats::serve(url, routes).await.unwrap();
    let client = client(url).await;
    let calling = client.clone();
    let task = tokio::spawn(async move { call(&calling, &within(10_000), "svc.wait").await });
    entered.reaches(1).await;
    (server, release, task, client)
}

#[tokio::test]
async fn a_drain_waits_for_what_is_in_flight_and_newcomers_find_nobody() {
    let nats = nats().await;
    let (server, release, task, client) = one_in_flight(&nats.url()).await;
    let shutdown = server.shutdown(Duration::from_secs(10));
    let newcomers = async {
        let expected = (Code::Unavailable, Delivery::NotSent, Some("no-responder".to_owned()));
        loop {
            // Until the subscription is gone the server still takes what is sent to it.
            let outcome = call(&client, &within(100), "svc.wait").await;
            if told(outcome) == expected {
                break;
            }
        }
        release.up();
    };
    let (report, ()) = tokio::join!(shutdown, newcomers);
    assert_eq!(task.await.unwrap().unwrap().body, "done");
    assert_eq!(report.aborted, 0, "{report:?}");
}

#[tokio::test]
async fn at_the_end_of_the_grace_what_is_left_is_cancelled_and_answered() {
    let nats = nats().await;
    let (server, _release, task, _client) = one_in_flight(&nats.url()).await;
    let report = server.shutdown(Duration::from_millis(200)).await;
    assert_eq!(report.aborted, 1, "{report:?}");
    let (code, delivery, reason) = told(task.await.unwrap());
    assert_eq!((code, delivery), (Code::Unavailable, Delivery::Processed));
    assert_eq!(reason.as_deref(), Some("draining"));
}

#[tokio::test]
async fn dropping_the_server_answers_what_it_can_and_leaves_at_once() {
    let nats = nats().await;
    let (server, _release, task, client) = one_in_flight(&nats.url()).await;
    drop(server);
    let (code, delivery, _) = told(task.await.unwrap());
    assert_eq!((code, delivery), (Code::Unavailable, Delivery::Processed));
    let gone = async {
        while told(call(&client, &within(1000), "svc.wait").await).1 != Delivery::NotSent {
            tokio::task::yield_now().await;
        }
    };
    within(5000).race(gone).await.unwrap();
}

#[tokio::test]
async fn a_drain_without_a_connection_ends() {
    let mut nats = nats().await;
    let server = rr_nats::serve(&nats.url(), pong(Duration::ZERO)).await.unwrap();
    nats.kill().unwrap();
    let report = server.shutdown(Duration::from_secs(10));
    within(5000).race(report).await.unwrap();
}

//! A cluster of three whose members are restarted and killed under load: `recommended()` hides it.
//!
//! `RR_ROUNDS` sets the number of restarts of each form; the ordinary test has few.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::*;
use rr_core::{Stack, recommended};
use rr_nats::{NatsRequester, serve};
use rr_spi::{Idempotency, Requester as _, Server};
use rr_testkit::NatsServer;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Calls per second.
const RATE: u64 = 500;

fn rounds(ordinary: usize) -> usize {
    std::env::var("RR_ROUNDS").map_or(ordinary, |rounds| rounds.parse().unwrap())
}

struct Rig {
    cluster: Vec<NatsServer>,
    _services: Vec<Server>,
    client: Arc<Stack<NatsRequester>>,
}

impl Rig {
    async fn start() -> Self {
        let cluster = NatsServer::start_cluster(3).await.unwrap();
        let url = |first: usize| {
            let hosts: Vec<_> =
                (0..3).map(|at| cluster[(first + at) % 3].address().to_string()).collect();
            format!("nats://{}", hosts.join(","))
        };
        let mut services = Vec::new();
        for at in 0..3 {
            services.push(serve(&url(at), route("svc.echo", echo)).await.unwrap());
        }
        let client = client(&url(0)).await;
        let spread = async {
            // Interest in the target spreads over the routes.
            while call(&client, &within(2000), "svc.echo").await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        within(10_000).race(spread).await.unwrap();
        Self { cluster, _services: services, client: Arc::new(recommended(client)) }
    }

    /// Calls at [`RATE`] beside `work`; each call has to succeed.
    async fn all_succeed_beside(&mut self, work: impl AsyncFnOnce(&mut [NatsServer])) {
        let stop = Arc::new(AtomicBool::new(false));
        let load = tokio::spawn(load(Arc::clone(&self.client), Arc::clone(&stop)));
        work(&mut self.cluster).await;
        sleep(Duration::from_millis(500)).await;
        stop.store(true, Ordering::SeqCst);
        let (calls, failed) = load.await.unwrap();
        println!("{calls} calls, {} failed", failed.len());
        assert!(
            failed.is_empty(),
            "{} of {calls}: {:#?}",
            failed.len(),
            &failed[..failed.len().min(3)]
        );
        assert!(calls > 100);
    }
}

async fn load(client: Arc<Stack<NatsRequester>>, stop: Arc<AtomicBool>) -> (usize, Vec<String>) {
    let mut calls = JoinSet::new();
    let mut ticks = interval(Duration::from_micros(1_000_000 / RATE));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.load(Ordering::SeqCst) {
        ticks.tick().await;
        let client = Arc::clone(&client);
        calls.spawn(async move {
            let request = request("svc.echo", "x").with_idempotency(Idempotency::Idempotent);
            let outcome = client.request(&within(10_000), request).await;
            outcome.map(drop).map_err(|error| format!("{error:?}"))
        });
    }
    let outcomes = calls.join_all().await;
    (outcomes.len(), outcomes.into_iter().filter_map(Result::err).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_no_idempotent_call() {
    let mut rig = Rig::start().await;
    let restarts = async |cluster: &mut [NatsServer]| {
        for round in 0..rounds(1) * 3 {
            sleep(Duration::from_millis(700)).await;
            cluster[round % 3].restart().await.unwrap();
        }
    };
    rig.all_succeed_beside(restarts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failovers_fail_no_idempotent_call() {
    let mut rig = Rig::start().await;
    let failovers = async |cluster: &mut [NatsServer]| {
        for round in 0..rounds(3) {
            let dies = round % 3;
            cluster[dies].kill().unwrap();
            sleep(Duration::from_secs(1)).await;
            cluster[dies].restart().await.unwrap();
            sleep(Duration::from_secs(2)).await;
        }
    };
    rig.all_succeed_beside(failovers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_every_1300_ms_fails_no_idempotent_call() {
    let mut rig = Rig::start().await;
    let kills = async |cluster: &mut [NatsServer]| {
        for round in 0..rounds(4) {
            let dies = round % 3;
            cluster[dies].kill().unwrap();
            sleep(Duration::from_millis(300)).await;
            cluster[dies].restart().await.unwrap();
            sleep(Duration::from_millis(1000)).await;
        }
    };
    rig.all_succeed_beside(kills).await;
}

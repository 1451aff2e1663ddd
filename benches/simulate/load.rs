//! Calls that arrive by chance at a given rate, whether or not earlier ones were answered.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_core::transport::SeededEntropy;
use rr_core::{Context, Idempotency, Request, Requester};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::service::exponential;

/// Time that a caller gives a call.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(1);

/// Call that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    /// When it began, since the start.
    pub(crate) at: Duration,
    pub(crate) took: Duration,
    pub(crate) is_answered: bool,
}

/// Calls to make.
pub(crate) struct Load<'a> {
    /// Calls per second, by the time since the start.
    pub(crate) rate: &'a (dyn Fn(Duration) -> f64 + Sync),
    /// Number of calls that come in one instant besides.
    pub(crate) burst: (Duration, usize),
    pub(crate) lasts: Duration,
    pub(crate) seed: u64,
}

/// Makes the calls of a load. Returns them in the order in which they ended.
pub(crate) async fn open_loop(client: Arc<dyn Requester>, load: Load<'_>) -> Vec<Ended> {
    let (start, entropy) = (Instant::now(), SeededEntropy::new(load.seed));
    let ended = Arc::new(Mutex::new(Vec::new()));
    let mut calls = JoinSet::new();
    let mut at = Duration::ZERO;
    let (burst_at, mut burst) = load.burst;
    while at < load.lasts {
        at += exponential(&entropy, Duration::from_secs_f64(1.0 / (load.rate)(at).max(0.001)));
        if at >= burst_at && burst > 0 {
            sleep_until(start + burst_at).await;
            for _ in 0..std::mem::take(&mut burst) {
                calls.spawn(call(Arc::clone(&client), start, Arc::clone(&ended)));
            }
        }
        sleep_until(start + at).await;
        calls.spawn(call(Arc::clone(&client), start, Arc::clone(&ended)));
        while calls.try_join_next().is_some() {}
    }
    while calls.join_next().await.is_some() {}
    let mut ended = ended.lock().expect("no panic while it is held");
    std::mem::take(&mut *ended)
}

async fn call(client: Arc<dyn Requester>, start: Instant, ended: Arc<Mutex<Vec<Ended>>>) {
    let began = Instant::now();
    let ctx = Context::background().with_timeout(TIMEOUT);
    let request = Request::new("shop.find".try_into().expect("a target"), "")
        .with_idempotency(Idempotency::Idempotent);
    let is_answered = client.request(&ctx, request).await.is_ok();
    let call = Ended { at: began - start, took: began.elapsed(), is_answered };
    ended.lock().expect("no panic while it is held").push(call);
}

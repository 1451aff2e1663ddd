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

/// Makes calls for a time at a rate, in calls per second, that depends on the time since the start.
/// Returns the calls, in the order in which they ended.
pub(crate) async fn open_loop(
    client: Arc<dyn Requester>,
    rate: &(dyn Fn(Duration) -> f64 + Sync),
    time: Duration,
) -> Vec<Ended> {
    let (start, entropy) = (Instant::now(), SeededEntropy::new(1));
    let ended = Arc::new(Mutex::new(Vec::new()));
    let mut calls = JoinSet::new();
    let mut at = Duration::ZERO;
    while at < time {
        at += exponential(&entropy, Duration::from_secs_f64(1.0 / rate(at).max(0.001)));
        sleep_until(start + at).await;
        let (client, ended) = (Arc::clone(&client), Arc::clone(&ended));
        calls.spawn(async move {
            let began = Instant::now();
            let ctx = Context::background().with_timeout(TIMEOUT);
            let request = Request::new("shop.find".try_into().expect("a target"), "")
                .with_idempotency(Idempotency::Idempotent);
            let is_answered = client.request(&ctx, request).await.is_ok();
            let call = Ended { at: began - start, took: began.elapsed(), is_answered };
            ended.lock().expect("no panic while it is held").push(call);
        });
        while calls.try_join_next().is_some() {}
    }
    while calls.join_next().await.is_some() {}
    let mut ended = ended.lock().expect("no panic while it is held");
    std::mem::take(&mut *ended)
}

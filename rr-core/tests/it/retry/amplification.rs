//! How much more a destination sees when every call fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rr_core::{Code, Context, Error, Requester, RequesterExt, Router, Service, Stack, recommended};
use rr_testkit::worlds::{Network, NetworkClient};
use tokio::time::{Instant, sleep};

use super::support::*;

/// Calls per second, and for how long.
const RATE: u64 = 1000;
const SECONDS: u64 = 60;

/// Makes the calls, every one of which fails so, and returns what the destination saw of each.
async fn amplified(name: &str, error: Error) {
    let script = Script::new([Step::Fail(ms(5), error)]);
    let client = Arc::new(client(&script));
    let start = Instant::now();
    let mut calls = Vec::new();
    for _ in 0..RATE * SECONDS {
        let client = Arc::clone(&client);
        let ctx = Context::background().with_timeout(ms(2000));
        calls.push(tokio::spawn(async move { client.request(&ctx, idempotent()).await }));
        sleep(ms(1000 / RATE)).await;
    }
    for call in calls {
        assert!(call.await.unwrap().is_err());
    }
    let (calls, seen) = (RATE * SECONDS, script.seen().len() as u64);
    println!(
        "{name}: {seen} attempts for {calls} calls in {:?}: {:.4} of them",
        start.elapsed(),
        seen as f64 / calls as f64
    );
    // Beside a fifth of the calls, the floor of 10/s for each window of 10 s that was begun.
    let windows = start.elapsed().as_secs() / 10 + 1;
    assert!(seen <= calls + calls / 5 + windows * 100);
    assert!(seen > calls + calls / 5, "the budget is used up");
}

#[tokio::test(start_paused = true)]
async fn when_every_call_fails_the_destination_sees_a_fifth_more_and_the_floor() {
    amplified("lost", lost()).await;
    amplified("refused", refused()).await;
    amplified("away", unavailable(rr_core::Delivery::NotSent)).await;
}

/// Service of a tier: passes each call to the tier below.
struct Tier {
    below: Stack<NetworkClient>,
    method: &'static str,
}

impl Tier {
    async fn pass(self: Arc<Self>, ctx: Context, (): ()) -> Result<(), Error> {
        Ok(self.below.call::<()>(&ctx, self.method, &()).idempotent().await?)
    }
}

/// Serves three tiers over a service that always fails; returns a client of the first, and the
/// number of runs of the last.
fn tiers(network: &Network) -> (Stack<NetworkClient>, Arc<AtomicU64>) {
    let runs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&runs);
    network.serve("dead", move || {
        let runs = Arc::clone(&counted);
        Router::new().route("dead.run", move |(): ()| {
            runs.fetch_add(1, Ordering::SeqCst);
            async { Err::<(), _>(Error::new(Code::Unavailable, "out of order")) }
        })
    });
    let mut above = None;
    for (name, below, method) in [
        ("low", "dead", "dead.run"),
        ("middle", "low", "low.run"),
        ("high", "middle", "middle.run"),
    ] {
        let below = recommended(network.client(name, below));
        let tier = Arc::new(Tier { below, method });
        network
            .serve(name, move || Service::new(name, Arc::clone(&tier)).method("run", Tier::pass));
        above = Some(network.client("user", name));
    }
    (recommended(above.unwrap()), runs)
}

async fn call(client: &Stack<NetworkClient>) {
    let ctx = Context::background().with_timeout(ms(5000));
    client.call::<()>(&ctx, "high.run", &()).idempotent().await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn of_several_tiers_only_the_lowest_retries() {
    let network = Network::new();
    let (client, runs) = tiers(&network);
    call(&client).await;
    assert_eq!(runs.load(Ordering::SeqCst), 3, "the attempts of one tier");
}

#[tokio::test(start_paused = true)]
async fn several_tiers_amplify_load_as_little_as_one() {
    let network = Network::new();
    let (client, runs) = tiers(&network);
    let client = Arc::new(client);
    let calls: Vec<_> = (0..2000_u64)
        .map(|at| {
            let client = Arc::clone(&client);
            tokio::spawn(async move {
                sleep(ms(at * 5)).await;
                call(&client).await;
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    let runs = runs.load(Ordering::SeqCst);
    println!("{runs} runs at the lowest tier for 2000 calls");
    // A fifth, and the floor of 10/s for each window of 10 s that was begun.
    assert!(runs <= 2000 + 400 + 200);
}

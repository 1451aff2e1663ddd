//! Three tiers of recommended clients and servers over a dead service.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rr_core::{
    Code, Context, Delivery, Error, Middleware, Next, Reason, Request, RequesterExt, Response,
    Router, Service, Stack, async_trait, recommended, recommended_server,
};
use rr_testkit::worlds::{Network, NetworkClient};
use tokio::time::sleep;

use crate::retry::support::ms;

/// Manner in which the lowest service is dead.
#[derive(Clone, Copy, Debug)]
enum Dead {
    /// Its handler fails.
    Fails,
    /// It refuses every request before the handler.
    Refuses,
    /// It never answers.
    Hangs,
}

const DEAD: [Dead; 3] = [Dead::Fails, Dead::Refuses, Dead::Hangs];

/// Middleware of the dead service, which counts the requests.
struct Dying(Dead, Arc<AtomicU64>);

#[async_trait]
impl Middleware for Dying {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        self.1.fetch_add(1, Ordering::SeqCst);
        match self.0 {
            Dead::Fails => next.run(ctx, request).await,
            Dead::Refuses => {
                let text = "not ready";
                Err(Error::failure(Code::Unavailable, Delivery::Rejected, Reason::DRAINING, text))
            }
            Dead::Hangs => pending().await,
        }
    }
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

/// Serves three tiers over a dead service; returns a client of the first, and the number of runs of
/// the dead one.
fn tiers(network: &Network, dead: Dead) -> (Stack<NetworkClient>, Arc<AtomicU64>) {
    let runs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&runs);
    network.serve("dead", move || {
        let fail = async |(): ()| Err::<(), _>(Error::new(Code::Unavailable, "out of order"));
        let router = Router::new().route("dead.run", fail);
        recommended_server(router.with(Dying(dead, Arc::clone(&counted))))
    });
    for (name, below, method) in [
        ("low", "dead", "dead.run"),
        ("middle", "low", "low.run"),
        ("high", "middle", "middle.run"),
    ] {
        let tier = Arc::new(Tier { below: recommended(network.client(name, below)), method });
        network.serve(name, move || {
            recommended_server(Service::new(name, Arc::clone(&tier)).method("run", Tier::pass))
        });
    }
    (recommended(network.client("user", "high")), runs)
}

async fn call(client: &Stack<NetworkClient>) {
    let ctx = Context::background().with_timeout(ms(2000));
    client.call::<()>(&ctx, "high.run", &()).idempotent().await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn an_idle_call_runs_at_most_four_times_below_three_tiers() {
    for (dead, expected) in DEAD.into_iter().zip([3, 4, 1]) {
        let network = Network::new();
        let (client, runs) = tiers(&network, dead);
        call(&client).await;
        assert_eq!(runs.load(Ordering::SeqCst), expected, "{dead:?}");
    }
}

/// Calls of the load, at 250 per second.
const CALLS: u64 = 2000;

/// Makes the calls of the load, and compares the runs of the dead service with their number.
async fn assert_amplified_by_less_than_a_third(dead: Dead) {
    let network = Network::new();
    let (client, runs) = tiers(&network, dead);
    let client = Arc::new(client);
    let mut calls = Vec::new();
    for _ in 0..CALLS {
        let client = Arc::clone(&client);
        calls.push(tokio::spawn(async move { call(&client).await }));
        sleep(ms(4)).await;
    }
    for call in calls {
        call.await.unwrap();
    }
    let runs = runs.load(Ordering::SeqCst);
    println!("{dead:?}: {runs} runs for {CALLS} calls");
    // A fifth, and the floor of 10 per second for each window of 10 s that has begun.
    assert!(runs * 10 <= CALLS * 13, "{dead:?}: {runs} runs for {CALLS} calls");
}

#[tokio::test(start_paused = true)]
async fn three_tiers_amplify_load_on_a_failing_service_by_less_than_a_third() {
    assert_amplified_by_less_than_a_third(Dead::Fails).await;
}

#[tokio::test(start_paused = true)]
async fn three_tiers_amplify_load_on_a_refusing_service_by_less_than_a_third() {
    assert_amplified_by_less_than_a_third(Dead::Refuses).await;
}

#[tokio::test(start_paused = true)]
async fn three_tiers_amplify_load_on_a_hanging_service_by_less_than_a_third() {
    assert_amplified_by_less_than_a_third(Dead::Hangs).await;
}

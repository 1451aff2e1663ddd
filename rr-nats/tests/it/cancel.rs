//! Cancels of many calls together reach all of their handlers.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;
use std::time::Duration;

use crate::support::*;
use rr_nats::{NatsConfig, NatsRequester, NatsServerConfig, NatsServerStats};
use rr_spi::{Code, Context, Delivery, Error, Response};
use rr_testkit::NatsServer;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// More than `outgoing_max` lets wait to be sent.
const MANY: usize = 1500;

/// Handlers that count when they are entered and when they are dropped, or have ended.
struct Handlers {
    entered: Arc<Count>,
    dropped: Arc<Count>,
    gate: Arc<Semaphore>,
    stats: NatsServerStats,
    _server: rr_spi::Server,
}

impl Handlers {
    async fn start(nats: &NatsServer) -> Self {
        let (entered, dropped) = (Count::new(), Count::new());
        let gate = Arc::new(Semaphore::new(0));
        let (inside, out, open) = (entered.clone(), dropped.clone(), gate.clone());
        let routes = route("svc.wait", move |_, request| {
            let (inside, out, open) = (inside.clone(), OnDrop(out.clone()), open.clone());
            async move {
                let _out = out;
                inside.up();
                let _passed = open.acquire().await.unwrap();
                Ok(Response::new(request.body))
            }
        });
        let mut config = NatsServerConfig::default();
        config.intake.in_flight_max = MANY * 2;
        let served = rr_nats::serve_with_stats(&nats.url(), routes, config).await;
        let (server, stats) = served.unwrap();
        Self { entered, dropped, gate, stats, _server: server }
    }

    /// Checks that exactly so many have been cancelled, and that the others still run.
    async fn assert_cancelled(&self, wanted: usize) {
        self.dropped.reaches(wanted).await;
        assert_eq!((self.dropped.now(), self.stats.cancelled()), (wanted, wanted as u64));
    }
}

type Calls = JoinSet<Result<Response, Error>>;

fn start(client: &NatsRequester, ctx: &Context, calls: usize) -> Calls {
    let mut tasks = JoinSet::new();
    for _ in 0..calls {
        let (client, ctx) = (client.clone(), ctx.clone());
        tasks.spawn(async move { call(&client, &ctx, "svc.wait").await });
    }
    tasks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_dropped_together_all_end_their_handlers_and_no_other() {
    let nats = nats().await;
    let handlers = Handlers::start(&nats).await;
    let client = client(&nats.url()).await;
    let kept = start(&client, &within(60_000), 10);
    let mut dropped = start(&client, &within(60_000), MANY);
    handlers.entered.reaches(MANY + 10).await;
    dropped.shutdown().await;
    assert_eq!(client.nats_stats().in_flight, 10);
    handlers.assert_cancelled(MANY).await;
    handlers.gate.add_permits(10);
    for outcome in kept.join_all().await {
        outcome.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_under_one_context_that_is_cancelled_all_end_their_handlers_and_no_other() {
    let nats = nats().await;
    let handlers = Handlers::start(&nats).await;
    let client = client(&nats.url()).await;
    let kept = start(&client, &within(60_000), 10);
    let (ctx, handle) = within(60_000).child();
    let cancelled = start(&client, &ctx, MANY);
    handlers.entered.reaches(MANY + 10).await;
    handle.cancel();
    for outcome in cancelled.join_all().await {
        assert_eq!(told(outcome), (Code::Canceled, Delivery::Unknown, None));
    }
    handlers.assert_cancelled(MANY).await;
    handlers.gate.add_permits(10);
    for outcome in kept.join_all().await {
        outcome.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancels_that_wait_for_a_stalled_server_arrive_and_give_their_places_back() {
    let nats = nats().await;
    let handlers = Handlers::start(&nats).await;
    let stall = Stall::before(nats.address()).await;
    // Each cancel keeps the place of its call until it has left.
    let config = NatsConfig::default().with_in_flight_max(MANY);
    let url = format!("nats://{}", stall.address());
    let client = NatsRequester::connect_with(&url, config).await.unwrap();
    client.ready(&within(10_000)).await.unwrap();
    let mut dropped = start(&client, &within(60_000), MANY);
    handlers.entered.reaches(MANY).await;
    stall.stop_reading();
    dropped.shutdown().await;
    assert_eq!(client.nats_stats().in_flight, 0);
    tokio::time::sleep(Duration::from_millis(50)).await;
    stall.read_on();
    handlers.assert_cancelled(MANY).await;
    handlers.gate.add_permits(MANY);
    for outcome in start(&client, &within(20_000), MANY).join_all().await {
        outcome.unwrap();
    }
}

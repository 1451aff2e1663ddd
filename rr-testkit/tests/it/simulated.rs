//! The simulated network: what its messages carry, its drains and its cuts.

#![cfg(feature = "worlds")]
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;
use std::time::Duration;

use rr_spi::{
    Code, Context, Declared, Dedup, Delivery, Error, IntakeConfig, Middleware, Next, Reason,
    Request, Requester, Responder, Response, Route, Routes, async_trait,
};
use rr_testkit::worlds::{Network, NetworkClient};
use tokio::join;
use tokio::time::sleep;

/// Answers after this time.
struct Slow(Duration);

#[async_trait]
impl Responder for Slow {
    async fn respond(&self, _: &Context, _: Request) -> Result<Response, Error> {
        sleep(self.0).await;
        Ok(Response::new("done"))
    }
}

/// Says that it suppresses duplicates.
struct Suppresses;

#[async_trait]
impl Middleware for Suppresses {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        Ok(next.run(ctx, request).await?.with_dedup(Dedup::On))
    }
}

fn slow(millis: u64) -> Routes {
    let mut routes = Routes::new();
    let handler = Arc::new(Slow(Duration::from_millis(millis)));
    routes.insert(Route::Target("svc.work".into()), Declared::Safe, handler).unwrap();
    routes
}

async fn work(client: &NetworkClient) -> Result<Response, Error> {
    work_in(client, &Context::background()).await
}

async fn work_in(client: &NetworkClient, ctx: &Context) -> Result<Response, Error> {
    client.request(ctx, Request::new("svc.work".try_into().unwrap(), "")).await
}

#[tokio::test(start_paused = true)]
async fn a_reply_says_what_became_of_duplicates_and_how_long_the_handler_took() {
    let network = Network::new();
    network.serve("svc", || slow(30).wrap(&[Arc::new(Suppresses)]));
    let (ctx, recording) = Context::background().recorded();
    let response = work_in(&network.client("test", "svc"), &ctx).await.unwrap();
    assert_eq!(response.dedup(), Some(Dedup::On));
    assert!(response.headers.is_empty(), "{response:?}");
    let [timeline] = &recording.timelines()[..] else { panic!() };
    assert_eq!(timeline.server().unwrap().handler, Duration::from_millis(30));
}

#[tokio::test(start_paused = true)]
async fn a_drain_adds_up_its_instances_and_refuses_newcomers() {
    let network = Network::new();
    network.serve_instances("svc", 2, || slow(30));
    let client = network.client("test", "svc");
    let drain = async {
        sleep(Duration::from_millis(5)).await;
        network.drain("svc", Duration::from_secs(1)).await
    };
    let late = async {
        sleep(Duration::from_millis(10)).await;
        work(&client).await.unwrap_err()
    };
    let (first, second, report, late) = join!(work(&client), work(&client), drain, late);
    assert!(first.is_ok() && second.is_ok());
    assert_eq!((report.completed, report.aborted), (2, 0), "{report:?}");
    assert_eq!((late.delivery(), late.reason()), (Delivery::Rejected, Some(&Reason::DRAINING)));
    assert_eq!(network.drain("other", Duration::ZERO).await, rr_spi::DrainReport::default());
    network.serve("svc", || slow(30));
    assert!(work(&client).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_cut_ends_the_calls_of_its_link_only() {
    let network = Network::new();
    network.serve("svc", || slow(30));
    let (client, other) = (network.client("test", "svc"), network.client("other", "svc"));
    let cut = async {
        sleep(Duration::from_millis(5)).await;
        network.cut("test", "svc");
    };
    let (lost, answered, ()) = join!(work(&client), work(&other), cut);
    assert!(answered.is_ok());
    let lost = lost.unwrap_err();
    assert_eq!((lost.code(), lost.delivery()), (Code::Unavailable, Delivery::Unknown));
    let unsent = work(&client).await.unwrap_err();
    assert_eq!((unsent.code(), unsent.delivery()), (Code::Unavailable, Delivery::NotSent));
    network.restore("test", "svc");
    assert!(work(&client).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn shielded_work_is_in_flight_and_limits_hold() {
    struct Shields;

    #[async_trait]
    impl Responder for Shields {
        async fn respond(&self, ctx: &Context, _: Request) -> Result<Response, Error> {
            drop(ctx.shield(sleep(Duration::from_secs(3))));
            Ok(Response::new(""))
        }
    }

    let network = Network::new();
    network.serve_with("svc", IntakeConfig::default().with_in_flight_max(1), || {
        let mut routes = Routes::new();
        let route = Route::Target("svc.work".into());
        routes.insert(route, Declared::Safe, Arc::new(Shields)).unwrap();
        routes
    });
    let client = network.client("test", "svc");
    work(&client).await.unwrap();
    assert!(!network.settle(Duration::from_secs(2)).await, "the work is forgotten");
    assert!(network.settle(Duration::from_secs(2)).await, "{}", network.trace());

    network.serve_with("svc", IntakeConfig::default().with_in_flight_max(1), || slow(30));
    let (first, second) = join!(work(&client), work(&client));
    let refused: Vec<_> = [first, second].into_iter().filter_map(Result::err).collect();
    let [refused] = &refused[..] else { panic!("{refused:?}") };
    assert_eq!(refused.code(), Code::ResourceExhausted);
}

//! A server that announces its end: requesters leave it before it cuts them off.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;
use std::time::Duration;

use crate::support::*;
use rr_nats::{NatsConfig, NatsRequester, NatsState};
use rr_spi::{Code, Delivery, Response, Routes};
use rr_testkit::NatsServer;
use tokio::sync::Semaphore;

/// A target that answers once it is told to, and one that answers at once.
fn gated(entered: &Arc<Count>, dropped: &Arc<Count>, gate: &Arc<Semaphore>) -> Routes {
    let (entered, dropped, gate) = (entered.clone(), dropped.clone(), gate.clone());
    let routes = route("svc.gate", move |_, _| {
        let (entered, dropped, gate) = (entered.clone(), OnDrop(dropped.clone()), gate.clone());
        async move {
            let _dropped = dropped;
            entered.up();
            gate.acquire().await.unwrap().forget();
            Ok(Response::new("through"))
        }
    });
    with(routes, "svc.echo", echo)
}

async fn impatient(url: &str) -> NatsRequester {
    let mut config = NatsConfig::default();
    config.connection.reconnect_delay_max = Duration::from_millis(50);
    NatsRequester::connect_with(url, config).await.unwrap()
}

/// Connects to one member of a cluster, which has announced the other by then.
async fn member_of_two(cluster: &[NatsServer]) -> NatsRequester {
    announced(&cluster[0].url(), 2).await;
    let client = impatient(&cluster[0].url()).await;
    let spread = async {
        // Interest in the target spreads over the routes.
        while call(&client, &within(2000), "svc.echo").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within(10_000).race(spread).await.unwrap();
    client
}

async fn connects(client: &NatsRequester, wanted: u64) {
    let connected = async {
        while client.nats_stats().connects < wanted {
            tokio::task::yield_now().await;
        }
    };
    within(8_000).race(connected).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requester_moves_on_before_it_is_cut_and_its_calls_end_where_they_began() {
    let mut cluster = NatsServer::start_cluster(2).await.unwrap();
    let (entered, dropped, gate) = (Count::new(), Count::new(), Arc::new(Semaphore::new(0)));
    let routes = gated(&entered, &dropped, &gate);
    let _server = rr_nats::serve(&cluster[1].url(), routes).await.unwrap();
    let client = member_of_two(&cluster).await;
    let gated = |client: &NatsRequester| {
        let client = client.clone();
        tokio::spawn(async move { call(&client, &within(60_000), "svc.gate").await })
    };
    let (finished, aborted) = (gated(&client), gated(&client));
    entered.reaches(2).await;

    cluster[0].lame_duck().unwrap();
    connects(&client, 2).await;
    assert_eq!((client.state(), client.nats_stats().in_flight), (NatsState::Connected, 2));
    call(&client, &within(5000), "svc.echo").await.unwrap();
    // A call on the old connection is still cancelled there, and one is still answered.
    aborted.abort();
    dropped.reaches(1).await;
    gate.add_permits(1);
    assert_eq!(finished.await.unwrap().unwrap().body, "through");
    assert_eq!(client.nats_stats().in_flight, 0);

    cluster[0].kill().unwrap();
    call(&client, &within(5000), "svc.echo").await.unwrap();
    assert_eq!((client.state(), client.nats_stats().connects), (NatsState::Connected, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_call_on_the_old_connection_is_cancelled_when_it_is_dropped() {
    let cluster = NatsServer::start_cluster(2).await.unwrap();
    let (entered, dropped, gate) = (Count::new(), Count::new(), Arc::new(Semaphore::new(0)));
    let routes = gated(&entered, &dropped, &gate);
    let _server = rr_nats::serve(&cluster[1].url(), routes).await.unwrap();
    let client = member_of_two(&cluster).await;
    let calling = client.clone();
    let call = tokio::spawn(async move { call(&calling, &within(60_000), "svc.gate").await });
    entered.reaches(1).await;
    cluster[0].lame_duck().unwrap();
    connects(&client, 2).await;
    call.abort();
    dropped.reaches(1).await;
    assert_eq!(client.nats_stats().in_flight, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_on_a_server_that_dies_after_its_announcement_are_unknown() {
    let mut cluster = NatsServer::start_cluster(2).await.unwrap();
    let (entered, dropped, gate) = (Count::new(), Count::new(), Arc::new(Semaphore::new(0)));
    let routes = gated(&entered, &dropped, &gate);
    let _server = rr_nats::serve(&cluster[1].url(), routes).await.unwrap();
    let client = member_of_two(&cluster).await;
    let calling = client.clone();
    let running = tokio::spawn(async move { call(&calling, &within(60_000), "svc.gate").await });
    entered.reaches(1).await;
    cluster[0].lame_duck().unwrap();
    connects(&client, 2).await;
    cluster[0].kill().unwrap();
    let expected = (Code::Unavailable, Delivery::Unknown, Some("connection-lost".to_owned()));
    assert_eq!(told(running.await.unwrap()), expected);
    call(&client, &within(5000), "svc.echo").await.unwrap();
}

#[tokio::test]
async fn without_another_server_a_requester_stays_until_the_end() {
    let mut nats = nats().await;
    let _server = rr_nats::serve(&nats.url(), route("svc.echo", echo)).await.unwrap();
    let client = impatient(&nats.url()).await;
    client.ready(&within(5000)).await.unwrap();
    nats.lame_duck().unwrap();
    let refuses = async {
        while tokio::net::TcpStream::connect(nats.address()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within(10_000).race(refuses).await.unwrap();
    for _ in 0..50 {
        call(&client, &within(5000), "svc.echo").await.unwrap();
    }
    assert_eq!((client.state(), client.nats_stats().connects), (NatsState::Connected, 1));
    nats.restart().await.unwrap();
    connects(&client, 2).await;
}

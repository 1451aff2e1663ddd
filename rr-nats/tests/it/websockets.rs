//! Calls over websockets: nats-server's `websocket` block.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::time::Duration;

use crate::support::*;
use rr_nats::{NatsConfig, NatsConnectionConfig, NatsRequester, NatsState, serve};
use rr_spi::{Code, Context, Delivery, Request, Requester, Response};
use rr_testkit::{NatsServer, NatsServerSetup};

async fn broker() -> NatsServer {
    nats_with(&NatsServerSetup::default().with_websocket()).await
}

fn url(nats: &NatsServer) -> String {
    format!("ws://{}/team", nats.websocket_address())
}

#[tokio::test]
async fn both_ends_work_over_a_websocket_and_meet_those_over_tcp() {
    let nats = broker().await;
    let _server = serve(&url(&nats), route("svc.echo", echo)).await.unwrap();
    let over_tcp = client(&format!("{}/team", nats.url())).await;
    let over_ws = client(&url(&nats)).await;
    for client in [&over_tcp, &over_ws] {
        let body = vec![7; 300_000];
        let reply = client.request(&within(5000), request("svc.echo", body.clone())).await.unwrap();
        assert_eq!(reply.body, body);
    }
    let told = told(call(&over_ws, &within(5000), "svc.none").await);
    assert_eq!((told.0, told.1), (Code::Unavailable, Delivery::NotSent));
}

#[tokio::test]
async fn a_dropped_call_cancels_its_handler_over_a_websocket() {
    let nats = broker().await;
    let (started, ended) = (Count::new(), Count::new());
    let (begun, over) = (started.clone(), ended.clone());
    let handler = move |_: Context, _: Request| {
        let guard = OnDrop(over.clone());
        begun.up();
        async move {
            let _guard = guard;
            std::future::pending::<Result<Response, rr_spi::Error>>().await
        }
    };
    let _server = serve(&url(&nats), route("svc.wait", handler)).await.unwrap();
    let client = client(&url(&nats)).await;
    let ctx = within(60_000);
    let calling = call(&client, &ctx, "svc.wait");
    tokio::select! {
        biased;
        () = started.reaches(1) => {}
        _ = calling => unreachable!("the handler never answers"),
    }
    ended.reaches(1).await;
}

#[tokio::test]
async fn a_drain_over_a_websocket_loses_nothing() {
    let nats = broker().await;
    let kept = serve(&url(&nats), route("svc.echo", echo)).await.unwrap();
    let client = client(&url(&nats)).await;
    for _ in 0..10 {
        let leaving = serve(&url(&nats), route("svc.echo", echo)).await.unwrap();
        let calls = async {
            for _ in 0..200 {
                call(&client, &within(5000), "svc.echo").await.unwrap();
            }
        };
        let drain = leaving.shutdown(Duration::from_secs(5));
        let ((), report) = tokio::join!(calls, drain);
        assert!(!format!("{report:?}").is_empty());
    }
    drop(kept);
}

#[tokio::test]
async fn a_server_that_dies_and_comes_back_is_found_again() {
    let mut nats = broker().await;
    let connection =
        NatsConnectionConfig::default().with_reconnect_delay_max(Duration::from_millis(50));
    let config = NatsConfig::default().with_connection(connection);
    let client = NatsRequester::connect_with(&url(&nats), config).await.unwrap();
    client.ready(&within(5000)).await.unwrap();
    nats.kill().unwrap();
    while client.state() != NatsState::Disconnected {
        client.state_changed(client.state()).await;
    }
    nats.restart().await.unwrap();
    client.ready(&within(10_000)).await.unwrap();
}

#[tokio::test]
async fn a_port_without_websockets_is_told_as_unreachable() {
    let nats = nats().await;
    let url = format!("ws://{}?connect_timeout=1s", nats.address());
    let error = serve(&url, route("svc.echo", echo)).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::NotSent), "{error}");
    assert!(!error.hint().is_empty());
}

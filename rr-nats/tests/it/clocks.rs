//! Send times on the wire, for ends whose clocks are known to agree.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::*;
use async_nats::{HeaderMap, Message};
use rr_nats::{NatsConfig, NatsRequester, NatsServerConfig};
use rr_spi::{Code, Delivery, Response, Routes};

#[allow(clippy::disallowed_methods, reason = "the send time on the wire is of the wall clock")]
fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// Answers with the milliseconds that are left, and counts.
fn left(entered: &std::sync::Arc<Count>) -> Routes {
    let entered = entered.clone();
    route("svc.left", move |ctx, _| {
        entered.up();
        async move { Ok(Response::new(ctx.remaining().unwrap().as_millis().to_string())) }
    })
}

/// Sends a request of a peer whose clock is `ahead` milliseconds before ours, with 5 s left.
async fn foreign(client: &async_nats::Client, ahead: i64) -> Message {
    let mut headers = HeaderMap::new();
    headers.insert("rr", format!("t=5000;at={}", now_millis() + ahead));
    client.request_with_headers("svc.left", headers, "".into()).await.unwrap()
}

fn millis(message: &Message) -> u64 {
    std::str::from_utf8(&message.payload).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_request_says_when_it_was_sent_only_where_clocks_agree() {
    let nats = nats().await;
    let foreign = async_nats::connect(nats.url()).await.unwrap();
    let mut asked = foreign.subscribe("svc.raw").await.unwrap();
    foreign.flush().await.unwrap();
    let mut heads = Vec::new();
    for query in ["", "?clocks_agree=true"] {
        let client = client(&format!("{}{query}", nats.url())).await;
        let calling =
            tokio::spawn(async move { call(&client, &within(5000), "svc.raw").await.map(drop) });
        let message = std::future::poll_fn(|cx| {
            futures_core::Stream::poll_next(std::pin::Pin::new(&mut asked), cx)
        });
        let message = message.await.unwrap();
        heads.push(message.headers.unwrap().get("rr").unwrap().as_str().to_owned());
        foreign.publish(message.reply.unwrap(), "".into()).await.unwrap();
        calling.await.unwrap().unwrap();
    }
    assert!(!heads[0].contains("at="), "{heads:?}");
    let (_, at) = heads[1].split_once(";at=").unwrap();
    let at: i64 = at.parse().unwrap();
    assert!((0..60_000).contains(&(now_millis() - at)), "{heads:?}");
}

#[tokio::test]
async fn what_has_waited_too_long_is_refused_and_a_wrong_clock_refuses_nothing() {
    let nats = nats().await;
    let entered = Count::new();
    let agreeing = format!("{}?clocks_agree=true", nats.url());
    let server = rr_nats::serve(&agreeing, left(&entered)).await.unwrap();
    let client = async_nats::connect(nats.url()).await.unwrap();
    // Sent 2 s ago, of 5 s.
    assert!(millis(&foreign(&client, -2000).await) <= 3000);
    // In the future, and long ago.
    assert!(millis(&foreign(&client, 3_600_000).await) > 3000);
    assert!(millis(&foreign(&client, -3_600_000).await) > 3000);
    let ran = entered.now();
    let headers = foreign(&client, -6000).await.headers.unwrap();
    let told = ["rr-code", "rr-delivery"].map(|name| headers.get(name).unwrap().as_str());
    assert_eq!((told, entered.now()), (["deadline_exceeded", "rejected"], ran));
    drop(server);

    let config = NatsServerConfig::default();
    let _server = rr_nats::serve_with(&nats.url(), left(&entered), config).await.unwrap();
    assert!(millis(&foreign(&client, -6000).await) > 3000);
}

#[tokio::test]
async fn a_call_that_ended_while_the_server_stalled_is_not_run_afterwards() {
    let nats = nats().await;
    let entered = Count::new();
    let config = NatsServerConfig::default().with_clocks_agree(true);
    let _server = rr_nats::serve_with(&nats.url(), left(&entered), config).await.unwrap();
    let config = NatsConfig::default().with_clocks_agree(true);
    let client = NatsRequester::connect_with(&nats.url(), config).await.unwrap();
    call(&client, &within(5000), "svc.left").await.unwrap();
    nats.pause().await.unwrap();
    let ran = entered.now();
    let outcome = call(&client, &within(200), "svc.left").await;
    assert_eq!(
        told(outcome),
        (Code::DeadlineExceeded, Delivery::Unknown, reason("expired-awaiting-reply"))
    );
    nats.resume().unwrap();
    // One subscription, in order: when this one is answered, the one before it was decided.
    call(&client, &within(5000), "svc.left").await.unwrap();
    assert_eq!(entered.now(), ran + 1);
}

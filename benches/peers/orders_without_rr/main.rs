//! The example `orders` without rr: axum, reqwest and async-nats instead.
//!
//! `cargo run -p rr-benches-peers --features foreign --example orders_without_rr` runs everything
//! in one process. `-- serve` serves both services until Ctrl-C, and `-- call` calls them, at
//! `ORDERS_URL` and `PAYMENTS_URL`. `examples/orders/README.md` compares the two.

mod api;
mod clients;
mod http_transport;
mod middleware;
mod nats_transport;
mod shop;
#[cfg(test)]
mod tests;
mod transport;

use std::env;
use std::sync::Arc;
use std::time::Duration;

use api::{Context, Order, OrderError, TENANT};
use clients::{OrdersClient, PaymentsClient};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use shop::{Bank, Shop, payments_router};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::TaskTracker;
use transport::{Result, Server, connect, serve};

const DRAIN_GRACE: Duration = Duration::from_secs(25);

fn url(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}

async fn start() -> Result<[Server; 2]> {
    let payments_url = url("PAYMENTS_URL", "http://127.0.0.1:0");
    let routes = payments_router(Bank);
    let payments = serve(&payments_url, "payments.v1", routes, TaskTracker::new()).await?;
    let bank = PaymentsClient::new(connect(&payments.url).await?);
    let shop = Shop::new(bank, 100);
    let placing = shop.placing.clone();
    let router = shop.router(&Arc::default());
    let orders =
        serve(&url("ORDERS_URL", "http://127.0.0.1:0"), "orders.v1", router, placing).await?;
    println!("serving {}", orders.url);
    Ok([orders, payments])
}

/// The customer: authenticated, of one tenant, with retries and a deadline for all of its calls.
async fn buy(url: &str) -> Result<()> {
    let headers = HeaderMap::from_iter([
        (AUTHORIZATION, HeaderValue::from_static("Bearer demo")),
        (HeaderName::from_static(TENANT), HeaderValue::from_static("berlin")),
    ]);
    let orders = OrdersClient::new(connect(url).await?, headers);
    let request_id = Some(HeaderValue::from_static("tea-1"));
    let ctx = Context { request_id, ..Context::with_timeout(Duration::from_secs(5)) };

    let reply = orders.place(&ctx, &Order { item: "tea".into(), count: 2 }).await?;
    let left = reply.headers().get("x-left").and_then(|left| left.to_str().ok());
    println!("{:?}, {} left", reply.body(), left.unwrap_or("?"));
    println!("{:?}", orders.get(&ctx, reply.body().id).await?);
    println!("{:?}", orders.stamp(&ctx, "label".into()).await?.to_vec());
    orders.cancel(&ctx, reply.body().id).await?;
    match orders.get(&ctx, reply.body().id).await {
        Err(OrderError::NoSuchOrder(id)) => println!("order {id} is cancelled"),
        other => println!("not as expected: {other:?}"),
    }
    Ok(())
}

async fn shutdown_signal() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let task = env::args().nth(1).unwrap_or_default();
    let servers = if task == "call" { Vec::new() } else { start().await?.into() };
    let served = servers.first().map(|orders: &Server| orders.url.clone());
    match &*task {
        "serve" => shutdown_signal().await?,
        _ => buy(&served.unwrap_or_else(|| url("ORDERS_URL", "http://127.0.0.1:0"))).await?,
    }
    for server in servers {
        server.shutdown(DRAIN_GRACE).await;
    }
    Ok(())
}

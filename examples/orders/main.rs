//! Two services and their customer; the URLs in the environment select the transports.
//!
//! `cargo run --example orders` runs everything in one process. `-- serve` serves both services
//! until Ctrl-C, and `-- call` calls them, at `ORDERS_URL` and `PAYMENTS_URL`. `-- openapi` prints
//! the OpenAPI document of the orders service.

mod api;
mod shop;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod worlds;

use std::env;
use std::sync::Arc;
use std::time::Duration;

use api::{Order, OrderError, Orders, OrdersClient, PaymentsClient};
use rr_core::{
    CallOptions, Client, Context, Error, Requester, Server, connect, defaults, openapi,
    recommended, serve, shutdown_signal,
};
use shop::{Bank, Shop, payments};

fn url(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}

async fn start() -> Result<[Server; 2], Error> {
    let payments = serve(&url("PAYMENTS_URL", "memory://payments"), payments(Bank)).await?;
    let bank = PaymentsClient::new(recommended(connect(payments.url()).await?));
    let router = Arc::new(Shop::new(bank, 100)).router(&Arc::default());
    let orders = serve(&url("ORDERS_URL", "memory://orders"), router).await?;
    println!("serving {}", orders.url());
    Ok([orders, payments])
}

/// The customer: authenticated, of one tenant, with retries and a deadline for all of its calls.
async fn buy(client: impl Requester) -> Result<(), OrderError> {
    let options = CallOptions::new().header("authorization", "Bearer demo");
    let orders = OrdersClient::new(recommended(client)).with(options.header("x-tenant", "berlin"));
    let ctx =
        Context::background().with_timeout(Duration::from_secs(5)).with_request_id("tea-1")?;

    let reply = orders.place(&ctx, Order { item: "tea".into(), count: 2 }).await?;
    println!("{:?}, {} left", reply.value(), reply.headers().get("x-left").unwrap_or("?"));
    println!("{:?}", orders.get(&ctx, reply.value().id).await?);
    println!("{:?}", orders.stamp(&ctx, "label".into()).await?);
    orders.cancel(&ctx, reply.value().id).await?;
    match orders.get(&ctx, reply.value().id).await {
        Err(OrderError::NoSuchOrder(id)) => println!("order {id} is cancelled"),
        other => println!("not as expected: {other:?}"),
    }
    Ok(())
}

async fn client(servers: &[Server]) -> Result<Client, Error> {
    let served = servers.first().map(|orders| orders.url().to_string());
    connect(&served.unwrap_or_else(|| url("ORDERS_URL", "memory://orders"))).await
}

#[tokio::main]
async fn main() -> Result<(), OrderError> {
    let task = env::args().nth(1).unwrap_or_default();
    if task == "openapi" {
        let shop = Arc::new(Shop::new(Bank, 100)).router(&Arc::default());
        println!("{:#}", openapi(&shop, "Orders", "1.0.0")?);
        return Ok(());
    }
    let servers = if task == "call" { Vec::new() } else { start().await?.into() };
    match &*task {
        "serve" => shutdown_signal().await,
        _ => buy(client(&servers).await?).await?,
    }
    for server in servers {
        println!("{:?}", server.shutdown(defaults::DRAIN_GRACE).await);
    }
    Ok(())
}

//! A service as a trait: code over the trait runs on the implementation itself and on its client.
//!
//! `cargo run --example service` or `cargo run --example service http://127.0.0.1:0`

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rr_core::dedup::Deduplicate;
use rr_core::{
    AppError, CallOptions, Context, Error, Router, async_trait, connect, serve, service,
};
use serde::{Deserialize, Serialize};

/// Orders of one shop.
#[service("orders.v1")]
pub trait Orders {
    /// Places an order and returns its number.
    #[rr(keyed, timeout = "2s")]
    async fn place(&self, ctx: &Context, item: String, amount: u32) -> Result<u64, OrderError>;

    /// Describes an order.
    #[rr(safe)]
    async fn find(&self, ctx: &Context, id: u64) -> Result<String, OrderError>;
}

/// Error of an order.
#[derive(Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OrderError {
    /// No order has this number.
    NoSuchOrder(u64),
    /// A call failed; never sent.
    #[serde(skip)]
    Call(Error),
}

impl AppError for OrderError {
    const TYPE: &'static str = "orders.OrderError";

    fn failed_call(&self) -> Option<&Error> {
        match self {
            Self::Call(error) => Some(error),
            Self::NoSuchOrder(_) => None,
        }
    }
}

impl From<Error> for OrderError {
    fn from(error: Error) -> Self {
        Self::Call(error)
    }
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchOrder(id) => write!(f, "no order {id}"),
            Self::Call(error) => error.fmt(f),
        }
    }
}

impl StdError for OrderError {}

#[derive(Default)]
struct Shop {
    orders: Mutex<BTreeMap<u64, String>>,
}

#[async_trait]
impl Orders for Shop {
    async fn place(&self, _: &Context, item: String, amount: u32) -> Result<u64, OrderError> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let id = orders.len() as u64 + 1;
        orders.insert(id, format!("{amount} x {item}"));
        Ok(id)
    }

    async fn find(&self, _: &Context, id: u64) -> Result<String, OrderError> {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.get(&id).cloned().ok_or(OrderError::NoSuchOrder(id))
    }
}

/// Routes of an implementation. An order that arrives twice is placed once.
fn router(orders: Arc<dyn Orders>) -> Router {
    Router::new().merge(OrdersServer::new(orders)).with(Deduplicate::in_process())
}

/// The application: it does not know whether its orders are in this process.
async fn order(orders: Arc<dyn Orders>, ctx: &Context) -> Result<String, OrderError> {
    let id = orders.place(ctx, "a book".to_owned(), 2).await?;
    orders.find(ctx, id).await
}

#[tokio::main]
async fn main() -> Result<(), OrderError> {
    let ctx = Context::background().with_timeout(Duration::from_secs(5));
    println!("in this process: {}", order(Arc::new(Shop::default()), &ctx).await?);

    let url = std::env::args().nth(1).unwrap_or_else(|| "memory://orders".into());
    let server = serve(&url, router(Arc::new(Shop::default()))).await?;
    let client = OrdersClient::new(connect(server.url()).await?);
    println!("over {}: {}", server.url(), order(Arc::new(client.clone()), &ctx).await?);

    let client = client.with(CallOptions::new().header("x-tenant", "acme"));
    match client.find(&ctx, 17).await {
        Err(OrderError::NoSuchOrder(id)) => println!("there is no order {id}"),
        other => println!("not expected: {other:?}"),
    }
    for method in OrdersClient::description().methods {
        println!("{} ({:?}): {}", method.target, method.idempotency, method.docs);
    }
    server.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rr_core::recommended;
    use rr_testkit::worlds::{Network, Worlds};

    use super::*;

    /// A crash keeps the orders, as a database does.
    async fn one_order(network: Network) {
        let shop = Arc::new(Shop::default());
        let kept = Arc::clone(&shop);
        network.serve("orders", move || router(kept.clone()));
        let client = OrdersClient::new(recommended(network.client("app", "orders")));

        let ctx = Context::background().with_timeout(Duration::from_secs(5));
        let ordered = order(Arc::new(client), &ctx).await;
        network.settle(Duration::from_secs(60)).await;

        let placed = shop.orders.lock().unwrap().len();
        assert!(placed <= 1, "one call placed {placed} orders");
        if let Ok(found) = ordered {
            assert_eq!((found.as_str(), placed), ("2 x a book", 1));
        }
    }

    #[test]
    fn a_call_places_at_most_one_order_in_every_world() {
        let report = Worlds::up_to(2).run(one_order);
        assert!(report.is_complete(), "{report}");
    }
}

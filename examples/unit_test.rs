//! An application tested without a network: its dependency is answered in memory.
//!
//! `cargo run --example unit_test` runs the scenarios; `cargo test --example unit_test` runs them
//! as tests.

use std::sync::Arc;

use rr_core::{Code, Context, Delivery, Error, Local, Requester, RequesterExt, Router};

/// The application: a shop that asks a warehouse before it sells.
#[derive(Clone)]
struct Shop {
    warehouse: Arc<dyn Requester>,
}

impl Shop {
    async fn sell(self, ctx: Context, item: String) -> Result<String, Error> {
        let left: u32 = self.warehouse.call(&ctx, "warehouse.count", &item).safe().await?;
        if left == 0 {
            return Err(Error::new(Code::FailedPrecondition, format!("no {item} left")));
        }
        Ok(format!("sold {item}, {} left", left - 1))
    }

    fn router(self) -> Router {
        Router::new()
            .route("shop.sell", move |ctx: Context, item: String| self.clone().sell(ctx, item))
    }
}

/// A shop whose warehouse answers as the scenario wants it to.
fn shop(warehouse: Router) -> Local {
    Local::new(Shop { warehouse: Arc::new(Local::new(warehouse)) }.router())
}

async fn three(_item: String) -> Result<u32, Error> {
    Ok(3)
}

async fn down(_item: String) -> Result<u32, Error> {
    Err(Error::new(Code::Unavailable, "the database at 10.0.0.7 is down"))
}

async fn sells_what_is_there() {
    let shop = shop(Router::new().route("warehouse.count", three));
    let sold: String =
        shop.call(&Context::background(), "shop.sell", "tea").await.expect("three are left");
    assert_eq!(sold, "sold tea, 2 left");
}

async fn a_warehouse_that_is_down_is_reported_without_its_secrets() {
    let shop = shop(Router::new().route("warehouse.count", down));
    let failed = shop.call::<String>(&Context::background(), "shop.sell", "tea").await;
    let error = Error::from(failed.expect_err("the warehouse is down"));
    assert_eq!(error.code(), Code::Unavailable);
    // The shop's handler ran, whatever the warehouse says of its own.
    assert_eq!(error.delivery(), Delivery::Processed);
    assert!(!error.message().contains("10.0.0.7"));
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    sells_what_is_there().await;
    println!("ok: sells_what_is_there");
    a_warehouse_that_is_down_is_reported_without_its_secrets().await;
    println!("ok: a_warehouse_that_is_down_is_reported_without_its_secrets");
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn sells_what_is_there() {
        super::sells_what_is_there().await;
    }

    #[tokio::test]
    async fn a_warehouse_that_is_down_is_reported_without_its_secrets() {
        super::a_warehouse_that_is_down_is_reported_without_its_secrets().await;
    }
}

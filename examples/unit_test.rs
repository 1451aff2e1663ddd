//! An application tested without a network: its dependency is answered in memory.
//!
//! `cargo run --example unit_test` runs the scenarios; `cargo test --example unit_test` runs them
//! as tests.

use std::sync::Arc;

use rr_core::{
    Client, Code, Context, Delivery, Error, Requester, RequesterExt, Router, Server, Service,
    connect, serve,
};

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
        Service::new("shop", self).method("sell", Self::sell).into()
    }
}

/// A shop whose warehouse answers as the scenario wants it to; both end with it.
struct Scenario {
    shop: Client,
    _servers: [Server; 2],
}

async fn scenario(name: &str, warehouse: Router) -> Result<Scenario, Error> {
    let warehouse = serve(&format!("memory://{name}.warehouse"), warehouse).await?;
    let shop = Shop { warehouse: Arc::new(connect(warehouse.url()).await?) };
    let shop = serve(&format!("memory://{name}.shop"), shop.router()).await?;
    Ok(Scenario { shop: connect(shop.url()).await?, _servers: [warehouse, shop] })
}

async fn three(_item: String) -> Result<u32, Error> {
    Ok(3)
}

async fn down(_item: String) -> Result<u32, Error> {
    Err(Error::new(Code::Unavailable, "the database at 10.0.0.7 is down"))
}

async fn sells_what_is_there() -> Result<(), Error> {
    let scenario = scenario("sells", Router::new().route("warehouse.count", three)).await?;
    let ctx = Context::background();
    let sold: String = scenario.shop.call(&ctx, "shop.sell", "tea").await?;
    assert_eq!(sold, "sold tea, 2 left");
    Ok(())
}

async fn a_warehouse_that_is_down_is_reported_without_its_secrets() -> Result<(), Error> {
    let scenario = scenario("down", Router::new().route("warehouse.count", down)).await?;
    let ctx = Context::background();
    let failed = scenario.shop.call::<String>(&ctx, "shop.sell", "tea").await;
    let error = Error::from(failed.expect_err("the warehouse is down"));
    assert_eq!(error.code(), Code::Unavailable);
    // The shop's handler ran, whatever delivery the error of the warehouse has.
    assert_eq!(error.delivery(), Delivery::Processed);
    assert!(!error.message().contains("10.0.0.7"));
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    sells_what_is_there().await?;
    println!("ok: sells_what_is_there");
    a_warehouse_that_is_down_is_reported_without_its_secrets().await?;
    println!("ok: a_warehouse_that_is_down_is_reported_without_its_secrets");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use rr_core::{Code, Context, Error, RequesterExt, Router};
    use rr_testkit::worlds::{Network, Worlds};

    use super::{Shop, three};

    #[tokio::test]
    async fn sells_what_is_there() -> Result<(), Error> {
        super::sells_what_is_there().await
    }

    #[tokio::test]
    async fn a_warehouse_that_is_down_is_reported_without_its_secrets() -> Result<(), Error> {
        super::a_warehouse_that_is_down_is_reported_without_its_secrets().await
    }

    /// A customer buys tea, of which the warehouse has three.
    async fn one_sale(network: Network) {
        network.serve("warehouse", || Router::new().route("warehouse.count", three));
        let shop = Shop { warehouse: Arc::new(network.client("shop", "warehouse")) };
        network.serve("shop", move || shop.clone().router());

        let ctx = Context::background().with_timeout(Duration::from_secs(2));
        let sold =
            network.client("customer", "shop").call::<String>(&ctx, "shop.sell", "tea").await;
        match sold.map_err(Error::from) {
            Ok(text) => assert_eq!(text, "sold tea, 2 left"),
            Err(error) => assert_ne!(error.code(), Code::FailedPrecondition, "there is tea left"),
        }
    }

    #[test]
    fn a_warehouse_that_is_not_reached_is_not_taken_for_empty_in_any_world() {
        let report = Worlds::up_to(2).run(one_sale);
        assert!(report.is_complete(), "{report}");
    }
}

//! A warehouse that looks whether it has packed an order, asks for the address, and packs the order:
//! two duplicates that run simultaneously both find that it has not.

use std::sync::Arc;

use rr_core::dedup::Deduplicate;
use rr_core::{Context, Error, HandlerExt, IdempotencyKey, RequesterExt, Router, Service};
use rr_testkit::worlds::{Network, NetworkClient};

use super::support::{Kept, assert_found, assert_passes, explore, settle, within};

async fn address(_order: u32) -> Result<String, Error> {
    Ok("12 Main Street".to_owned())
}

struct Warehouse {
    addresses: NetworkClient,
    parcels: Kept<Vec<u32>>,
}

impl Warehouse {
    async fn pack(self: Arc<Self>, ctx: Context, order: u32) -> Result<(), Error> {
        if self.parcels.lock().unwrap().contains(&order) {
            return Ok(());
        }
        self.addresses.call::<String>(&ctx, "addresses.find", &order).safe().await?;
        self.parcels.lock().unwrap().push(order);
        Ok(())
    }
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    network.serve("addresses", || Router::new().route("addresses.find", address.safe()));
    let parcels = Kept::default();
    let addresses = network.client("warehouse", "addresses");
    let warehouse = Arc::new(Warehouse { addresses, parcels: Arc::clone(&parcels) });
    let once = Deduplicate::in_process();
    network.serve("warehouse", move || {
        let service = Service::new("warehouse", Arc::clone(&warehouse));
        let service = service.method("pack", Warehouse::pack);
        if is_right { service.with(once.clone()) } else { service }
    });

    let (shop, key) = (network.client("shop", "warehouse"), IdempotencyKey::new("7").unwrap());
    for _ in 0..2 {
        let _ = shop.call::<()>(&within(5), "warehouse.pack", &7).keyed(key.clone()).await;
    }
    settle(&network).await;

    let packed = parcels.lock().unwrap().len();
    assert!(packed <= 1, "order 7 was packed {packed} times");
}

#[test]
fn two_duplicates_that_run_simultaneously_are_both_packed() {
    assert_found(
        &explore(false, scenario),
        "shop>warehouse/warehouse.pack#1=duplicated",
        "order 7 was packed 2 times",
    );
}

#[test]
fn a_warehouse_that_suppresses_duplicates_passes() {
    assert_passes(&explore(true, scenario));
}

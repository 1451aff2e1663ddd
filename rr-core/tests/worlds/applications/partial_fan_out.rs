//! A head office that sends a new price to all shops, tries each that fails once more, and does not
//! look at what came of that.

use std::sync::Arc;
use std::time::Duration;

use rr_core::{CallError, Error, HandlerExt, RequesterExt, Service};
use rr_testkit::worlds::{Network, NetworkClient};
use tokio::time::sleep;

use super::support::{Kept, assert_found, assert_passes, explore, settle, within};

#[derive(Default)]
struct Shop {
    price: Kept<u32>,
}

impl Shop {
    async fn set_price(self: Arc<Self>, price: u32) -> Result<(), Error> {
        *self.price.lock().unwrap() = price;
        Ok(())
    }
}

async fn send(shop: &NetworkClient, price: u32, is_right: bool) -> Result<(), CallError> {
    if shop.call::<()>(&within(1), "shop.set_price", &price).idempotent().await.is_ok() {
        return Ok(());
    }
    sleep(Duration::from_secs(10)).await;
    let outcome = shop.call::<()>(&within(1), "shop.set_price", &price).idempotent().await;
    if is_right { outcome } else { Ok(()) }
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    let shops = ["north", "south"].map(|name| (name, Arc::new(Shop::default())));
    for (name, shop) in shops.clone() {
        network.serve(name, move || {
            let service = Service::new("shop", Arc::clone(&shop));
            service.method("set_price", Shop::set_price.idempotent())
        });
    }
    let [north, south] = ["north", "south"].map(|to| network.client("office", to));

    let sent = tokio::join!(biased; send(&north, 12, is_right), send(&south, 12, is_right));
    settle(&network).await;

    for (name, shop) in shops {
        let is_set = *shop.price.lock().unwrap() == 12;
        let is_announced = sent.0.is_ok() && sent.1.is_ok();
        assert!(is_set || !is_announced, "the price is announced, and unknown in the {name}");
    }
}

#[test]
fn a_shop_that_two_messages_did_not_reach_is_overlooked() {
    assert_found(
        &explore(false, scenario),
        "office>north/shop.set_price#1=connect-fails,office>north/shop.set_price#2=connect-fails",
        "the price is announced, and unknown in the north",
    );
}

#[test]
fn a_price_that_all_shops_have_confirmed_passes() {
    assert_passes(&explore(true, scenario));
}

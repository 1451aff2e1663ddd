//! A shop that keeps the last price it heard: an old price that arrives after the new one stays.

use std::sync::Arc;

use rr_core::{CallError, Error, HandlerExt, RequesterExt, Service};
use rr_testkit::worlds::{Fault, Network, NetworkClient, Worlds};
use serde::{Deserialize, Serialize};

use super::support::{Kept, assert_found, assert_passes, explore, settle, within};

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Price {
    cents: u32,
    version: u32,
}

#[derive(Default)]
struct Prices(Kept<Price>);

impl Prices {
    async fn read(self: Arc<Self>, (): ()) -> Result<Price, Error> {
        Ok(*self.0.lock().unwrap())
    }

    async fn set(self: Arc<Self>, cents: u32) -> Result<Price, Error> {
        let mut price = self.0.lock().unwrap();
        *price = Price { cents, version: price.version + 1 };
        Ok(*price)
    }
}

struct Shop {
    prices: NetworkClient,
    heard: Kept<Price>,
    is_right: bool,
}

impl Shop {
    fn hear(&self, price: Price) {
        let mut heard = self.heard.lock().unwrap();
        if !self.is_right || price.version >= heard.version {
            *heard = price;
        }
    }

    async fn refresh(&self) -> Result<(), CallError> {
        self.hear(self.prices.call(&within(5), "prices.read", &()).safe().await?);
        Ok(())
    }

    async fn raise(&self) -> Result<(), CallError> {
        self.hear(self.prices.call(&within(5), "prices.set", &200).await?);
        Ok(())
    }
}

async fn scenario(network: Network, is_right: bool) {
    let prices = Arc::new(Prices::default());
    network.serve("prices", move || {
        Service::new("prices", Arc::clone(&prices))
            .method("read", Prices::read.safe())
            .method("set", Prices::set)
    });
    let shop = Shop { prices: network.client("shop", "prices"), heard: Kept::default(), is_right };

    let (_, raised) = tokio::join!(biased; shop.refresh(), shop.raise());
    settle(&network).await;

    let heard = shop.heard.lock().unwrap().cents;
    assert!(
        raised.is_err() || heard == 200,
        "the price was raised to 200, and the shop has {heard}"
    );
}

#[test]
fn an_old_price_that_is_overtaken_by_the_new_one_stays() {
    assert_found(
        &explore(false, scenario),
        "shop>prices/prices.read#1=reply-delayed",
        "the price was raised to 200, and the shop has 0",
    );
}

#[test]
fn no_other_fault_finds_it() {
    let others = Fault::ALL.into_iter().filter(|fault| *fault != Fault::ReplyDelayed);
    let worlds = Worlds::up_to(2).with_faults(others);
    assert_passes(&worlds.run(|network| scenario(network, false)));
}

#[test]
fn a_price_with_a_version_passes() {
    assert_passes(&explore(true, scenario));
}

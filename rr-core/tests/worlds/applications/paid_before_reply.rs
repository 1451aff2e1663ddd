//! A shop that marks an order as paid before the reply to its charge has arrived.

use std::collections::BTreeSet;
use std::sync::Arc;

use rr_core::{Context, Error, RequesterExt, Service};
use rr_testkit::worlds::{Network, NetworkClient};

use super::support::{Kept, assert_found, assert_passes, explore, settle, within};

struct Payments {
    charged: Kept<BTreeSet<u32>>,
}

impl Payments {
    async fn charge(self: Arc<Self>, order: u32) -> Result<(), Error> {
        self.charged.lock().unwrap().insert(order);
        Ok(())
    }
}

struct Shop {
    payments: NetworkClient,
    paid: Kept<BTreeSet<u32>>,
    is_right: bool,
}

impl Shop {
    async fn place(self: Arc<Self>, ctx: Context, order: u32) -> Result<(), Error> {
        if !self.is_right {
            self.paid.lock().unwrap().insert(order);
        }
        self.payments.call::<()>(&ctx, "payments.charge", &order).await?;
        if self.is_right {
            self.paid.lock().unwrap().insert(order);
        }
        Ok(())
    }
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    let (charged, paid) = (Kept::default(), Kept::default());
    let payments = Arc::new(Payments { charged: Arc::clone(&charged) });
    network.serve("payments", move || {
        Service::new("payments", Arc::clone(&payments)).method("charge", Payments::charge)
    });
    let client = network.client("shop", "payments");
    let shop = Arc::new(Shop { payments: client, paid: Arc::clone(&paid), is_right });
    network.serve("shop", move || {
        Service::new("shop", Arc::clone(&shop)).method("place", Shop::place)
    });

    let _ = network.client("user", "shop").call::<()>(&within(5), "shop.place", &7).await;
    settle(&network).await;

    let unpaid = &*paid.lock().unwrap() - &*charged.lock().unwrap();
    assert!(unpaid.is_empty(), "order 7 is paid, and was never charged");
}

#[test]
fn an_order_that_is_paid_before_its_charge_is_never_charged() {
    assert_found(
        &explore(false, scenario),
        "user>shop/shop.place#1=broken-within",
        "order 7 is paid, and was never charged",
    );
}

#[test]
fn an_order_that_is_paid_after_its_charge_passes() {
    assert_passes(&explore(true, scenario));
}

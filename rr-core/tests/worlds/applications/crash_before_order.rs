//! A shop that charges, repeats the charge until it knows its outcome, and then stores the order:
//! only its own crash in between is not thought of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rr_core::{Context, Error, HandlerExt, RequesterExt, Service};
use rr_testkit::worlds::{Network, NetworkClient};
use tokio::time::sleep;

use super::support::{Kept, assert_found, assert_passes, explore, settle, within};

#[derive(Default)]
struct Payments {
    charged: Kept<BTreeSet<u32>>,
}

impl Payments {
    async fn charge(self: Arc<Self>, order: u32) -> Result<(), Error> {
        self.charged.lock().unwrap().insert(order);
        Ok(())
    }
}

#[derive(PartialEq)]
enum Order {
    Open,
    Paid,
}

struct Shop {
    payments: NetworkClient,
    orders: Kept<BTreeMap<u32, Order>>,
    is_right: bool,
}

impl Shop {
    async fn place(self: Arc<Self>, ctx: Context, order: u32) -> Result<(), Error> {
        if self.is_right {
            self.orders.lock().unwrap().insert(order, Order::Open);
        }
        charge(&self.payments, &ctx, order).await;
        self.orders.lock().unwrap().insert(order, Order::Paid);
        Ok(())
    }
}

/// Charges until it is known that the charge ran.
async fn charge(payments: &NetworkClient, ctx: &Context, order: u32) {
    let ctx = || ctx.with_timeout(Duration::from_secs(1));
    while payments.call::<()>(&ctx(), "payments.charge", &order).idempotent().await.is_err() {
        sleep(Duration::from_secs(1)).await;
    }
}

/// Completes the orders that a crash has left open.
async fn complete(payments: &NetworkClient, orders: &Kept<BTreeMap<u32, Order>>) {
    let is_open = orders.lock().unwrap().get(&7) == Some(&Order::Open);
    if is_open {
        charge(payments, &within(60), 7).await;
        orders.lock().unwrap().insert(7, Order::Paid);
    }
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    let payments = Arc::new(Payments::default());
    let charged = Arc::clone(&payments.charged);
    network.serve("payments", move || {
        let service = Service::new("payments", Arc::clone(&payments));
        service.method("charge", Payments::charge.idempotent())
    });
    let (client, orders) = (network.client("shop", "payments"), Kept::default());
    let shop = Arc::new(Shop { payments: client, orders: Arc::clone(&orders), is_right });
    network.serve("shop", move || {
        Service::new("shop", Arc::clone(&shop)).method("place", Shop::place)
    });

    let _ = network.client("user", "shop").call::<()>(&within(60), "shop.place", &7).await;
    settle(&network).await;
    complete(&network.client("recovery", "payments"), &orders).await;

    let is_paid = orders.lock().unwrap().get(&7) == Some(&Order::Paid);
    let is_charged = charged.lock().unwrap().contains(&7);
    assert!(is_charged == is_paid, "charged: {is_charged}, known to the shop as paid: {is_paid}");
}

#[test]
fn a_crash_after_the_charge_loses_the_order() {
    assert_found(
        &explore(false, scenario),
        "shop>payments/payments.charge#1=caller-crashed",
        "charged: true, known to the shop as paid: false",
    );
}

#[test]
fn an_order_that_is_stored_before_its_charge_passes() {
    assert_passes(&explore(true, scenario));
}

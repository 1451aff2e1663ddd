//! A saga that refunds a charge which never ran.

use std::collections::BTreeMap;
use std::sync::Arc;

use rr_core::{CallError, Error, HandlerExt, RequesterExt, Router, Service};
use rr_testkit::worlds::{Network, NetworkClient};

use super::support::{Kept, assert_found, assert_passes, explore, settle, within};

#[derive(Default)]
struct Account {
    charges: BTreeMap<u32, i64>,
    credit: i64,
}

#[derive(Default)]
struct Payments {
    account: Kept<Account>,
}

impl Payments {
    async fn charge(self: Arc<Self>, (order, amount): (u32, i64)) -> Result<(), Error> {
        self.account.lock().unwrap().charges.insert(order, amount);
        Ok(())
    }

    /// Gives an amount to the customer.
    async fn credit(self: Arc<Self>, amount: i64) -> Result<(), Error> {
        self.account.lock().unwrap().credit += amount;
        Ok(())
    }

    /// Takes back the charge of an order, if there is one.
    async fn refund(self: Arc<Self>, order: u32) -> Result<(), Error> {
        self.account.lock().unwrap().charges.remove(&order);
        Ok(())
    }
}

async fn ship(_order: u32) -> Result<(), Error> {
    Ok(())
}

struct Shop {
    payments: NetworkClient,
    carrier: NetworkClient,
    is_right: bool,
}

impl Shop {
    async fn sell(&self, order: u32) -> Result<(), CallError> {
        let sold = self.charge_and_ship(order).await;
        if sold.is_err() {
            let _ = match self.is_right {
                false => self.payments.call::<()>(&within(1), "payments.credit", &10).await,
                true => self.payments.call(&within(1), "payments.refund", &order).await,
            };
        }
        sold
    }

    async fn charge_and_ship(&self, order: u32) -> Result<(), CallError> {
        let ctx = within(2);
        self.payments.call::<()>(&ctx, "payments.charge", &(order, 10)).idempotent().await?;
        self.carrier.call::<()>(&ctx, "carrier.ship", &order).await
    }
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    let payments = Arc::new(Payments::default());
    let account = Arc::clone(&payments.account);
    network.serve("payments", move || {
        Service::new("payments", Arc::clone(&payments))
            .method("charge", Payments::charge.idempotent())
            .method("credit", Payments::credit)
            .method("refund", Payments::refund.idempotent())
    });
    network.serve("carrier", || Router::new().route("carrier.ship", ship));
    let client = |to| network.client("shop", to);
    let shop = Shop { payments: client("payments"), carrier: client("carrier"), is_right };

    let _ = shop.sell(7).await;
    settle(&network).await;

    let account = account.lock().unwrap();
    let balance = 100 - account.charges.values().sum::<i64>() + account.credit;
    assert!(balance <= 100, "the customer had 100, bought something, and has {balance}");
}

#[test]
fn a_refund_of_a_charge_that_never_ran_gives_money_away() {
    assert_found(
        &explore(false, scenario),
        "shop>payments/payments.charge#1=connect-fails",
        "the customer had 100, bought something, and has 110",
    );
}

#[test]
fn a_refund_that_names_its_charge_passes() {
    assert_passes(&explore(true, scenario));
}

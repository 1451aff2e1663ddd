//! A shop that counts its sales in the loop that tries them again.

use std::collections::BTreeSet;
use std::sync::Arc;

use rr_core::{CallError, Error, HandlerExt, RequesterExt, Service};
use rr_testkit::worlds::{Network, NetworkClient};

use super::support::{Kept, assert_found, assert_passes, explore, settle, within};

#[derive(Default)]
struct Stock {
    taken: Kept<BTreeSet<u32>>,
}

impl Stock {
    async fn take(self: Arc<Self>, order: u32) -> Result<(), Error> {
        self.taken.lock().unwrap().insert(order);
        Ok(())
    }
}

struct Shop {
    stock: NetworkClient,
    sales: u32,
    is_right: bool,
}

impl Shop {
    async fn sell(&mut self, order: u32) -> Result<(), CallError> {
        let mut outcome = Ok(());
        for _ in 0..3 {
            if !self.is_right {
                self.sales += 1;
            }
            outcome = self.stock.call::<()>(&within(1), "stock.take", &order).idempotent().await;
            if outcome.is_ok() {
                break;
            }
        }
        if self.is_right && outcome.is_ok() {
            self.sales += 1;
        }
        outcome
    }
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    let stock = Arc::new(Stock::default());
    let taken = Arc::clone(&stock.taken);
    network.serve("stock", move || {
        Service::new("stock", Arc::clone(&stock)).method("take", Stock::take.idempotent())
    });
    let mut shop = Shop { stock: network.client("shop", "stock"), sales: 0, is_right };

    for order in [7, 8] {
        let _ = shop.sell(order).await;
    }
    settle(&network).await;

    let (sales, taken) = (shop.sales, taken.lock().unwrap().len());
    assert!(sales as usize <= taken, "{sales} sales are counted, and {taken} pieces were taken");
}

#[test]
fn sales_that_are_counted_at_each_attempt_are_too_many() {
    assert_found(
        &explore(false, scenario),
        "shop>stock/stock.take#1=connect-fails",
        "3 sales are counted, and 2 pieces were taken",
    );
}

#[test]
fn sales_that_are_counted_once_pass() {
    assert_passes(&explore(true, scenario));
}

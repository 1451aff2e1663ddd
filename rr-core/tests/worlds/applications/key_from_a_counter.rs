//! A shop whose idempotency keys are the numbers of a counter, which begins anew after a crash.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rr_core::{Code, Context, Error, Idempotency, IdempotencyKey, RequesterExt, Service};
use rr_testkit::worlds::{Network, NetworkClient};

use super::support::{Kept, assert_found, assert_passes, explore, within};

/// Payments that charge once for each key.
#[derive(Default)]
struct Payments {
    charges: Kept<BTreeMap<String, u32>>,
}

impl Payments {
    async fn charge(self: Arc<Self>, ctx: Context, order: u32) -> Result<(), Error> {
        let Idempotency::Keyed(key) = ctx.request().idempotency() else {
            return Err(Error::new(Code::InvalidArgument, "a charge needs a key"));
        };
        self.charges.lock().unwrap().entry(key.as_str().to_owned()).or_insert(order);
        Ok(())
    }
}

struct Shop {
    payments: NetworkClient,
    next: AtomicU32,
    is_right: bool,
}

impl Shop {
    async fn place(self: Arc<Self>, ctx: Context, order: u32) -> Result<(), Error> {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let key = if self.is_right { format!("order-{order}") } else { number.to_string() };
        let key = IdempotencyKey::new(&key)?;
        Ok(self.payments.call::<()>(&ctx, "payments.charge", &order).keyed(key).await?)
    }
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    let payments = Arc::new(Payments::default());
    let charges = Arc::clone(&payments.charges);
    network.serve("payments", move || {
        Service::new("payments", Arc::clone(&payments)).method("charge", Payments::charge)
    });
    let payments = network.client("shop", "payments");
    network.serve("shop", move || {
        let shop = Shop { payments: payments.clone(), next: AtomicU32::new(1), is_right };
        Service::new("shop", Arc::new(shop)).method("place", Shop::place)
    });

    let user = network.client("user", "shop");
    for (order, attempts) in [(7, 2), (8, 1)] {
        for _ in 0..attempts {
            if user.call::<()>(&within(5), "shop.place", &order).await.is_ok() {
                let is_charged = charges.lock().unwrap().values().any(|charged| *charged == order);
                assert!(is_charged, "order {order} is confirmed, and was never charged");
                break;
            }
        }
    }
}

#[test]
fn a_counter_that_begins_anew_takes_a_new_order_for_an_old_one() {
    assert_found(
        &explore(false, scenario),
        "shop>payments/payments.charge#1=crashed-on-reply",
        "order 8 is confirmed, and was never charged",
    );
}

#[test]
fn keys_of_the_orders_pass() {
    assert_passes(&explore(true, scenario));
}

//! Payments at two instances, each of which remembers the keys that it has seen itself.

use std::sync::Arc;

use rr_core::dedup::Deduplicate;
use rr_core::retry::{Retry, RetryConfig};
use rr_core::{Error, IdempotencyKey, RequesterExt, Service, Stack};
use rr_testkit::worlds::Network;

use super::support::{Kept, assert_found, assert_passes, explore, settle, within};

struct Payments {
    charges: Kept<Vec<u32>>,
}

impl Payments {
    async fn charge(self: Arc<Self>, order: u32) -> Result<(), Error> {
        self.charges.lock().unwrap().push(order);
        Ok(())
    }
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    let charges = Kept::default();
    let payments = Arc::new(Payments { charges: Arc::clone(&charges) });
    let of_all = Deduplicate::in_process();
    network.serve_instances("payments", 2, move || {
        let of_instance = Deduplicate::in_process();
        let once = if is_right { of_all.clone() } else { of_instance };
        Service::new("payments", Arc::clone(&payments))
            .method("charge", Payments::charge)
            .with(once)
    });

    let config = RetryConfig::default().with_deduplicates(true);
    let shop = Stack::new(network.client("shop", "payments")).with(Retry::with_config(config));
    let key = IdempotencyKey::new("order-7").unwrap();
    let _ = shop.call::<()>(&within(5), "payments.charge", &7).keyed(key).await;
    settle(&network).await;

    let charged = charges.lock().unwrap().len();
    assert!(charged <= 1, "order 7 was charged {charged} times");
}

#[test]
fn a_retry_that_reaches_the_other_instance_charges_again() {
    assert_found(
        &explore(false, scenario),
        "shop>payments/payments.charge#1=broken-after",
        "order 7 was charged 2 times",
    );
}

#[test]
fn instances_that_share_a_store_pass() {
    assert_passes(&explore(true, scenario));
}

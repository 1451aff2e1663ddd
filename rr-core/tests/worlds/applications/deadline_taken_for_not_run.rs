//! A kitchen that orders at a second supplier when the first one does not reply in time.

use std::sync::Arc;

use rr_core::dedup::Deduplicate;
use rr_core::{Code, Delivery, Error, IdempotencyKey, RequesterExt, Service};
use rr_testkit::worlds::{Network, NetworkClient};

use super::support::{Kept, assert_found, assert_passes, explore, settle, within};

/// Suppliers who deliver to the same kitchen.
struct Supplier {
    delivered: Kept<Vec<&'static str>>,
    name: &'static str,
}

impl Supplier {
    async fn deliver(self: Arc<Self>, _item: String) -> Result<(), Error> {
        self.delivered.lock().unwrap().push(self.name);
        Ok(())
    }
}

async fn order(suppliers: [NetworkClient; 2], is_right: bool) -> Result<(), Error> {
    let [first, second] = suppliers;
    let key = IdempotencyKey::new("fish-of-friday")?;
    let ctx = within(2);
    let ordered = first.call::<()>(&ctx, "supplier.deliver", "fish").keyed(key.clone()).await;
    let Err(error) = ordered.map_err(Error::from) else { return Ok(()) };
    let did_not_run = matches!(error.delivery(), Delivery::NotSent | Delivery::Rejected);
    if did_not_run || (!is_right && error.code() == Code::DeadlineExceeded) {
        second.call::<()>(&within(2), "supplier.deliver", "fish").keyed(key).await?;
        return Ok(());
    }
    Err(error)
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    let delivered = Kept::default();
    for name in ["near", "far"] {
        let supplier = Arc::new(Supplier { delivered: Arc::clone(&delivered), name });
        let once = Deduplicate::in_process();
        network.serve(name, move || {
            let service = Service::new("supplier", Arc::clone(&supplier));
            service.method("deliver", Supplier::deliver).with(once.clone())
        });
    }

    let suppliers = ["near", "far"].map(|to| network.client("kitchen", to));
    let ordered = order(suppliers, is_right).await;
    settle(&network).await;

    let delivered = delivered.lock().unwrap();
    assert!(delivered.len() <= 1, "fish came from {}", delivered.join(" and "));
    assert!(ordered.is_err() || !delivered.is_empty(), "fish was ordered, and never came");
}

#[test]
fn a_deadline_that_is_taken_for_not_run_orders_twice() {
    assert_found(
        &explore(false, scenario),
        "kitchen>near/supplier.deliver#1=reply-lost",
        "fish came from near and far",
    );
}

#[test]
fn a_second_supplier_only_when_the_first_did_not_run_passes() {
    assert_passes(&explore(true, scenario));
}

//! A bakery that orders flour again whenever the reply does not arrive: each order is a delivery.

use std::sync::Arc;

use rr_core::dedup::Deduplicate;
use rr_core::{CallError, Context, Error, IdempotencyKey, RequesterExt, Service, recommended};
use rr_testkit::worlds::{Network, NetworkClient};

use super::support::{Kept, assert_found, assert_passes, explore, settle, within};

struct Mill {
    delivered: Kept<u32>,
}

impl Mill {
    async fn deliver(self: Arc<Self>, sacks: u32) -> Result<(), Error> {
        *self.delivered.lock().unwrap() += sacks;
        Ok(())
    }
}

/// Tries three times, whatever the error says.
async fn order_by_hand(mill: &NetworkClient, ctx: &Context) -> Result<(), CallError> {
    let mut outcome = Ok(());
    for _ in 0..3 {
        outcome = mill.call::<()>(ctx, "mill.deliver", &10).await;
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Repeats only what did not run, or what the mill recognises by its key.
async fn order_by_key(mill: &NetworkClient, ctx: &Context) -> Result<(), CallError> {
    let key = IdempotencyKey::new("week-49")?;
    recommended(mill.clone()).call::<()>(ctx, "mill.deliver", &10).keyed(key).await
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    let delivered = Kept::default();
    let mill = Arc::new(Mill { delivered: Arc::clone(&delivered) });
    let once = Deduplicate::in_process();
    network.serve("mill", move || {
        let service = Service::new("mill", Arc::clone(&mill)).method("deliver", Mill::deliver);
        service.with(once.clone())
    });

    let (mill, ctx) = (network.client("bakery", "mill"), within(5));
    let _ = match is_right {
        false => order_by_hand(&mill, &ctx).await,
        true => order_by_key(&mill, &ctx).await,
    };
    settle(&network).await;

    let sacks = *delivered.lock().unwrap();
    assert!(sacks <= 10, "10 sacks were ordered, and {sacks} were delivered");
}

#[test]
fn a_retry_by_hand_delivers_twice() {
    assert_found(
        &explore(false, scenario),
        "bakery>mill/mill.deliver#1=broken-after",
        "10 sacks were ordered, and 20 were delivered",
    );
}

#[test]
fn a_retry_with_a_key_passes() {
    assert_passes(&explore(true, scenario));
}

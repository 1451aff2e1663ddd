//! A shop that remembers in memory which coupons were used.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use rr_core::{Code, Error, RequesterExt, Service};
use rr_testkit::worlds::Network;

use super::support::{Kept, assert_found, assert_passes, explore, settle, within};

struct Shop {
    used: Arc<Mutex<BTreeSet<u32>>>,
    /// Credit of the customer, in the database.
    credit: Kept<u32>,
}

impl Shop {
    async fn redeem(self: Arc<Self>, coupon: u32) -> Result<(), Error> {
        if !self.used.lock().unwrap().insert(coupon) {
            return Err(Error::new(Code::FailedPrecondition, "the coupon was used before"));
        }
        *self.credit.lock().unwrap() += 10;
        Ok(())
    }
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    let credit = Kept::default();
    let kept = (Kept::default(), Arc::clone(&credit));
    network.serve("shop", move || {
        let used = if is_right { Arc::clone(&kept.0) } else { Arc::default() };
        let shop = Arc::new(Shop { used, credit: Arc::clone(&kept.1) });
        Service::new("shop", shop).method("redeem", Shop::redeem)
    });

    let user = network.client("user", "shop");
    for _ in 0..2 {
        let _ = user.call::<()>(&within(5), "shop.redeem", &7).await;
    }
    settle(&network).await;

    let credit = *credit.lock().unwrap();
    assert!(credit <= 10, "one coupon of 10 gave a credit of {credit}");
}

#[test]
fn a_coupon_is_used_again_after_a_crash() {
    assert_found(
        &explore(false, scenario),
        "user>shop/shop.redeem#1=crashed",
        "one coupon of 10 gave a credit of 20",
    );
}

#[test]
fn a_coupon_that_the_database_remembers_passes() {
    assert_passes(&explore(true, scenario));
}

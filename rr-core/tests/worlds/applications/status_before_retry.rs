//! A shop that asks whether a charge was made before it charges again. Over HTTP a handler has ended
//! when its caller has lost it; over NATS the first charge may still be on its way.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rr_core::{Error, HandlerExt, RequesterExt, Service};
use rr_testkit::worlds::{Network, NetworkClient, Profile, Worlds, WorldsReport};
use tokio::time::sleep;

use super::support::{Kept, assert_found, assert_passes, settle, within};

#[derive(Default)]
struct Payments {
    /// Requests that have arrived, by order and attempt: a duplicate is recognised.
    arrived: Kept<BTreeSet<(u32, u32)>>,
    charges: Kept<Vec<u32>>,
    is_right: bool,
}

impl Payments {
    async fn charge(self: Arc<Self>, (order, attempt): (u32, u32)) -> Result<(), Error> {
        if !self.arrived.lock().unwrap().insert((order, attempt)) {
            return Ok(());
        }
        // The bank takes its time.
        sleep(Duration::from_millis(50)).await;
        let mut charges = self.charges.lock().unwrap();
        if !(self.is_right && charges.contains(&order)) {
            charges.push(order);
        }
        Ok(())
    }

    async fn is_charged(self: Arc<Self>, order: u32) -> Result<bool, Error> {
        Ok(self.charges.lock().unwrap().contains(&order))
    }
}

async fn pay(payments: &NetworkClient) {
    for attempt in 0..2 {
        let ctx = within(1);
        if payments.call::<()>(&ctx, "payments.charge", &(7, attempt)).await.is_ok() {
            return;
        }
        let charged = payments.call::<bool>(&within(1), "payments.is_charged", &7).safe().await;
        if !matches!(charged, Ok(false)) {
            return;
        }
    }
}

fn explored(profile: Profile, is_right: bool) -> WorldsReport {
    Worlds::up_to(2).run(move |network: Network| async move {
        let payments = Arc::new(Payments { is_right, ..Payments::default() });
        let charges = Arc::clone(&payments.charges);
        network.set_profile("payments", profile);
        network.serve("payments", move || {
            Service::new("payments", Arc::clone(&payments))
                .method("charge", Payments::charge)
                .method("is_charged", Payments::is_charged.safe())
        });
        pay(&network.client("shop", "payments")).await;
        settle(&network).await;

        let charged = charges.lock().unwrap().len();
        assert!(charged <= 1, "order 7 was charged {charged} times");
    })
}

#[test]
fn a_charge_that_is_still_on_its_way_over_nats_is_made_twice() {
    let wrong = "order 7 was charged 2 times";
    assert_found(&explored(Profile::Nats, false), "shop>payments/payments.charge#1=late", wrong);
}

#[test]
fn a_charge_over_http_has_ended_when_its_caller_has_lost_it() {
    assert_passes(&explored(Profile::Http1, false));
    assert_passes(&explored(Profile::Http2, false));
}

#[test]
fn payments_that_charge_an_order_once_pass_over_nats() {
    assert_passes(&explored(Profile::Nats, true));
}

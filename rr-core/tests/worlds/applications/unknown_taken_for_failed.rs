//! A shop that does not know whether a charge ran, asks, gets no answer, and says that it failed.

use std::collections::BTreeSet;
use std::sync::Arc;

use rr_core::{CallError, Code, Delivery, Error, HandlerExt, RequesterExt, Service};
use rr_testkit::worlds::{Network, NetworkClient};

use super::support::{Kept, assert_found, assert_passes, explore, settle, within};

#[derive(Default)]
struct Payments {
    charged: Kept<BTreeSet<u32>>,
    closed: Kept<BTreeSet<u32>>,
}

impl Payments {
    async fn charge(self: Arc<Self>, order: u32) -> Result<(), Error> {
        if self.closed.lock().unwrap().contains(&order) {
            return Err(Error::new(Code::FailedPrecondition, "the order is closed"));
        }
        self.charged.lock().unwrap().insert(order);
        Ok(())
    }

    /// Returns whether an order was charged. A charge that arrives later is refused.
    async fn close(self: Arc<Self>, order: u32) -> Result<bool, Error> {
        self.closed.lock().unwrap().insert(order);
        Ok(self.charged.lock().unwrap().contains(&order))
    }
}

#[derive(PartialEq)]
enum Payment {
    Paid,
    Failed,
    /// To be asked for later.
    Open,
}

async fn pay(payments: &NetworkClient, order: u32, is_right: bool) -> Payment {
    let charge = payments.call::<()>(&within(1), "payments.charge", &order).await;
    match charge.map_err(Error::from) {
        Ok(()) => return Payment::Paid,
        Err(error) if error.delivery() != Delivery::Unknown => return Payment::Failed,
        Err(_) => {}
    }
    match payments.call::<bool>(&within(1), "payments.close", &order).idempotent().await {
        Ok(true) => Payment::Paid,
        Ok(false) => Payment::Failed,
        Err(CallError::App(never)) => match never {},
        Err(CallError::Rr(_)) if is_right => Payment::Open,
        Err(CallError::Rr(_)) => Payment::Failed,
    }
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    let payments = Arc::new(Payments::default());
    let charged = Arc::clone(&payments.charged);
    network.serve("payments", move || {
        Service::new("payments", Arc::clone(&payments))
            .method("charge", Payments::charge)
            .method("close", Payments::close.idempotent())
    });

    let payment = pay(&network.client("shop", "payments"), 7, is_right).await;
    settle(&network).await;

    let is_charged = charged.lock().unwrap().contains(&7);
    assert!(payment != Payment::Failed || !is_charged, "the payment failed, and was charged");
    assert!(payment != Payment::Paid || is_charged, "the order is paid, and was not charged");
}

#[test]
fn a_charge_that_nobody_can_confirm_is_taken_for_failed() {
    assert_found(
        &explore(false, scenario),
        "shop>payments/payments.charge#1=reply-lost,shop>payments/payments.close#1=connect-fails",
        "the payment failed, and was charged",
    );
}

#[test]
fn a_payment_that_stays_open_passes() {
    assert_passes(&explore(true, scenario));
}

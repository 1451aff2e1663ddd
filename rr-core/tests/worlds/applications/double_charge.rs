//! A shop that charges again with another key when it does not know whether the first charge ran.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_core::{Code, Context, Error, IdempotencyKey, RequesterExt, Router};
use rr_testkit::worlds::{Network, NetworkClient};

use super::support::{assert_found, assert_passes, explore, settle, within};

/// Keys of the charges that were made.
type Ledger = Arc<Mutex<BTreeSet<String>>>;

fn payments(ledger: &Ledger) -> Router {
    let ledger = Arc::clone(ledger);
    Router::new().route("payments.charge", move |key: String| {
        let ledger = Arc::clone(&ledger);
        async move {
            ledger.lock().unwrap().insert(key);
            Ok::<_, Error>(())
        }
    })
}

/// Places orders: charges once, and once more if the first charge may not have run.
fn shop(payments: &NetworkClient, is_right: bool) -> Router {
    let payments = payments.clone();
    Router::new().route("shop.place", move |ctx: Context, order: u32| {
        let payments = payments.clone();
        async move {
            let mut outcome = Ok(());
            for attempt in 0..2 {
                let key = if is_right { format!("{order}") } else { format!("{order}-{attempt}") };
                let charge = ctx.with_timeout(Duration::from_secs(1));
                let name = IdempotencyKey::new(&key)?;
                outcome = payments.call::<()>(&charge, "payments.charge", &key).keyed(name).await;
                if outcome.is_ok() {
                    return Ok(());
                }
            }
            outcome.map_err(|error| Error::new(Code::Unavailable, format!("not charged: {error}")))
        }
    })
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    let ledger = Ledger::default();
    let kept = Arc::clone(&ledger);
    network.serve("payments", move || payments(&kept));
    let client = network.client("shop", "payments");
    network.serve("shop", move || shop(&client, is_right));
    let _ = network.client("user", "shop").call::<()>(&within(5), "shop.place", &17).await;
    settle(&network).await;
    let charges = ledger.lock().unwrap().len();
    assert!(charges <= 1, "order 17 was charged {charges} times");
}

#[test]
fn a_new_key_for_each_attempt_charges_twice_when_one_reply_is_lost() {
    assert_found(
        &explore(false, scenario),
        "shop>payments/payments.charge#1=reply-lost",
        "order 17 was charged 2 times",
    );
}

#[test]
fn one_key_for_each_order_passes_every_world() {
    assert_passes(&explore(true, scenario));
}

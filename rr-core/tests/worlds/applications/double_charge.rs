//! A shop that charges again with another key when it does not know whether the first charge ran.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_core::{Code, Context, Error, IdempotencyKey, RequesterExt, Router};
use rr_testkit::worlds::{Network, NetworkClient, Worlds};

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

fn worlds(faults: usize, is_right: bool) -> rr_testkit::worlds::WorldsReport {
    Worlds::up_to(faults).run(move |network: Network| async move {
        let ledger = Ledger::default();
        let kept = Arc::clone(&ledger);
        network.serve("payments", move || payments(&kept));
        let client = network.client("shop", "payments");
        network.serve("shop", move || shop(&client, is_right));
        let ctx = Context::background().with_timeout(Duration::from_secs(5));
        let _ = network.client("user", "shop").call::<()>(&ctx, "shop.place", &17).await;
        network.settle(Duration::from_secs(60)).await;
        let charges = ledger.lock().unwrap().len();
        assert!(charges <= 1, "order 17 was charged {charges} times");
    })
}

#[test]
fn a_new_key_for_each_attempt_charges_twice_when_one_reply_is_lost() {
    let report = worlds(2, false);
    let counterexample = report.counterexample().expect("the mistake is found");
    assert_eq!(counterexample.script().to_string(), "shop>payments/payments.charge#1=reply-lost");
    assert_eq!(counterexample.wrong(), "order 17 was charged 2 times");
}

#[test]
fn one_key_for_each_order_passes_every_world() {
    let report = worlds(2, true);
    assert!(report.is_complete(), "{report}");
    assert_eq!(report.unfired(), 0);
    println!("{report}");
}

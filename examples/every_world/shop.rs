//! A shop that charges for orders, and the promise that it charges once.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rr_core::{Code, Context, Error, IdempotencyKey, RequesterExt, Router};
use rr_testkit::worlds::{Network, NetworkClient};

/// How the shop names a charge, by order and attempt.
pub(crate) type Naming = fn(u32, u32) -> String;

/// The mistake: another key for each attempt, so that payments cannot recognise the second one.
pub(crate) fn a_key_for_each_attempt(order: u32, attempt: u32) -> String {
    format!("order-{order}-attempt-{attempt}")
}

/// The remedy: one key for each order.
pub(crate) fn a_key_for_each_order(order: u32, _attempt: u32) -> String {
    format!("order-{order}")
}

/// The keys of all charges that were made.
#[derive(Clone, Default)]
struct Charges(Arc<Mutex<BTreeSet<String>>>);

impl Charges {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Charges once for each key.
fn payments(charges: &Charges) -> Router {
    let charges = charges.clone();
    Router::new().route("payments.charge", move |key: String| {
        charges.lock().insert(key);
        async { Ok::<_, Error>(()) }
    })
}

/// Places an order: tries to charge three times, a second for each try.
fn shop(payments: &NetworkClient, naming: Naming) -> Router {
    let payments = payments.clone();
    Router::new().route("shop.place", move |ctx: Context, order: u32| {
        let payments = payments.clone();
        async move {
            for attempt in 1..=3 {
                let key = naming(order, attempt);
                let ctx = ctx.with_timeout(Duration::from_secs(1));
                let charge = payments.call::<()>(&ctx, "payments.charge", &key);
                if charge.keyed(IdempotencyKey::new(&key)?).await.is_ok() {
                    return Ok(());
                }
            }
            Err(Error::new(Code::Unavailable, "payments does not answer"))
        }
    })
}

/// A user orders once. Whatever the network does, the order is charged at most once.
pub(crate) async fn one_order(network: Network, naming: Naming) {
    let charges = Charges::default();
    let kept = charges.clone();
    network.serve("payments", move || payments(&kept));
    let client = network.client("shop", "payments");
    network.serve("shop", move || shop(&client, naming));

    let ctx = Context::background().with_timeout(Duration::from_secs(5));
    let _ = network.client("user", "shop").call::<()>(&ctx, "shop.place", &17).await;

    let charged = charges.lock().len();
    assert!(charged <= 1, "order 17 was charged {charged} times");
}

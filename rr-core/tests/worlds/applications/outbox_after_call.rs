//! A shop that writes a mail into its outbox only when the mail could not be sent.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rr_core::{Context, Error, HandlerExt, RequesterExt, Service};
use rr_testkit::worlds::{Network, NetworkClient};
use tokio::time::sleep;

use super::support::{Kept, assert_found, assert_passes, explore, settle, within};

#[derive(Default)]
struct Mail {
    sent: Kept<BTreeSet<u32>>,
}

impl Mail {
    async fn send(self: Arc<Self>, order: u32) -> Result<(), Error> {
        self.sent.lock().unwrap().insert(order);
        Ok(())
    }
}

#[derive(Default)]
struct Database {
    orders: BTreeSet<u32>,
    outbox: BTreeSet<u32>,
}

struct Shop {
    mail: NetworkClient,
    database: Kept<Database>,
    is_right: bool,
}

impl Shop {
    async fn place(self: Arc<Self>, ctx: Context, order: u32) -> Result<(), Error> {
        if self.is_right {
            self.database.lock().unwrap().outbox.insert(order);
        }
        self.database.lock().unwrap().orders.insert(order);
        let sent = self.mail.call::<()>(&ctx, "mail.send", &order).idempotent().await.is_ok();
        let outbox = &mut self.database.lock().unwrap().outbox;
        let _ = if sent { outbox.remove(&order) } else { outbox.insert(order) };
        Ok(())
    }
}

/// Sends what is in the outbox until it is empty.
async fn work(mail: NetworkClient, database: &Kept<Database>) {
    while let Some(order) = { database.lock().unwrap().outbox.first().copied() } {
        if mail.call::<()>(&within(1), "mail.send", &order).idempotent().await.is_ok() {
            database.lock().unwrap().outbox.remove(&order);
        } else {
            sleep(Duration::from_secs(1)).await;
        }
    }
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    let mail = Arc::new(Mail::default());
    let sent = Arc::clone(&mail.sent);
    network.serve("mail", move || {
        Service::new("mail", Arc::clone(&mail)).method("send", Mail::send.idempotent())
    });
    let database = Kept::<Database>::default();
    let client = network.client("shop", "mail");
    let shop = Arc::new(Shop { mail: client, database: Arc::clone(&database), is_right });
    network.serve("shop", move || {
        Service::new("shop", Arc::clone(&shop)).method("place", Shop::place)
    });

    let _ = network.client("user", "shop").call::<()>(&within(5), "shop.place", &7).await;
    settle(&network).await;
    work(network.client("worker", "mail"), &database).await;

    let without_mail = &database.lock().unwrap().orders - &*sent.lock().unwrap();
    assert!(without_mail.is_empty(), "order 7 is placed, and its mail was never sent");
}

#[test]
fn a_mail_that_is_in_no_outbox_when_the_handler_ends_is_never_sent() {
    assert_found(
        &explore(false, scenario),
        "user>shop/shop.place#1=broken-within",
        "order 7 is placed, and its mail was never sent",
    );
}

#[test]
fn a_mail_that_is_in_the_outbox_before_it_is_sent_passes() {
    assert_passes(&explore(true, scenario));
}

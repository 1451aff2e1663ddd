//! An inbox that confirms a message and stores it afterwards.

use std::collections::BTreeSet;
use std::sync::Arc;

use rr_core::{Context, Error, HandlerExt, RequesterExt, Service};
use rr_testkit::worlds::{Network, NetworkClient};

use super::support::{Kept, assert_found, assert_passes, explore, settle, within};

#[derive(Default)]
struct Store {
    messages: Kept<BTreeSet<u32>>,
}

impl Store {
    async fn put(self: Arc<Self>, message: u32) -> Result<(), Error> {
        self.messages.lock().unwrap().insert(message);
        Ok(())
    }
}

struct Inbox {
    store: NetworkClient,
    is_right: bool,
}

impl Inbox {
    async fn post(self: Arc<Self>, ctx: Context, message: u32) -> Result<(), Error> {
        if self.is_right {
            return Ok(self.store.call::<()>(&ctx, "store.put", &message).idempotent().await?);
        }
        let store = self.store.clone().for_background_work();
        tokio::spawn(async move {
            let _ = store.call::<()>(&within(5), "store.put", &message).idempotent().await;
        });
        Ok(())
    }
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    let store = Arc::new(Store::default());
    let messages = Arc::clone(&store.messages);
    network.serve("store", move || {
        Service::new("store", Arc::clone(&store)).method("put", Store::put.idempotent())
    });
    let inbox = Arc::new(Inbox { store: network.client("inbox", "store"), is_right });
    network.serve("inbox", move || {
        Service::new("inbox", Arc::clone(&inbox)).method("post", Inbox::post)
    });

    let posted = network.client("user", "inbox").call::<()>(&within(5), "inbox.post", &7).await;
    settle(&network).await;

    let is_stored = messages.lock().unwrap().contains(&7);
    assert!(posted.is_err() || is_stored, "message 7 was confirmed, and is not stored");
}

#[test]
fn a_message_that_is_confirmed_first_is_not_stored() {
    assert_found(
        &explore(false, scenario),
        "inbox>store/store.put#1=connect-fails",
        "message 7 was confirmed, and is not stored",
    );
}

#[test]
fn a_message_that_is_stored_first_passes() {
    assert_passes(&explore(true, scenario));
}

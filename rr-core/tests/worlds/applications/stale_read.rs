//! A store that confirms a write which its replica has missed, and reads the replica after a failover.

use std::sync::Arc;

use rr_core::{CallError, Error, HandlerExt, RequesterExt, Service};
use rr_testkit::worlds::{Network, NetworkClient};

use super::support::{Kept, assert_found, assert_passes, explore, within};

#[derive(Default)]
struct Replica {
    value: Kept<u32>,
}

impl Replica {
    async fn put(self: Arc<Self>, value: u32) -> Result<(), Error> {
        *self.value.lock().unwrap() = value;
        Ok(())
    }

    async fn get(self: Arc<Self>, (): ()) -> Result<u32, Error> {
        Ok(*self.value.lock().unwrap())
    }
}

fn serve(network: &Network, name: &'static str) -> NetworkClient {
    let replica = Arc::new(Replica::default());
    network.serve(name, move || {
        Service::new("store", Arc::clone(&replica))
            .method("put", Replica::put.idempotent())
            .method("get", Replica::get.safe())
    });
    network.client("app", name)
}

struct Store {
    primary: NetworkClient,
    replica: NetworkClient,
    is_right: bool,
}

impl Store {
    async fn put(&self, value: u32) -> Result<(), CallError> {
        self.primary.call::<()>(&within(1), "store.put", &value).idempotent().await?;
        let copied = self.replica.call::<()>(&within(1), "store.put", &value).idempotent().await;
        if self.is_right { copied } else { Ok(()) }
    }

    async fn get(&self) -> Result<u32, CallError> {
        match self.primary.call::<u32>(&within(1), "store.get", &()).safe().await {
            Ok(value) => Ok(value),
            Err(_) => self.replica.call::<u32>(&within(1), "store.get", &()).safe().await,
        }
    }
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    let (primary, replica) = (serve(&network, "primary"), serve(&network, "replica"));
    let store = Store { primary, replica, is_right };

    if store.put(1).await.is_err() {
        return;
    }
    if let Ok(value) = store.get().await {
        assert!(value == 1, "the write of 1 was confirmed, and {value} was read");
    }
}

#[test]
fn a_write_that_the_replica_has_missed_is_not_seen_after_a_failover() {
    assert_found(
        &explore(false, scenario),
        "app>replica/store.put#1=connect-fails,app>primary/store.get#1=connect-fails",
        "the write of 1 was confirmed, and 0 was read",
    );
}

#[test]
fn a_write_that_both_have_passes() {
    assert_passes(&explore(true, scenario));
}

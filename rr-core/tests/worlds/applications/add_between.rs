//! An account with a method that adds, and an audit that reads the balance, rounds it, and writes it
//! back: an addition between the read and the write is lost.

use std::sync::Arc;

use rr_core::{CallError, Code, Error, HandlerExt, RequesterExt, Service};
use rr_testkit::worlds::{Network, NetworkClient, Worlds, WorldsReport};

use super::support::{Kept, assert_found, settle, within};

struct Account {
    /// Amount and version.
    balance: Kept<(u32, u32)>,
    is_right: bool,
}

impl Account {
    async fn add(self: Arc<Self>, amount: u32) -> Result<(), Error> {
        let mut balance = self.balance.lock().unwrap();
        *balance = (balance.0 + amount, balance.1 + 1);
        Ok(())
    }

    async fn read(self: Arc<Self>, (): ()) -> Result<(u32, u32), Error> {
        Ok(*self.balance.lock().unwrap())
    }

    async fn write(self: Arc<Self>, (amount, version): (u32, u32)) -> Result<(), Error> {
        let mut balance = self.balance.lock().unwrap();
        if self.is_right && balance.1 != version {
            return Err(Error::new(Code::Aborted, "the balance has changed"));
        }
        *balance = (amount, version + 1);
        Ok(())
    }
}

/// Rounds the balance up to the next ten.
async fn round(account: &NetworkClient) -> Result<(), CallError> {
    loop {
        let (amount, version): (u32, u32) =
            account.call(&within(10), "account.read", &()).safe().await?;
        let rounded = (amount.next_multiple_of(10), version);
        match account.call::<()>(&within(10), "account.write", &rounded).await {
            Err(CallError::Rr(error)) if error.code() == Code::Aborted => {}
            outcome => return outcome,
        }
    }
}

async fn scenario(network: Network, is_right: bool) {
    let balance = Kept::default();
    let account = Arc::new(Account { balance: Arc::clone(&balance), is_right });
    network.serve("account", move || {
        Service::new("account", Arc::clone(&account))
            .method("add", Account::add)
            .method("read", Account::read.safe())
            .method("write", Account::write)
    });
    let [teller, audit] = ["teller", "audit"].map(|from| network.client(from, "account"));
    let ctx = within(10);
    let adding = async { teller.call::<()>(&ctx, "account.add", &7).await };
    let (added, _) = tokio::join!(biased; adding, round(&audit));
    settle(&network).await;
    let amount = balance.lock().unwrap().0;
    assert!(added.is_err() || amount >= 7, "7 were added, and {amount} are there");
}

fn explore(worlds: Worlds, is_right: bool) -> WorldsReport {
    worlds.run(move |network| scenario(network, is_right))
}

#[test]
fn an_addition_between_a_read_and_a_write_is_lost_in_another_order_and_by_no_fault() {
    let without = explore(Worlds::up_to(1), false);
    assert!(without.is_complete(), "{without}");
    assert_found(
        &explore(Worlds::up_to(1).with_orders(), false),
        "teller>account/account.add#1=overtaken",
        "7 were added, and 0 are there",
    );
}

#[test]
fn a_write_of_the_version_that_was_read_passes_in_every_order() {
    let report = explore(Worlds::up_to(2).with_orders(), true);
    assert!(report.is_complete(), "{report}");
}

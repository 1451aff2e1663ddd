//! Two tellers that read a balance, add to it, and write it back, without a version.

use std::sync::Arc;
use std::time::Duration;

use rr_core::{CallError, Code, Error, HandlerExt, RequesterExt, Service};
use rr_testkit::worlds::{Network, NetworkClient};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::support::{Kept, assert_found, assert_passes, explore, settle, within};

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Balance {
    amount: u32,
    version: u32,
}

struct Accounts {
    balance: Kept<Balance>,
    is_right: bool,
}

impl Accounts {
    async fn read(self: Arc<Self>, (): ()) -> Result<Balance, Error> {
        Ok(*self.balance.lock().unwrap())
    }

    async fn write(self: Arc<Self>, new: Balance) -> Result<(), Error> {
        let mut balance = self.balance.lock().unwrap();
        if self.is_right && balance.version != new.version {
            return Err(Error::new(Code::Aborted, "the balance has changed"));
        }
        *balance = Balance { version: new.version + 1, ..new };
        Ok(())
    }
}

async fn deposit(accounts: &NetworkClient) -> Result<(), CallError> {
    loop {
        let balance: Balance = accounts.call(&within(10), "accounts.read", &()).safe().await?;
        let new = Balance { amount: balance.amount + 10, ..balance };
        match accounts.call::<()>(&within(10), "accounts.write", &new).await {
            Err(CallError::Rr(error)) if error.code() == Code::Aborted => {}
            outcome => return outcome,
        }
    }
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    let accounts = Arc::new(Accounts { balance: Kept::default(), is_right });
    let balance = Arc::clone(&accounts.balance);
    network.serve("accounts", move || {
        Service::new("accounts", Arc::clone(&accounts))
            .method("read", Accounts::read.safe())
            .method("write", Accounts::write)
    });

    let [first, second] = ["first", "second"].map(|from| network.client(from, "accounts"));
    let later = async {
        sleep(Duration::from_secs(1)).await;
        deposit(&second).await
    };
    let outcomes: [_; 2] = tokio::join!(biased; deposit(&first), later).into();
    settle(&network).await;

    let confirmed = 10 * outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let amount = balance.lock().unwrap().amount;
    assert!(amount as usize >= confirmed, "{confirmed} were deposited, and {amount} are there");
}

#[test]
fn a_write_of_a_balance_that_was_read_long_ago_overwrites_the_other_deposit() {
    assert_found(
        &explore(false, scenario),
        "first>accounts/accounts.read#1=reply-delayed",
        "20 were deposited, and 10 are there",
    );
}

#[test]
fn a_write_that_names_the_version_it_read_passes() {
    assert_passes(&explore(true, scenario));
}

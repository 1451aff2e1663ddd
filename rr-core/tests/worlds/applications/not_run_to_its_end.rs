//! A bank that takes money from one account, calls the auditors, and then gives it to the other.

use std::sync::Arc;

use rr_core::{Context, Error, RequesterExt, Router, async_trait, service};
use rr_testkit::worlds::{Network, NetworkClient};

use super::support::{Kept, assert_found, assert_passes, explore, settle, within};

#[service("bank.v1")]
trait Transfers {
    /// Is dropped when its caller leaves.
    async fn transfer(&self, ctx: &Context, amount: u32) -> Result<(), Error>;

    #[rr(run_to_end)]
    async fn transfer_to_its_end(&self, ctx: &Context, amount: u32) -> Result<(), Error>;
}

struct Bank {
    auditors: NetworkClient,
    accounts: Kept<(u32, u32)>,
}

impl Bank {
    async fn move_money(&self, ctx: &Context, amount: u32) -> Result<(), Error> {
        self.accounts.lock().unwrap().0 -= amount;
        // The auditors need not answer.
        let _ = self.auditors.call::<()>(ctx, "auditors.note", &amount).await;
        self.accounts.lock().unwrap().1 += amount;
        Ok(())
    }
}

#[async_trait]
impl Transfers for Bank {
    async fn transfer(&self, ctx: &Context, amount: u32) -> Result<(), Error> {
        self.move_money(ctx, amount).await
    }

    async fn transfer_to_its_end(&self, ctx: &Context, amount: u32) -> Result<(), Error> {
        self.move_money(ctx, amount).await
    }
}

async fn note(_amount: u32) -> Result<(), Error> {
    Ok(())
}

async fn scenario(network: Network, is_right: bool) {
    network.serve("auditors", || Router::new().route("auditors.note", note));
    let accounts = Kept::new((100, 0).into());
    let auditors = network.client("bank", "auditors");
    let bank = Arc::new(Bank { auditors, accounts: Arc::clone(&accounts) });
    network.serve("bank", move || TransfersServer::new(Arc::clone(&bank)));

    let client = TransfersClient::new(network.client("user", "bank"));
    let _ = match is_right {
        false => client.transfer(&within(5), 10).await,
        true => client.transfer_to_its_end(&within(5), 10).await,
    };
    settle(&network).await;

    let (from, to) = *accounts.lock().unwrap();
    assert!(from + to == 100, "the accounts had 100 together, and have {}", from + to);
}

#[test]
fn a_transfer_that_is_dropped_in_the_middle_loses_money() {
    assert_found(
        &explore(false, scenario),
        "user>bank/bank.v1.transfer#1=broken-within",
        "the accounts had 100 together, and have 90",
    );
}

#[test]
fn a_transfer_that_runs_to_its_end_passes() {
    assert_passes(&explore(true, scenario));
}

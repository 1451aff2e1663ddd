//! A game that takes coins from one player, tells the ranking, and then gives them to the other.

use std::sync::{Arc, Mutex};

use rr_core::{Context, Error, RequesterExt, Router, async_trait, service};
use rr_testkit::worlds::{Network, NetworkClient};

use super::support::{Kept, assert_found, assert_passes, explore, settle, within};

#[service("game.v1")]
trait Trades {
    /// Is dropped when its caller leaves.
    async fn trade(&self, ctx: &Context, amount: u32) -> Result<(), Error>;

    #[rr(run_to_end)]
    async fn trade_to_its_end(&self, ctx: &Context, amount: u32) -> Result<(), Error>;
}

/// Coins of the two players, in memory: after a crash they begin anew.
type Coins = Arc<Mutex<(u32, u32)>>;

struct Game {
    ranking: NetworkClient,
    coins: Coins,
}

impl Game {
    async fn move_coins(&self, ctx: &Context, amount: u32) -> Result<(), Error> {
        self.coins.lock().unwrap().0 -= amount;
        // The ranking need not answer.
        let _ = self.ranking.call::<()>(ctx, "ranking.note", &amount).await;
        self.coins.lock().unwrap().1 += amount;
        Ok(())
    }
}

#[async_trait]
impl Trades for Game {
    async fn trade(&self, ctx: &Context, amount: u32) -> Result<(), Error> {
        self.move_coins(ctx, amount).await
    }

    async fn trade_to_its_end(&self, ctx: &Context, amount: u32) -> Result<(), Error> {
        self.move_coins(ctx, amount).await
    }
}

async fn note(_amount: u32) -> Result<(), Error> {
    Ok(())
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    network.serve("ranking", || Router::new().route("ranking.note", note));
    let (ranking, latest) = (network.client("game", "ranking"), Kept::<Coins>::default());
    let started = Arc::clone(&latest);
    network.serve("game", move || {
        let coins = Coins::new((100, 0).into());
        *started.lock().unwrap() = Arc::clone(&coins);
        TradesServer::new(Game { ranking: ranking.clone(), coins })
    });

    let client = TradesClient::new(network.client("user", "game"));
    let _ = match is_right {
        false => client.trade(&within(5), 10).await,
        true => client.trade_to_its_end(&within(5), 10).await,
    };
    settle(&network).await;

    let (from, to) = *latest.lock().unwrap().lock().unwrap();
    assert!(from + to == 100, "the players had 100 coins together, and have {}", from + to);
}

#[test]
fn a_trade_that_is_dropped_in_the_middle_loses_coins() {
    assert_found(
        &explore(false, scenario),
        "user>game/game.v1.trade#1=broken-within",
        "the players had 100 coins together, and have 90",
    );
}

#[test]
fn a_trade_that_runs_to_its_end_passes() {
    assert_passes(&explore(true, scenario));
}

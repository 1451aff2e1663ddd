//! Layers against overload and dead hosts. Each acts once, so that its metrics are there.

use std::time::Duration;

use rr_core::balance::{Balance, BalanceConfig, Endpoint};
use rr_core::config::ClientConfig;
use rr_core::hedge::{Hedge, HedgeConfig};
use rr_core::limit::ConcurrencyLimit;
use rr_core::observe::{MetricsObserver, Observers};
use rr_core::throttle::{Throttle, ThrottleConfig};
use rr_core::{Client, Context, Error, RequesterExt as _, Server, Stack, connect_with, defaults};

use super::tell;

/// Calls after which a layer has acted, whatever chance does.
const CALLS: usize = 40;

/// Makes calls through the layers, to a server and to one that dies.
pub(super) async fn calls(server: &Server, dies: Server) -> Result<(), Error> {
    let observers = Observers::new(MetricsObserver::new());
    let config = ClientConfig::default().with_observers(observers.clone());
    let alive = connect_with(server.url(), config.clone()).await?;
    let dead = connect_with(dies.url(), config).await?;
    dies.shutdown(defaults::DRAIN_GRACE).await;
    hedged(alive.clone(), &observers).await;
    limited(alive.clone(), &observers).await;
    balanced(alive, dead.clone(), &observers).await?;
    throttled(dead, &observers).await;
    Ok(())
}

fn context() -> Context {
    Context::background().with_timeout(Duration::from_secs(5))
}

/// Makes calls of which every 20th request takes a second. The first slow call gets a second request;
/// the budget is then spent, and refuses that of the next.
async fn hedged(client: Client, observers: &Observers) {
    let config = HedgeConfig::default().with_extra_percent(5).with_quantile_per_mille(900);
    let hedge = Hedge::with_config(config).with_observers(observers.clone());
    let client = Stack::new(client).with(hedge);
    for _ in 1..CALLS {
        let outcome = client.call::<String>(&context(), "stock.find", "tea").safe().await;
        tell("stock.find", outcome);
    }
}

/// Makes two calls simultaneously, with a limit of one.
async fn limited(client: Client, observers: &Observers) {
    let limit = ConcurrencyLimit::fixed(1).with_observers(observers.clone());
    let (client, ctx) = (Stack::new(client).with(limit), context());
    let place = || client.call::<String>(&ctx, "orders.place", "milk");
    let (one, other) = tokio::join!(place(), place());
    tell("orders.place", one);
    tell("orders.place", other);
}

/// Makes calls to two hosts, until the dead one is ejected.
async fn balanced(alive: Client, dead: Client, observers: &Observers) -> Result<(), Error> {
    let hosts = [Endpoint::new("alive", alive), Endpoint::new("dead", dead)];
    let config = BalanceConfig::default().with_failures_in_row_max(1);
    let balance = Balance::with_config(hosts, config)?.with_observers(observers.clone());
    let is_ejected = || balance.endpoints().iter().any(|host| host.ejected_for.is_some());
    for _ in 0..CALLS {
        if is_ejected() {
            break;
        }
        let outcome = balance.call::<String>(&context(), "orders.place", "rum").await;
        tell("orders.place", outcome);
    }
    Ok(())
}

/// Makes calls to the dead host, of which the throttle soon holds back four in five.
async fn throttled(dead: Client, observers: &Observers) {
    let config = ThrottleConfig::default().with_failures_free(1);
    let throttle = Throttle::with_config(config).with_observers(observers.clone());
    let client = Stack::new(dead).with(throttle);
    for _ in 0..CALLS {
        tell("orders.place", client.call::<String>(&context(), "orders.place", "ice").await);
    }
}

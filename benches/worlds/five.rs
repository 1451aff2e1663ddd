//! Application of five services with retries at each link.

use std::sync::Arc;
use std::time::Duration;

use rr_core::{Context, Error, HandlerExt as _, Requester, RequesterExt as _, Router, recommended};
use rr_testkit::worlds::Network;
use tokio::time::sleep;

/// Target of a service, and a requester for it.
type Below = (&'static str, Arc<dyn Requester>);

/// Serves a target that takes 5 ms and answers with the number of services that took part.
fn service(target: &str, below: &[Below]) -> Router {
    let below: Arc<[Below]> = below.into();
    let get = move |ctx: Context, (): ()| {
        let below = Arc::clone(&below);
        async move {
            sleep(Duration::from_millis(5)).await;
            let mut services = 1;
            for (target, requester) in &*below {
                services += requester.call::<u32>(&ctx, *target, &()).idempotent().await?;
            }
            Ok::<_, Error>(services)
        }
    };
    Router::new().route(target, get.idempotent())
}

fn link(network: &Network, from: &str, to: &str) -> Arc<dyn Requester> {
    Arc::new(recommended(network.client(from, to)))
}

/// A user asks the gateway, which asks for the order, which asks the other three services.
pub(crate) async fn one_request(network: Network) {
    let leaves = [("stock", "stock.get"), ("payments", "payments.get"), ("post", "post.get")];
    for (name, target) in leaves {
        network.serve(name, move || service(target, &[]));
    }
    let below = leaves.map(|(name, target)| (target, link(&network, "orders", name)));
    network.serve("orders", move || service("orders.get", &below));
    let below = [("orders.get", link(&network, "gateway", "orders"))];
    network.serve("gateway", move || service("gateway.get", &below));

    let ctx = Context::background().with_timeout(Duration::from_secs(5));
    let user = link(&network, "user", "gateway");
    let answer = user.call::<u32>(&ctx, "gateway.get", &()).idempotent().await;
    network.settle(Duration::from_secs(60)).await;
    assert!(answer.is_err() || answer.is_ok_and(|services| services == 5));
}

//! A gateway that asks a second source with a fresh deadline when the first one fails.

use std::sync::Arc;
use std::time::Duration;

use rr_core::{Context, Error, HandlerExt, RequesterExt, Router, Service};
use rr_testkit::worlds::{Network, NetworkClient};

use super::support::{assert_found, assert_passes, explore, within};

async fn weather(_city: String) -> Result<String, Error> {
    Ok("rain".to_owned())
}

struct Gateway {
    first: NetworkClient,
    second: NetworkClient,
    is_right: bool,
}

impl Gateway {
    async fn weather(self: Arc<Self>, ctx: Context, city: String) -> Result<String, Error> {
        let soon = ctx.with_timeout(Duration::from_secs(2));
        let answer = self.first.call::<String>(&soon, "weather.today", &city).safe().await;
        if let Ok(weather) = answer {
            return Ok(weather);
        }
        let ctx = if self.is_right { ctx } else { within(2) };
        Ok(self.second.call::<String>(&ctx, "weather.today", &city).safe().await?)
    }
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    for source in ["first", "second"] {
        network.serve(source, || Router::new().route("weather.today", weather.safe()));
    }
    let client = |to| network.client("gateway", to);
    let gateway = Gateway { first: client("first"), second: client("second"), is_right };
    let gateway = Arc::new(gateway);
    network.serve("gateway", move || {
        Service::new("gateway", Arc::clone(&gateway)).method("weather", Gateway::weather.safe())
    });

    let user = network.client("user", "gateway");
    let _ = user.call::<String>(&within(3), "gateway.weather", "Berlin").safe().await;
}

#[test]
fn a_second_source_with_a_fresh_deadline_is_found() {
    assert_found(
        &explore(false, scenario),
        "gateway>first/weather.today#1=connect-fails",
        "gateway>second/weather.today does not carry the context of the request that is answered",
    );
}

#[test]
fn a_second_source_with_the_deadline_of_the_request_passes() {
    assert_passes(&explore(true, scenario));
}

//! The layers for overload live with any number, too.

use std::time::Duration;

use rr_core::hedge::{Hedge, HedgeConfig};
use rr_core::limit::{AdaptiveConfig, ConcurrencyConfig, ConcurrencyLimit, RateConfig, RateLimit};
use rr_core::throttle::{Throttle, ThrottleConfig};
use rr_core::{Context, Local, Middleware, Requester, RequesterExt as _, Stack};

use super::{assert_complete, router, values, with};

const HEDGE: [&str; 3] = ["extra_percent", "quantile_per_mille", "delay_min"];

const THROTTLE: [&str; 4] = ["calls_percent", "dropped_percent_max", "failures_free", "window"];

const CONCURRENCY: [&str; 5] =
    ["wait_max", "waiting_max", "order", "key_percent_max", "sheds_hopeless"];

const ADAPTIVE: [&str; 3] = ["initial", "min", "max"];

const RATE: [&str; 3] = ["calls_per_second", "burst", "keys_max"];

pub(super) fn assert_every_field_is_tried() {
    assert_complete::<HedgeConfig>(&HEDGE);
    assert_complete::<ThrottleConfig>(&THROTTLE);
    assert_complete::<ConcurrencyConfig>(&CONCURRENCY);
    assert_complete::<AdaptiveConfig>(&ADAPTIVE);
    assert_complete::<RateConfig>(&RATE);
}

/// Calls through a layer: in turn, so that it learns, and several simultaneously.
async fn call_through(layer: impl Middleware) {
    let client = Stack::new(Local::new(router())).with(layer);
    for _ in 0..8 {
        call_in_memory(&client).await;
    }
    let call = || call_in_memory(&client);
    tokio::join!(call(), call(), call());
}

async fn call_in_memory(client: &impl Requester) {
    for _ in 0..2 {
        let ctx = Context::background().with_timeout(Duration::from_millis(100));
        let _ = client.call_raw(&ctx, "echo", "body").idempotent().await;
    }
}

pub(super) async fn hedged_and_throttled() {
    for field in HEDGE {
        for value in values(field) {
            let Some(config) = with(field, value) else { continue };
            call_through(Hedge::with_config(config)).await;
        }
    }
    for field in THROTTLE {
        for value in values(field) {
            let Some(config) = with(field, value) else { continue };
            call_through(Throttle::with_config(config)).await;
        }
    }
}

pub(super) async fn limited() {
    for field in CONCURRENCY {
        for value in values(field) {
            let Some(config) = with(field, value) else { continue };
            let limit = ConcurrencyLimit::fixed(1).with_config(config);
            call_through(limit.with_key(|_, _| Some("key".to_owned()))).await;
        }
    }
    for field in ADAPTIVE {
        for value in values(field) {
            let Some(config) = with::<AdaptiveConfig>(field, value) else { continue };
            call_through(ConcurrencyLimit::additive(config.clone(), Duration::ZERO)).await;
            call_through(ConcurrencyLimit::adaptive(config)).await;
        }
    }
    for field in RATE {
        for value in values(field) {
            let Some(config) = with(field, value) else { continue };
            call_through(RateLimit::new(config).with_key(|_, _| Some("key".to_owned()))).await;
        }
    }
}

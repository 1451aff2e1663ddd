//! Every failure is reported to the observers of the server once, over every transport.

#![cfg(feature = "json")]

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use rr_core::config::{IntakeConfig, Limits};
use rr_core::{Client, Code, Context, Error, RequesterExt, Router, Service};
use rr_testkit::Reports;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::everywhere::everywhere_with;

/// Counts the calls of `hang`.
pub(crate) struct Counter {
    pub(crate) hanging: Semaphore,
}

impl Counter {
    async fn double(self: Arc<Self>, n: u32) -> Result<u32, Error> {
        Ok(n * 2)
    }

    async fn panic(self: Arc<Self>, _: u32) -> Result<u32, Error> {
        panic!("secret");
    }

    async fn fail(self: Arc<Self>, _: u32) -> Result<u32, Error> {
        Err(Error::new(Code::Unavailable, "closed"))
    }

    async fn hang(self: Arc<Self>, _: u32) -> Result<u32, Error> {
        self.hanging.add_permits(1);
        pending().await
    }
}

pub(crate) fn counter() -> Arc<Counter> {
    Arc::new(Counter { hanging: Semaphore::new(0) })
}

/// A service is served as a whole: also a broker passes its unknown methods on.
pub(crate) fn router(counter: &Arc<Counter>) -> Router {
    let service = Service::new("counter", Arc::clone(counter));
    let service = service.method("double", Counter::double).method("panic", Counter::panic);
    Router::new().merge(service.method("fail", Counter::fail).method("hang", Counter::hang))
}

/// Returns the next report, and checks that there is no other.
async fn only(reports: &Reports) -> String {
    let report = timeout(Duration::from_secs(10), reports.next()).await;
    let report = report.expect("the request is reported").to_string();
    assert_eq!(reports.take(), [], "after {report}");
    report
}

#[tokio::test]
async fn five_failures_are_each_counted_once_on_every_transport() {
    let (reports, counter) = (Reports::new(), counter());
    let limits = Limits::default().with_request_bytes_max(1000);
    let config = IntakeConfig::default().with_limits(limits).with_in_flight_max(1);
    let config = config.with_observers(reports.observers());
    everywhere_with(
        "observed",
        || router(&counter),
        &config,
        async |url, client| {
            let ctx = Context::background();
            let double = |n| client.call::<u32>(&ctx, "counter.double", n);
            assert_eq!(double(&3).await.unwrap(), 6, "{url}");
            let success = "counter.double counter.double ok processed entered";
            assert_eq!(only(&reports).await, success, "{url}");

            client.call::<u32>(&ctx, "counter.none", &3).await.unwrap_err();
            let unknown = "counter.none - unimplemented no-such-target rejected not entered";
            assert_eq!(only(&reports).await, unknown, "{url}");

            client.call::<u32>(&ctx, "counter.double", &"x".repeat(2000)).await.unwrap_err();
            let too_large = "resource_exhausted request-too-large rejected not entered";
            let too_large = format!("counter.double counter.double {too_large}");
            assert_eq!(only(&reports).await, too_large, "{url}");

            client.call::<u32>(&ctx, "counter.double", "text").await.unwrap_err();
            let misfit = "counter.double counter.double invalid_argument decode rejected entered";
            assert_eq!(only(&reports).await, misfit, "{url}");

            client.call::<u32>(&ctx, "counter.panic", &3).await.unwrap_err();
            let panicked = "counter.panic counter.panic internal panic processed entered";
            assert_eq!(only(&reports).await, panicked, "{url}");

            let hanging = hang(&client);
            counter.hanging.acquire().await.unwrap().forget();
            double(&3).await.unwrap_err();
            let overload = "resource_exhausted overloaded rejected not entered";
            let overload = format!("counter.double counter.double {overload}");
            assert_eq!(only(&reports).await, overload, "{url}");
            hanging.abort();
            let dropped = "counter.hang counter.hang canceled processed entered";
            assert_eq!(only(&reports).await, dropped, "{url}");
        },
    )
    .await;
}

/// Makes a call that hangs until it is aborted.
pub(crate) fn hang(client: &Client) -> tokio::task::JoinHandle<()> {
    let client = client.clone();
    tokio::spawn(async move {
        let ctx = Context::background().with_timeout(Duration::from_secs(60));
        let _ = client.call::<u32>(&ctx, "counter.hang", &3).await;
    })
}

#[tokio::test]
async fn a_deadline_is_counted_once_on_every_transport() {
    let (reports, counter) = (Reports::new(), counter());
    // The server's own limit ends the handler, before the caller gives up.
    let config = IntakeConfig::default().with_timeout_max(Duration::from_millis(50));
    let config = config.with_observers(reports.observers());
    everywhere_with(
        "expired",
        || router(&counter),
        &config,
        async |url, client| {
            let ctx = Context::background().with_timeout(Duration::from_secs(60));
            client.call::<u32>(&ctx, "counter.hang", &3).await.unwrap_err();
            let expired = "counter.hang counter.hang deadline_exceeded processed entered";
            assert_eq!(only(&reports).await, expired, "{url}");
        },
    )
    .await;
    // Each server was drained once.
    for pair in reports.take_events().chunks(2) {
        let is_drain = pair[0].starts_with("DrainStarted") && pair[1].starts_with("DrainEnded");
        assert!(is_drain, "{pair:?}");
    }
}

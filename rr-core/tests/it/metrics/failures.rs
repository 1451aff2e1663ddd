//! Every failure is counted once, at both ends, over every transport.

use std::time::Duration;

use rr_core::config::{IntakeConfig, Limits};
use rr_core::{Context, RequesterExt, recommended};
use rr_testkit::Reports;
use tokio::time::timeout;

use super::support::Exporter;
use crate::everywhere::everywhere_with;
use crate::observed::{counter, hang, router};

/// Waits until so many requests have ended. The metrics observer is told in the same poll.
async fn ended(reports: &Reports, requests: usize) {
    for _ in 0..requests {
        timeout(Duration::from_secs(10), reports.next()).await.expect("the request is reported");
    }
}

#[tokio::test]
async fn six_failures_are_each_counted_once_over_every_transport() {
    let (reports, counter) = (Reports::new(), counter());
    let limits = Limits::default().with_request_bytes_max(1000);
    let config = IntakeConfig::default().with_limits(limits).with_in_flight_max(1);
    let config = config.with_observers(reports.observers());
    everywhere_with(
        "metrics-failures",
        || router(&counter),
        &config,
        async |url, client| {
            let (exporter, _guard) = Exporter::install();
            let ctx = Context::background();
            let call = |target: &'static str| client.call::<u32>(&ctx, target, &3);
            call("counter.double").await.unwrap();
            call("counter.none").await.unwrap_err();
            client.call::<u32>(&ctx, "counter.double", &"x".repeat(2000)).await.unwrap_err();
            client.call::<u32>(&ctx, "counter.double", "text").await.unwrap_err();
            call("counter.panic").await.unwrap_err();
            ended(&reports, 5).await;
            assert_eq!(exporter.values("rr_server_in_flight"), ["0"], "{url}");

            let hanging = hang(&client);
            counter.hanging.acquire().await.unwrap().forget();
            assert_eq!(exporter.values("rr_server_in_flight"), ["1"], "{url}");
            call("counter.double").await.unwrap_err();
            ended(&reports, 1).await;
            hanging.abort();
            ended(&reports, 1).await;

            check(&exporter, url);
        },
    )
    .await;
}

/// Checks the counts of all failures but that of the deadline.
fn check(exporter: &Exporter, url: &str) {
    let refused = [
        "decode counter/double invalid_argument 1",
        "no-such-target _OTHER unimplemented 1",
        "overloaded counter/double resource_exhausted 1",
        "request-too-large counter/double resource_exhausted 1",
    ];
    assert_eq!(exporter.values("rr_server_refused_total"), refused, "{url}");
    let ran = [
        "canceled counter/hang canceled 1",
        "panic counter/panic internal 1",
        "counter/double ok 1",
    ];
    let mut all = [&refused[..], &ran].concat();
    all.sort_unstable();
    let requests = exporter.values("rpc_server_call_duration_seconds_count");
    assert_eq!(requests, all, "{url}");
    // The target that never answered has no name at its caller.
    let unnamed = |it: &str| it.replace("counter/hang", "_OTHER");
    let mut all: Vec<_> = all.into_iter().map(unnamed).collect();
    all.sort_unstable();
    let attempts = exporter.values("rr_client_attempt_duration_seconds_count");
    assert_eq!(attempts, all, "{url}");
    // A body that does not decode is refused by the handler.
    let queued = exporter.values("rr_server_queue_duration_seconds_count");
    assert_eq!(queued, ["counter/double 2", "counter/hang 1", "counter/panic 1"], "{url}");
    assert_eq!(exporter.values("rr_server_in_flight"), ["0"], "{url}");
    assert_eq!(exporter.values("rr_client_in_flight"), ["0"], "{url}");
    // No layer above the attempts.
    assert_eq!(exporter.values("rpc_client_call_duration_seconds_count"), [""; 0], "{url}");
}

#[tokio::test]
async fn a_deadline_is_counted_once_over_every_transport_as_are_calls_and_their_retries() {
    let (reports, counter) = (Reports::new(), counter());
    // The server's own limit ends the handler, before the caller gives up.
    let config = IntakeConfig::default().with_timeout_max(Duration::from_millis(50));
    let config = config.with_observers(reports.observers());
    everywhere_with(
        "metrics-expired",
        || router(&counter),
        &config,
        async |url, client| {
            let (exporter, _guard) = Exporter::install();
            let ctx = Context::background().with_timeout(Duration::from_secs(60));
            client.call::<u32>(&ctx, "counter.hang", &3).await.unwrap_err();
            ended(&reports, 1).await;
            let expired = ["deadline_exceeded counter/hang deadline_exceeded 1"];
            let requests = "rpc_server_call_duration_seconds_count";
            assert_eq!(exporter.values(requests), expired, "{url}");
            let attempts = "rr_client_attempt_duration_seconds_count";
            assert_eq!(exporter.values(attempts), expired, "{url}");
            assert_eq!(exporter.values("rr_server_refused_total"), [""; 0], "{url}");

            let client = recommended(client);
            client.call::<u32>(&ctx, "counter.fail", &3).idempotent().await.unwrap_err();
            ended(&reports, 3).await;
            let calls = exporter.values("rpc_client_call_duration_seconds_count");
            assert_eq!(calls, ["unavailable counter/fail unavailable 1"], "{url}");
            let tries = [expired[0], "unavailable counter/fail unavailable 3"];
            assert_eq!(exporter.values(attempts), tries, "{url}");
            assert_eq!(exporter.values(requests), tries, "{url}");
            assert_eq!(exporter.values("rr_client_retries_total"), ["counter/fail 2"], "{url}");
            // The default budget has 100 retries in reserve.
            assert_eq!(exporter.values("rr_client_retry_budget"), ["counter 98"], "{url}");
        },
    )
    .await;
}

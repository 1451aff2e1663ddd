//! Each attempt over HTTP is reported once, and its time counts to the right stage.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::time::Duration;

use crate::support::*;
use rr_http::{HttpConfig, HttpRequester, HttpServerConfig};
use rr_spi::{CallConfig, Context, Requester as _};
use rr_testkit::Reports;
use tokio::net::TcpListener;

fn config(reports: &Reports) -> HttpConfig {
    HttpConfig::default().with_calls(CallConfig::default().with_observers(reports.observers()))
}

fn brief() -> Context {
    Context::background().with_timeout(Duration::from_millis(100))
}

#[tokio::test]
async fn each_attempt_is_reported_once_whatever_became_of_it() {
    for version in ["h1", "h2c"] {
        let (mut fixture, reports) =
            (fixture(HttpServerConfig::default()).await, Reports::default());
        let url = format!("{}?version={version}", fixture.server.url());
        let client = HttpRequester::new(&url, config(&reports)).unwrap();
        within(client.request(&context(), request("svc.echo", "x"))).await.unwrap();
        assert_eq!(reports.take_lines(), ["ClientAttempt svc.echo: ok"], "{version}");
        within(client.request(&context(), request("svc.fail", "x"))).await.unwrap_err();
        assert_eq!(
            reports.take_lines(),
            ["ClientAttempt svc.fail: not_found (processed)"],
            "{version}"
        );

        within(client.request(&brief(), request("svc.hang", "x"))).await.unwrap_err();
        let line = "ClientAttempt svc.hang: deadline_exceeded/expired-awaiting-reply (unknown)";
        assert_eq!(reports.take_lines(), [line], "{version}");

        let ctx = context();
        let mut dropped = Box::pin(client.request(&ctx, request("svc.hang", "x")));
        while fixture.seen.try_recv().is_ok() {}
        tokio::select! {
            biased;
            outcome = &mut dropped => panic!("{outcome:?}"),
            _ = fixture.next() => {}
        }
        assert!(reports.take_lines().is_empty(), "{version}: it has not ended");
        drop(dropped);
        assert_eq!(
            reports.take_lines(),
            ["ClientAttempt svc.hang: canceled (unknown)"],
            "{version}"
        );
    }
}

#[tokio::test]
async fn an_attempt_that_a_server_refuses_to_connect_is_reported_once() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for version in ["h1", "h2c"] {
        let reports = Reports::default();
        let url = format!("http://{gone}?version={version}");
        let client = HttpRequester::new(&url, config(&reports)).unwrap();
        within(client.request(&context(), request("svc.echo", "x"))).await.unwrap_err();
        let line = "ClientAttempt svc.echo: unavailable/connect-failed (not_sent)";
        assert_eq!(reports.take_lines(), [line], "{version}");
    }
}

//! One requester over several runtimes: each has its own connections.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::time::Duration;

use crate::support::*;
use rr_http::{HttpConfig, HttpRequester, HttpServerConfig};
use rr_spi::{Code, Delivery, Requester as _};
use tokio::runtime::{Builder, Runtime};

const VERSIONS: [&str; 2] = ["", "?version=h2c"];

/// A runtime that runs only while something is awaited on it.
fn undriven() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn driven() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn client(fixture: &Fixture, query: &str) -> HttpRequester {
    let url = format!("{}{query}", fixture.server.url());
    HttpRequester::new(&url, HttpConfig::default()).unwrap()
}

async fn echo(client: &HttpRequester) {
    let echoed = client.request(&context(), request("echo", "hi")).await;
    assert_eq!(echoed.unwrap().body, "hi");
}

#[test]
fn runtimes_that_come_and_go_fail_no_call() {
    let servers = driven();
    let fixture = servers.block_on(fixture(HttpServerConfig::default()));
    for query in VERSIONS {
        let client = client(&fixture, query);
        for _ in 0..20 {
            let passing = undriven();
            passing.block_on(async {
                // Tasks of their own, as an application has them.
                let calls: Vec<_> = (0..4)
                    .map(|_| {
                        let client = client.clone();
                        tokio::spawn(async move { echo(&client).await })
                    })
                    .collect();
                for call in calls {
                    call.await.unwrap();
                }
                echo(&client).await;
            });
            assert!(client.connections() > 0);
            drop(passing);
            assert_eq!(client.connections(), 0, "connections end with their runtime");
        }
    }
    servers.block_on(fixture.quiet());
}

#[test]
fn runtimes_that_are_not_driven_fail_no_call_of_another() {
    let servers = driven();
    let fixture = servers.block_on(fixture(HttpServerConfig::default()));
    for query in VERSIONS {
        let client = client(&fixture, query);
        let runtimes = [undriven(), undriven(), undriven()];
        for _ in 0..10 {
            for runtime in &runtimes {
                runtime.block_on(echo(&client));
            }
        }
        assert_eq!(client.connections(), runtimes.len(), "each keeps its connection");
    }
}

#[test]
fn a_call_in_flight_on_a_runtime_that_is_not_driven_holds_no_call_of_another() {
    let servers = driven();
    let mut fixture = servers.block_on(fixture(HttpServerConfig::default()));
    for query in ["?connections_max=1", "?version=h2c&h2_connections_max=1&h2_streams_max=1"] {
        let client = client(&fixture, query);
        let (stopped, other) = (undriven(), undriven());
        let hanging = client.clone();
        stopped.spawn(async move { hanging.request(&context(), request("hang", "")).await });
        stopped.block_on(async { assert_eq!(fixture.next().await, Seen::Began) });
        other.block_on(echo(&client));
        drop(stopped);
        servers.block_on(async { while fixture.next().await != Seen::Dropped {} });
    }
}

#[test]
fn a_call_outside_of_any_runtime_is_an_error() {
    for query in VERSIONS {
        let client =
            HttpRequester::new(&format!("http://h{query}"), HttpConfig::default()).unwrap();
        let ctx = context();
        let mut call = client.request(&ctx, request("echo", ""));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(outcome) = call.as_mut().poll(&mut cx) else { panic!() };
        let expected = (Code::FailedPrecondition, Delivery::NotSent, None);
        assert_eq!(told(&outcome.unwrap_err()), expected);
    }
}

#[test]
fn a_drain_ends_within_its_grace_on_a_runtime_other_than_the_servers() {
    let (servers, others) = (undriven(), undriven());
    let fixture = servers.block_on(fixture(HttpServerConfig::default()));
    let report = others.block_on(within(fixture.server.shutdown(Duration::from_millis(20))));
    assert_eq!(report.aborted, 0);
}

//! Options of TCP sockets, as the operating system reports them.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]
#![cfg(target_os = "linux")]

use std::fs;

use crate::support::*;
use rr_http::{HttpConfig, HttpRequester, HttpServerConfig};
use rr_spi::Requester as _;

/// The timer of `/proc/net/tcp` that keepalive runs while a connection is unused.
const KEEPALIVE: &str = "02";

/// Returns the timers of the established connections of a port: of those that it accepted, and of
/// those to it.
fn timers(port: u16) -> (Vec<String>, Vec<String>) {
    let port = format!(":{port:04X}");
    let (mut accepted, mut dialled) = (Vec::new(), Vec::new());
    for line in fs::read_to_string("/proc/net/tcp").unwrap().lines() {
        let fields: Vec<_> = line.split_whitespace().collect();
        let is_established = fields[3] == "01";
        let timer = || fields[5].split(':').next().unwrap().to_owned();
        if is_established && fields[1].ends_with(&port) {
            accepted.push(timer());
        } else if is_established && fields[2].ends_with(&port) {
            dialled.push(timer());
        }
    }
    (accepted, dialled)
}

#[tokio::test]
async fn both_ends_of_a_connection_are_probed_unless_that_is_off() {
    for (query, timer) in [("", KEEPALIVE), ("?tcp_keepalive=0s", "00")] {
        let url = format!("http://127.0.0.1:0{query}");
        let fixture = fixture_at(&url, HttpServerConfig::default()).await;
        let client = HttpRequester::new(fixture.server.url(), HttpConfig::default()).unwrap();
        client.request(&context(), request("echo", "hi")).await.unwrap();
        let port = fixture.server.url().split(':').nth(2).unwrap();
        let port = port.split('?').next().unwrap().parse().unwrap();
        let expected = || timers(port) == (vec![timer.to_owned()], vec![timer.to_owned()]);
        // Until the last bytes are acknowledged, another timer runs.
        eventually("the timers of both ends", expected).await;
    }
}

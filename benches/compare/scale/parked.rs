//! Calls that wait for their handler, while others are answered.

use std::time::Duration;

use rr_benches_peers::drive::{Load, drive};
use rr_benches_peers::{Result, process};
use rr_core::{Context, config::IntakeConfig, connect, serve_with};
use serde::{Deserialize, Serialize};

use crate::held::hold;
use crate::process::workers;
use crate::rr::{Echo, router_with_hang};

/// Calls in flight beside those that wait.
const CONCURRENCY: usize = 64;

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Parked {
    /// Bytes of heap of each call that waits.
    pub(crate) heap: f64,
    /// Bytes of memory of each, the broker's left out.
    pub(crate) resident: f64,
    /// CPU of client and server for each call that is answered meanwhile.
    pub(crate) cpu_micros: f64,
}

/// The URL with as many calls in flight, where a requester has a limit of its own.
fn roomy(url: &str, calls: usize) -> String {
    if url.starts_with("nats") { format!("{url}?in_flight_max={calls}") } else { url.to_owned() }
}

pub(crate) fn measure(url: &str, calls: usize) -> Result<Parked> {
    workers()?.block_on(async {
        let config = IntakeConfig::default().with_in_flight_max(calls + 2 * CONCURRENCY);
        let server = serve_with(url, router_with_hang(), config).await?;
        let client = connect(&roomy(server.url(), calls + 2 * CONCURRENCY)).await?;
        client.ready(&Context::background()).await?;
        let own = std::process::id();
        let before = process::resident_bytes(own);
        let (_waiting, heap) = hold(&server, &client, calls).await?;
        let resident = (process::resident_bytes(own) as f64 - before as f64) / calls.max(1) as f64;
        let load = Load {
            body_bytes: 16,
            concurrency: CONCURRENCY,
            warm_up: Duration::from_millis(100),
            span: Duration::from_millis(500),
            stride: 1,
            server: None,
            broker: None,
        };
        let driven = drive(Echo { requester: client, ctx: Context::background() }, &load).await;
        let cpu_micros = driven.cpu as f64 / driven.calls as f64 / 1e3;
        Ok(Parked { heap, resident, cpu_micros })
    })
}

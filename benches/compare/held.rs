//! What a call holds while it waits for its handler, both sides together.

use std::time::Duration;

use bytes::Bytes;
use rr_benches_peers::{Result, counting};
use rr_core::{Client, Context, Error, RequesterExt as _, Response, Server, connect, serve};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::process::workers;
use crate::rr::router_with_hang;

/// Bytes of a body.
const BODY_BYTES: usize = 1024;

/// Calls that start at once.
const BATCH: usize = 1000;

/// Longer than anything here takes: what waits must not time out.
const TIMEOUT: Duration = Duration::from_secs(300);

/// A call that waits.
type Waiting = JoinHandle<Result<Response, Error>>;

/// Returns the bytes of heap that one of so many calls holds.
pub(crate) fn measure(url: &str, calls: usize) -> Result<f64> {
    workers()?.block_on(async {
        let server = serve(url, router_with_hang()).await?;
        let client = connect(server.url()).await?;
        client.ready(&Context::background()).await?;
        Ok(hold(&server, &client, calls).await?.1)
    })
}

/// Makes so many calls that wait, and returns them and the bytes of heap of each.
pub(crate) async fn hold(
    server: &Server,
    client: &Client,
    calls: usize,
) -> Result<(Vec<Waiting>, f64)> {
    counting::start();
    // One body for all: what a transport makes of it is its own.
    let body = Bytes::from(vec![7; BODY_BYTES]);
    let mut waiting = Vec::with_capacity(calls);
    let before = counting::live_bytes();
    while waiting.len() < calls {
        // Servers bound what waits to be looked at.
        for _ in 0..BATCH.min(calls - waiting.len()) {
            let (client, body) = (client.clone(), body.clone());
            waiting.push(tokio::spawn(async move {
                let ctx = Context::background().with_timeout(TIMEOUT);
                client.call_raw(&ctx, "bench.hang", body).await
            }));
        }
        all_wait(server, &mut waiting).await?;
    }
    let held = (counting::live_bytes() - before) as f64 / calls.max(1) as f64;
    counting::stop();
    Ok((waiting, held))
}

/// Waits until the handler of each call has been entered.
async fn all_wait(server: &Server, waiting: &mut Vec<Waiting>) -> Result<()> {
    while server.in_flight() < waiting.len() {
        if let Some(ended) = waiting.iter().position(JoinHandle::is_finished) {
            let outcome = waiting.swap_remove(ended).await?;
            return Err(format!("a call did not wait: {outcome:?}").into());
        }
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

//! What a call holds while it waits for its handler, both sides together.

use std::time::Duration;

use bytes::Bytes;
use rr_benches_peers::{Result, counting};
use rr_core::{Context, Error, Request, RequesterExt as _, Response, Router, connect, serve};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::child::workers;

/// Bytes of a body.
const BODY_BYTES: usize = 1024;

async fn hang(_: Context, _: Request) -> Result<Response, Error> {
    std::future::pending().await
}

/// Returns the bytes of heap that one of so many calls holds.
pub(crate) fn measure(url: &str, calls: usize) -> Result<f64> {
    counting::start();
    workers()?.block_on(async {
        let server = serve(url, Router::new().route("bench.hang", hang)).await?;
        let client = connect(server.url()).await?;
        client.ready(&Context::background()).await?;
        let before = counting::live_bytes();
        let mut waiting: Vec<_> = (0..calls)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move {
                    let body = Bytes::from(vec![7; BODY_BYTES]);
                    client.call_raw(&Context::background(), "bench.hang", body).await
                })
            })
            .collect();
        while server.in_flight() < calls {
            if let Some(ended) = waiting.iter().position(JoinHandle::is_finished) {
                let outcome = waiting.swap_remove(ended).await?;
                return Err(format!("call {ended} of {calls} did not wait: {outcome:?}").into());
            }
            sleep(Duration::from_millis(2)).await;
        }
        Ok((counting::live_bytes() - before) as f64 / calls as f64)
    })
}

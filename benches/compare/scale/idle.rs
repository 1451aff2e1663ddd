//! Connections that are open and do nothing, the server in a process of its own.

use rr_benches_peers::{Result, process};
use rr_core::{Context, RequesterExt as _, connect};
use serde::{Deserialize, Serialize};

use crate::process::{start_server, workers};

/// Bytes of memory of each connection.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Idle {
    pub(crate) client: f64,
    pub(crate) server: f64,
}

pub(crate) fn measure(peer: &str, broker: &str, connections: usize) -> Result<Idle> {
    workers()?.block_on(async {
        let (server, url) = start_server(peer, broker).await?;
        let server = server.id().ok_or("the server has ended")?;
        let own = std::process::id();
        let mut clients = Vec::with_capacity(connections);
        // The first ones bring what all share.
        let mut before = None;
        for number in 0..connections + 10 {
            if number == 10 {
                before = Some([own, server].map(process::resident_bytes));
            }
            let client = connect(&url).await?;
            let ctx = Context::background();
            client.ready(&ctx).await?;
            client.call_raw(&ctx, "bench.echo", "x").await?;
            clients.push(client);
        }
        let before = before.ok_or("there are no connections")?;
        let after = [own, server].map(process::resident_bytes);
        let each = |at: usize| (after[at] as f64 - before[at] as f64) / connections as f64;
        Ok(Idle { client: each(0), server: each(1) })
    })
}

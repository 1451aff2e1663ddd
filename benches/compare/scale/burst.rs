//! More calls at once than connections have room for: they wait, and all are answered.

use bytes::Bytes;
use rr_benches_peers::Result;
use rr_core::{Context, RequesterExt as _, connect, serve};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::process::workers;
use crate::rr::router;

/// Bytes of a body.
const BODY_BYTES: usize = 1024;

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Burst {
    pub(crate) answered: usize,
    pub(crate) seconds: f64,
    pub(crate) failure: Option<String>,
}

pub(crate) fn measure(url: &str, calls: usize) -> Result<Burst> {
    workers()?.block_on(async {
        let server = serve(url, router()).await?;
        let client = connect(server.url()).await?;
        let body = Bytes::from(vec![7; BODY_BYTES]);
        let begin = Instant::now();
        let running: Vec<_> = (0..calls)
            .map(|_| {
                let (client, body) = (client.clone(), body.clone());
                tokio::spawn(async move {
                    client.call_raw(&Context::background(), "bench.echo", body).await
                })
            })
            .collect();
        let mut burst = Burst { answered: 0, seconds: 0.0, failure: None };
        for call in running {
            match call.await? {
                Ok(answer) if answer.body.len() == BODY_BYTES => burst.answered += 1,
                Ok(answer) => burst.failure = Some(format!("{} bytes", answer.body.len())),
                Err(error) => {
                    burst.failure.get_or_insert_with(|| error.to_string());
                }
            }
        }
        burst.seconds = begin.elapsed().as_secs_f64();
        Ok(burst)
    })
}

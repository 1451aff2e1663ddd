//! A replica that becomes slow or silent when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rr_core::transport::{Entropy as _, OsEntropy};
use rr_core::{Code, Context, Error, HandlerExt as _, Request, Response, Router, shutdown_signal};

use crate::{FIND, SLOWER, WORK, exponential};

/// Serves until it is told to stop.
pub(crate) async fn serve(url: &str) -> Result<(), String> {
    let (slower, entropy) = (Arc::new(AtomicU32::new(1)), Arc::new(OsEntropy::new()));
    let set = Arc::clone(&slower);
    let find = move |_: Context, _: Request| {
        find(slower.load(Ordering::Relaxed), exponential(WORK, entropy.next_u64()))
    };
    let set = move |_: Context, request: Request| set_slower(Arc::clone(&set), request);
    let router = Router::new().route(FIND, find.safe()).route(SLOWER, set.idempotent());
    let server = rr_core::serve(url, router).await.map_err(|error| error.to_string())?;
    println!("serving {}", server.url());
    shutdown_signal().await;
    server.shutdown(Duration::from_secs(2)).await;
    Ok(())
}

async fn find(slower: u32, work: Duration) -> Result<Response, Error> {
    if slower == 0 {
        return std::future::pending().await;
    }
    tokio::time::sleep(work * slower).await;
    Ok(Response::new("found"))
}

async fn set_slower(slower: Arc<AtomicU32>, request: Request) -> Result<Response, Error> {
    let times = std::str::from_utf8(&request.body).ok().and_then(|times| times.parse().ok());
    let times = times.ok_or_else(|| Error::new(Code::InvalidArgument, "the body is no number"))?;
    slower.store(times, Ordering::Relaxed);
    Ok(Response::new("set"))
}

//! A server whose handler leaves a trace that survives its process.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use rr_core::{Context, Error, HandlerExt as _, Request, Response, Router, shutdown_signal};

use crate::{TARGET, WHOAMI};

/// Serves until it is told to stop.
pub(crate) async fn serve(url: &str, log: &str) -> Result<(), String> {
    let log = OpenOptions::new().create(true).append(true).open(log);
    let log = Arc::new(log.map_err(|error| format!("cannot open the log: {error}"))?);
    let handler = move |_: Context, request: Request| run(Arc::clone(&log), request);
    let router = Router::new().route(TARGET, handler.safe()).route(WHOAMI, whoami.safe());
    let server = rr_core::serve(url, router).await.map_err(|error| error.to_string())?;
    println!("serving {}", server.url());
    shutdown_signal().await;
    server.shutdown(Duration::from_secs(2)).await;
    Ok(())
}

async fn whoami(ctx: Context, _: Request) -> Result<Response, Error> {
    let address = ctx.request().peer().and_then(rr_core::context::Peer::address);
    Ok(Response::new(address.map_or_else(|| "unknown".to_owned(), |address| address.to_string())))
}

/// Writes the id of the call in one piece, then takes up to 15 ms, so that a kill finds calls in flight.
async fn run(log: Arc<File>, request: Request) -> Result<Response, Error> {
    let mut line = request.body.to_vec();
    line.push(b'\n');
    let written = (&*log).write_all(&line);
    written.map_err(|error| Error::new(rr_core::Code::Internal, error.to_string()))?;
    let pause = request.body.last().map_or(0, |digit| u64::from(digit % 16));
    tokio::time::sleep(Duration::from_millis(pause)).await;
    Ok(Response::new(request.body))
}

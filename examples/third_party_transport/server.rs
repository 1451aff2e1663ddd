//! The server side: one request from each connection.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::time::Duration;

use rr_spi::observe::Outcome;
use rr_spi::{
    Bytes, CallConfig, Cause, Code, Delivery, Error, Inbound, Intake, IntakeConfig, Location,
    Response, Routes, Server, Shutdown,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::ReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::requester::address;
use crate::wire::{self, VERSION};

/// Most connections; the next ones wait in the system's queue. Above what the intake admits by
/// default, so that it is the intake that refuses.
const CONNECTIONS_MAX: usize = 4096;

/// How long a peer may take to send its request, and again to take the reply.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves routes at `framed://host:port`; port 0 is replaced by a free one.
pub(crate) async fn serve(url: &str, routes: Routes, grant: IntakeConfig) -> Result<Server, Error> {
    let failed = |error: io::Error| {
        let text = "the address cannot be served";
        Error::failure(Code::Unavailable, Delivery::NotSent, None, text).with_source(error)
    };
    let location = Location::parse(url)?;
    let (_, grant) = location.configure(CallConfig::default(), grant)?;
    let listener = TcpListener::bind(address(&location)?).await.map_err(failed)?;
    let url = format!("framed://{}", listener.local_addr().map_err(failed)?);
    let intake = Intake::new(routes, grant);
    Ok(Server::spawn(url, intake.clone(), |shutdown| accept(listener, intake, shutdown)))
}

async fn accept(listener: TcpListener, intake: Intake, shutdown: Shutdown) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.draining() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    let (intake, shutdown) = (intake.clone(), shutdown.clone());
                    connections.spawn(async move {
                        shutdown.until_closing(connection(stream, &intake)).await
                    });
                }
                // Out of sockets, most likely; some will be free again.
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }
    // Who comes now is refused by the system. Who was let in is answered: by the intake, which
    // refuses as `draining`, or by a handler that runs already.
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(mut stream: TcpStream, intake: &Intake) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_u8(VERSION).await?;
    let longest = intake.config().limits.request_bytes_max;
    let message = timeout(TRANSFER_TIMEOUT, wire::read(&mut stream, longest)).await??;
    let (mut read, mut write) = stream.split();
    let reply = wire::write_reply(&answer(intake, message, &mut read).await);
    timeout(TRANSFER_TIMEOUT, write.write_all(&reply)).await??;
    write.shutdown().await
}

async fn answer(
    intake: &Intake,
    message: Option<Bytes>,
    peer: &mut ReadHalf<'_>,
) -> Result<Response, Error> {
    let too_large = || intake.config().limits.request_too_large(Delivery::Rejected);
    let read = message.as_ref().map_or_else(|| Err(too_large()), wire::read_request);
    let (head, target, body) = match read {
        Ok(read) => read,
        Err(error) => {
            let watched = intake.watch_refused(Inbound::default(), None);
            watched.end(Outcome::Failure(&error));
            return Err(error);
        }
    };
    let (ctx, handle) = intake.context(head.inbound());
    let watched = intake.watch(&ctx, Some(&target));
    let request = head.into_request(target, body);
    let gone = async {
        // Nothing may follow a request: whatever comes is the end of the connection.
        let _ = peer.read_u8().await;
        handle.cancel_with(Cause::PeerGone);
        pending::<Infallible>().await
    };
    let outcome = tokio::select! {
        biased;
        outcome = intake.handle(watched.context(&ctx), request).watched(&watched) => outcome,
        never = gone => match never {},
    };
    handle.cancel_with(Cause::Finished);
    watched.end(Outcome::of(&outcome));
    outcome
}

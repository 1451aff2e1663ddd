//! HTTP over pipes in this process.

use std::io;

use rr_core::transport::Routes;
use rr_core::{Error, Server};
use rr_http::{HttpConfig, HttpRequester, HttpServerConfig, serve_streams};
use rr_testkit::StreamLink;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;

/// Pipes that were made and not accepted yet.
const QUEUE: usize = 16;

/// Serves routes at the far ends of pipes.
pub(crate) fn serve(
    routes: Routes,
    config: HttpServerConfig,
) -> Result<(Server, mpsc::Sender<DuplexStream>), Error> {
    let (sender, incoming) = mpsc::channel(QUEUE);
    let (server, _) = serve_streams("http://pipe", incoming, routes, config)?;
    Ok((server, sender))
}

/// Makes a requester whose connections go through `link` to the server that `server` names.
pub(crate) fn requester(
    server: impl Fn() -> Option<mpsc::Sender<DuplexStream>> + Send + Sync + 'static,
    link: &StreamLink,
    pipe_bytes: usize,
    config: HttpConfig,
) -> Result<HttpRequester, Error> {
    let link = link.clone();
    HttpRequester::with_connector("http://pipe", config, move || {
        let (server, link) = (server(), link.clone());
        async move {
            let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
            let server = server.filter(|_| !link.is_refusing()).ok_or_else(refused)?;
            let (near, from) = duplex(pipe_bytes);
            let (to, far) = duplex(pipe_bytes);
            tokio::spawn(async move { link.carry(from, to).await });
            server.send(far).await.map_err(|_| refused())?;
            Ok(near)
        }
    })
}

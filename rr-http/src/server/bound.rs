//! Sockets that are bound before the server starts.

use std::io;
use std::net::TcpListener;
#[cfg(unix)]
use std::os::unix::net::UnixListener;

use rr_spi::{Code, Delivery, Error, Routes, Server};

use super::listener::{Listener, failed};
use super::{HttpServerBuilder, HttpServerStats, prepared, start};
use crate::config::HttpServerConfig;
use crate::endpoint::Address;

/// Socket that is already listening; see [`serve_on`].
#[derive(Debug)]
#[non_exhaustive]
pub enum HttpListener {
    /// TCP socket.
    Tcp(TcpListener),
    /// Unix socket. The server does not remove its file.
    #[cfg(unix)]
    Unix(UnixListener),
}

impl From<TcpListener> for HttpListener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

#[cfg(unix)]
impl From<UnixListener> for HttpListener {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

/// Serves routes on a socket that is already listening, such as one that systemd passes, or one that
/// was bound with options that rr does not set.
///
/// The URL gives the prefix of every path, and its query sets options. Its port is ignored:
/// [`Server::url`] has the port of the socket. When the server ends, it closes its socket;
/// connections that wait in the operating system's queue stay there if another process, such as
/// systemd, holds the same socket.
///
/// # Errors
///
/// Not sent: `InvalidArgument` when the URL is malformed or its scheme does not fit the socket;
/// `Unavailable` when the socket cannot be used.
///
/// # Panics
///
/// When called outside of a tokio runtime.
///
/// # Examples
///
/// ```no_run
/// # async fn example(routes: rr_spi::Routes) -> Result<(), Box<dyn std::error::Error>> {
/// use rr_http::{HttpServerConfig, serve_on};
///
/// // With the crate `listenfd`: `ListenFd::from_env().take_tcp_listener(0)?`.
/// let listener = std::net::TcpListener::bind("127.0.0.1:8080")?;
/// let config = HttpServerConfig::default();
/// let (server, _) = serve_on("http://127.0.0.1?lame_duck=5s", listener, routes, config)?;
/// server.wait().await;
/// # Ok(())
/// # }
/// ```
pub fn serve_on(
    url: &str,
    listener: impl Into<HttpListener>,
    routes: impl Into<Routes>,
    config: HttpServerConfig,
) -> Result<(Server, HttpServerStats), Error> {
    let (base, query) = url.split_once('?').map_or((url, ""), |(base, query)| (base, query));
    let builder = HttpServerBuilder::new(routes).with_config(config);
    let stats = builder.stats();
    let (endpoint, state) = prepared(url, builder)?;
    let (listener, mut bound) = match (listener.into(), &endpoint.address) {
        (HttpListener::Tcp(listener), Address::Tcp { host, .. }) => {
            let opened = open_tcp(listener).map_err(|error| failed(&endpoint.authority, error))?;
            let (listener, port) = opened;
            (listener, endpoint.url(host, port))
        }
        #[cfg(unix)]
        (HttpListener::Unix(listener), Address::Unix(path)) => {
            let opened = open_unix(listener);
            let opened = opened.map_err(|error| failed(&path.display().to_string(), error))?;
            (opened, base.to_owned())
        }
        #[cfg(unix)]
        _ => {
            let text = "the scheme of the URL does not fit the socket";
            return Err(Error::failure(Code::InvalidArgument, Delivery::NotSent, None, text)
                .with_hint(
                    "http:// and https:// are for a TCP socket, http+unix:// for a Unix socket",
                ));
        }
    };
    if !query.is_empty() {
        bound = format!("{bound}?{query}");
    }
    Ok((start(bound, listener, state), stats))
}

fn open_tcp(listener: TcpListener) -> io::Result<(Listener, u16)> {
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    Ok((Listener::Tcp(vec![tokio::net::TcpListener::from_std(listener)?]), port))
}

#[cfg(unix)]
fn open_unix(listener: UnixListener) -> io::Result<Listener> {
    listener.set_nonblocking(true)?;
    Ok(Listener::unix(tokio::net::UnixListener::from_std(listener)?))
}

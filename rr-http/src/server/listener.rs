//! Sources of connections: listening sockets, or a channel of streams.

use std::future::{pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use rr_spi::dial::Lookup;
use rr_spi::{Code, Delivery, Error};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::endpoint::{Address, Endpoint};
use crate::socket::{Foreign, Socket, Stream};

/// Source of connections.
pub(super) enum Listener {
    /// One socket for each address of the host, all on one port.
    Tcp(Vec<TcpListener>),
    #[cfg(unix)]
    Unix(Box<unix::Bound>),
    /// Streams that the application hands over.
    Streams(Box<dyn StreamSource>),
}

/// Channel of streams of any type.
pub(super) trait StreamSource: Send {
    /// Returns the next stream, or `None` once the channel is closed and empty.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Socket>>;

    /// Closes the channel, and returns the next stream that is already in it.
    fn left(&mut self) -> Option<Socket>;
}

impl<S: Stream> StreamSource for mpsc::Receiver<S> {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Socket>> {
        self.poll_recv(cx).map(|next| Some(Socket::Stream(Foreign::new(next?))))
    }

    fn left(&mut self) -> Option<Socket> {
        self.close();
        self.try_recv().ok().map(|stream| Socket::Stream(Foreign::new(stream)))
    }
}

impl Listener {
    /// Binds an endpoint. Also returns its URL, with a port of 0 replaced by the actual one.
    pub(super) async fn bind(endpoint: &Endpoint, url: &str) -> Result<(Self, String), Error> {
        match &endpoint.address {
            Address::Tcp { host, port } => {
                let addresses = Lookup::new(host.clone(), *port).addresses().await;
                let bound = match addresses {
                    Ok(addresses) => bind_all(&addresses).await,
                    Err(error) => Err(error),
                };
                let (listeners, port) =
                    bound.map_err(|error| failed(&endpoint.authority, error))?;
                Ok((Self::Tcp(listeners), endpoint.url(host, port)))
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                let bound = unix::Bound::bind(path).await;
                let shown = path.display().to_string();
                let bound = bound.map_err(|error| failed(&shown, error))?;
                Ok((Self::Unix(Box::new(bound)), url.to_owned()))
            }
        }
    }

    /// Makes a listener of a Unix socket whose file belongs to another program.
    #[cfg(unix)]
    pub(super) fn unix(listener: tokio::net::UnixListener) -> Self {
        Self::Unix(Box::new(unix::Bound::of_another(listener)))
    }

    /// Accepts the next connection. Errors never end a server: it retries after a pause that
    /// doubles while they last, since most of them (too many open files) are temporary.
    pub(super) async fn accept(&mut self) -> Socket {
        let mut pause = PAUSE_MIN;
        loop {
            match self.accept_once().await {
                Ok(socket) => return socket,
                // The peer disconnected before it was accepted, which is not an error of the
                // listener.
                Err(error) if is_of_peer(error.kind()) => {}
                Err(_) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Stops accepting, and returns the streams that are already in the channel. Connections in the
    /// operating system's queue are reset, but for a stream in the channel `send` has succeeded.
    pub(super) fn close(self) -> Vec<Socket> {
        match self {
            Self::Streams(mut streams) => std::iter::from_fn(|| streams.left()).collect(),
            _ => Vec::new(),
        }
    }

    async fn accept_once(&mut self) -> io::Result<Socket> {
        match self {
            Self::Tcp(listeners) => {
                let stream = poll_fn(|cx| accept_any(listeners, cx)).await?;
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(stream))
            }
            #[cfg(unix)]
            Self::Unix(bound) => Ok(Socket::Unix(bound.listener.accept().await?.0)),
            Self::Streams(streams) => match poll_fn(|cx| streams.poll_next(cx)).await {
                Some(socket) => Ok(socket),
                // The channel is closed and empty. Streams taken from it are still served.
                None => pending().await,
            },
        }
    }
}

/// Maximum number of tries to find a port that is free on every address of the host, if the system
/// chooses the port.
const PORTS_MAX: usize = 32;

/// Binds every address of a host on one port, and returns the port. Addresses that this machine
/// does not have, as may be the case for IPv6, are skipped unless there is no other.
async fn bind_all(addresses: &[SocketAddr]) -> io::Result<(Vec<TcpListener>, u16)> {
    let mut tries = 1;
    loop {
        match bind_on_one_port(addresses).await {
            // The system chose a port that is free on the first address only.
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && tries < PORTS_MAX
                    && addresses.iter().all(|address| address.port() == 0) =>
            {
                tries += 1;
            }
            bound => return bound,
        }
    }
}

async fn bind_on_one_port(addresses: &[SocketAddr]) -> io::Result<(Vec<TcpListener>, u16)> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut port = None;
    let mut missing = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (at, address) in addresses.iter().enumerate() {
        // `/etc/hosts` may name an address twice.
        if addresses[..at].contains(address) {
            continue;
        }
        let address = SocketAddr::new(address.ip(), port.unwrap_or_else(|| address.port()));
        match TcpListener::bind(address).await {
            Ok(listener) => {
                port = Some(listener.local_addr()?.port());
                listeners.push(listener);
            }
            Err(error) if is_missing(&error) => missing = error,
            Err(error) => return Err(error),
        }
    }
    port.map(|port| (listeners, port)).ok_or(missing)
}

/// Returns whether this machine lacks an address, or its whole family.
fn is_missing(error: &io::Error) -> bool {
    /// `EAFNOSUPPORT` of Linux, which has no `io::ErrorKind`.
    const NO_SUCH_FAMILY: i32 = 97;
    let is_of_family = cfg!(target_os = "linux") && error.raw_os_error() == Some(NO_SUCH_FAMILY);
    is_of_family
        || matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
}

/// Accepts a connection on any of the sockets. The next poll starts with the next socket, so that
/// none is starved.
fn accept_any(listeners: &mut [TcpListener], cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
    for at in 0..listeners.len() {
        if let Poll::Ready(accepted) = listeners[at].poll_accept(cx) {
            listeners.rotate_left(at + 1);
            return Poll::Ready(accepted.map(|(stream, _)| stream));
        }
    }
    Poll::Pending
}

/// First and longest pause after a failed accept, as in Go's net/http.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1);

fn is_of_peer(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(kind, ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

pub(super) fn failed(address: &str, source: io::Error) -> Error {
    let code = match source.kind() {
        io::ErrorKind::PermissionDenied => Code::PermissionDenied,
        _ => Code::Unavailable,
    };
    let message = format!("cannot listen on {address}: {source}");
    Error::failure(code, Delivery::NotSent, None, message)
        .with_hint("is the address this machine's, and free? port 0 takes any that is")
        .with_source(source)
}

#[cfg(unix)]
mod unix {
    use std::fs::{Metadata, remove_file, symlink_metadata};
    use std::io;
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    use std::path::{Path, PathBuf};

    use tokio::net::{UnixListener, UnixStream};

    /// Bound unix socket; dropping it removes its file.
    pub(in crate::server) struct Bound {
        pub(super) listener: UnixListener,
        path: PathBuf,
        file: Option<Metadata>,
    }

    impl Bound {
        /// Takes a socket whose file is not removed.
        pub(super) fn of_another(listener: UnixListener) -> Self {
            Self { listener, path: PathBuf::new(), file: None }
        }

        /// Binds a path. A socket that refuses connections is left over from a killed server, and
        /// is replaced; any other file is not touched.
        pub(super) async fn bind(path: &Path) -> io::Result<Self> {
            let listener = match UnixListener::bind(path) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    if !is_stale(path).await {
                        return Err(error);
                    }
                    remove_file(path)?;
                    UnixListener::bind(path)?
                }
                other => other?,
            };
            Ok(Self { listener, path: path.to_owned(), file: symlink_metadata(path).ok() })
        }
    }

    async fn is_stale(path: &Path) -> bool {
        let is_socket = symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
        let answer = UnixStream::connect(path).await;
        is_socket && answer.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    }

    impl Drop for Bound {
        /// Removes the file, unless a successor has put its own there.
        fn drop(&mut self) {
            let (Some(own), Ok(there)) = (&self.file, symlink_metadata(&self.path)) else { return };
            if (own.dev(), own.ino()) == (there.dev(), there.ino()) {
                let _ = remove_file(&self.path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    fn addresses(port: u16) -> Vec<SocketAddr> {
        // 127.0.0.2 belongs to this machine on Linux; elsewhere it may be missing, like `::1`.
        let hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.1", "::1", "192.0.2.1"];
        hosts.map(|host| SocketAddr::new(host.parse().unwrap(), port)).to_vec()
    }

    #[tokio::test]
    async fn every_address_of_a_name_is_bound_on_one_port_and_served() {
        let (mut listeners, port) = bind_all(&addresses(0)).await.unwrap();
        let bound: Vec<_> = listeners.iter().map(|l| l.local_addr().unwrap()).collect();
        assert!(bound.iter().all(|address| address.port() == port && port != 0), "{bound:?}");
        let ours = addresses(0).into_iter().filter(|address| {
            let alone = std::net::TcpListener::bind(address);
            alone.is_ok()
        });
        let mut ours: Vec<_> = ours.map(|address| address.ip()).collect();
        ours.sort();
        ours.dedup();
        assert_eq!(bound.len(), ours.len(), "{bound:?}");
        for address in bound.into_iter().rev() {
            let connect = TcpStream::connect(address);
            let accept = poll_fn(|cx| accept_any(&mut listeners, cx));
            let (connected, accepted) = tokio::join!(connect, accept);
            assert_eq!(accepted.unwrap().local_addr().unwrap(), address);
            drop(connected);
        }
        // A port that is in use on one of the addresses counts as in use; a given port is not
        // changed.
        listeners.retain(|listener| listener.local_addr().unwrap().ip() != ours[0]);
        if !listeners.is_empty() {
            let error = bind_all(&addresses(port)).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
    }

    #[tokio::test]
    async fn addresses_of_other_machines_alone_are_an_error() {
        let other = vec![SocketAddr::from(([192, 0, 2, 1], 0))];
        let error = bind_all(&other).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        assert_eq!(bind_all(&[]).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn closing_returns_queued_streams_and_accepts_no_more() {
        let (sender, incoming) = mpsc::channel(4);
        // A sender that holds a permit of the channel without using it is not awaited.
        let _place = sender.reserve().await.unwrap();
        for _ in 0..2 {
            sender.send(duplex(1).0).await.unwrap();
        }
        let left = Listener::Streams(Box::new(incoming)).close();
        assert_eq!(left.len(), 2);
        assert!(sender.send(duplex(1).0).await.is_err());
    }
}

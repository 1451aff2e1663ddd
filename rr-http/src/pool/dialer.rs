//! Makes connections to one endpoint.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rr_spi::dial::{ATTEMPT_DELAY, DialProgress, Lookup, interleaved, staggered};
use rr_spi::{Context, Error, Stage};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use super::tunnel::Tunnel;
use crate::connector::Connector;
use crate::endpoint::{Address, Endpoint};
use crate::error::{connect_failed, connect_timed_out};
use crate::proxy::ProxyServer;
#[cfg(feature = "tls")]
use crate::socket::TlsClient;
use crate::socket::{Socket, SocketOptions};
use crate::sync::{Gauge, GaugeGuard};

/// Dialer of one endpoint; counts its open connections.
#[derive(Debug)]
pub(crate) struct Dialer {
    pub(super) authority: String,
    route: Route,
    /// TLS over the connections of the route.
    #[cfg(feature = "tls")]
    tls: Option<TlsClient>,
    options: SocketOptions,
    timeout: Duration,
    open: Gauge,
}

/// Destination of connections.
#[derive(Debug)]
enum Route {
    /// Any of the addresses of a host; the look-up is shared by all dials of the requester.
    Tcp(Lookup),
    /// The same through a forward proxy.
    Tunnel(Box<Tunnel>),
    #[cfg(unix)]
    Unix(std::path::PathBuf),
    /// Connector of the application.
    Connector(Connector),
}

impl Dialer {
    pub(crate) fn new(endpoint: Endpoint, connector: Option<Connector>, timeout: Duration) -> Self {
        let route = match (connector, endpoint.address) {
            (Some(connector), _) => Route::Connector(connector),
            (None, Address::Tcp { host, port }) => Route::Tcp(Lookup::new(host, port)),
            #[cfg(unix)]
            (None, Address::Unix(path)) => Route::Unix(path),
        };
        Self {
            authority: endpoint.authority,
            route,
            #[cfg(feature = "tls")]
            tls: None,
            options: SocketOptions::default(),
            timeout,
            open: Gauge::default(),
        }
    }

    /// Connects to a host and port through a proxy from now on.
    pub(crate) fn through(self, proxy: ProxyServer, host: &str, port: u16) -> Self {
        Self { route: Route::Tunnel(Box::new(Tunnel::new(proxy, host, port))), ..self }
    }

    /// Sets these options of every TCP socket.
    pub(crate) fn with_options(self, options: SocketOptions) -> Self {
        Self { options, ..self }
    }

    /// Makes TLS connections from now on.
    #[cfg(feature = "tls")]
    pub(crate) fn with_tls(self, tls: TlsClient) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Looks up the addresses by `resolve` from now on.
    #[cfg(test)]
    pub(crate) fn with_resolver(
        self,
        resolve: impl Fn() -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self { route: Route::Tcp(Lookup::with_resolver(resolve)), ..self }
    }

    /// Returns a dialer of one address, for the same server; `None` if its connections are not made
    /// by name.
    pub(crate) fn at(&self, address: SocketAddr) -> Option<Self> {
        let Route::Tcp(_) = self.route else { return None };
        Some(Self {
            authority: self.authority.clone(),
            route: Route::Tcp(Lookup::fixed(address)),
            #[cfg(feature = "tls")]
            tls: self.tls.clone(),
            options: self.options,
            timeout: self.timeout,
            open: Gauge::default(),
        })
    }

    /// Looks up the addresses of the server within the connect timeout.
    ///
    /// # Errors
    ///
    /// `Unavailable`, not sent, `connect-failed`.
    pub(crate) async fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        let failed = |error| connect_failed(&self.authority, error);
        let Route::Tcp(lookup) = &self.route else { return Err(failed(no_address())) };
        let bound = Context::background().with_timeout(self.timeout);
        match bound.race(lookup.addresses()).await {
            Ok(outcome) => outcome.map_err(failed),
            Err(_) => Err(connect_timed_out(&self.authority, self.timeout)),
        }
    }

    /// Returns the number of open connections, unused ones included.
    pub(crate) fn open(&self) -> usize {
        self.open.now()
    }

    /// Connects within the connect timeout, name lookup and handshake included. The owner of the
    /// connection holds the returned guard, which counts it.
    ///
    /// # Errors
    ///
    /// `Unavailable`, not sent, `connect-failed`, with the times of the stages of the dial.
    pub(super) async fn dial(
        &self,
        progress: &DialProgress,
    ) -> Result<(Socket, GaugeGuard), Error> {
        let bound = Context::background().with_timeout(self.timeout);
        let connected = bound.race(self.connect(progress)).await;
        let connected =
            connected.unwrap_or_else(|_| Err(connect_timed_out(&self.authority, self.timeout)));
        match connected {
            Ok(socket) => Ok((socket, self.open.one())),
            Err(error) => Err(progress.failed(error)),
        }
    }

    async fn connect(&self, progress: &DialProgress) -> Result<Socket, Error> {
        let socket = self.connect_route(progress).await?;
        progress.stage(Stage::Handshake);
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return connect_tls(tls, socket).await;
        }
        Ok(socket)
    }

    async fn connect_route(&self, progress: &DialProgress) -> Result<Socket, Error> {
        let connected = match &self.route {
            Route::Tcp(lookup) => self.connect_tcp(lookup, progress).await.map(Socket::Tcp),
            Route::Tunnel(tunnel) => {
                let stream = self.connect_tcp(&tunnel.lookup, progress).await;
                let stream = stream.map_err(|error| tunnel.failed(&self.authority, &error))?;
                tunnel.open(&stream, &self.authority).await?;
                Ok(Socket::Tcp(stream))
            }
            #[cfg(unix)]
            Route::Unix(path) => {
                progress.stage(Stage::Connect);
                UnixStream::connect(path).await.map(Socket::Unix)
            }
            Route::Connector(connector) => {
                progress.stage(Stage::Connect);
                connector.connect().await
            }
        };
        connected.map_err(|error| connect_failed(&self.authority, error))
    }

    async fn connect_tcp(&self, lookup: &Lookup, progress: &DialProgress) -> io::Result<TcpStream> {
        let addresses = lookup.addresses().await?;
        progress.stage(Stage::Connect);
        let stream = connect_any(addresses).await?;
        self.options.apply(&stream);
        Ok(stream)
    }

    /// Makes the error for a connection on which the protocol could not begin.
    pub(super) fn failed(&self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        connect_failed(&self.authority, io::Error::other(source))
    }
}

#[cfg(feature = "tls")]
async fn connect_tls(tls: &TlsClient, socket: Socket) -> Result<Socket, Error> {
    // Only TCP has TLS of this crate.
    let Socket::Tcp(stream) = socket else { return Ok(socket) };
    Ok(Socket::Tls(Box::new(tls.connect(stream).await?)))
}

/// Connects to the first address that answers; the next one is tried 250 ms after the one before,
/// or immediately after a failure (RFC 8305 §5). Nagle's algorithm is off, so that small messages
/// leave immediately.
///
/// # Errors
///
/// The error of the address that failed last.
async fn connect_any(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let connect = |address: SocketAddr| TcpStream::connect(address);
    match staggered(interleaved(addresses), ATTEMPT_DELAY, connect).await {
        Ok(stream) => {
            stream.set_nodelay(true)?;
            Ok(stream)
        }
        Err(mut errors) => Err(errors.pop().unwrap_or_else(no_address)),
    }
}

fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex, mpsc};

    use rr_spi::{Delivery, Location};
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    fn dialer(
        resolve: impl Fn() -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
        timeout: Duration,
    ) -> Dialer {
        let endpoint = Location::parse("http://name").and_then(|it| Endpoint::of(&it)).unwrap();
        Dialer::new(endpoint, None, timeout).with_resolver(resolve)
    }

    /// Returns a listener whose queue is full, so that connecting to it never completes.
    #[cfg(target_os = "linux")]
    async fn silent() -> (TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let (mut queued, pause) = (Vec::new(), Duration::from_millis(100));
        while let Ok(stream) = tokio::time::timeout(pause, TcpStream::connect(address)).await {
            queued.push(stream.unwrap());
        }
        (listener, queued)
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_name_with_a_silent_and_a_live_address_connects_to_the_live_one() {
        let (silent, _queued) = silent().await;
        let live = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = vec![silent.local_addr().unwrap(), live.local_addr().unwrap()];
        let dialer = dialer(move || Ok(addresses.clone()), Duration::from_secs(10));
        let (Socket::Tcp(stream), _counted) = dialer.dial(&DialProgress::new()).await.unwrap()
        else {
            panic!()
        };
        assert_eq!(stream.peer_addr().unwrap(), live.local_addr().unwrap());
        assert_eq!(dialer.open(), 1);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_dialled_socket_has_the_options_of_its_requester() {
        let live = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = live.local_addr().unwrap();
        let options = SocketOptions {
            keepalive: Duration::from_secs(7),
            user_timeout: Duration::from_secs(11),
        };
        let dialer = dialer(move || Ok(vec![address]), Duration::from_secs(10));
        let (socket, _counted) =
            dialer.with_options(options).dial(&DialProgress::new()).await.unwrap();
        let Socket::Tcp(stream) = socket else { panic!() };
        let socket = socket2::SockRef::from(&stream);
        assert_eq!(socket.tcp_keepalive_time().unwrap(), options.keepalive);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(options.user_timeout));
        assert!(stream.nodelay().unwrap());
    }

    #[tokio::test]
    async fn a_name_with_a_refusing_and_a_live_address_connects_to_the_live_one() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let live = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = vec![gone, live.local_addr().unwrap()];
        let connects = dialer(move || Ok(addresses.clone()), Duration::from_secs(10));
        assert!(connects.dial(&DialProgress::new()).await.is_ok());
        for addresses in [vec![gone, gone], vec![]] {
            let refused = dialer(move || Ok(addresses.clone()), Duration::from_secs(10));
            let error = refused.dial(&DialProgress::new()).await.err().unwrap();
            assert_eq!(error.delivery(), Delivery::NotSent);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_is_never_resolved_costs_one_look_up_and_ends_with_the_connect_timeout() {
        let (_never, answers) = mpsc::channel::<()>();
        let (answers, asked) = (Mutex::new(answers), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&asked);
        let resolve = move || {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = answers.lock().unwrap().recv();
            Ok(Vec::new())
        };
        let dialer = Arc::new(dialer(resolve, Duration::from_secs(5)));
        let dials: Vec<_> = (0..600)
            .map(|_| {
                let dialer = Arc::clone(&dialer);
                tokio::spawn(async move { dialer.dial(&DialProgress::new()).await.err().unwrap() })
            })
            .collect();
        for dial in dials {
            assert_eq!(dial.await.unwrap().delivery(), Delivery::NotSent);
        }
        assert!(asked.load(Ordering::SeqCst) <= 1);
    }
}

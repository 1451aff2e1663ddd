//! The client side.

mod h1;
mod h2;
#[cfg(feature = "tls")]
mod negotiated;
mod reply;
mod version;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderValue, Uri};
use rr_spi::observe::{Kind, Monitor, Stats};
use rr_spi::{
    Attempt, Code, Context, Delivery, Error, Limits, Location, ManyRequester, Request, Requester,
    Target, observed,
};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::{HttpConfig, HttpServerConfig};
use crate::connector::Connector;
use crate::endpoint::{Address, Endpoint};
use crate::hosts::check_single;
#[cfg(feature = "tls")]
use crate::pool::BothPools;
use crate::pool::{Dialer, H1Pool, H2Pool, Pools};
use crate::socket::SocketOptions;
use crate::sync::{Gauge, GaugeGuardRef};
use crate::wire::encode_path;
use h2::Resent;
use version::{Ends, VersionChoice};

/// Requester over HTTP. Clones share its connections.
///
/// A requester is not bound to a runtime: it can be created outside of one, kept in a `static`, and
/// used by several tokio runtimes, one after another or simultaneously. Each connection is bound to
/// the runtime that made it, and calls of other runtimes do not use it. A runtime that ends, or is
/// not driven for a while, therefore fails no call of another. The connections of a runtime close
/// when it ends. Connection limits hold per runtime.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), rr_spi::Error> {
/// let client = rr_http::HttpRequester::connect("http://127.0.0.1:8080?version=h2c").await?;
/// client.ready(&rr_spi::Context::background()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HttpRequester(Arc<Inner>);

struct Inner {
    config: HttpConfig,
    limits: Limits,
    endpoint: Endpoint,
    dialer: Arc<Dialer>,
    pool: Pool,
    /// URIs of known targets, for HTTP/2. An HTTP/1.1 connection remembers the URI of its last
    /// call.
    uris: Mutex<HashMap<Target, Uri>>,
    in_flight: Gauge,
    monitor: Monitor,
}

enum Pool {
    H1(Pools<H1Pool>),
    H2(Pools<H2Pool>),
    #[cfg(feature = "tls")]
    Both(Pools<BothPools>),
}

/// Maximum number of times that a request is written. It is written again if a connection handed it
/// back unwritten, or once if a GOAWAY proves it unprocessed; the last time on a new connection.
const ROUNDS: usize = 3;

/// Pause between two tries of [`HttpRequester::ready`]: short, so that a test does not wait, and
/// long enough not to load a server that is starting.
const READY_PAUSE: Duration = Duration::from_millis(20);

impl HttpRequester {
    /// Makes a requester for a URL, whose query sets fields of [`HttpConfig`]. The peer need not be
    /// reachable yet.
    ///
    /// # Errors
    ///
    /// Not sent: `InvalidArgument` when the URL is malformed or has an unknown parameter, or when
    /// certificates or keys of TLS cannot be read or used; `FailedPrecondition` when `tls_roots` is
    /// not given and the operating system has no roots.
    ///
    /// # Cancel safety
    ///
    /// Never suspends: the future completes on its first poll.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::new(url, HttpConfig::default())
    }

    /// Makes a requester for a URL, whose query overrides fields of `config`.
    ///
    /// # Errors
    ///
    /// As [`HttpRequester::connect`].
    pub fn new(url: &str, config: HttpConfig) -> Result<Self, Error> {
        let location = Location::parse(url)?;
        let config = location.configure(config, HttpServerConfig::default())?.0;
        check_single(&config)?;
        Self::assemble(Endpoint::of(&location)?, None, config)
    }

    /// Returns a requester for one address of the same server: Host, path and configuration are
    /// those of this requester, and its connections go to the address. It has connections of its
    /// own; its calls count in the [`stats`](Self::stats) of both.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when the connections of this requester are not made by name: over
    /// a unix socket, or by a connector.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), rr_spi::Error> {
    /// let named = rr_http::HttpRequester::connect("http://orders:8080").await?;
    /// for address in named.addresses().await? {
    ///     let one = named.at(address)?;
    ///     println!("{address}: {one:?}");
    /// }
    /// # Ok(()) }
    /// ```
    pub fn at(&self, address: SocketAddr) -> Result<Self, Error> {
        let dialer = self.0.dialer.at(address).ok_or_else(not_by_name)?;
        let (endpoint, config) = (self.0.endpoint.clone(), self.0.config.clone());
        let choice = VersionChoice::of(config.version, endpoint.scheme, Ends::Sockets)?;
        Self::with_dialer(endpoint, choice, dialer, config, self.0.monitor.clone())
    }

    /// Looks up the addresses of the server's name, within the
    /// [connect timeout](HttpConfig::connect_timeout).
    ///
    /// # Errors
    ///
    /// `Unavailable`, not sent, `connect-failed`, when the look-up fails, or when connections are not
    /// made by name.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time: the look-up continues, the next call joins it.
    pub async fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        self.0.dialer.addresses().await
    }

    /// Makes a requester over streams that `connect` returns, such as TLS or pipes within a
    /// process.
    ///
    /// [`serve_streams`](crate::serve_streams) is its counterpart.
    ///
    /// The URL names the server and gives the prefix of every path; its query overrides fields of
    /// `config`. The scheme `https` declares that the streams are encrypted. `connect` is called
    /// once for each connection, and its future is dropped after
    /// [`connect_timeout`](HttpConfig::connect_timeout). The future may run in a task and outlive
    /// its call: the connection then serves the next call. Its error is the source of an
    /// `Unavailable` error, not sent, `connect-failed`.
    ///
    /// # Errors
    ///
    /// As [`HttpRequester::connect`].
    ///
    /// # Examples
    ///
    /// A unix socket in Linux's abstract namespace, which no URL names:
    ///
    /// ```
    /// # #[cfg(target_os = "linux")]
    /// # fn example() -> Result<rr_http::HttpRequester, rr_spi::Error> {
    /// use rr_http::{HttpConfig, HttpRequester};
    /// use tokio::net::UnixStream;
    ///
    /// let connect = || UnixStream::connect("\0orders");
    /// HttpRequester::with_connector("http://orders", HttpConfig::default(), connect)
    /// # }
    /// ```
    pub fn with_connector<F, C, S>(url: &str, config: HttpConfig, connect: F) -> Result<Self, Error>
    where
        F: Fn() -> C + Send + Sync + 'static,
        C: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let location = Location::parse(url)?;
        let config = location.configure(config, HttpServerConfig::default())?.0;
        check_single(&config)?;
        let connector = Connector::new(connect);
        Self::assemble(Endpoint::of_streams(&location)?, Some(connector), config)
    }

    fn assemble(
        endpoint: Endpoint,
        connector: Option<Connector>,
        config: HttpConfig,
    ) -> Result<Self, Error> {
        let ends = if connector.is_some() { Ends::Streams } else { Ends::Sockets };
        let choice = VersionChoice::of(config.version, endpoint.scheme, ends)?;
        let options = SocketOptions {
            keepalive: config.tcp_keepalive,
            user_timeout: config.tcp_user_timeout,
        };
        let dialer = Dialer::new(endpoint.clone(), connector, config.connect_timeout);
        let mut dialer = dialer.with_options(options);
        if let (Ends::Sockets, Address::Tcp { host, port }) = (ends, &endpoint.address) {
            let proxy = config.proxy.server_for(endpoint.scheme, &endpoint.authority)?;
            if let Some(proxy) = proxy {
                dialer = dialer.through(proxy, host, *port);
            }
        }
        #[cfg(feature = "tls")]
        let dialer = version::with_tls(dialer, choice, ends, &endpoint, &config.tls)?;
        let monitor = Monitor::new(config.calls.observers.clone());
        Self::with_dialer(endpoint, choice, dialer, config, monitor)
    }

    fn with_dialer(
        endpoint: Endpoint,
        choice: VersionChoice,
        dialer: Dialer,
        config: HttpConfig,
        monitor: Monitor,
    ) -> Result<Self, Error> {
        let host = HeaderValue::from_str(&endpoint.authority).map_err(|_| bad_host())?;
        let base = format!("http://{}{}/", endpoint.authority, endpoint.prefix);
        let _fits: Uri = base.try_into().map_err(|_| bad_host())?;
        let dialer = Arc::new(dialer);
        let pool = make_pool(choice, Arc::clone(&dialer), host, config.clone());
        Ok(Self(Arc::new(Inner {
            limits: config.calls.limits,
            config,
            endpoint,
            dialer,
            pool,
            uris: Mutex::default(),
            in_flight: Gauge::default(),
            monitor,
        })))
    }

    /// Waits until a connection can be made, retrying after short pauses.
    ///
    /// # Errors
    ///
    /// The last failure, `Unavailable`, not sent, `connect-failed`, when the context ended first.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time.
    pub async fn ready(&self, ctx: &Context) -> Result<(), Error> {
        let attempt = Attempt::start(ctx, self.0.config.calls.timeout)?;
        let mut last = None;
        let tries = async {
            loop {
                match self.0.reach(&attempt).await {
                    Ok(()) => return Ok(()),
                    Err(error) => last = Some(error),
                }
                tokio::time::sleep(READY_PAUSE).await;
            }
        };
        let outcome = attempt.run(tries).await;
        outcome.map_err(|ended| last.unwrap_or(ended))
    }

    /// Returns the number of open connections, unused ones included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.dialer.open()
    }

    /// Returns the counts of the attempts since the requester was made, those of its clones
    /// included. The figure of the transport is `connections`, as
    /// [`HttpRequester::connections`].
    #[must_use]
    pub fn stats(&self) -> Stats {
        let connections = u64::try_from(self.connections()).unwrap_or(u64::MAX);
        self.0.monitor.stats().with_figure("connections", connections)
    }

    /// Returns the number of calls in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.in_flight.now()
    }
}

fn make_pool(
    choice: VersionChoice,
    dialer: Arc<Dialer>,
    host: HeaderValue,
    config: HttpConfig,
) -> Pool {
    match choice {
        VersionChoice::H1 => {
            let make = move || H1Pool::new(Arc::clone(&dialer), host.clone(), &config);
            Pool::H1(Pools::new(make))
        }
        VersionChoice::H2 => {
            let make = move || H2Pool::new(Arc::clone(&dialer), &config);
            Pool::H2(Pools::new(make))
        }
        #[cfg(feature = "tls")]
        VersionChoice::Server => {
            let make = move || BothPools::new(&dialer, host.clone(), &config);
            Pool::Both(Pools::new(make))
        }
    }
}

async fn reach_h1(pool: &H1Pool, attempt: &Attempt) -> Result<(), Error> {
    let lease = pool.checkout(attempt).await?;
    pool.put_back(lease, None);
    Ok(())
}

fn not_by_name() -> Error {
    let message = "this requester does not connect by name";
    Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message)
        .with_hint("only requesters of http:// URLs without a connector have addresses")
}

fn bad_host() -> Error {
    let message = "the URL's host does not fit into a request";
    Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message)
}

impl fmt::Debug for HttpRequester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequester")
            .field("endpoint", &self.0.endpoint)
            .field("connections", &self.connections())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

impl ManyRequester for HttpRequester {}

// Not `async_trait`: the future of each protocol gets a box of its size, with one copy of the
// request.
impl Requester for HttpRequester {
    rr_spi::boxed! {
        fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
            let inner = &*self.0;
            let monitor = &inner.monitor;
            match &inner.pool {
                Pool::H1(pools) => observed!(monitor, Kind::ClientAttempt, |ctx, request| async move {
                    let (attempt, _counted) = inner.begin(ctx, &request)?;
                    let pool = pools.current()?;
                    let outcome = attempt.run(inner.call_h1(&pool, &attempt, &request)).await;
                    outcome.map_err(|error| pool.noted(error))
                }),
                Pool::H2(pools) => observed!(monitor, Kind::ClientAttempt, |ctx, request| async move {
                    let (attempt, _counted) = inner.begin(ctx, &request)?;
                    let pool = pools.current()?;
                    let mut resent = Resent::default();
                    let call = inner.call_h2(&pool, &attempt, &request, &mut resent);
                    attempt.run(call).await.map_err(|error| pool.noted(error))
                }),
                #[cfg(feature = "tls")]
                Pool::Both(pools) => observed!(monitor, Kind::ClientAttempt, |ctx, request| async move {
                    let (attempt, _counted) = inner.begin(ctx, &request)?;
                    let pools = pools.current()?;
                    let outcome = attempt.run(inner.call_negotiated(&pools, &attempt, &request)).await;
                    outcome.map_err(|error| pools.noted(error))
                }),
            }
        }
    }
}

impl Inner {
    /// Starts the attempt of a call and counts the call as in flight.
    fn begin(
        &self,
        ctx: &Context,
        request: &Request,
    ) -> Result<(Attempt, GaugeGuardRef<'_>), Error> {
        let attempt = Attempt::start(ctx, self.config.calls.timeout)?;
        self.limits.check_outgoing(request)?;
        Ok((attempt, self.in_flight.one_here()))
    }

    /// Makes the URI of a target for HTTP/1.1: a path.
    fn path_uri(&self, target: &Target) -> Result<Uri, Error> {
        Uri::try_from(encode_path(&self.endpoint.prefix, target)).map_err(|_| bad_host())
    }

    /// Makes the URI of a target for HTTP/2.
    fn absolute_uri(&self, target: &Target) -> Result<Uri, Error> {
        let Endpoint { scheme, authority, prefix, .. } = &self.endpoint;
        let path = encode_path(prefix, target);
        Uri::try_from(format!("{scheme}://{authority}{path}")).map_err(|_| bad_host())
    }

    /// Makes sure that the pool has a usable connection.
    async fn reach(&self, attempt: &Attempt) -> Result<(), Error> {
        match &self.pool {
            Pool::H1(pools) => reach_h1(&*pools.current()?, attempt).await?,
            Pool::H2(pools) => drop(pools.current()?.checkout(attempt).await?),
            #[cfg(feature = "tls")]
            Pool::Both(pools) => Self::reach_negotiated(&*pools.current()?, attempt).await?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

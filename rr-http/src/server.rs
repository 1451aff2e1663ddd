//! The server side.

mod accept;
mod admin_page;
mod bound;
mod builder;
mod carrier;
mod connection;
mod connection_state;
mod cors;
mod drain_body;
mod fallback;
mod keep_alive;
mod listener;
mod mounted;
mod proxy_header;
mod read_body;
mod reply;
mod reply_compression;
mod request;
mod retirement;
mod stop;
mod tasks;
mod timeouts;
#[cfg(feature = "tls")]
mod tls;
mod version_detect;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
#[cfg(feature = "tls")]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rr_spi::{Error, Intake, Location, OsEntropy, Route, Routes, Server, Target};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::config::{HttpConfig, HttpServerConfig};
use crate::endpoint::Endpoint;
use crate::sync::Gauge;
use crate::wire::encode_path;

pub use bound::{HttpListener, serve_on};
pub use builder::HttpServerBuilder;
use cors::Cors;
use fallback::Fallback;
pub use fallback::HttpRequestBody;
use listener::{Listener, StreamSource};
pub use mounted::{HttpReplyBody, HttpReplyFuture, HttpService, service};
#[cfg(feature = "_fuzz")]
pub(crate) use proxy_header::{Announced, read as read_proxy_header};
use reply_compression::ReplyCompression;
use stop::Stop;

/// Serves routes at a URL with the default configuration, over both HTTP/1 and HTTP/2.
///
/// Returns once the socket is bound. Port 0 takes a free port; [`Server::url`] names it. A name
/// with several addresses, such as `localhost`, is bound on every one that this machine has, with
/// the same port.
///
/// # Errors
///
/// Not sent: `InvalidArgument` when the URL is malformed, or when the certificate and the key of TLS
/// are missing or cannot be read or used; `PermissionDenied` when the process may not bind the
/// address; `Unavailable` when it cannot be bound for another reason.
///
/// # Cancel safety
///
/// Dropping the future leaves nothing bound.
///
/// # Examples
///
/// ```no_run
/// # async fn example(routes: rr_spi::Routes) -> Result<(), rr_spi::Error> {
/// let server = rr_http::serve("http://127.0.0.1:0", routes).await?;
/// println!("serving {}", server.url());
/// server.wait().await;
/// # Ok(())
/// # }
/// ```
pub async fn serve(url: &str, routes: impl Into<Routes>) -> Result<Server, Error> {
    serve_with(url, routes, HttpServerConfig::default()).await
}

/// Serves routes at a URL with a given configuration.
///
/// # Errors
///
/// As [`serve`].
///
/// # Cancel safety
///
/// Dropping the future leaves nothing bound.
pub async fn serve_with(
    url: &str,
    routes: impl Into<Routes>,
    config: HttpServerConfig,
) -> Result<Server, Error> {
    Ok(serve_with_stats(url, routes, config).await?.0)
}

/// Serves routes at a URL like [`serve_with`], and also returns the server's counters.
///
/// # Errors
///
/// As [`serve`].
///
/// # Cancel safety
///
/// Dropping the future leaves nothing bound.
pub async fn serve_with_stats(
    url: &str,
    routes: impl Into<Routes>,
    config: HttpServerConfig,
) -> Result<(Server, HttpServerStats), Error> {
    let builder = HttpServerBuilder::new(routes).with_config(config);
    let stats = builder.stats();
    Ok((builder.serve(url).await?, stats))
}

async fn bind(url: &str, builder: HttpServerBuilder) -> Result<Server, Error> {
    let (base, query) = url.split_once('?').map_or((url, None), |(base, rest)| (base, Some(rest)));
    let (endpoint, state) = prepared(url, builder)?;
    let (listener, bound) = Listener::bind(&endpoint, base).await?;
    let url = query.map_or_else(|| bound.clone(), |query| format!("{bound}?{query}"));
    Ok(start(url, listener, state))
}

/// Reads a URL, and makes the state of its server. This is done before an address is bound, so that
/// a server that cannot serve does not appear.
fn prepared(url: &str, builder: HttpServerBuilder) -> Result<(Endpoint, ServerState), Error> {
    let location = Location::parse(url)?;
    let builder = configured(builder, &location)?;
    let endpoint = Endpoint::of(&location)?;
    let state = ServerState::new(endpoint.prefix.clone(), builder);
    #[cfg(feature = "tls")]
    let state = match endpoint.scheme {
        "https" => state.with_tls()?,
        _ => state,
    };
    Ok((endpoint, state))
}

/// Serves routes on streams that the application provides, such as TLS or pipes within a process.
///
/// The URL names the server, and [`Server::url`] returns it; it also gives the prefix of every
/// path. [`HttpRequester::with_connector`](crate::HttpRequester::with_connector) is the
/// counterpart.
///
/// When every sender has been dropped, the server continues to serve the streams that it has. At
/// the end of a drain the channel is closed: sending into it fails from then on. Streams that are
/// in the channel by then are still served, so that their calls are refused like all others:
/// `Unavailable`, rejected, `draining`. During that time, as many streams as the channel holds may
/// be open beyond `connections_max`. A stream gets no answer if its request then takes more than
/// 100 ms to arrive, or if the server is dropped or reaches the end of its grace period.
///
/// # Errors
///
/// `InvalidArgument`, not sent, when the URL is malformed.
///
/// # Panics
///
/// When called outside of a tokio runtime.
///
/// # Examples
///
/// Both ends in one process, without a socket: in a test on tokio's paused clock, for example.
///
/// ```
/// use rr_http::{HttpConfig, HttpRequester, HttpServerConfig, serve_streams};
/// use tokio::io::{DuplexStream, duplex};
/// use tokio::sync::mpsc;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rr_spi::Error> {
/// # let routes = rr_spi::Routes::new();
/// let (handed_over, incoming) = mpsc::channel::<DuplexStream>(16);
/// let (server, _) =
///     serve_streams("http://orders", incoming, routes, HttpServerConfig::default())?;
///
/// let connect = move || {
///     let handed_over = handed_over.clone();
///     async move {
///         let (near, far) = duplex(64 * 1024);
///         let refused = |_| std::io::ErrorKind::ConnectionRefused;
///         handed_over.send(far).await.map_err(refused)?;
///         Ok(near)
///     }
/// };
/// let client = HttpRequester::with_connector(server.url(), HttpConfig::default(), connect)?;
/// client.ready(&rr_spi::Context::background()).await?;
/// # Ok(())
/// # }
/// ```
pub fn serve_streams<S>(
    url: &str,
    incoming: mpsc::Receiver<S>,
    routes: impl Into<Routes>,
    config: HttpServerConfig,
) -> Result<(Server, HttpServerStats), Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let builder = HttpServerBuilder::new(routes).with_config(config);
    let stats = builder.stats();
    Ok((builder.serve_streams(url, incoming)?, stats))
}

fn bind_streams(
    url: &str,
    incoming: Box<dyn StreamSource>,
    builder: HttpServerBuilder,
) -> Result<Server, Error> {
    let location = Location::parse(url)?;
    let builder = configured(builder, &location)?;
    let state = ServerState::new(Endpoint::of_streams(&location)?.prefix, builder);
    Ok(start(url.to_owned(), Listener::Streams(incoming), state))
}

/// Applies the query of the URL to the configuration.
fn configured(builder: HttpServerBuilder, url: &Location) -> Result<HttpServerBuilder, Error> {
    let config = url.configure(HttpConfig::default(), builder.config.clone())?.1;
    Ok(builder.with_config(config))
}

fn start(url: String, listener: Listener, state: ServerState) -> Server {
    let intake = state.intake.clone();
    let stats = state.stats.clone();
    let state = Arc::new(state);
    Server::spawn(url, intake, |shutdown| accept::run(listener, state, shutdown))
        .with_figures(move || stats.figures())
}

/// Counters of a server: open connections, running tasks, dropped headers, and handshakes of TLS.
#[derive(Clone, Default)]
pub struct HttpServerStats {
    connections: Gauge,
    tasks: Gauge,
    headers_dropped: Arc<AtomicU64>,
    #[cfg(feature = "tls")]
    handshakes: Gauge,
    #[cfg(feature = "tls")]
    handshakes_failed: Arc<AtomicU64>,
    #[cfg(feature = "tls")]
    tls: Arc<OnceLock<rr_tls::TlsAcceptor>>,
}

impl HttpServerStats {
    /// Returns the number of open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.now()
    }

    /// Returns the number of running tasks: one for each connection, for each HTTP/2 stream, and
    /// for each unread request body that is being discarded.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.tasks.now()
    }

    /// Returns the number of request headers that were dropped because they do not fit the grammar
    /// of [`Headers`](rr_spi::Headers): names with underscores, values that are not ASCII.
    #[must_use]
    pub fn headers_dropped(&self) -> u64 {
        self.headers_dropped.load(Ordering::Relaxed)
    }

    /// Returns the figures for [`Server::stats`].
    fn figures(&self) -> Vec<(&'static str, u64)> {
        let connections = u64::try_from(self.connections()).unwrap_or(u64::MAX);
        // Failed handshakes are counted by the event of each: `Stats::handshakes_refused`.
        vec![("connections", connections), ("headers_dropped", self.headers_dropped())]
    }

    fn drop_headers(&self, dropped: u64) {
        if dropped > 0 {
            self.headers_dropped.fetch_add(dropped, Ordering::Relaxed);
        }
    }
}

#[cfg(feature = "tls")]
impl HttpServerStats {
    /// Returns the number of TLS handshakes in progress, those that wait for their turn included.
    #[must_use]
    pub fn handshakes(&self) -> usize {
        self.handshakes.now()
    }

    /// Returns the number of connections that were closed without a complete handshake: the peer
    /// took too long, spoke no TLS, or was refused.
    #[must_use]
    pub fn handshakes_failed(&self) -> u64 {
        self.handshakes_failed.load(Ordering::Relaxed)
    }

    /// Returns why the TLS files could not be used when they last changed, and the previous ones
    /// remain; `None` if they could.
    #[must_use]
    pub fn tls_reload_error(&self) -> Option<Error> {
        self.tls.get()?.last_reload_error()
    }

    fn handshake_failed(&self) {
        self.handshakes_failed.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for HttpServerStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServerStats")
            .field("connections", &self.connections())
            .field("tasks", &self.tasks())
            .field("headers_dropped", &self.headers_dropped())
            .finish()
    }
}

/// Error of a body of the application, as tower and axum box it.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// State shared by all connections of one server.
struct ServerState {
    prefix: String,
    intake: Intake,
    config: HttpServerConfig,
    stats: HttpServerStats,
    stop: Stop,
    #[cfg(feature = "tls")]
    tls: Option<tls::Tls>,
    /// Asks the connections that are open to move elsewhere, in the second half of a lame duck.
    leaving: Stop,
    entropy: OsEntropy,
    /// Cross-origin calls; `None` if no origin is allowed.
    cors: Option<Cors>,
    /// `None` if no reply is compressed.
    compression: Option<ReplyCompression>,
    /// Targets that are routed by name, keyed by path: their requests need no parsing of the path.
    paths: HashMap<String, Target>,
    /// Document that describes the services; `None` if none is described.
    descriptions: Option<Bytes>,
    /// Service for requests that no route answers.
    fallback: Option<Fallback>,
}

impl ServerState {
    fn new(prefix: String, builder: HttpServerBuilder) -> Self {
        let HttpServerBuilder { routes, config, fallback, stats } = builder;
        let intake = Intake::new(routes, config.intake.clone());
        let routed = intake.routes().iter().filter_map(|(route, _)| match route {
            Route::Target(name) => Target::parse(&name).ok(),
            _ => None,
        });
        let mut paths: HashMap<_, _> =
            routed.map(|target| (encode_path(&prefix, &target), target)).collect();
        admin_page::route(&mut paths, &prefix);
        let cors = Cors::new(&config.cors_origins);
        let descriptions = descriptions(intake.routes());
        Self {
            prefix,
            intake,
            stats,
            stop: Stop::default(),
            leaving: Stop::default(),
            entropy: OsEntropy::new(),
            #[cfg(feature = "tls")]
            tls: None,
            cors,
            compression: ReplyCompression::new(config.compress_bytes_min),
            paths,
            descriptions,
            config,
            fallback,
        }
    }

    /// Returns whether handshakes of TLS are in progress.
    fn shakes_hands(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.as_ref().is_some_and(tls::Tls::shakes_hands);
        #[cfg(not(feature = "tls"))]
        false
    }

    /// Serves TLS.
    #[cfg(feature = "tls")]
    fn with_tls(mut self) -> Result<Self, Error> {
        let tls = tls::Tls::new(&self.config.tls)?;
        let _ = self.stats.tls.set(tls.acceptor().clone());
        self.tls = Some(tls);
        Ok(self)
    }
}

/// Makes the document that describes the services.
fn descriptions(routes: &Routes) -> Option<Bytes> {
    let services = routes.descriptions().map(|(_, description)| description.to_string());
    let services: Vec<_> = services.collect();
    (!services.is_empty()).then(|| format!(r#"{{"services":[{}]}}"#, services.join(",")).into())
}

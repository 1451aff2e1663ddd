//! The server side.

mod accept;
mod connection;
mod drain_body;
mod gzip;
mod keep_alive;
mod listener;
mod read_body;
mod reply;
mod request;
mod version_detect;
mod stop;
mod tasks;
mod timeouts;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rr_spi::{Error, Intake, Location, Route, Routes, Server, Target};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::config::{HttpConfig, HttpServerConfig};
use crate::gauge::Gauge;
use crate::endpoint::Endpoint;
use crate::wire::encode_path;

#[cfg(feature = "_fuzz")]
pub(crate) use gzip::{GzipError, decompress};
use listener::Listener;
use stop::Stop;

/// Serves these routes at a URL with the default configuration, over HTTP/1 and HTTP/2 alike.
///
/// Returns once the socket is bound. Port 0 takes a free one; [`Server::url`] names it. A name with
/// several addresses, such as `localhost`, is bound on each that this machine has, on one port.
///
/// # Errors
///
/// Not sent: `InvalidArgument` when the URL is malformed; `Unavailable` when the address cannot be
/// bound.
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

/// Serves these routes at a URL.
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

/// Serves these routes at a URL, and returns beside the server what is open and what was dropped.
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
    let (base, query) = url.split_once('?').map_or((url, None), |(base, rest)| (base, Some(rest)));
    let location = Location::parse(url)?;
    let config = location.configure(HttpConfig::default(), config)?.1;
    let endpoint = Endpoint::of(&location)?;
    let (listener, bound) = Listener::bind(&endpoint, base).await?;
    let url = query.map_or_else(|| bound.clone(), |query| format!("{bound}?{query}"));
    Ok(start(url, listener, endpoint.prefix, routes.into(), config))
}

/// Serves these routes on streams that the application hands over, such as pipes within a process
/// or connections on which TLS has begun.
///
/// The URL names the server, as [`Server::url`] does then, and gives the prefix of every path.
/// [`HttpRequester::with_connector`](crate::HttpRequester::with_connector) is the counterpart.
/// When every sender is gone, the server goes on with the streams that it has. When a drain comes
/// to its end the channel is closed: to send into it fails from then on. What is in it by then is
/// served still, so that its calls are refused like all others, `Unavailable`, rejected,
/// `draining`; for that moment as many streams as the channel holds may be open beyond
/// `connections_max`. What is left unanswered is a stream whose request takes more than 100 ms to
/// come then, and those of a server that is dropped or ends with its grace.
///
/// # Errors
///
/// `InvalidArgument`, not sent, when the URL is malformed.
///
/// # Panics
///
/// Outside of a tokio runtime.
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
    let location = Location::parse(url)?;
    let config = location.configure(HttpConfig::default(), config)?.1;
    let endpoint = Endpoint::of_streams(&location)?;
    let listener = Listener::Streams(Box::new(incoming));
    Ok(start(url.to_owned(), listener, endpoint.prefix, routes.into(), config))
}

fn start(
    url: String,
    listener: Listener,
    prefix: String,
    routes: Routes,
    config: HttpServerConfig,
) -> (Server, HttpServerStats) {
    let intake = Intake::new(routes, config.intake.clone());
    let stats = HttpServerStats::default();
    let site = Arc::new(ServerState::new(prefix, intake.clone(), config, stats.clone()));
    let server = Server::spawn(url, intake, |shutdown| accept::run(listener, site, shutdown));
    (server, stats)
}

/// What a server has open at the moment, and what it has left out.
#[derive(Clone, Default)]
pub struct HttpServerStats {
    connections: Gauge,
    tasks: Gauge,
    headers_dropped: Arc<AtomicU64>,
}

impl HttpServerStats {
    /// Returns how many connections are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.now()
    }

    /// Returns how many tasks run: one for each connection, and one for each HTTP/2 stream.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.tasks.now()
    }

    /// Returns how many headers of requests were dropped because they do not fit the grammar of
    /// [`Headers`](rr_spi::Headers): names with underscores, values that are not ASCII.
    #[must_use]
    pub fn headers_dropped(&self) -> u64 {
        self.headers_dropped.load(Ordering::Relaxed)
    }

    fn drop_headers(&self, dropped: u64) {
        if dropped > 0 {
            self.headers_dropped.fetch_add(dropped, Ordering::Relaxed);
        }
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

/// What every connection of one server shares.
struct ServerState {
    prefix: String,
    intake: Intake,
    config: HttpServerConfig,
    stats: HttpServerStats,
    stop: Stop,
    /// The targets that are routed by name, under their paths: such a request needs no parsing.
    paths: HashMap<String, Target>,
}

impl ServerState {
    fn new(
        prefix: String,
        intake: Intake,
        config: HttpServerConfig,
        stats: HttpServerStats,
    ) -> Self {
        let routed = intake.routes().iter().filter_map(|(route, _)| match route {
            Route::Target(name) => Target::parse(&name).ok(),
            _ => None,
        });
        let paths = routed.map(|target| (encode_path(&prefix, &target), target)).collect();
        Self { prefix, intake, config, stats, stop: Stop::default(), paths }
    }
}

//! The server side.

mod accept;
mod connection;
mod discard;
mod gzip;
mod listener;
mod service;
mod stop;
mod tasks;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rr_spi::{Error, Intake, Location, Route, Routes, Server, Target};

use crate::config::HttpServerConfig;
use crate::endpoint::Endpoint;
use crate::wire::encode_path;

use listener::Listener;
use stop::Stop;
use tasks::Count;

/// Serves these routes at a URL with the default configuration, over HTTP/1 and HTTP/2 alike.
///
/// Returns once the socket is bound. Port 0 takes a free one; [`Server::url`] names it.
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

/// Serves these routes at a URL, and returns what is open beside the server.
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
    let mut location = Location::parse(url)?;
    let config = config.with_location(&mut location)?;
    let endpoint = Endpoint::of(&location)?;
    let (listener, bound) = Listener::bind(&endpoint, base).await?;
    let url = query.map_or_else(|| bound.clone(), |query| format!("{bound}?{query}"));
    let intake = Intake::new(routes, config.intake());
    let stats = HttpServerStats::default();
    let site = Arc::new(Site::new(endpoint.prefix, intake.clone(), config, stats.clone()));
    let server = Server::spawn(url, intake, |shutdown| accept::run(listener, site, shutdown));
    Ok((server, stats))
}

/// What a server has open at the moment.
#[derive(Clone, Default)]
pub struct HttpServerStats {
    connections: Count,
    tasks: Count,
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
}

impl fmt::Debug for HttpServerStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServerStats")
            .field("connections", &self.connections())
            .field("tasks", &self.tasks())
            .finish()
    }
}

/// What every connection of one server shares.
struct Site {
    prefix: String,
    intake: Intake,
    config: HttpServerConfig,
    stats: HttpServerStats,
    stop: Stop,
    /// The targets that are routed by name, under their paths: such a request needs no parsing.
    paths: HashMap<String, Target>,
}

impl Site {
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

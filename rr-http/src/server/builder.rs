//! A server that has not been started.

use std::convert::Infallible;
use std::fmt;

use http::{Request, Response};
use http_body::Body;
use rr_spi::{Error, Routes, Server};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tower_service::Service;

use super::fallback::{Fallback, HttpRequestBody};
use super::{BoxError, HttpServerStats};
use crate::config::HttpServerConfig;

/// Server that has not been started: routes, a configuration, and a service for everything else.
///
/// [`serve`](crate::serve) and its siblings are shorter where no fallback is needed.
///
/// # Examples
///
/// Pages of the application and the routes, on one port. Any [`tower_service::Service`] does, such
/// as an `axum::Router`:
///
/// ```
/// use std::convert::Infallible;
/// use std::future::{Ready, ready};
/// use std::task::{Context, Poll};
///
/// use http::{Request, Response};
/// use rr_http::{HttpRequestBody, HttpServerBuilder};
///
/// #[derive(Clone)]
/// struct Page;
///
/// impl tower_service::Service<Request<HttpRequestBody>> for Page {
///     type Response = Response<String>;
///     type Error = Infallible;
///     type Future = Ready<Result<Response<String>, Infallible>>;
///
///     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
///         Poll::Ready(Ok(()))
///     }
///
///     fn call(&mut self, request: Request<HttpRequestBody>) -> Self::Future {
///         ready(Ok(Response::new(format!("the page {}", request.uri().path()))))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rr_spi::Error> {
/// # let routes = rr_spi::Routes::new();
/// let server = HttpServerBuilder::new(routes).with_fallback(Page);
/// let server = server.serve("http://127.0.0.1:0").await?;
/// println!("serving {}", server.url());
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder serves nothing until `serve` or `serve_streams` is called"]
pub struct HttpServerBuilder {
    pub(super) routes: Routes,
    pub(super) config: HttpServerConfig,
    pub(super) fallback: Option<Fallback>,
    pub(super) stats: HttpServerStats,
}

impl HttpServerBuilder {
    /// Makes a server of these routes with the default configuration.
    pub fn new(routes: impl Into<Routes>) -> Self {
        Self {
            routes: routes.into(),
            config: HttpServerConfig::default(),
            fallback: None,
            stats: HttpServerStats::default(),
        }
    }

    /// Replaces the configuration. The query of the URL is applied on top of it.
    pub fn with_config(mut self, config: HttpServerConfig) -> Self {
        self.config = config;
        self
    }

    /// Passes requests that no route answers to a service, such as an `axum::Router`.
    ///
    /// These are the requests whose path belongs to no target of the routes and is none of
    /// `/.well-known/rr/health`, `/.well-known/rr/health/live` and, if services are described,
    /// `/.well-known/rr`. With a fallback among the routes, these are the paths that name no target,
    /// such as `/` or `/a/b/c`. The prefix of the URL is not removed. A request with a malformed
    /// `Host` or transfer coding is refused before.
    ///
    /// Bodies are streamed both ways. The extensions of a request have the caller, as an
    /// `Arc<`[`Peer`](rr_spi::Peer)`>` (`rr_core::context::Peer` in applications) and as a
    /// [`SocketAddr`](std::net::SocketAddr) if it is known.
    /// The limits of the intake, the budget of bodies, `body_read_timeout` and CORS do not apply:
    /// the service has its own, and `connections_max` times `h2_streams_max` bounds its requests.
    /// `write_timeout` applies to connections that accept no bytes, but not to single HTTP/2
    /// streams. A future that panics is answered with 500, and a body that panics ends its
    /// connection or stream. Connections cannot be upgraded, to WebSockets for example:
    /// mount [`HttpService`](crate::HttpService) in a server of the application for that.
    ///
    /// A drain waits for the requests of the service within its grace, and its report does not
    /// count them. They are still answered while the server listens. Over HTTP/1 the replies then
    /// close their connections, and so do replies on a connection that is due to be replaced
    /// (`connection_age_max`, `lame_duck`).
    pub fn with_fallback<S, B>(mut self, service: S) -> Self
    where
        S: Service<Request<HttpRequestBody>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        self.fallback = Some(Fallback::new(service));
        self
    }

    /// Returns the counters of the server, which start with it.
    #[must_use]
    pub fn stats(&self) -> HttpServerStats {
        self.stats.clone()
    }

    /// Serves at a URL.
    ///
    /// # Errors
    ///
    /// As [`serve`](crate::serve).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing bound.
    pub async fn serve(self, url: &str) -> Result<Server, Error> {
        super::bind(url, self).await
    }

    /// Serves on streams that the application provides.
    ///
    /// # Errors
    ///
    /// As [`serve_streams`](crate::serve_streams).
    ///
    /// # Panics
    ///
    /// When called outside of a tokio runtime.
    pub fn serve_streams<S>(self, url: &str, incoming: mpsc::Receiver<S>) -> Result<Server, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        super::bind_streams(url, Box::new(incoming), self)
    }
}

impl fmt::Debug for HttpServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServerBuilder")
            .field("config", &self.config)
            .field("has_fallback", &self.fallback.is_some())
            .finish_non_exhaustive()
    }
}

//! The server as a tower service, which the application mounts in another server.

mod reply;
mod request;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::Body;
use rr_spi::observe::Stats;
use rr_spi::{BodyAccount, BodyShare, DrainReport, Routes, Server, Shutdown};
use tower_service::Service;

use self::request::{BodyFailure, RequestBody, caller};
use super::carrier::Carrier;
use super::drain_body::discard;
use super::request::answer;
use super::tasks::{Running, Tasks};
use super::{BoxError, HttpServerBuilder, HttpServerStats, ServerState};
use crate::config::HttpServerConfig;
use crate::sync::Gauge;

pub use self::reply::HttpReplyBody;

/// Makes a service that answers as a server does, with the default configuration.
///
/// See [`HttpService`].
///
/// # Examples
///
/// ```no_run
/// # fn example(routes: rr_spi::Routes) {
/// let service = rr_http::service(routes);
/// // In axum: `Router::new().route("/", get(page)).nest_service("/rr", service.clone())`.
/// // A client then connects to `http://host:port/rr`.
/// # }
/// ```
pub fn service(routes: impl Into<Routes>) -> HttpService {
    HttpService::new(routes, HttpServerConfig::default())
}

/// Service that answers HTTP requests as [`serve`](crate::serve) does, in a server of the
/// application: axum, hyper or anything else that calls a [`tower_service::Service`].
///
/// Bytes, errors, deadlines, limits, the budget of bodies, CORS, descriptions, health and drain are
/// those of [`serve`](crate::serve). Dropping the future of a request cancels its handler, which
/// servers over hyper do when the caller disconnects. Clones share one service.
///
/// # Paths
///
/// The path of a target is `/service/method`, without a prefix. axum's `nest_service` removes its
/// prefix before it calls the service; elsewhere a layer does it. The health check is at
/// `/.well-known/rr/health` below the prefix.
///
/// # Configuration
///
/// Of [`HttpServerConfig`], the service uses `body_read_timeout`, `compress_bytes_min`,
/// `drain_linger`, `cors_origins` and `intake`. The other fields have no effect, since they are about
/// connections, which the server of the application has: `connections_max`, `first_bytes_timeout`,
/// `header_read_timeout`, `write_timeout`, `idle_timeout`, `h2_streams_max`, `tcp_keepalive`, `tls`.
/// Connections are not distinguished in the budget of bodies: one of them can use all of it.
///
/// # Callers
///
/// [`RequestInfo::peer`](rr_spi::RequestInfo::peer) is the [`Peer`](rr_spi::Peer) in the extensions
/// of a request (plain or in an `Arc`; applications know it as `rr_core::context::Peer`), or has the
/// [`SocketAddr`](std::net::SocketAddr) there; without either it is `None`. In axum, one layer passes
/// on the address:
///
/// ```ignore
/// async fn address(info: ConnectInfo<SocketAddr>, mut request: Request, next: Next) -> Response {
///     request.extensions_mut().insert(info.0);
///     next.run(request).await
/// }
/// Router::new().nest_service("/rr", service).layer(axum::middleware::from_fn(address));
/// ```
///
/// # Drain
///
/// [`HttpService::shutdown`] drains the service. Stop the server of the application after that:
///
/// ```ignore
/// let stop = async move {
///     rr_core::shutdown_signal().await;
///     service.shutdown(defaults::DRAIN_GRACE).await;
/// };
/// axum::serve(listener, app).with_graceful_shutdown(stop).await
/// ```
///
/// # Examples
///
/// A call without any server, as in a unit test:
///
/// ```
/// use http::{Request, StatusCode};
/// use tower_service::Service as _;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// # let routes = rr_spi::Routes::new();
/// let mut service = rr_http::service(routes);
/// let request = Request::get("/.well-known/rr/health").header("host", "localhost");
/// let reply = service.call(request.body(String::new()).unwrap()).await.unwrap();
/// assert_eq!(reply.status(), StatusCode::OK);
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a service answers only where it is mounted"]
pub struct HttpService(Arc<Shared>);

struct Shared {
    state: ServerState,
    /// Requests until their replies have left.
    requests: Tasks,
    /// Unread bodies being discarded.
    discards: Tasks,
    account: Arc<BodyAccount>,
    /// The drain, once it has begun.
    drain: OnceLock<Server>,
}

impl HttpService {
    /// Makes a service with a configuration.
    pub fn new(routes: impl Into<Routes>, config: HttpServerConfig) -> Self {
        let server = HttpServerBuilder::new(routes).with_config(config);
        let state = ServerState::new(String::new(), server);
        let requests = Tasks::new(state.stats.tasks.clone());
        let discards = Tasks::new(Gauge::default());
        let account = state.intake.bodies().whole();
        let drain = OnceLock::new();
        Self(Arc::new(Shared { state, requests, discards, account, drain }))
    }

    /// Returns the number of requests in flight plus that of shielded futures.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.state.intake.in_flight()
    }

    /// Returns the number of body bytes that the service holds.
    ///
    /// Request bodies count until their handlers end, and reply bodies until they have left.
    #[must_use]
    pub fn bodies_bytes(&self) -> usize {
        self.0.state.intake.bodies().held()
    }

    /// Returns the counts of the requests since the service was made; see
    /// [`Server::stats`](rr_spi::Server::stats).
    #[must_use]
    pub fn stats(&self) -> Stats {
        let bodies_bytes = u64::try_from(self.bodies_bytes()).unwrap_or(u64::MAX);
        let stats = self.0.state.intake.stats().with_figure("bodies_bytes", bodies_bytes);
        stats.with_figure("headers_dropped", self.http_stats().headers_dropped())
    }

    /// Returns the counters of HTTP.
    ///
    /// Connections are not counted. Tasks are requests until their replies have left.
    #[must_use]
    pub fn http_stats(&self) -> HttpServerStats {
        self.0.state.stats.clone()
    }

    /// Drains the service.
    ///
    /// As [`Server::shutdown`]: refuses new requests as `Unavailable`, rejected, `draining`, for
    /// good; lets requests in flight finish; cancels the remaining ones after `grace` with
    /// [`Cause::Shutdown`](rr_spi::Cause::Shutdown). Returns when the replies have been handed to
    /// the server of the application, but not before `drain_linger` has passed, so that requests
    /// that race with the drain are refused rather than lost when that server stops. Replies over
    /// HTTP/1 close their connections from then on.
    ///
    /// May be called repeatedly and concurrently: the shortest grace applies, and every call
    /// returns the same report.
    ///
    /// # Panics
    ///
    /// When first polled outside of a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop a drain that it has begun.
    pub async fn shutdown(&self, grace: Duration) -> DrainReport {
        let begin = || {
            let (shared, intake) = (Arc::clone(&self.0), self.0.state.intake.clone());
            Server::spawn(String::new(), intake, |shutdown| drain(shared, shutdown))
        };
        self.0.drain.get_or_init(begin).shutdown(grace).await
    }
}

/// Waits until everything that was in flight when the drain began has ended.
async fn drain(shared: Arc<Shared>, shutdown: Shutdown) {
    let state = &shared.state;
    let drained = async {
        shutdown.draining().await;
        tokio::time::sleep(state.config.drain_linger).await;
        state.intake.idle().await;
        state.stop.stop();
        shared.requests.none().await;
    };
    let _ = shutdown.until_closing(drained).await;
    // Ends the reading of bodies, which the end of the grace does not cancel.
    state.stop.stop();
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.discards.end();
    }
}

impl fmt::Debug for HttpService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpService").field("intake", &self.0.state.intake).finish()
    }
}

impl<B> Service<Request<B>> for HttpService
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<HttpReplyBody>;
    type Error = Infallible;
    type Future = HttpReplyFuture;

    /// Always ready: requests over a limit are refused, and wait for nothing.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> HttpReplyFuture {
        let call = Call::new(Arc::clone(&self.0), request.extensions());
        let (mut parts, body) = request.into_parts();
        HttpReplyFuture(Box::pin(async move {
            Ok(answer(&call, &mut parts, RequestBody::new(body)).await)
        }))
    }
}

/// Future of a request of [`HttpService`]. Dropping it cancels the handler.
#[must_use = "futures do nothing unless polled"]
pub struct HttpReplyFuture(Pin<Box<dyn Future<Output = Outcome> + Send>>);

type Outcome = Result<Response<HttpReplyBody>, Infallible>;

impl Future for HttpReplyFuture {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for HttpReplyFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpReplyFuture").finish_non_exhaustive()
    }
}

/// Carrier of one request.
struct Call<B> {
    shared: Arc<Shared>,
    caller: Option<Arc<rr_spi::Peer>>,
    /// Counts the request, and then its reply, for a drain that begins later. During a drain nothing
    /// new is counted: requests that are only refused would prolong it.
    running: Option<Running>,
    body: PhantomData<fn(B)>,
}

impl<B> Call<B> {
    fn new(shared: Arc<Shared>, extensions: &http::Extensions) -> Self {
        let is_new = !shared.state.intake.is_draining();
        let running = is_new.then(|| shared.requests.count());
        Self { shared, caller: caller(extensions), running, body: PhantomData }
    }
}

impl<B> Carrier for Call<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Body = RequestBody<B>;
    type Failure = BodyFailure;
    type Reply = HttpReplyBody;

    fn state(&self) -> &ServerState {
        &self.shared.state
    }

    fn caller(&self) -> Option<&Arc<rr_spi::Peer>> {
        self.caller.as_ref()
    }

    fn account(&self) -> &Arc<BodyAccount> {
        &self.shared.account
    }

    /// Connections belong to the server of the application.
    fn retires(&self) -> bool {
        false
    }

    fn discard(&self, rest: RequestBody<B>) {
        discard(&self.shared.discards, (), rest);
    }

    fn reply(&self, bytes: Bytes, share: BodyShare, _: Version) -> HttpReplyBody {
        HttpReplyBody::new(bytes, share, self.running.clone())
    }
}

//! Serving a router at a URL.

use std::future::Future;
use std::task::Poll;
use std::time::Duration;

use rr_spi::{DrainReport, Error, Routes, Server, defaults};

use crate::client::{scheme, unknown};
use crate::config::ServerConfig;
use crate::observe::with_features;
use crate::router::Router;

/// Serves a router at a URL with the default limits. Returns once the server can be called.
///
/// Port 0 selects a free port; [`Server::url`] returns it. Dropping the server stops it.
/// [`serve_all`](crate::serve_all) serves one router at several URLs.
///
#[doc = include_str!("url.md")]
///
/// # Errors
///
/// Not sent: `InvalidArgument` when the URL is malformed or has an unknown parameter, or its scheme
/// is unknown or not compiled in; `Unavailable` when the address cannot be bound or no broker can be
/// reached; `AlreadyExists` when a `memory` name is taken; `Unauthenticated` or `PermissionDenied`
/// when a broker refuses.
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
///
/// # Examples
///
#[cfg_attr(all(feature = "json", feature = "http"), doc = "```no_run")]
#[cfg_attr(not(all(feature = "json", feature = "http")), doc = "```ignore")]
/// # async fn example() -> Result<(), rr_core::Error> {
/// use rr_core::{Error, Router, defaults, serve};
///
/// async fn ping((): ()) -> Result<String, Error> {
///     Ok("pong".to_owned())
/// }
///
/// let server = serve("http://127.0.0.1:0", Router::new().route("service.ping", ping)).await?;
/// println!("serving {}", server.url());
/// server.shutdown(defaults::DRAIN_GRACE).await;
/// # Ok(()) }
/// ```
pub async fn serve(url: &str, router: impl Into<Router>) -> Result<Server, Error> {
    start(url, router.into().into(), ServerConfig::default()).await
}

/// Serves a router at a URL with a configuration, such as an [`IntakeConfig`](crate::config::IntakeConfig)
/// for the part that all transports have in common. The query of the URL overrides the
/// configuration.
///
/// # Errors
///
/// As [`serve`].
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
pub async fn serve_with(
    url: &str,
    router: impl Into<Router>,
    config: impl Into<ServerConfig>,
) -> Result<Server, Error> {
    start(url, router.into().into(), config.into()).await
}

/// Serves routes at a URL.
#[allow(
    clippy::unused_async,
    unused_variables,
    reason = "it depends on the transports compiled in"
)]
pub(crate) async fn start(
    url: &str,
    routes: Routes,
    mut config: ServerConfig,
) -> Result<Server, Error> {
    config.intake.observers = with_features(config.intake.observers);
    // Boxed: binding is rare, and inline it would enlarge every future that serves.
    match scheme(url).as_str() {
        #[cfg(feature = "http")]
        "http" | "http+unix" => Box::pin(http(url, routes, config)).await,
        #[cfg(all(feature = "http", feature = "tls"))]
        "https" => Box::pin(http(url, routes, config)).await,
        #[cfg(feature = "memory")]
        "memory" => rr_testkit::serve_with(url, routes, config.intake),
        #[cfg(feature = "nats")]
        "nats" | "nats+tls" | "tls" | "ws" | "wss" => {
            let config = config.nats.into_config(config.intake);
            Box::pin(rr_nats::serve_with(url, routes, config)).await
        }
        scheme => Err(unknown(scheme)),
    }
}

#[cfg(feature = "http")]
async fn http(url: &str, routes: Routes, config: ServerConfig) -> Result<Server, Error> {
    rr_http::serve_with(url, routes, config.http.into_config(config.intake)).await
}

/// Serves a router at a URL until `signal` completes, such as `shutdown_signal()`, then drains it
/// within 25 s.
///
/// The parameter `lame_duck` of the URL delays the drain, so that load balancers notice it:
/// see [`IntakeConfig::lame_duck`](crate::config::IntakeConfig::lame_duck). Ctrl-C or SIGTERM
/// during this time begins the drain immediately.
///
/// # Errors
///
/// As [`serve`].
///
/// # Cancel safety
///
/// Dropping the future stops the server immediately.
pub async fn serve_until(
    url: &str,
    router: impl Into<Router>,
    signal: impl Future<Output = ()>,
) -> Result<DrainReport, Error> {
    let server = serve(url, router).await?;
    // The wait also ends when the server ends before the signal.
    either(signal, server.wait()).await;
    Ok(drain(server.lame_duck(), || server.shutdown(defaults::DRAIN_GRACE)).await)
}

/// Drains servers with `shutdown`. Another Ctrl-C or SIGTERM during the lame duck calls `shutdown` again,
/// which ends the lame duck.
pub(crate) async fn drain<F>(lame_duck: Duration, shutdown: impl Fn() -> F) -> DrainReport
where
    F: Future<Output = DrainReport>,
{
    if lame_duck.is_zero() {
        // The application may have other plans for these signals.
        return shutdown().await;
    }
    let again = async {
        signal_if_any().await;
        shutdown().await
    };
    either(shutdown(), again).await
}

async fn signal_if_any() {
    #[cfg(any(feature = "http", feature = "memory", feature = "nats"))]
    shutdown_signal().await;
    #[cfg(not(any(feature = "http", feature = "memory", feature = "nats")))]
    std::future::pending::<()>().await;
}

/// Returns the output of the future that completes first.
pub(crate) async fn either<T>(
    first: impl Future<Output = T>,
    second: impl Future<Output = T>,
) -> T {
    let (mut first, mut second) = (std::pin::pin!(first), std::pin::pin!(second));
    std::future::poll_fn(|cx| match first.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(output),
        Poll::Pending => second.as_mut().poll(cx),
    })
    .await
}

/// Completes on Ctrl-C and, on Unix, on SIGTERM, which orchestrators send to stop a process.
///
/// After the first call, these signals no longer end the process by default: a second Ctrl-C during
/// a drain does nothing. During the lame duck of [`serve_until`] it begins the drain.
///
/// # Cancel safety
///
/// Can be dropped and called again at any time.
///
/// # Examples
///
/// ```no_run
/// # async fn example(router: rr_core::Router) -> Result<(), rr_core::Error> {
/// use rr_core::{serve_until, shutdown_signal};
///
/// let report = serve_until("http://0.0.0.0:8080", router, shutdown_signal()).await?;
/// println!("{report:?}");
/// # Ok(()) }
/// ```
#[cfg(any(feature = "http", feature = "memory", feature = "nats"))]
pub async fn shutdown_signal() {
    let mut interrupt = Some(Box::pin(tokio::signal::ctrl_c()));
    #[cfg(unix)]
    let mut terminate = {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::terminate()).ok()
    };
    std::future::poll_fn(|cx| {
        #[cfg(unix)]
        if terminate.as_mut().is_some_and(|signal| signal.poll_recv(cx).is_ready()) {
            return Poll::Ready(());
        }
        match interrupt.as_mut().map(|signal| signal.as_mut().poll(cx)) {
            Some(Poll::Ready(Ok(()))) => return Poll::Ready(()),
            // The handler could not be installed, so Ctrl-C ends the process directly.
            Some(Poll::Ready(Err(_))) => interrupt = None,
            Some(Poll::Pending) | None => {}
        }
        Poll::Pending
    })
    .await;
}

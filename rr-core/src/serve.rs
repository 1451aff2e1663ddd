//! Serving a router at a URL.

use std::future::Future;

use rr_spi::{DrainReport, Error, Server, defaults};

use crate::client::{scheme, unknown};
use crate::router::Router;

/// Serves a router at a URL, with the default limits. Returns once it can be called.
///
/// A port of 0 is replaced by a free one; [`Server::url`] names it. Dropping the server stops it.
///
/// # Errors
///
/// Not sent: `InvalidArgument` when the URL is malformed, or its scheme is unknown or not compiled
/// in; `Unavailable` when the address cannot be bound or no broker can be reached; `AlreadyExists`
/// when it is taken; `Unauthenticated` or `PermissionDenied` when a broker refuses.
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
#[allow(
    clippy::unused_async,
    unused_variables,
    reason = "it depends on the transports compiled in"
)]
pub async fn serve(url: &str, router: impl Into<Router>) -> Result<Server, Error> {
    match scheme(url).as_str() {
        #[cfg(feature = "http")]
        "http" | "http+unix" => rr_http::serve(url, router.into()).await,
        #[cfg(feature = "memory")]
        "memory" => rr_testkit::serve(url, router.into()),
        #[cfg(feature = "nats")]
        "nats" => rr_nats::serve(url, router.into()).await,
        scheme => Err(unknown(scheme)),
    }
}

/// Serves a router at a URL until `signal` completes, then drains it within 25 s.
///
/// # Errors
///
/// As [`serve`].
///
/// # Cancel safety
///
/// Dropping the future stops the server at once.
///
/// # Examples
///
#[cfg_attr(feature = "_serve", doc = "```no_run")]
#[cfg_attr(not(feature = "_serve"), doc = "```ignore")]
/// # async fn example(router: rr_core::Router) -> Result<(), rr_core::Error> {
/// use rr_core::{serve_until, shutdown_signal};
///
/// let report = serve_until("http://0.0.0.0:8080", router, shutdown_signal()).await?;
/// println!("{report:?}");
/// # Ok(()) }
/// ```
pub async fn serve_until(
    url: &str,
    router: impl Into<Router>,
    signal: impl Future<Output = ()>,
) -> Result<DrainReport, Error> {
    let server = serve(url, router).await?;
    signal.await;
    Ok(server.shutdown(defaults::DRAIN_GRACE).await)
}

/// Completes on ctrl-c, and on Unix on SIGTERM, which is how orchestrators ask to stop.
///
/// # Cancel safety
///
/// Can be dropped and called again at any time.
#[cfg(feature = "_serve")]
pub async fn shutdown_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                biased;
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without a handler there is nothing to wait for but the process being killed.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

//! Server over NATS.

mod cancels;
mod discovery;
mod endpoint_stats;
mod inbox;
mod pace;
mod reconnect;
mod request;
mod send_reply;
mod state;
mod stats;
mod subscribe;
mod subscription;
mod tasks;
mod unsubscribe;

use std::sync::Arc;

use rr_spi::{Context, Entropy, Error, Intake, OsEntropy, Routes, Server};

use crate::config::{NatsConfig, NatsServerConfig};
use crate::connection::{Channel, Dialer, LinkSetup, Members};
use crate::endpoint;

use reconnect::Cleanup;
use state::ServerState;
use subscribe::Subscriptions;

pub use stats::NatsServerStats;

/// Maximum number of requests of one subscription that wait in the client library; the library
/// drops further requests and counts the drops. The loop of a subscription never waits for
/// handlers, so that few requests ever wait.
const INCOMING_MAX: usize = 16 * 1024;

/// Serves these routes under the prefix of a `nats://` URL, with the default configuration.
///
/// Returns once a round trip through the NATS server has proved the subscriptions. From then on the
/// server replaces a lost connection and subscribes again, until it is dropped.
///
/// # Errors
///
/// The delivery is always `NotSent`. `InvalidArgument` if the URL is malformed, a file of TLS cannot
/// be used, or there is a fallback and no prefix; `Unavailable`, `connect-failed`, if no NATS server
/// can be reached or verified; `Unauthenticated` if the NATS server refuses the credentials;
/// `FailedPrecondition` if a file of credentials cannot be used; `PermissionDenied` if it denies a
/// subscription.
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
///
/// # Examples
///
/// ```no_run
/// # async fn example(routes: rr_spi::Routes) -> Result<(), rr_spi::Error> {
/// let server = rr_nats::serve("nats://127.0.0.1:4222/team", routes).await?;
/// println!("serving {}", server.url());
/// server.wait().await;
/// # Ok(())
/// # }
/// ```
pub async fn serve(url: &str, routes: impl Into<Routes>) -> Result<Server, Error> {
    serve_with(url, routes, NatsServerConfig::default()).await
}

/// Serves these routes under the prefix of a `nats://` URL; options in the URL take precedence over
/// `config`.
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
    routes: impl Into<Routes>,
    config: NatsServerConfig,
) -> Result<Server, Error> {
    Ok(serve_with_stats(url, routes, config).await?.0)
}

/// Serves like [`serve_with`], and also returns the counters of the server.
///
/// # Errors
///
/// As [`serve`].
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
pub async fn serve_with_stats(
    url: &str,
    routes: impl Into<Routes>,
    config: NatsServerConfig,
) -> Result<(Server, NatsServerStats), Error> {
    let (endpoint, _, config) = endpoint::configure(url, NatsConfig::default(), config)?;
    let intake = Intake::new(routes, config.intake.clone());
    // The NATS server does not send a delivered request elsewhere, so a drain still answers it.
    intake.admit_while_draining();
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy::new());
    let (alive, life) = Context::background().child();
    let setup = LinkSetup {
        channel: Channel::new(endpoint.scheme, &config.connection)?,
        config: config.connection.clone(),
        prefix: endpoint.prefix.clone(),
        incoming_max: INCOMING_MAX,
        learned: Arc::default(),
        needs_inbox: false,
        monitor: intake.monitor().clone(),
        // A server makes no calls.
        cancels_max: 1,
    };
    let members =
        Members::new(endpoint.addresses, endpoint.scheme, config.connection.ignore_discovered);
    let mut dialer = Dialer::new(setup, Arc::new(members), Arc::clone(&entropy));
    let (prefix, id) = (endpoint.prefix, entropy.next_u64());
    let state = Arc::new(ServerState::new(prefix, intake.clone(), config, id, alive)?);
    let link = Arc::new(dialer.dial(None).await?);
    let subscriptions = Subscriptions::make(&state, &link).await?;
    subscriptions.check(&link).await?;
    state.connected(&link);
    let stats = NatsServerStats(Arc::clone(&state));
    let figures = NatsServerStats(Arc::clone(&state));
    let server = Server::spawn(url.to_owned(), intake, |shutdown| async move {
        let _cleanup = Cleanup { state: Arc::clone(&state), life };
        let life = Box::pin(state.run(dialer, link, subscriptions, &shutdown));
        let _ = shutdown.until_closing(life).await;
    });
    Ok((server.with_figures(move || figures.figures()), stats))
}

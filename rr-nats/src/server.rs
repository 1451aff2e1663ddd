//! The server side.

mod request;
mod cancels;
mod subscription;
mod send_reply;
mod discovery;
mod endpoint_stats;
mod inbox;
mod unsubscribe;
mod pace;
mod state;
mod stats;
mod subscribe;
mod tasks;

use std::sync::Arc;

use rr_spi::{Context, Entropy, Error, Intake, Location, OsEntropy, Routes, Server};

use crate::config::{NatsConfig, NatsServerConfig, url};
use crate::connection::{Dialer, LinkSetup, Members};
use crate::endpoint::Endpoint;

use state::{Leave, ServerState};
use subscribe::Subscriptions;

pub use stats::NatsServerStats;

/// Requests that may wait in the client library; what comes then is dropped by it and counted. The
/// loop of a subscription never waits for handlers, so that few ever wait.
const INCOMING_MAX: usize = 16 * 1024;

/// Serves these routes under the prefix of a `nats://` URL, with the default configuration.
///
/// Returns once a round trip through the NATS server has proved the subscriptions. From then on a
/// lost connection is made again, and the subscriptions with it, until the server is dropped.
///
/// # Errors
///
/// Not sent: `InvalidArgument` when the URL is malformed, or there is a fallback and no prefix;
/// `Unavailable`, `connect-failed`, when no NATS server can be reached; `Unauthenticated` when it
/// refuses the credentials; `PermissionDenied` when it denies a subscription.
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

/// Serves these routes under the prefix of a `nats://` URL; what the URL says takes precedence
/// over `config`.
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

/// As [`serve_with`]; returns what is counted beside the server.
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
    let location = Location::parse(url)?;
    let endpoint = Endpoint::of(&location)?;
    let config = url::configure(&location, &endpoint, NatsConfig::default(), config)?.1;
    let intake = Intake::new(routes, config.intake.clone());
    // What the NATS server has sent here goes nowhere else: a drain answers it.
    intake.linger();
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy::new());
    let (alive, life) = Context::background().child();
    let setup = LinkSetup {
        config: config.connection.clone(),
        prefix: endpoint.prefix.clone(),
        incoming_max: INCOMING_MAX,
        learned: Arc::default(),
        needs_inbox: false,
        // It makes no calls.
        cancels_max: 1,
    };
    let members = Members::new(endpoint.addresses, config.connection.ignore_discovered);
    let mut dialer = Dialer::new(setup, Arc::new(members), Arc::clone(&entropy));
    let (prefix, id) = (endpoint.prefix, entropy.next_u64());
    let site = Arc::new(ServerState::new(prefix, intake.clone(), config, id, alive)?);
    let link = Arc::new(dialer.dial(None).await?);
    let subscriptions = Subscriptions::make(&site, &link).await?;
    subscriptions.check(&link).await?;
    site.connected(&link);
    let stats = NatsServerStats::of(&site);
    let server = Server::spawn(url.to_owned(), intake, |shutdown| async move {
        let _leave = Leave::new(&site, life);
        let life = Box::pin(site.run(dialer, link, subscriptions, &shutdown));
        let _ = shutdown.until_closing(life).await;
    });
    Ok((server, stats))
}

//! The server side.

mod answer;
mod cancels;
mod consume;
mod discovery;
mod endpoints;
mod subscribe;
mod tasks;

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rr_spi::{
    Cause, Context, Entropy, Error, Intake, Location, OsEntropy, Routes, Server, Shutdown,
};
use tokio::sync::{Notify, Semaphore};

use crate::config::NatsServerConfig;
use crate::connection::{Dialer, Link, LinkSetup};
use crate::endpoint::Endpoint;
use crate::wire::Plan;

use cancels::Cancels;
use discovery::Discovery;
use endpoints::Endpoints;
use subscribe::Subscriptions;
use tasks::Tasks;

/// Requests that may wait for the loop of a subscription; what comes then is dropped by the
/// client library and counted. The loop never waits for handlers, so that few ever wait.
const INCOMING_MAX: usize = 64 * 1024;

/// Longest wait, at the end of a drain, for the server to confirm that it took the last replies.
const CONFIRM_MAX: Duration = Duration::from_millis(500);

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
    let config = config.with_url(location, &endpoint)?;
    let intake = Intake::new(routes, config.intake());
    // What the NATS server has sent here goes nowhere else: a drain answers it.
    intake.linger();
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy::new());
    let setup = LinkSetup {
        config: config.connection.clone(),
        prefix: endpoint.prefix.clone(),
        incoming_max: INCOMING_MAX,
    };
    let url = endpoint.url();
    let mut dialer = Dialer::new(setup, endpoint.addresses, Arc::clone(&entropy));
    let site = Arc::new(Site::new(endpoint.prefix, intake.clone(), config, entropy.next_u64())?);
    let link = Arc::new(dialer.dial_each().await?);
    let subscriptions = Subscriptions::make(&site, &link).await?;
    let stats = NatsServerStats(Arc::clone(&site));
    let server = Server::spawn(url, intake, |shutdown| async move {
        let _leave = Leave(Arc::clone(&site));
        let life = Box::pin(site.run(dialer, link, subscriptions, &shutdown));
        let _ = shutdown.until_closing(life).await;
    });
    Ok((server, stats))
}

/// What a server counts.
#[derive(Clone)]
pub struct NatsServerStats(Arc<Site>);

impl NatsServerStats {
    /// Returns how many requests are being answered in tasks of their own.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.0.tasks.now()
    }

    /// Returns how many connections were made.
    #[must_use]
    pub fn connects(&self) -> u64 {
        self.0.counts.connects.load(Ordering::Relaxed)
    }

    /// Returns how many messages were dropped because they named no reply subject.
    #[must_use]
    pub fn without_reply(&self) -> u64 {
        self.0.counts.without_reply.load(Ordering::Relaxed)
    }

    /// Returns how many headers of requests were dropped because they do not fit the grammar.
    #[must_use]
    pub fn headers_dropped(&self) -> u64 {
        self.0.counts.headers_dropped.load(Ordering::Relaxed)
    }

    /// Returns how many calls were cancelled by their callers.
    #[must_use]
    pub fn cancelled(&self) -> u64 {
        self.0.cancels.cancelled()
    }

    /// Returns how often, on the present connection, requests were dropped because too many
    /// waited, and how many replies the NATS server denied.
    #[must_use]
    pub fn trouble(&self) -> (u64, u64) {
        self.0.current().as_ref().map_or((0, 0), |link| (link.dropped(), link.replies_denied()))
    }
}

impl fmt::Debug for NatsServerStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsServerStats")
            .field("tasks", &self.tasks())
            .field("connects", &self.connects())
            .field("cancelled", &self.cancelled())
            .finish_non_exhaustive()
    }
}

/// What every part of one server shares.
struct Site {
    prefix: String,
    intake: Intake,
    config: NatsServerConfig,
    plan: Plan,
    endpoints: Endpoints,
    discovery: Option<Arc<Discovery>>,
    cancels: Cancels,
    tasks: Tasks,
    counts: Counts,
    /// Whose turn it is to leave.
    leaving: Semaphore,
    current: Mutex<Option<Arc<Link>>>,
    connected: Notify,
}

/// When the server has ended: closes the connection, whoever still holds its counts, and ends
/// what was let in after the last cancel.
struct Leave(Arc<Site>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.intake.refuse();
        self.0.intake.cancel_all(Cause::Shutdown);
        *self.0.lock() = None;
    }
}

#[derive(Default)]
struct Counts {
    connects: AtomicU64,
    without_reply: AtomicU64,
    headers_dropped: AtomicU64,
}

impl Counts {
    fn without_reply(&self) {
        self.without_reply.fetch_add(1, Ordering::Relaxed);
    }

    fn headers_dropped(&self, headers: u64) {
        if headers > 0 {
            self.headers_dropped.fetch_add(headers, Ordering::Relaxed);
        }
    }
}

impl Site {
    fn new(
        prefix: String,
        intake: Intake,
        config: NatsServerConfig,
        id: u64,
    ) -> Result<Self, Error> {
        let plan = Plan::of(&prefix, intake.routes())?;
        let endpoints = Endpoints::of_routes(intake.routes());
        let name = if prefix.is_empty() { &config.connection.name } else { &prefix };
        let (queue, version) = (config.queue.clone(), config.version.clone());
        let discovery = config
            .discovery
            .then(|| Arc::new(Discovery::new(&endpoints, &prefix, name, queue, version, id)));
        Ok(Self {
            prefix,
            intake,
            config,
            plan,
            endpoints,
            discovery,
            cancels: Cancels::default(),
            tasks: Tasks::default(),
            counts: Counts::default(),
            leaving: Semaphore::new(1),
            current: Mutex::default(),
            connected: Notify::new(),
        })
    }

    /// Serves on one connection after the other until a drain is done.
    async fn run(
        self: Arc<Self>,
        mut dialer: Dialer,
        mut link: Arc<Link>,
        mut subscriptions: Subscriptions,
        shutdown: &Shutdown,
    ) {
        loop {
            self.counts.connects.fetch_add(1, Ordering::Relaxed);
            *self.lock() = Some(Arc::clone(&link));
            self.connected.notify_waiters();
            subscriptions.serve(&self, &link, shutdown).await;
            if !link.is_lost() {
                break;
            }
            match shutdown.until_draining(self.again(&mut dialer)).await {
                Some(again) => (link, subscriptions) = again,
                None => break,
            }
        }
        // Nothing comes any more.
        self.intake.refuse();
        self.tasks.idle().await;
        let confirm = Context::background().with_timeout(CONFIRM_MAX);
        let _ = confirm.race(link.round_trip()).await;
    }

    /// Connects and subscribes again, however long it takes.
    async fn again(&self, dialer: &mut Dialer) -> (Arc<Link>, Subscriptions) {
        loop {
            tokio::time::sleep(dialer.pause()).await;
            let Ok(link) = dialer.dial().await else { continue };
            let link = Arc::new(link);
            if let Ok(subscriptions) = Subscriptions::make(self, &link).await {
                return (link, subscriptions);
            }
        }
    }

    /// Waits for a connection that is not lost.
    async fn next_link(&self) -> Arc<Link> {
        loop {
            let mut connected = pin!(self.connected.notified());
            connected.as_mut().enable();
            if let Some(link) = self.current().filter(|link| !link.is_lost()) {
                return link;
            }
            connected.await;
        }
    }

    fn current(&self) -> Option<Arc<Link>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Link>>> {
        // Whole values go in and out: a panic leaves one of them.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

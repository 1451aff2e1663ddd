//! The handle of a running server, and the drain that all transports share.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::context::{CancelHandle, Cause, Context};
use crate::in_flight::DrainReport;
use crate::intake::Intake;
use crate::observe::Stats;
use crate::routes::{Declared, Route};

mod supervisor;
mod url;
mod weak;

pub use url::ServerUrl;
pub use weak::WeakServer;

use supervisor::{FLUSH, Phases, Supervisor, Times};

/// Longest time for the server's task to notice the end of the grace, when another runtime awaits
/// the drain. A busy runtime takes less; a runtime that is not driven never notices.
const REACTION: Duration = Duration::from_millis(250);

/// Handle of a running server, returned by every transport's `serve`.
///
/// Dropping the handle stops the server.
///
/// # Examples
///
/// ```no_run
/// # use rr_spi as rr_core;
/// # async fn example(server: rr_core::Server) {
/// println!("serving {}", server.url());
/// let report = server.shutdown(rr_core::defaults::DRAIN_GRACE).await;
/// assert_eq!(report.aborted, 0);
/// # }
/// ```
#[must_use = "dropping the handle stops the server: keep it in a variable with a name, since `_` drops it"]
pub struct Server {
    url: ServerUrl,
    intake: Intake,
    /// Ends when the server's task has ended.
    finished: Context,
    /// Ends when the drain begins.
    draining: Context,
    phases: Arc<Phases>,
    /// Ends the transport immediately; dropped with the server.
    life: CancelHandle,
    /// The transport's own figures.
    figures: Option<Arc<Figures>>,
}

type Figures = dyn Fn() -> Vec<(&'static str, u64)> + Send + Sync;

/// Signals to a transport's task to drain and to end.
#[derive(Clone, Debug)]
pub struct Shutdown {
    announced: Context,
    draining: Context,
    closing: Context,
}

impl Shutdown {
    /// Waits until a shutdown was asked for: the lame duck or the drain begins.
    ///
    /// During the lame duck the transport serves as before. Where clients or load balancers ask for
    /// the health of the server, it says that it is leaving; see
    /// [`Intake::is_drain_announced`].
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time.
    pub async fn announced(&self) {
        self.announced.cancelled().await;
    }

    /// Waits until the drain begins.
    ///
    /// From then on the intake refuses requests. The transport keeps replying on its connections,
    /// accepts no more work where possible, and returns once its connections are done.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Waits until the transport must end: the grace is over, or the server was dropped.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time.
    pub async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// Runs a future until the transport must end; then drops the future and returns `None`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the returned future drops `future`.
    pub async fn until_closing<F: Future>(&self, future: F) -> Option<F::Output> {
        self.closing.race(future).await.ok()
    }

    /// Runs a future until the drain begins; then drops the future and returns `None`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the returned future drops `future`.
    pub async fn until_draining<F: Future>(&self, future: F) -> Option<F::Output> {
        self.draining.race(future).await.ok()
    }
}

impl Server {
    /// Starts a server.
    ///
    /// `run` makes the transport's task, which must end when [`Shutdown`] signals it.
    ///
    /// # Panics
    ///
    /// When called outside of a tokio runtime.
    pub fn spawn<F>(url: String, intake: Intake, run: impl FnOnce(Shutdown) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (alive, life) = Context::background().child();
        let (announced, announce_handle) = alive.child();
        let (draining, drain_handle) = alive.child();
        let (closing, close_handle) = alive.child();
        let (finished, finish_handle) = Context::background().child();
        let shutdown =
            Shutdown { announced: announced.clone(), draining: draining.clone(), closing };
        let transport = run(shutdown);
        let phases = Arc::new(Phases {
            intake: intake.clone(),
            announced: announce_handle,
            draining: drain_handle,
            times: Mutex::new(Times::default()),
        });
        let supervisor = Supervisor {
            phases: Arc::clone(&phases),
            alive,
            announced,
            draining: draining.clone(),
            closing: close_handle,
        };
        tokio::spawn(async move {
            supervisor.run(transport).await;
            finish_handle.cancel_with(Cause::Finished);
        });
        let url = ServerUrl::from(url);
        Self { url, intake, finished, draining, phases, life, figures: None }
    }

    /// Returns the URL that a requester connects to.
    ///
    /// The URL has the credentials and the query that the server was given. The real port replaces
    /// a port of 0.
    #[must_use]
    pub fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// Returns every route that the server answers and its declared idempotency, in a stable order.
    pub fn routes(&self) -> impl Iterator<Item = (Route, Declared)> {
        self.intake.routes().iter()
    }

    /// Returns the number of requests in flight plus that of shielded futures.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.intake.in_flight()
    }

    /// Adds the transport's own figures to [`Server::stats`]. For transports.
    pub fn with_figures<F>(mut self, figures: F) -> Self
    where
        F: Fn() -> Vec<(&'static str, u64)> + Send + Sync + 'static,
    {
        self.figures = Some(Arc::new(figures));
        self
    }

    /// Returns the counts of the requests since the server was made.
    ///
    /// The figures of the transport include `bodies_bytes`, as [`Server::bodies_bytes`]. Counting
    /// needs no observer. Reading takes no lock.
    #[must_use]
    pub fn stats(&self) -> Stats {
        stats(&self.intake, self.figures.as_deref())
    }

    /// Returns a reader of the server that does not keep it.
    #[must_use]
    pub fn downgrade(&self) -> WeakServer {
        WeakServer::of(&self.intake, self.figures.as_ref())
    }

    /// Returns the number of body bytes that the server holds.
    ///
    /// Request bodies count until their handlers end, and reply bodies until they have left.
    #[must_use]
    pub fn bodies_bytes(&self) -> usize {
        self.intake.bodies().held()
    }

    /// Returns the time for which a shutdown announces itself before the drain begins; see
    /// [`IntakeConfig::lame_duck`](crate::IntakeConfig::lame_duck).
    #[must_use]
    pub fn lame_duck(&self) -> Duration {
        self.intake.config().lame_duck
    }

    /// Drains the server, after its lame duck if the configuration has one.
    ///
    /// During the lame duck the server serves as before and says that it is leaving; see
    /// [`IntakeConfig::lame_duck`](crate::IntakeConfig::lame_duck). Another call of this method
    /// ends the lame duck.
    ///
    /// The drain refuses new requests, lets requests in flight finish, and cancels the remaining
    /// ones after `grace` with [`Cause::Shutdown`]. The replies of cancelled requests may then take
    /// half a second to leave, and connections another half a second to close. The drain waits for
    /// shielded work only within the grace, which starts with the drain.
    ///
    /// May be awaited on any runtime. If the server's own runtime is not driven, the call returns
    /// 250 ms after the grace: requests in flight are then cancelled, and end when that runtime is
    /// driven or dropped.
    ///
    /// May be called repeatedly and concurrently: the shortest grace applies, and every call
    /// returns the same report.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops neither the lame duck nor the drain.
    pub async fn shutdown(&self, grace: Duration) -> DrainReport {
        let lame_duck = self.phases.shut_down(grace);
        if !lame_duck.is_zero() {
            let _ = self.draining.with_timeout(lame_duck).race(self.wait()).await;
            // The server's task does the same, unless its runtime is not driven.
            self.phases.drain();
        }
        let ended = self.ends_within(grace.saturating_add(REACTION)).await
            || (self.phases.is_over() && self.ends_within(2 * FLUSH).await);
        if !ended {
            self.intake.cancel_all(Cause::Shutdown);
        }
        self.intake.report()
    }

    async fn ends_within(&self, time: Duration) -> bool {
        Context::background().with_timeout(time).race(self.wait()).await.is_ok()
    }

    /// Waits until the server has ended.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time.
    pub async fn wait(&self) {
        self.finished.cancelled().await;
    }
}

/// Returns the counts of the requests and the transport's figures.
fn stats(intake: &Intake, figures: Option<&Figures>) -> Stats {
    let bodies_bytes = u64::try_from(intake.bodies().held()).unwrap_or(u64::MAX);
    let stats = intake.stats().with_figure("bodies_bytes", bodies_bytes);
    let figures = figures.into_iter().flat_map(|figures| figures());
    figures.fold(stats, |stats, (name, value)| stats.with_figure(name, value))
}

impl Drop for Server {
    fn drop(&mut self) {
        self.intake.drain();
        self.life.cancel_with(Cause::Shutdown);
        self.intake.cancel_all(Cause::Shutdown);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("url", &self.url).field("intake", &self.intake).finish()
    }
}

#[cfg(test)]
mod tests;

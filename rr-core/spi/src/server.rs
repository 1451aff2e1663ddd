//! The handle of a running server, and the drain that all transports share.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

use crate::context::{CancelHandle, Cause, Context, Deadline};
use crate::in_flight::DrainReport;
use crate::intake::Intake;

mod url;

pub use url::ServerUrl;

/// Time for the replies of requests that were cancelled at the end of the grace to leave.
/// Sufficient for a local network; the drain does not wait longer for a peer that does not read.
const FLUSH: Duration = Duration::from_millis(500);

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
    draining: CancelHandle,
    /// Ends the transport immediately; dropped with the server.
    life: CancelHandle,
    grace: Arc<Mutex<Grace>>,
}

/// Grace of a drain.
#[derive(Clone, Copy, Debug, Default)]
struct Grace {
    /// Set when a drain begins; a later call can only shorten it.
    end: Option<Deadline>,
    /// Whether the server's task has noticed the end.
    is_over: bool,
}

/// Signals to a transport's task to drain and to end.
#[derive(Clone, Debug)]
pub struct Shutdown {
    draining: Context,
    closing: Context,
}

impl Shutdown {
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
        let (draining, drain_handle) = alive.child();
        let (closing, close_handle) = alive.child();
        let (finished, finish_handle) = Context::background().child();
        let grace = Arc::new(Mutex::new(Grace::default()));
        let transport = run(Shutdown { draining: draining.clone(), closing });
        let supervisor = Supervisor {
            intake: intake.clone(),
            alive,
            draining,
            closing: close_handle,
            grace: Arc::clone(&grace),
        };
        tokio::spawn(async move {
            supervisor.run(transport).await;
            finish_handle.cancel_with(Cause::Finished);
        });
        let url = ServerUrl::from(url);
        Self { url, intake, finished, draining: drain_handle, life, grace }
    }

    /// Returns the URL that a requester connects to.
    ///
    /// The URL has the credentials and the query that the server was given. The real port replaces
    /// a port of 0.
    #[must_use]
    pub fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// Returns the number of requests in flight plus that of shielded futures.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.intake.in_flight()
    }

    /// Returns the number of body bytes that the server holds.
    ///
    /// Request bodies count until their handlers end, and reply bodies until they have left.
    #[must_use]
    pub fn bodies_bytes(&self) -> usize {
        self.intake.bodies().held()
    }

    /// Drains the server.
    ///
    /// Refuses new requests, lets requests in flight finish, and cancels the remaining ones after
    /// `grace` with [`Cause::Shutdown`]. The replies of cancelled requests may then take half a
    /// second to leave, and connections another half a second to close. The drain waits for
    /// shielded work only within the grace.
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
    /// Dropping the future does not stop the drain.
    pub async fn shutdown(&self, grace: Duration) -> DrainReport {
        {
            let mut known = lock(&self.grace);
            let asked = Deadline::after(grace);
            known.end = Some(known.end.map_or(asked, |end| end.min(asked)));
        }
        self.intake.drain();
        self.draining.cancel_with(Cause::Shutdown);
        let ended = self.ends_within(grace.saturating_add(REACTION)).await
            || (lock(&self.grace).is_over && self.ends_within(2 * FLUSH).await);
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

/// Owner of the transport's future, which runs it through the phases of a drain.
struct Supervisor {
    intake: Intake,
    alive: Context,
    draining: Context,
    closing: CancelHandle,
    grace: Arc<Mutex<Grace>>,
}

impl Supervisor {
    async fn run(self, transport: impl Future<Output = ()>) {
        let (mut transport, mut is_done) = (pin!(transport), false);
        // May be awaited again after it has completed.
        let mut transport = pin!(poll_fn(|cx| {
            if !is_done {
                ready!(transport.as_mut().poll(cx));
                is_done = true;
            }
            Poll::Ready(())
        }));
        if self.draining.race(transport.as_mut()).await.is_ok() {
            // The transport ended by itself: its socket is lost, and no request in flight can be
            // answered.
            return;
        }
        let drained = async {
            transport.as_mut().await;
            // Requests by value or detached from a connection may outlive the transport's future.
            self.intake.idle().await;
        };
        if self.within_grace(pin!(drained)).await {
            return;
        }
        lock(&self.grace).is_over = true;
        self.intake.cancel_all(Cause::Shutdown);
        // Shielded work cannot be cancelled: it continues, but the drain no longer waits for it.
        let flushed = async {
            transport.as_mut().await;
            self.intake.no_requests().await;
        };
        if self.alive.with_timeout(FLUSH).race(flushed).await.is_ok() {
            return;
        }
        self.closing.cancel_with(Cause::Shutdown);
        let _ = self.alive.with_timeout(FLUSH).race(transport.as_mut()).await;
    }

    /// Runs the drain until the grace is over and returns whether the drain ended first.
    ///
    /// A later, shorter grace counts from its own call.
    async fn within_grace(&self, mut drained: Pin<&mut impl Future<Output = ()>>) -> bool {
        loop {
            let Grace { end, .. } = *lock(&self.grace);
            let Some(end) = end else { return false };
            if end.has_passed() {
                return false;
            }
            // Checked again every 50 ms, since a second call may have shortened the grace.
            let step = self.alive.with_deadline(end).with_timeout(Duration::from_millis(50));
            match step.race(drained.as_mut()).await {
                Ok(()) => return true,
                Err(Cause::DeadlineExceeded) => {}
                Err(_) => return false,
            }
        }
    }
}

impl Drop for Supervisor {
    /// Stops admission and cancels all requests however the server ends, including by a panic of
    /// its transport.
    fn drop(&mut self) {
        self.intake.drain();
        self.intake.cancel_all(Cause::Shutdown);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Values are only copied under the lock, so a panic leaves a valid value.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;
    use crate::inbound::Inbound;
    use crate::intake::IntakeConfig;
    use crate::request::Request;
    use crate::routes::{Declared, Route, Routes};
    use crate::{Responder, Target};

    struct Hang;

    impl Responder for Hang {
        crate::boxed! {
            fn respond(&self, _ctx: &Context, _request: Request) -> Result<Response, Error> {
                Box::pin(pending())
            }
        }
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn server() -> (Server, Intake) {
        let mut routes = Routes::new();
        routes.insert(Route::Fallback, Declared::Unspecified, Arc::new(Hang)).unwrap();
        let intake = Intake::new(routes, IntakeConfig::default());
        let server = Server::spawn("test://".into(), intake.clone(), |shutdown| async move {
            shutdown.draining().await;
        });
        (server, intake)
    }

    fn hang(intake: Intake) {
        tokio::spawn(async move {
            let (ctx, _handle) = intake.context(Inbound::default());
            let target = Target::try_from("t").unwrap();
            let _ = intake.handle(&ctx, Request::new(target, "")).await;
        });
    }

    #[tokio::test(start_paused = true)]
    async fn the_grace_bounds_a_drain_and_a_shorter_one_holds() {
        let (server, intake) = server();
        hang(intake);
        tokio::task::yield_now().await;
        let start = Instant::now();
        let (long, short) = tokio::join!(server.shutdown(ms(60_000)), async {
            tokio::time::sleep(ms(100)).await;
            server.shutdown(ms(200)).await
        });
        assert!(start.elapsed() >= ms(300) && start.elapsed() < ms(400), "{:?}", start.elapsed());
        assert_eq!((long, short.aborted), (short, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_shutdown_continues_and_a_second_one_reports_the_same() {
        let (server, intake) = server();
        hang(intake);
        tokio::task::yield_now().await;
        assert!(tokio::time::timeout(ms(10), server.shutdown(ms(100))).await.is_err());
        tokio::time::timeout(ms(1_000), server.wait()).await.unwrap();
        assert_eq!(server.shutdown(ms(0)).await.aborted, 1);
    }

    #[test]
    fn a_drain_ends_with_its_grace_when_the_servers_runtime_is_not_driven() {
        let runtime = || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_time().start_paused(true).build().unwrap()
        };
        let (servers, others) = (runtime(), runtime());
        let (server, intake) = servers.block_on(async { server() });
        servers.block_on(async {
            hang(intake.clone());
            tokio::task::yield_now().await;
        });
        others.block_on(async {
            let start = Instant::now();
            server.shutdown(ms(2_000)).await;
            assert!(start.elapsed() < ms(2_300), "{:?}", start.elapsed());
        });
        // The request was cancelled, and ends as soon as its runtime is driven.
        servers.block_on(intake.idle());
        assert_eq!(intake.report().aborted, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_the_handle_ends_everything() {
        let (server, intake) = server();
        hang(intake.clone());
        tokio::task::yield_now().await;
        assert_eq!(intake.in_flight(), 1);
        drop(server);
        intake.idle().await;
        assert!(intake.is_draining());
    }

    #[tokio::test(start_paused = true)]
    async fn a_transport_that_panics_leaves_nothing_running() {
        let mut routes = Routes::new();
        routes.insert(Route::Fallback, Declared::Unspecified, Arc::new(Hang)).unwrap();
        let intake = Intake::new(routes, IntakeConfig::default());
        let server = Server::spawn("test://".into(), intake.clone(), |_| async {
            tokio::time::sleep(ms(10)).await;
            panic!("the transport is broken");
        });
        hang(intake.clone());
        tokio::time::timeout(ms(20), server.wait()).await.unwrap();
        tokio::time::timeout(ms(20), intake.idle()).await.unwrap();
        assert!(intake.is_draining());
    }

    #[tokio::test(start_paused = true)]
    async fn shielded_work_is_waited_for_within_the_grace_only() {
        let (server, intake) = server();
        let (ctx, _handle) = intake.context(Inbound::default());
        let shielded = ctx.shield(tokio::time::sleep(ms(5_000)));
        let start = Instant::now();
        server.shutdown(ms(100)).await;
        assert!(start.elapsed() < ms(300), "{:?}", start.elapsed());
        shielded.await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_transport_that_ends_on_its_own_ends_the_server() {
        let intake = Intake::new(Routes::new(), IntakeConfig::default());
        let server = Server::spawn("test://".into(), intake, |_| async {});
        tokio::time::timeout(ms(10), server.wait()).await.unwrap();
        assert_eq!(server.shutdown(ms(10)).await, DrainReport::default());
    }
}

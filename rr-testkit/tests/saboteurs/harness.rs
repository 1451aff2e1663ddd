//! The in-memory transport with one rule broken: its harness and its rig.

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use rr_spi::observe::{End, Observer, Observers};
use rr_spi::{DrainReport, Error, Middleware, Requester, Routes, async_trait};
use rr_testkit::Direction;
use rr_testkit::conformance::{Capabilities, Harness, Live, Raw, Rig, StartOptions, Timing, Typed};
use tokio::time::{Instant, sleep_until};

use crate::cut::Cut;
use crate::dedup::Duplicates;
use crate::raw::BrokenRaw;
use crate::requester::BrokenRequester;
use crate::support::Memory;
use crate::table::Sabotage::{self, *};
use crate::typed;

/// The in-memory transport with one rule broken, with typed calls and suppression of duplicates.
pub(crate) struct Broken(pub(crate) Sabotage);

#[async_trait]
impl Harness for Broken {
    fn name(&self) -> &str {
        "broken memory"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_dedup(true).with_typed(true)
    }

    fn timing(&self) -> Timing {
        Timing::Virtual
    }

    fn typed(&self) -> Option<Typed> {
        Some(if self.0 == RoundsTypedNumbers { typed::rounded() } else { typed::honest() })
    }

    fn dedup(&self, ttl: Duration) -> Option<Arc<dyn Middleware>> {
        Some(Arc::new(Duplicates::new(self.0, ttl)))
    }

    async fn start(&self, routes: Routes, options: StartOptions) -> Result<Box<dyn Rig>, Error> {
        let honest = StartOptions::default();
        let options = match self.0 {
            IgnoresTheDefaultTimeout => {
                let calls = options.calls.clone().with_timeout(honest.calls.timeout);
                options.with_calls(calls)
            }
            IgnoresItsLimits => {
                let endless = honest.calls.limits.with_request_bytes_max(usize::MAX);
                let calls = options.calls.clone().with_limits(endless);
                options.with_calls(calls)
            }
            IgnoresItsRequestLimit => {
                let bytes = honest.calls.limits.request_bytes_max;
                let limits = options.calls.limits.with_request_bytes_max(bytes);
                let calls = options.calls.clone().with_limits(limits);
                options.with_calls(calls)
            }
            IgnoresTheServersConfig => options.with_server(honest.server),
            SkipsTheLameDuck => {
                let server = options.server.clone().with_lame_duck(Duration::ZERO);
                options.with_server(server)
            }
            IgnoresTheServersResponseLimit => {
                let bytes = honest.calls.limits.response_bytes_max;
                let limits = options.server.limits.with_response_bytes_max(bytes);
                let server = options.server.clone().with_limits(limits);
                options.with_server(server)
            }
            ReportsNothing => {
                let server = options.server.clone().with_observers(Observers::default());
                options.with_server(server)
            }
            ReportsTwice if !options.server.observers.is_empty() => {
                let twice = Observers::new(Twice(options.server.observers.clone()));
                let server = options.server.clone().with_observers(twice);
                options.with_server(server)
            }
            _ => options,
        };
        if self.0 == LeavesATaskPerRig {
            tokio::spawn(pending::<()>());
        }
        let inner = Memory.start(routes, options).await?;
        Ok(Box::new(BrokenRig { inner, sabotage: self.0, shared: Arc::default() }))
    }
}

/// Tells its observers of every end twice.
struct Twice(Observers);

impl Observer for Twice {
    fn ended(&self, end: &End<'_>) {
        self.0.ended(None, end);
        self.0.ended(None, end);
    }
}

/// What the requesters of a rig share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) restarted: AtomicBool,
    pub(crate) leaked: AtomicUsize,
    /// Where the link is about to be cut, within the next message.
    pub(crate) cut: Mutex<Option<Cut>>,
    /// Peers that have sent garbage and are still there.
    pub(crate) garbling: AtomicUsize,
    pub(crate) garbled: AtomicBool,
    /// The grace of the first drain.
    grace: OnceLock<Duration>,
    /// Further clients that have come.
    clients: AtomicUsize,
}

/// The longest grace that some saboteurs grant.
const GRACE_MAX: Duration = Duration::from_secs(20);

struct BrokenRig {
    inner: Box<dyn Rig>,
    sabotage: Sabotage,
    shared: Arc<Shared>,
}

impl BrokenRig {
    fn broken(&self, inner: Arc<dyn Requester>) -> Arc<dyn Requester> {
        Arc::new(BrokenRequester::new(inner, self.sabotage, Arc::clone(&self.shared)))
    }
}

#[async_trait]
impl Rig for BrokenRig {
    fn requester(&self) -> Arc<dyn Requester> {
        self.broken(self.inner.requester())
    }

    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error> {
        if self.sabotage == LeavesATaskPerClient {
            tokio::spawn(pending::<()>());
        }
        self.shared.clients.fetch_add(1, Ordering::SeqCst);
        Ok(self.broken(self.inner.connect_again().await?))
    }

    async fn stop(&self, grace: Duration) -> DrainReport {
        match self.sabotage {
            DropsTheGrace => self.inner.stop(Duration::ZERO).await,
            NeverStops => DrainReport::default(),
            IgnoresAShorterGrace => self.inner.stop(*self.shared.grace.get_or_init(|| grace)).await,
            IgnoresASecondStop if self.shared.grace.set(grace).is_err() => DrainReport::default(),
            CapsTheGrace => self.inner.stop(grace.min(GRACE_MAX)).await,
            WaitsForIdleClients => {
                let end = Instant::now() + grace;
                let report = self.inner.stop(grace).await;
                if self.shared.clients.load(Ordering::SeqCst) > 0 {
                    sleep_until(end).await;
                }
                report
            }
            _ => self.inner.stop(grace).await,
        }
    }

    async fn kill_link(&self) {
        self.inner.kill_link().await;
    }

    async fn restore_link(&self) {
        self.shared.cut.lock().expect("nothing panics under it").take();
        self.inner.restore_link().await;
    }

    async fn cut_after(&self, direction: Direction, bytes: u64) {
        let cut = Cut { direction, bytes: usize::try_from(bytes).unwrap_or(usize::MAX) };
        *self.shared.cut.lock().expect("nothing panics under it") = Some(cut);
    }

    async fn restart(&self) -> Result<(), Error> {
        self.inner.restart().await?;
        self.shared.restarted.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn raw(&self) -> Option<Arc<dyn Raw>> {
        let inner = self.inner.raw()?;
        let shared = Arc::clone(&self.shared);
        Some(Arc::new(BrokenRaw { inner, sabotage: self.sabotage, shared }))
    }

    fn live(&self) -> Live {
        let live = self.inner.live();
        let pending = live.pending.unwrap_or(0) + self.shared.leaked.load(Ordering::SeqCst);
        let garbling = self.shared.garbling.load(Ordering::SeqCst);
        let live = live.with_pending(pending).with_connections(garbling);
        if self.sabotage == StaysSubscribed { live.with_subscriptions(1) } else { live }
    }
}

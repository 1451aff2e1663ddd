//! Services, the links between them, and what is in flight.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_spi::{CancelHandle, Cause, Context, Intake, IntakeConfig, Routes, SeededEntropy};
use tokio::time::{Instant, sleep};

use super::client::NetworkClient;
use super::fault::{Fault, Place, Script};
use super::real::Real;
use super::trace::{Event, Trace, What};
use crate::sync::lock;

/// Time that each message travels, unless [`Network::set_latency`] sets another.
const LATENCY: Duration = Duration::from_millis(1);

/// Time for which a [partition](Fault::Partitioned) lasts.
const PARTITION: Duration = Duration::from_secs(5);

/// Network of named services, for a test in virtual time. Clones share everything.
///
/// A test makes one by itself, or gets one for each world from [`Worlds`](super::Worlds). Everything
/// runs on the current runtime, which should be paused.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use rr_spi::{Code, Context, Declared, Error, Request, Requester, Responder, Response, Route, Routes, async_trait};
/// use rr_testkit::worlds::{Fault, Network, Script};
///
/// struct Ping;
///
/// #[async_trait]
/// impl Responder for Ping {
///     async fn respond(&self, _: &Context, _: Request) -> Result<Response, Error> {
///         Ok(Response::new("pong"))
///     }
/// }
///
/// fn routes() -> Routes {
///     let mut routes = Routes::new();
///     routes.insert(Route::Target("svc.ping".into()), Declared::Safe, Arc::new(Ping)).unwrap();
///     routes
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> Result<(), Error> {
/// let network = Network::with(Script::new().at("test", "svc", "svc.ping", 1, Fault::ReplyLost));
/// network.serve("svc", routes);
/// let client = network.client("test", "svc");
/// let ctx = Context::background().with_timeout(Duration::from_secs(2));
/// let ping = || Request::new("svc.ping".try_into().unwrap(), "");
/// assert_eq!(client.request(&ctx, ping()).await.unwrap_err().code(), Code::DeadlineExceeded);
/// println!("{}", network.trace());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Network(pub(super) Arc<Shared>);

pub(super) struct Shared {
    began: Instant,
    script: Script,
    real: Option<Real>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    services: BTreeMap<String, Service>,
    links: HashMap<(String, String), Link>,
    sent: HashMap<(String, String, String), usize>,
    fired: usize,
    trace: Trace,
    calls: usize,
    runs: usize,
    /// Handlers in flight of each service.
    serving: HashMap<String, usize>,
    /// The first promise that was broken.
    broken: Option<String>,
}

struct Service {
    make: Arc<dyn Fn() -> Routes + Send + Sync>,
    instances: Vec<Instance>,
    next: usize,
}

struct Instance {
    intake: Intake,
    life: Life,
}

/// Something that ends for all who wait for it, and then begins anew.
#[derive(Clone)]
pub(super) struct Life(Context, Arc<CancelHandle>);

impl Default for Life {
    fn default() -> Self {
        let (context, handle) = Context::background().child();
        Self(context, Arc::new(handle))
    }
}

impl Life {
    /// Runs a future until the life ends; `None` if it ended first.
    pub(super) async fn race<F: Future>(&self, future: F) -> Option<F::Output> {
        self.0.race(future).await.ok()
    }

    /// Returns whether the life of this clone has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.0.cause().is_some()
    }

    fn end(&mut self) {
        std::mem::take(self).1.cancel_with(Cause::PeerGone);
    }
}

struct Link {
    latency: Duration,
    life: Life,
    lost_until: Option<Instant>,
}

impl Default for Link {
    fn default() -> Self {
        Self { latency: LATENCY, life: Life::default(), lost_until: None }
    }
}

/// Instance that a request has reached.
pub(super) struct Reached {
    pub(super) intake: Intake,
    pub(super) life: Life,
    pub(super) instance: usize,
}

impl Network {
    /// Makes a network without faults.
    ///
    /// # Panics
    ///
    /// When called outside of a tokio runtime with a clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Script::new())
    }

    /// Makes a network with the faults of a script.
    ///
    /// # Panics
    ///
    /// As [`Network::new`].
    #[must_use]
    pub fn with(script: Script) -> Self {
        Self::made(script, None)
    }

    pub(super) fn made(script: Script, real: Option<Real>) -> Self {
        let state = Mutex::default();
        Self(Arc::new(Shared { began: Instant::now(), script, real, state }))
    }

    /// Returns the real transport; `None` in a simulation.
    pub(super) fn real(&self) -> Option<&Real> {
        self.0.real.as_ref()
    }

    /// Serves routes under a name, at one instance.
    ///
    /// `make` is called now, and whenever the instance starts again after a crash: what it makes anew
    /// is lost in a crash, and what it captures is kept.
    pub fn serve<R: Into<Routes>>(
        &self,
        name: impl Into<String>,
        make: impl Fn() -> R + Send + Sync + 'static,
    ) {
        self.serve_instances(name, 1, make);
    }

    /// Serves routes under a name at several instances, which take the requests in turn.
    ///
    /// # Panics
    ///
    /// When there are no instances.
    pub fn serve_instances<R: Into<Routes>>(
        &self,
        name: impl Into<String>,
        instances: usize,
        make: impl Fn() -> R + Send + Sync + 'static,
    ) {
        assert!(instances > 0, "a service needs an instance");
        let make: Arc<dyn Fn() -> Routes + Send + Sync> = Arc::new(move || make().into());
        let instances = (0..instances).map(|_| Instance::start(&*make)).collect();
        let service = Service { make, instances, next: 0 };
        lock(&self.0.state).services.insert(name.into(), service);
    }

    /// Returns a client of a service. `from` names the caller: a service, or the test.
    pub fn client(&self, from: impl Into<String>, to: impl Into<String>) -> NetworkClient {
        NetworkClient::new(self.clone(), from.into(), to.into())
    }

    /// Sets the time that a message over a link travels in each direction, in whole milliseconds.
    /// Default 1 ms.
    pub fn set_latency(&self, from: impl Into<String>, to: impl Into<String>, latency: Duration) {
        let latency = Duration::from_millis(latency.as_millis().try_into().unwrap_or(u64::MAX));
        lock(&self.0.state).links.entry((from.into(), to.into())).or_default().latency = latency;
    }

    /// Returns what has happened until now.
    #[must_use]
    pub fn trace(&self) -> Trace {
        lock(&self.0.state).trace.clone()
    }

    /// Returns the number of faults of the script that have struck.
    #[must_use]
    pub fn faults_fired(&self) -> usize {
        lock(&self.0.state).fired
    }

    /// Waits until no call and no handler is in flight, for at most this virtual time. Returns
    /// whether there is none.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time.
    pub async fn settle(&self, longest: Duration) -> bool {
        let end = Instant::now() + longest;
        let mut pause = Duration::from_millis(1);
        while self.in_flight() > 0 {
            if Instant::now() >= end {
                return false;
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
        true
    }

    /// Returns the number of calls and handlers in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        let state = lock(&self.0.state);
        state.calls + state.runs
    }

    /// Drops every service, whose handlers may hold this network.
    pub(super) fn close(&self) {
        let services = std::mem::take(&mut lock(&self.0.state).services);
        // Outside of the lock: it runs foreign code.
        drop(services);
        if let Some(real) = self.real() {
            real.close();
        }
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

impl Instance {
    fn start(make: &dyn Fn() -> Routes) -> Self {
        Self { intake: Intake::new(make(), IntakeConfig::default()), life: Life::default() }
    }
}

/// For the clients.
impl Network {
    /// Records a call; returns its number, its latency, its link and its fault.
    pub(super) fn send(
        &self,
        (from, to): (&str, &str),
        target: &str,
        left: Option<Duration>,
    ) -> (usize, Duration, Life, Option<Fault>) {
        let mut state = lock(&self.0.state);
        let key = (from.to_owned(), to.to_owned(), target.to_owned());
        let sent = state.sent.entry(key).or_default();
        *sent += 1;
        let place = Place { from: from.into(), to: to.into(), target: target.into(), nth: *sent };
        let call = state.trace.places.len();
        let mut fault = self.0.script.fault(&place);
        state.fired += usize::from(fault.is_some());
        let now = Instant::now();
        let link = state.links.entry((from.to_owned(), to.to_owned())).or_default();
        match fault {
            Some(Fault::Partitioned) => link.lost_until = Some(now + PARTITION),
            None if link.lost_until.is_some_and(|until| now < until) => {
                fault = Some(Fault::RequestLost);
            }
            _ => {}
        }
        let (latency, life) = (link.latency, link.life.clone());
        state.calls += 1;
        state.trace.places.push(place);
        drop(state);
        self.record(call, What::Sent { left });
        if let Some(fault) = fault {
            self.record(call, What::Struck(fault));
        }
        (call, latency, life, fault)
    }

    pub(super) fn record(&self, call: usize, what: What) {
        let at = self.0.began.elapsed();
        lock(&self.0.state).trace.events.push(Event { at, call, what });
    }

    /// Returns the instance whose turn it is; `None` if no service has the name.
    pub(super) fn reach(&self, to: &str) -> Option<Reached> {
        let mut state = lock(&self.0.state);
        let service = state.services.get_mut(to)?;
        let instance = service.next % service.instances.len();
        service.next += 1;
        let Instance { intake, life } = service.instances.get(instance)?;
        Some(Reached { intake: intake.clone(), life: life.clone(), instance })
    }

    /// Ends every call over a link.
    pub(super) fn reset(&self, from: &str, to: &str) {
        let key = (from.to_owned(), to.to_owned());
        let mut life = std::mem::take(&mut lock(&self.0.state).links.entry(key).or_default().life);
        life.end();
    }

    /// Ends every call of an instance, and starts the instance again.
    pub(super) fn crash(&self, to: &str, instance: usize) {
        let Some(make) = lock(&self.0.state).services.get(to).map(|one| Arc::clone(&one.make))
        else {
            return;
        };
        // Outside of the lock: it runs foreign code.
        let mut started = Instance::start(&*make);
        let mut state = lock(&self.0.state);
        let service = state.services.get_mut(to);
        let slot = service.and_then(|service| service.instances.get_mut(instance));
        if let Some(slot) = slot {
            std::mem::swap(slot, &mut started);
        }
        drop(state);
        started.life.end();
    }

    pub(super) fn call_ended(&self) {
        lock(&self.0.state).calls -= 1;
    }

    /// Counts a run that has yet to begin, until the guard is dropped.
    pub(super) fn expect(&self) -> RunGuard {
        lock(&self.0.state).runs += 1;
        RunGuard(self.clone(), None)
    }

    /// Counts a run of a service until the guard is dropped.
    pub(super) fn run(&self, service: &str) -> RunGuard {
        let mut state = lock(&self.0.state);
        state.runs += 1;
        *state.serving.entry(service.to_owned()).or_default() += 1;
        RunGuard(self.clone(), Some(service.to_owned()))
    }

    /// Returns whether a handler of a service is in flight.
    pub(super) fn is_serving(&self, service: &str) -> bool {
        lock(&self.0.state).serving.get(service).is_some_and(|runs| *runs > 0)
    }

    /// Records that a promise is broken.
    pub(super) fn breaks(&self, promise: String) {
        lock(&self.0.state).broken.get_or_insert(promise);
    }

    /// Returns the first promise that was broken.
    pub(super) fn broken(&self) -> Option<String> {
        lock(&self.0.state).broken.clone()
    }
}

/// Guard that counts one run of a handler.
pub(super) struct RunGuard(Network, Option<String>);

impl Drop for RunGuard {
    fn drop(&mut self) {
        let mut state = lock(&self.0.0.state);
        state.runs -= 1;
        let serving = self.1.as_ref().and_then(|service| state.serving.get_mut(service));
        if let Some(runs) = serving {
            *runs -= 1;
        }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_flight = self.in_flight();
        f.debug_struct("Network").field("in_flight", &in_flight).finish_non_exhaustive()
    }
}

/// Makes the randomness of each world the same.
pub(super) fn seeded() -> rr_spi::SeedGuard {
    SeededEntropy::for_this_thread(0)
}

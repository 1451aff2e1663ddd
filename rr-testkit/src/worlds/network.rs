//! Services, the links between them, and what is in flight.

mod counts;
mod order;
mod promises;
mod services;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_spi::{Error, IntakeConfig, Request, Response, Routes};
use tokio::time::{Instant, sleep};

use super::client::NetworkClient;
use super::fault::{Fault, Place, Script};
use super::fingerprint::Fingerprint;
use super::life::Life;
use super::profile::Profile;
use super::real::Real;
use super::trace::{Event, Rivals, Trace, What};
use crate::sync::lock;

pub(super) use counts::RunGuard;
pub(super) use order::Leg;
pub(super) use promises::KeyedRun;
pub(super) use services::{Instance, Reached};

use order::Order;
use promises::Promises;
use services::Service;

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
    profiles: HashMap<String, Profile>,
    sent: HashMap<(String, String, String), usize>,
    fired: usize,
    trace: Trace,
    fingerprint: Fingerprint,
    calls: usize,
    runs: usize,
    /// Handlers in flight of each service.
    serving: HashMap<String, usize>,
    order: Order,
    promises: Promises,
}

struct Link {
    latency: Duration,
    life: Life,
    lost_until: Option<Instant>,
    is_cut: bool,
}

impl Default for Link {
    fn default() -> Self {
        Self { latency: LATENCY, life: Life::default(), lost_until: None, is_cut: false }
    }
}

/// Call that is about to leave.
pub(super) struct Departure {
    pub(super) call: usize,
    pub(super) latency: Duration,
    /// That of the link.
    pub(super) life: Life,
    pub(super) profile: Profile,
    pub(super) fault: Option<Fault>,
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

    /// Serves routes under a name, at one instance with these limits.
    pub fn serve_with<R: Into<Routes>>(
        &self,
        name: impl Into<String>,
        config: IntakeConfig,
        make: impl Fn() -> R + Send + Sync + 'static,
    ) {
        self.serve_all(name.into(), 1, config, Arc::new(move || make().into()));
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
        let make = Arc::new(move || make().into());
        self.serve_all(name.into(), instances, IntakeConfig::default(), make);
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

    /// Sets the transport by whose rules faults strike the calls of a service, before they are made.
    /// Default [`Profile::Memory`].
    pub fn set_profile(&self, service: impl Into<String>, profile: Profile) {
        lock(&self.0.state).profiles.insert(service.into(), profile);
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

    /// Waits until no call, no handler and no shielded work is in flight, for at most this virtual
    /// time. Returns whether there is none.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time.
    pub async fn settle(&self, longest: Duration) -> bool {
        let began = Instant::now();
        let mut pause = Duration::from_millis(1);
        while self.in_flight() > 0 {
            if began.elapsed() >= longest {
                return false;
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
        true
    }

    /// Returns the number of calls and handlers in flight; or of calls and shielded work, if that is
    /// more.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        let state = lock(&self.0.state);
        let instances = state.services.values().flat_map(|service| &service.instances);
        // The handlers that the intakes count are among the runs, shielded work is not.
        let served: usize = instances.map(|instance| instance.intake.in_flight()).sum();
        state.calls + state.runs.max(served)
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

/// For the clients.
impl Network {
    /// Records a call.
    pub(super) fn send(
        &self,
        (from, to): (&str, &str),
        request: &Request,
        left: Option<Duration>,
    ) -> Departure {
        let target = request.target.as_str();
        let mut state = lock(&self.0.state);
        let key = (from.to_owned(), to.to_owned(), target.to_owned());
        let sent = state.sent.entry(key).or_default();
        *sent += 1;
        let place = Place { from: from.into(), to: to.into(), target: target.into(), nth: *sent };
        let call = state.trace.places.len();
        let profile = state.profiles.get(to).copied().unwrap_or_default();
        let mut fault = self.0.script.fault(&place).filter(|fault| profile.has(*fault));
        let is_made = |fault| self.real().is_none_or(|real| real.makes(fault));
        // An order is one that has struck when another message has overtaken.
        let strikes = |fault: Fault| is_made(fault) && fault.leg().is_none();
        state.fired += usize::from(fault.is_some_and(strikes));
        let now = Instant::now();
        let link = state.links.entry((from.to_owned(), to.to_owned())).or_default();
        match fault {
            _ if link.is_cut => fault = Some(Fault::ConnectFails),
            Some(Fault::Partitioned) => link.lost_until = Some(now + PARTITION),
            None if link.lost_until.is_some_and(|until| now < until) => {
                fault = Some(Fault::RequestLost);
            }
            _ => {}
        }
        let (latency, life) = (link.latency, link.life.clone());
        state.calls += 1;
        state.trace.places.push(place);
        state.trace.profiles.push(profile);
        state.trace.rivals.push(Rivals::default());
        state.fingerprint.request(request);
        drop(state);
        self.record(call, What::Sent { left });
        if let Some(fault) = fault.filter(|fault| fault.leg().is_none()) {
            self.record(call, What::Struck(fault));
        }
        Departure { call, latency, life, profile, fault }
    }

    pub(super) fn record(&self, call: usize, what: What) {
        let at = self.0.began.elapsed();
        let mut state = lock(&self.0.state);
        state.fingerprint.event(at, call, &what);
        state.trace.events.push(Event { at, call, what });
    }

    pub(super) fn record_outcome(
        &self,
        call: usize,
        what: What,
        outcome: &Result<Response, Error>,
    ) {
        lock(&self.0.state).fingerprint.outcome(outcome);
        self.record(call, what);
    }

    pub(super) fn fingerprint(&self) -> u64 {
        lock(&self.0.state).fingerprint.value()
    }

    pub(super) fn set_cut(&self, from: &str, to: &str, is_cut: bool) {
        let key = (from.to_owned(), to.to_owned());
        lock(&self.0.state).links.entry(key).or_default().is_cut = is_cut;
    }

    /// Ends every call over a link.
    pub(super) fn reset(&self, from: &str, to: &str) {
        let key = (from.to_owned(), to.to_owned());
        let mut life = std::mem::take(&mut lock(&self.0.state).links.entry(key).or_default().life);
        life.end();
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_flight = self.in_flight();
        f.debug_struct("Network").field("in_flight", &in_flight).finish_non_exhaustive()
    }
}

//! One world: its services with their labs, its clients, and what their callers were told.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_spi::{Bytes, Context, Delivery, Error, Request, Requester, Response, async_trait};
use tokio::time::Instant;

use super::memory::MemoryService;
use super::{Carrier, Wrapper};
use crate::conformance::lab::{Ask, Lab};
use crate::conformance::stage::PROMPT;
use crate::sync::lock;
use crate::worlds::Network;

/// Timeout of each call: longer than a partition lasts, so that one partition does not lose two calls
/// of a sequence.
const TIMEOUT: Duration = Duration::from_secs(6);

/// Longest time for which handlers may run after a scenario.
const SETTLE_MAX: Duration = Duration::from_secs(60);

/// One world.
pub(super) struct Simulation {
    network: Network,
    wrapper: Arc<dyn Wrapper>,
    services: Mutex<BTreeMap<&'static str, Service>>,
    book: Arc<Book>,
}

/// Service of one name; `memory` is its server if the in-memory transport carries the calls.
struct Service {
    lab: Lab,
    memory: Option<Arc<MemoryService>>,
}

/// What the callers were told, by service and by key of the request.
#[derive(Default)]
struct Book(Mutex<BTreeMap<(&'static str, String), Entry>>);

#[derive(Default)]
struct Entry {
    /// Calls that have not ended with `NotSent` or `Rejected`, so that their handlers may have run.
    possible: usize,
    /// Calls that ended with an answer or with `Processed`.
    ran: usize,
    /// What each call was told.
    told: Vec<String>,
    /// The first thing that is wrong whatever ran.
    wrong: Option<String>,
}

/// Client whose outcomes are noted in the book.
#[derive(Clone)]
pub(super) struct Client(Arc<Witness>);

struct Witness {
    to: &'static str,
    inner: Arc<dyn Requester>,
    book: Arc<Book>,
}

impl Simulation {
    pub(super) fn new(network: Network, wrapper: Arc<dyn Wrapper>) -> Self {
        Self { network, wrapper, services: Mutex::default(), book: Arc::default() }
    }

    /// Serves a new lab under a name.
    pub(super) fn serve(&self, name: &'static str) -> Lab {
        let lab = Lab::new();
        let memory = match self.wrapper.carrier() {
            Carrier::Network => {
                let (served, wrapper) = (lab.clone(), Arc::clone(&self.wrapper));
                self.network.serve(name, move || wrapper.routes(served.routes()));
                None
            }
            Carrier::Memory => {
                let routes = self.wrapper.routes(lab.routes());
                Some(Arc::new(MemoryService::start(name, routes)))
            }
        };
        lock(&self.services).insert(name, Service { lab: lab.clone(), memory });
        lab
    }

    fn memory(&self, name: &str) -> Option<Arc<MemoryService>> {
        lock(&self.services).get(name).and_then(|service| service.memory.clone())
    }

    pub(super) fn client(&self, from: &'static str, to: &'static str) -> Client {
        let inner: Arc<dyn Requester> = match self.memory(to) {
            None => Arc::new(self.network.client(from, to)),
            Some(memory) => memory.client(&self.network, from, to),
        };
        let (inner, book) = (self.wrapper.requester(inner), Arc::clone(&self.book));
        Client(Arc::new(Witness { to, inner, book }))
    }

    pub(super) async fn drain(&self, name: &'static str, grace: Duration) {
        match self.memory(name) {
            None => drop(self.network.drain(name, grace).await),
            Some(memory) => memory.drain(grace).await,
        }
    }

    /// Compares what the callers were told with what ran.
    ///
    /// # Panics
    ///
    /// When something that a caller was told is false.
    pub(super) async fn check(&self) {
        self.network.settle(SETTLE_MAX).await;
        let names: Vec<_> = lock(&self.services).keys().copied().collect();
        for memory in names.iter().filter_map(|name| self.memory(name)) {
            memory.drain(SETTLE_MAX).await;
        }
        let trace = self.network.trace();
        for (service, Service { lab, .. }) in &*lock(&self.services) {
            let mut repeated = trace.repeated(service);
            let book = lock(&self.book.0);
            for ((_, key), entry) in book.iter().filter(|((to, _), _)| to == service) {
                let runs = lab.count(key);
                if let Some(wrong) = entry.wrong(runs, &mut repeated) {
                    panic!("`{key}` at `{service}` {wrong}");
                }
            }
        }
    }
}

impl Entry {
    /// Describes what is wrong; `repeated` is the number of messages that the network repeated, and
    /// loses those that explain runs of this request.
    fn wrong(&self, runs: usize, repeated: &mut usize) -> Option<String> {
        let told = self.told.join(", ");
        let callers = if self.told.len() == 1 { "its caller was" } else { "its callers were" };
        let surplus = runs.saturating_sub(self.possible);
        let ran = match runs {
            0 => "never ran".to_owned(),
            1 => "ran once".to_owned(),
            runs => format!("ran {runs} times"),
        };
        if surplus > *repeated || (surplus > 0 && self.possible == 0) {
            let at_most = match self.possible {
                0 => String::new(),
                1 => " where one run was possible".to_owned(),
                possible => format!(" where {possible} were possible"),
            };
            return Some(format!("{ran}{at_most}, and {callers} told {told}"));
        }
        *repeated -= surplus;
        if self.ran > runs {
            return Some(format!("{ran}, and {callers} told {told}"));
        }
        self.wrong.clone()
    }
}

impl Client {
    /// Calls with the timeout of every scenario.
    pub(super) async fn call(&self, ask: &Ask) -> Result<Response, Error> {
        let ctx = Context::background().with_timeout(TIMEOUT);
        self.0.request(&ctx, ask.request()).await
    }

    pub(super) fn requester(&self) -> Arc<dyn Requester> {
        Arc::clone(&self.0) as Arc<dyn Requester>
    }
}

#[async_trait]
impl Requester for Witness {
    async fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        let (deadline, body) =
            (ctx.remaining().map(|left| Instant::now() + left), request.body.clone());
        let key = (self.to, request.headers.get("lab-key").unwrap_or_default().to_owned());
        lock(&self.book.0).entry(key.clone()).or_default().possible += 1;
        let outcome = self.inner.request(ctx, request).await;
        let late = deadline.and_then(|deadline| Instant::now().checked_duration_since(deadline));
        lock(&self.book.0).entry(key).or_default().note(&outcome, &body, late.unwrap_or_default());
        outcome
    }
}

impl Entry {
    fn note(&mut self, outcome: &Result<Response, Error>, body: &Bytes, late: Duration) {
        let mut told = String::new();
        match outcome {
            Ok(response) => {
                self.ran += 1;
                told.push_str("ok");
                if response.body != body {
                    let text = String::from_utf8_lossy(&response.body);
                    self.wrong.get_or_insert(format!("got the answer of another request: {text}"));
                }
            }
            Err(error) => {
                self.ran += usize::from(error.delivery() == Delivery::Processed);
                self.possible -= usize::from(error.delivery().is_unexecuted());
                // Writing to a string cannot fail.
                let _ = write!(told, "{} ({})", error.code().as_str(), error.delivery().as_str());
            }
        }
        if late > PROMPT {
            self.wrong.get_or_insert(format!("ended {} ms after its deadline", late.as_millis()));
        }
        self.told.push(told);
    }
}

//! One world: its services with their labs, and its clients.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_spi::Requester;

use super::book::{Book, Client};
use super::memory::MemoryService;
use super::{WrappedTransport, Wrapper};
use crate::conformance::lab::Lab;
use crate::sync::lock;
use crate::worlds::Network;

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

impl Simulation {
    pub(super) fn new(network: Network, wrapper: Arc<dyn Wrapper>) -> Self {
        Self { network, wrapper, services: Mutex::default(), book: Arc::default() }
    }

    /// Serves a new lab under a name.
    pub(super) fn serve(&self, name: &'static str) -> Lab {
        let lab = Lab::new();
        let memory = match self.wrapper.transport() {
            WrappedTransport::Network => {
                let (served, wrapper) = (lab.clone(), Arc::clone(&self.wrapper));
                self.network.serve(name, move || wrapper.routes(served.routes()));
                None
            }
            WrappedTransport::Memory => {
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
        Client::new(to, self.wrapper.requester(inner), Arc::clone(&self.book))
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
            if let Some(wrong) = self.book.wrong(service, lab, &mut repeated) {
                panic!("{wrong}");
            }
        }
    }
}

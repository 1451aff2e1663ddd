//! Services of a network: their instances, whose turn it is, and crashes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rr_spi::{Intake, IntakeConfig, Routes, Server};

use super::Network;
use crate::sync::lock;
use crate::worlds::life::Life;

/// Makes the routes of an instance.
pub(super) type Make = Arc<dyn Fn() -> Routes + Send + Sync>;

pub(super) struct Service {
    make: Make,
    config: IntakeConfig,
    pub(super) instances: Vec<Instance>,
    next: usize,
}

pub(in crate::worlds) struct Instance {
    pub(in crate::worlds) intake: Intake,
    /// Made when the instance is drained.
    pub(in crate::worlds) server: Option<Arc<Server>>,
    pub(super) life: Life,
}

/// Instance that a request has reached.
#[derive(Clone)]
pub(in crate::worlds) struct Reached {
    pub(in crate::worlds) intake: Intake,
    pub(in crate::worlds) life: Life,
    pub(in crate::worlds) instance: usize,
}

impl Network {
    pub(super) fn serve_all(
        &self,
        name: String,
        instances: usize,
        config: IntakeConfig,
        make: Make,
    ) {
        let instances = (0..instances).map(|_| Instance::start(&*make, config.clone())).collect();
        let service = Service { make, config, instances, next: 0 };
        let before = lock(&self.0.state).services.insert(name, service);
        // Outside of the lock: it runs foreign code.
        drop(before);
    }

    /// Returns the instance whose turn it is; `None` if no service has the name.
    pub(in crate::worlds) fn reach(&self, to: &str) -> Option<Reached> {
        let mut state = lock(&self.0.state);
        let service = state.services.get_mut(to)?;
        let instance = service.next % service.instances.len();
        service.next += 1;
        let Instance { intake, life, .. } = service.instances.get(instance)?;
        let reached = Reached { intake: intake.clone(), life: life.clone(), instance };
        state.fingerprint.reached(self.0.began.elapsed(), instance);
        Some(reached)
    }

    /// Returns the servers of the instances of a service, which then can be drained.
    pub(in crate::worlds) fn servers(&self, name: &str) -> Vec<Arc<Server>> {
        let mut state = lock(&self.0.state);
        let service = state.services.get_mut(name);
        let instances = service.into_iter().flat_map(|service| &mut service.instances);
        instances.map(|instance| instance.server(name)).collect()
    }

    /// Crashes an instance when the handler that is running waits for the next time, or has ended.
    pub(in crate::worlds) fn crash_soon(&self, service: String, instance: usize) {
        let network = self.clone();
        // A task does not run before the present one waits.
        tokio::spawn(async move {
            match network.real() {
                Some(real) => real.crash(&network, &service, instance),
                None => network.crash(&service, instance),
            }
        });
    }

    /// Ends every call of an instance, and starts the instance again.
    pub(in crate::worlds) fn crash(&self, to: &str, instance: usize) {
        let made = |service: &Service| (Arc::clone(&service.make), service.config.clone());
        let Some((make, config)) = lock(&self.0.state).services.get(to).map(made) else { return };
        // Outside of the lock: it runs foreign code.
        let started = catch_unwind(AssertUnwindSafe(|| Instance::start(&*make, config)));
        if started.is_err() {
            self.breaks(format!("`{to}` cannot start again after a crash: what makes it panics"));
        }
        let mut state = lock(&self.0.state);
        let service = state.services.get_mut(to);
        let slot = service.and_then(|service| service.instances.get_mut(instance));
        let Some(slot) = slot else { return };
        // An instance that cannot start again has crashed, too: its calls end.
        let mut life = slot.life.clone();
        let before = started.map(|started| std::mem::replace(slot, started));
        if before.is_err() {
            slot.life = Life::default();
        }
        drop(state);
        life.end();
    }
}

impl Instance {
    fn start(make: &dyn Fn() -> Routes, config: IntakeConfig) -> Self {
        Self { intake: Intake::new(make(), config), server: None, life: Life::default() }
    }
}

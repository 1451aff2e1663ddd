//! The registry that connects the requesters and the server of one name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard, Weak};

use rr_spi::{Code, Delivery, Error, Intake, Location};
use tokio::sync::Notify;

use super::wire::Wire;
use crate::sync::{lock, until};

/// All names in use in this process. The entries are weak: a name is removed after its last
/// requester and server are dropped.
static NAMES: Mutex<BTreeMap<String, Weak<Registry>>> = Mutex::new(BTreeMap::new());

/// Longest name in bytes.
const NAME_BYTES_MAX: usize = 128;

/// Connects the requesters and the server of one name. Either side may be created first.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// Read by every call, written when a server registers or leaves.
    server: RwLock<Option<Served>>,
    arrived: Notify,
    wire: Wire,
}

impl Registry {
    /// Returns the registry of `memory://name`, creating it if needed.
    pub(crate) fn of(location: &Location) -> Result<Arc<Self>, Error> {
        let name = location.authority();
        let fits = location.scheme() == "memory"
            && location.path().is_empty()
            && (1..=NAME_BYTES_MAX).contains(&name.len());
        if !fits {
            let text = "an in-memory URL is memory://name";
            return Err(Error::failure(Code::InvalidArgument, Delivery::NotSent, None, text)
                .with_hint("use `memory://` and a name of 1 to 128 characters, nothing after it"));
        }
        let mut names = lock(&NAMES);
        names.retain(|_, registry| registry.strong_count() > 0);
        if let Some(registry) = names.get(name).and_then(Weak::upgrade) {
            return Ok(registry);
        }
        let registry = Arc::new(Self::default());
        names.insert(name.to_owned(), Arc::downgrade(&registry));
        Ok(registry)
    }

    /// Returns the intake of the registered server, if any.
    pub(super) fn server(&self) -> Option<Intake> {
        let server = self.server.read().unwrap_or_else(PoisonError::into_inner);
        server.as_ref().map(|served| served.intake.clone())
    }

    fn server_mut(&self) -> RwLockWriteGuard<'_, Option<Served>> {
        // A poisoned lock is safe to use: no foreign code runs under it, so that a panic cannot
        // leave the value half-changed.
        self.server.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the link between the requesters and the server.
    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Wakes every task that waits in [`Registry::served`].
    pub(super) fn announce(&self) {
        self.arrived.notify_waiters();
    }

    /// Waits until a server is registered and the link is not cut.
    pub(super) async fn served(&self) {
        let is_served = || self.server().is_some() && self.wire.connected().is_ok();
        until(&self.arrived, is_served).await;
    }

    /// Registers the server until the returned guard is dropped. Fails while another server holds
    /// the name, unless that server has drained.
    pub(super) fn enter(self: &Arc<Self>, intake: Intake) -> Result<Registration, Error> {
        let mut server = self.server_mut();
        let gone = |intake: &Intake| intake.is_draining() && intake.in_flight() == 0;
        if server.as_ref().is_some_and(|served| !gone(&served.intake)) {
            let text = "the name is served already in this process";
            return Err(Error::failure(Code::AlreadyExists, Delivery::NotSent, None, text)
                .with_hint("await the other server's shutdown first, or use another name"));
        }
        let token = Arc::new(());
        let before = server.replace(Served { intake, token: Arc::clone(&token) });
        drop(server);
        // Outside of the lock: this may be the last reference to the handlers, whose drop runs
        // foreign code.
        drop(before);
        self.announce();
        Ok(Registration { registry: Arc::clone(self), token })
    }
}

/// Registered server. The token distinguishes the server from a successor.
#[derive(Debug)]
struct Served {
    intake: Intake,
    token: Arc<()>,
}

/// Registration of a server. Dropping it removes the server, unless a successor has replaced it.
#[derive(Debug)]
pub(super) struct Registration {
    registry: Arc<Registry>,
    token: Arc<()>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut server = self.registry.server_mut();
        // A successor may have registered once this server had drained.
        let is_own = |served: &mut Served| Arc::ptr_eq(&served.token, &self.token);
        let own = server.take_if(is_own);
        drop(server);
        // Outside of the lock: this may be the last reference to the handlers, whose drop runs
        // foreign code.
        drop(own);
    }
}

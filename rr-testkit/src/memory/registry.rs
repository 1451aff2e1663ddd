//! Where requesters and a server of one name meet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard, Weak};

use rr_spi::{Code, Delivery, Error, Intake, Location};
use tokio::sync::Notify;

use super::link::Wire;

/// Every name in use in this process. The entries are weak: a name is gone with the last
/// requester and server that hold it.
static NAMES: Mutex<BTreeMap<String, Weak<Registry>>> = Mutex::new(BTreeMap::new());

/// Longest name in bytes.
const NAME_BYTES_MAX: usize = 128;

/// Where requesters and a server of one name meet; either may come first.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// Read by each call, written when a server comes or goes.
    server: RwLock<Option<Served>>,
    arrived: Notify,
    wire: Wire,
}

impl Registry {
    /// Returns the registry that `memory://name` stands for.
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
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|_, registry| registry.strong_count() > 0);
        if let Some(registry) = names.get(name).and_then(Weak::upgrade) {
            return Ok(registry);
        }
        let registry = Arc::new(Self::default());
        names.insert(name.to_owned(), Arc::downgrade(&registry));
        Ok(registry)
    }

    /// Returns the server that is there, if any.
    pub(super) fn server(&self) -> Option<Intake> {
        let server = self.server.read().unwrap_or_else(PoisonError::into_inner);
        server.as_ref().map(|occupant| occupant.intake.clone())
    }

    fn occupied(&self) -> RwLockWriteGuard<'_, Option<Served>> {
        // A panic cannot leave it half-changed, as nothing foreign runs under the lock.
        self.server.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what lies between the requesters and the server.
    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Wakes whoever waits until the server can be reached.
    pub(super) fn announce(&self) {
        self.arrived.notify_waiters();
    }

    /// Waits until a server is there and can be reached.
    pub(super) async fn served(&self) {
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if self.server().is_some() && self.wire.connected().is_ok() {
                return;
            }
            arrived.await;
        }
    }

    /// Takes the server's place, until the returned guard is dropped.
    pub(super) fn enter(self: &Arc<Self>, intake: Intake) -> Result<Registration, Error> {
        let mut server = self.occupied();
        let gone = |intake: &Intake| intake.is_draining() && intake.in_flight() == 0;
        if server.as_ref().is_some_and(|occupant| !gone(&occupant.intake)) {
            let text = "the name is served already in this process";
            return Err(Error::failure(Code::AlreadyExists, Delivery::NotSent, None, text)
                .with_hint("await the other server's shutdown first, or use another name"));
        }
        let token = Arc::new(());
        let before = server.replace(Served { intake, token: Arc::clone(&token) });
        drop(server);
        // Outside of the lock: it may be the last that holds the handlers.
        drop(before);
        self.announce();
        Ok(Registration { registry: Arc::clone(self), token })
    }
}

/// The server that is there. The token tells it from a successor.
#[derive(Debug)]
struct Served {
    intake: Intake,
    token: Arc<()>,
}

/// The server's place at a registry; dropping it leaves.
#[derive(Debug)]
pub(super) struct Registration {
    registry: Arc<Registry>,
    token: Arc<()>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut server = self.registry.occupied();
        // A successor may have come once nothing was in flight here any more.
        let is_own = |occupant: &mut Served| Arc::ptr_eq(&occupant.token, &self.token);
        let own = server.take_if(is_own);
        drop(server);
        // Outside of the lock: it may be the last that holds the handlers.
        drop(own);
    }
}

//! One connection per runtime: a connection is used only by the runtime that drives it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rr_spi::{Entropy, Error};
use tokio::runtime::{Handle, Id};

use super::link::{Link, LinkSetup};
use super::members::Members;
use super::{Connection, Dialer, NatsState};
use crate::error;

/// Most runtimes whose connection is kept. Beyond, the one that was made first is closed: a server
/// does not want more connections of one client.
const RUNTIMES_MAX: usize = 64;

/// The connections of a requester, one for each runtime that makes calls.
///
/// A requester belongs to no runtime, but each of its connections does: tasks of that runtime drive
/// it, and end with it. While a runtime is alive and not driven, its connection waits, and calls of
/// other runtimes do not depend on it.
pub(crate) struct Connections {
    setup: LinkSetup,
    members: Arc<Members>,
    entropy: Arc<dyn Entropy>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The newest last.
    connections: Vec<(Id, Arc<Connection>)>,
    /// Counts of connections that are not kept any more.
    connects: u64,
    strays: (u64, u64),
}

impl Connections {
    pub(crate) fn new(setup: LinkSetup, members: Members, entropy: Arc<dyn Entropy>) -> Self {
        Self { setup, members: Arc::new(members), entropy, known: Mutex::default() }
    }

    /// Returns the connection of the current runtime; starts it if there is none.
    pub(crate) fn here(&self) -> Result<Arc<Connection>, Error> {
        let runtime = Handle::try_current().map_err(|_| error::no_runtime())?.id();
        let mut known = self.lock();
        let found = known.connections.iter().find(|(id, _)| *id == runtime);
        if let Some((_, connection)) = found.filter(|(_, connection)| !connection.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        let mut gone = known.forget(|connection| connection.is_closed());
        if known.connections.len() >= RUNTIMES_MAX {
            let first = Arc::clone(&known.connections[0].1);
            gone.extend(known.forget(|connection| Arc::ptr_eq(connection, &first)));
        }
        let members = Arc::clone(&self.members);
        let dialer = Dialer::new(self.setup.clone(), members, Arc::clone(&self.entropy));
        let connection = Arc::new(Connection::start(dialer));
        known.connections.push((runtime, Arc::clone(&connection)));
        drop(known);
        drop(gone);
        Ok(connection)
    }

    /// Returns the connection of this runtime to a server, waiting for the first attempt, and then
    /// for as long as given.
    pub(crate) async fn link(&self, wait: Duration) -> Result<Arc<Link>, Error> {
        let connection = self.here()?;
        match connection.current() {
            Some(link) => Ok(link),
            // In a box, since a place for it would be kept in every call.
            None => Box::pin(async move { connection.awaited(wait).await }).await,
        }
    }

    /// Returns the state of the connection of this runtime, or else of the newest one.
    pub(crate) fn state(&self) -> NatsState {
        self.shown().map_or(NatsState::Connecting, |connection| connection.state())
    }

    /// Returns why the connection of this runtime, or else the newest one, was lost or not made.
    pub(crate) fn last_error(&self) -> Option<Error> {
        self.shown()?.last_error()
    }

    /// Returns how often a connection was made.
    pub(crate) fn connects(&self) -> u64 {
        let known = self.lock();
        known.connects + known.all().map(Connection::connects).sum::<u64>()
    }

    /// Returns how many calls hold a slot.
    pub(crate) fn in_flight(&self) -> usize {
        self.lock().all().map(Connection::in_flight).sum()
    }

    /// Returns how many replies came too late, and twice.
    pub(crate) fn strays(&self) -> (u64, u64) {
        let known = self.lock();
        known.all().map(Connection::strays).fold(known.strays, super::sum)
    }

    fn shown(&self) -> Option<Arc<Connection>> {
        let runtime = Handle::try_current().ok().map(|handle| handle.id());
        let known = self.lock();
        let here = known.connections.iter().find(|(id, _)| Some(*id) == runtime);
        here.or_else(|| known.connections.last()).map(|(_, connection)| Arc::clone(connection))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Whole values go in and out: a panic leaves the list as it was.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

impl Known {
    fn all(&self) -> impl Iterator<Item = &Connection> {
        self.connections.iter().map(|(_, connection)| &**connection)
    }

    /// Takes connections out and keeps what they counted.
    fn forget(&mut self, gone: impl Fn(&Arc<Connection>) -> bool) -> Vec<(Id, Arc<Connection>)> {
        let taken: Vec<_> = self.connections.extract_if(.., |(_, one)| gone(one)).collect();
        for (_, connection) in &taken {
            self.connects += connection.connects();
            self.strays = super::sum(self.strays, connection.strays());
        }
        taken
    }
}

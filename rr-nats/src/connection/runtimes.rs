//! One connection per runtime: a connection is used only by the runtime that drives it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_spi::{Attempt, Entropy, Error};
use tokio::runtime::{Handle, Id};

use super::link::Link;
use super::members::Members;
use super::options::LinkSetup;
use super::{Connection, Dialer, NatsState, NatsStats};
use crate::error;

use crate::sync::lock;

/// Maximum number of runtimes whose connection is kept: with one runtime per core, more than any
/// machine has today. rr-http has the same limit. Above it, the connection whose last call began
/// longest ago is closed, among those without calls. If all connections have calls, one more is
/// made: then there are at most as many connections as calls in flight.
const RUNTIMES_MAX: usize = 1024;

/// The connections of a requester, one for each runtime that makes calls.
///
/// A requester belongs to no runtime, but each of its connections does: tasks of that runtime drive
/// the connection and end with the runtime. While a runtime is alive but not driven, its connection
/// makes no progress; calls of other runtimes do not depend on it.
pub(crate) struct Connections {
    setup: LinkSetup,
    members: Arc<Members>,
    entropy: Arc<dyn Entropy>,
    runtimes_max: usize,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    connections: HashMap<Id, Entry>,
    /// Number of uses so far; orders the connections by time of use.
    uses: u64,
    /// Counters of connections that are no longer kept.
    closed: NatsStats,
}

struct Entry {
    connection: Arc<Connection>,
    /// The numbers of the first and of the last use.
    made: u64,
    used: u64,
}

impl Connections {
    pub(crate) fn new(setup: LinkSetup, members: Members, entropy: Arc<dyn Entropy>) -> Self {
        let (members, runtimes_max) = (Arc::new(members), RUNTIMES_MAX);
        Self { setup, members, entropy, runtimes_max, known: Mutex::default() }
    }

    /// Returns the connection of the current runtime; starts one if there is none.
    pub(crate) fn current(&self) -> Result<Arc<Connection>, Error> {
        let runtime = Handle::try_current().map_err(|_| error::no_runtime())?.id();
        let mut known = lock(&self.known);
        if let Some(connection) = known.used(runtime) {
            return Ok(connection);
        }
        let evicted = known.evict(self.runtimes_max);
        let members = Arc::clone(&self.members);
        let dialer = Dialer::new(self.setup.clone(), members, Arc::clone(&self.entropy));
        let connection = Arc::new(Connection::start(dialer));
        let (made, used) = (known.uses, known.uses);
        let entry = Entry { connection: Arc::clone(&connection), made, used };
        known.connections.insert(runtime, entry);
        drop(known);
        drop(evicted);
        Ok(connection)
    }

    /// Returns the current runtime's connection to a server. Waits for the first attempt, and then
    /// for at most `wait`.
    pub(crate) async fn link(&self, attempt: &Attempt, wait: Duration) -> Result<Arc<Link>, Error> {
        let connection = self.current()?;
        match connection.current() {
            Some(link) => Ok(link),
            // Boxed: inline, its state would enlarge the future of every call.
            None => Box::pin(async move { connection.awaited(attempt, wait).await }).await,
        }
    }

    /// Returns the state of the current runtime's connection, or else of the newest one.
    pub(crate) fn state(&self) -> NatsState {
        self.current_or_newest().map_or(NatsState::Connecting, |connection| connection.state())
    }

    /// Returns the last error of the current runtime's connection, or else of the newest one.
    pub(crate) fn last_error(&self) -> Option<Error> {
        self.current_or_newest()?.last_error()
    }

    /// Returns the counters of all connections.
    pub(crate) fn stats(&self) -> NatsStats {
        let known = lock(&self.known);
        let connections = known.connections.values();
        connections.map(|entry| entry.connection.stats()).fold(known.closed, NatsStats::plus)
    }

    fn current_or_newest(&self) -> Option<Arc<Connection>> {
        let runtime = Handle::try_current().ok().map(|handle| handle.id());
        let known = lock(&self.known);
        let here = runtime.and_then(|id| known.connections.get(&id));
        let shown = here.or_else(|| known.connections.values().max_by_key(|entry| entry.made));
        shown.map(|entry| Arc::clone(&entry.connection))
    }
}

impl Known {
    /// Records a use, and returns the connection of a runtime if it has an open one.
    fn used(&mut self, runtime: Id) -> Option<Arc<Connection>> {
        self.uses += 1;
        let entry = self.connections.get_mut(&runtime)?;
        entry.used = self.uses;
        Some(Arc::clone(&entry.connection)).filter(|connection| !connection.is_closed())
    }

    /// Removes the connections of runtimes that have ended, and then the least recently used
    /// connections without calls, until one more fits. Returns the removed connections.
    fn evict(&mut self, runtimes_max: usize) -> Vec<Arc<Connection>> {
        let closed = |(id, entry): (&Id, &Entry)| entry.connection.is_closed().then_some(*id);
        let closed: Vec<Id> = self.connections.iter().filter_map(closed).collect();
        let mut evicted: Vec<_> = closed.into_iter().filter_map(|id| self.forget(id)).collect();
        while self.connections.len() >= runtimes_max {
            let idle = self.connections.iter().filter(|(_, entry)| entry.is_idle());
            let oldest = idle.min_by_key(|(_, entry)| entry.used).map(|(id, _)| *id);
            let Some(connection) = oldest.and_then(|id| self.forget(id)) else { break };
            evicted.push(connection);
        }
        evicted
    }

    /// Removes a connection and keeps its counters.
    fn forget(&mut self, runtime: Id) -> Option<Arc<Connection>> {
        let connection = self.connections.remove(&runtime)?.connection;
        self.closed = self.closed.plus(connection.stats().closed());
        Some(connection)
    }
}

impl Entry {
    /// Returns whether no call waits for the connection or is in flight on it.
    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.connection) == 1 && self.connection.stats().in_flight == 0
    }
}

#[cfg(test)]
mod tests {
    use rr_spi::{Context, SeededEntropy, Target};
    use rr_testkit::NatsServer;
    use tokio::runtime::{Builder, Runtime};

    use super::*;
    use crate::config::NatsConnectionConfig;
    use crate::connection::channel::Channel;
    use crate::scheme::Scheme;

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().unwrap()
    }

    fn connections(address: String, runtimes_max: usize) -> Connections {
        let setup = LinkSetup {
            config: NatsConnectionConfig::default(),
            channel: Channel::plain(),
            prefix: String::new(),
            incoming_max: 1,
            cancels_max: 1,
            learned: Arc::default(),
            needs_inbox: true,
            monitor: rr_spi::observe::Monitor::default(),
        };
        let members = Members::new(vec![address], Scheme::Nats, false);
        let connections = Connections::new(setup, members, Arc::new(SeededEntropy::new(7)));
        Connections { runtimes_max, ..connections }
    }

    #[test]
    fn beyond_the_limit_the_least_recently_used_connection_without_a_call_is_closed() {
        let servers = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let nats = servers.block_on(NatsServer::start()).unwrap();
        let connections = connections(nats.address().to_string(), 3);
        let [busy, old, used, new] = [runtime(), runtime(), runtime(), runtime()];
        let link = |on: &Runtime| {
            let attempt = Attempt::start(&Context::background(), Duration::MAX).unwrap();
            on.block_on(connections.link(&attempt, Duration::from_secs(10))).unwrap()
        };
        let in_call = link(&busy);
        let target = Target::try_from("svc.busy").unwrap();
        let taken = in_call.calls().take_slot(&target, 1).unwrap();
        for on in [&used, &old, &used] {
            link(on);
        }
        link(&new);
        assert_eq!(lock(&connections.known).connections.len(), 3);
        for on in [&busy, &used, &new] {
            link(on);
        }
        assert_eq!(connections.stats().connects, 4, "one in use was closed");
        link(&old);
        assert_eq!(connections.stats().connects, 5);
        in_call.calls().release_slot(taken.token);
    }

    #[test]
    fn connections_that_all_have_calls_are_kept_beyond_the_limit() {
        let connections = connections("127.0.0.1:1".to_owned(), 2);
        let runtimes: Vec<Runtime> = (0..4).map(|_| runtime()).collect();
        let here = |on: &Runtime| on.block_on(async { connections.current() }).unwrap();
        let held: Vec<_> = runtimes.iter().map(here).collect();
        assert_eq!(lock(&connections.known).connections.len(), 4);
        drop(held);
        here(&runtime());
        assert_eq!(lock(&connections.known).connections.len(), 2);
    }
}

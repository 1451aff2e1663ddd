//! Connections of a requester: dialling them, keeping them, letting go of them.

mod h1;
mod h2;
mod runtimes;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rr_spi::{Context, Error};
use tokio::task::AbortHandle;

use crate::count::{Count, Counted};
use crate::endpoint::Endpoint;
use crate::error::{connect_failed, connect_timed_out};
use crate::socket::{Connector, Socket};

pub(crate) use h1::{H1Pool, Link, Message, Replied};
pub(crate) use h2::H2Pool;
pub(crate) use runtimes::Pools;
use runtimes::RuntimePool;

/// Makes connections to one endpoint, and counts those that are open.
#[derive(Debug)]
pub(crate) struct Dialer {
    endpoint: Endpoint,
    /// What connects instead of the endpoint's address, if so.
    connector: Option<Connector>,
    timeout: Duration,
    open: Count,
}

impl Dialer {
    pub(crate) fn new(endpoint: Endpoint, connector: Option<Connector>, timeout: Duration) -> Self {
        Self { endpoint, connector, timeout, open: Count::default() }
    }

    /// Returns how many connections are open, unused ones included.
    pub(crate) fn open(&self) -> usize {
        self.open.now()
    }

    /// Connects. Whoever drives the connection holds its count.
    ///
    /// # Errors
    ///
    /// `Unavailable`, not sent, `connect-failed`.
    async fn dial(&self) -> Result<(Socket, Counted), Error> {
        let authority = &self.endpoint.authority;
        let bound = Context::background().with_timeout(self.timeout);
        match bound.race(self.connect()).await {
            Ok(Ok(socket)) => Ok((socket, self.open.one())),
            Ok(Err(error)) => Err(connect_failed(authority, error)),
            Err(_) => Err(connect_timed_out(authority, self.timeout)),
        }
    }

    async fn connect(&self) -> std::io::Result<Socket> {
        match &self.connector {
            Some(connector) => connector.connect().await,
            None => Socket::connect(&self.endpoint.address).await,
        }
    }

    /// Makes the error for a connection on which the protocol could not begin.
    fn failed(&self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        connect_failed(&self.endpoint.authority, std::io::Error::other(source))
    }
}

/// A task that ends with the pool that owns it.
#[derive(Debug, Default)]
struct Owned(Option<AbortHandle>);

impl Owned {
    fn is_running(&self) -> bool {
        self.0.as_ref().is_some_and(|task| !task.is_finished())
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Shortest pause between two looks, so that a tiny idle timeout does not spin.
const REAP_PAUSE_MIN: Duration = Duration::from_millis(10);

/// Returns how long to wait between two looks at what may have been unused for too long.
fn pause(idle_timeout: Duration) -> Duration {
    (idle_timeout / 2).max(REAP_PAUSE_MIN)
}

/// Locks; a panic cannot leave a pool half-changed, since nothing foreign runs under its lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

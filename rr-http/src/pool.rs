//! Connections of a requester: dialling them, keeping them, letting go of them.

mod h1;
mod h2;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rr_spi::{Context, Error};
use tokio::task::AbortHandle;

use crate::endpoint::Endpoint;
use crate::error::{connect_failed, connect_timed_out};
use crate::socket::Socket;

pub(crate) use h1::{H1Lease, H1Pool};
pub(crate) use h2::H2Pool;

/// Makes connections to one endpoint, and counts those that are open.
#[derive(Debug)]
pub(crate) struct Dialer {
    endpoint: Endpoint,
    timeout: Duration,
    open: Arc<AtomicUsize>,
}

impl Dialer {
    pub(crate) fn new(endpoint: Endpoint, timeout: Duration) -> Self {
        Self { endpoint, timeout, open: Arc::default() }
    }

    /// Returns how many connections are open, unused ones included.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// `Unavailable`, not sent, `connect-failed`.
    async fn dial(&self) -> Result<(Socket, Open), Error> {
        let authority = &self.endpoint.authority;
        let bound = Context::background().with_timeout(self.timeout);
        match bound.race(Socket::connect(&self.endpoint.address)).await {
            Ok(Ok(socket)) => Ok((socket, Open::new(&self.open))),
            Ok(Err(error)) => Err(connect_failed(authority, error)),
            Err(_) => Err(connect_timed_out(authority, self.timeout)),
        }
    }

    /// Makes the error for a connection on which the protocol could not begin.
    fn failed(&self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        connect_failed(&self.endpoint.authority, std::io::Error::other(source))
    }
}

/// One open connection; held by the task that drives it.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Lets go of what has been unused for too long.
trait Reap: Send + Sync + 'static {
    /// Drops what has expired. Returns `false` when nothing is kept any more; then the reaper
    /// ends, and whoever keeps something next starts another.
    fn reap(&self) -> bool;
}

/// The task that calls [`Reap::reap`] every so often; it ends with the pool.
#[derive(Debug, Default)]
struct Reaper(Option<AbortHandle>);

/// Shortest pause between two looks, so that a tiny idle timeout does not spin.
const REAP_PAUSE_MIN: Duration = Duration::from_millis(10);

impl Reaper {
    fn start<T: Reap>(&mut self, pool: impl FnOnce() -> Weak<T>, idle_timeout: Duration) {
        if self.0.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let pool = pool();
        let pause = (idle_timeout / 2).max(REAP_PAUSE_MIN);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                let alive = pool.upgrade().is_some_and(|pool| pool.reap());
                if !alive {
                    return;
                }
            }
        });
        self.0 = Some(task.abort_handle());
    }

    /// Forgets the task, which is about to end.
    fn ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

/// Locks; a panic cannot leave a pool half-changed, since nothing foreign runs under its lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

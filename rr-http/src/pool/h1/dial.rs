//! Waits for a connection that becomes free or is dialled.

use std::sync::{Arc, Weak};

use rr_spi::dial::DialProgress;
use rr_spi::{Attempt, Error};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::maker::H1Maker;
use super::waiting::Begin;
use super::{H1Connection, H1Shared, Idle};
use crate::error::handed_back;
use crate::sync::lock;

/// Call that waits for a connection.
struct WaitingCall<'a> {
    shared: &'a Arc<H1Shared>,
    attempt: &'a Attempt,
    id: u64,
    told: oneshot::Receiver<Result<Idle, Error>>,
}

enum Joined<'a> {
    /// A connection has become free meanwhile.
    Free(Idle),
    Waits(WaitingCall<'a>),
}

impl H1Shared {
    /// Returns the first connection that becomes free or is dialled.
    pub(super) async fn wait(
        self: &Arc<Self>,
        attempt: &Attempt,
    ) -> Result<Box<H1Connection>, Error> {
        loop {
            let mut idle = match self.join(attempt) {
                Joined::Free(idle) => idle,
                Joined::Waits(mut call) => call.connection().await?,
            };
            // A connection that was just dialled is used unchecked, so that a server that closes
            // each new connection fails the call.
            if !idle.link.is_used || idle.link.is_reusable() {
                return Ok(idle.link);
            }
        }
    }

    fn join<'a>(self: &'a Arc<Self>, attempt: &'a Attempt) -> Joined<'a> {
        let mut locked = lock(&self.idle);
        if let Some(idle) = locked.connections.pop() {
            return Joined::Free(idle);
        }
        let (sender, told) = oneshot::channel();
        let id = locked.waiting.join(sender);
        Joined::Waits(WaitingCall { shared: self, attempt, id, told })
    }

    /// Starts a dial for a waiting call if it needs one. Returns the time at which to try again, if
    /// any.
    fn dial_for(self: &Arc<Self>, call: u64) -> Option<Instant> {
        let begin = lock(&self.idle).waiting.begin_dial(call, self.connections_max, Instant::now());
        let id = match begin {
            Begin::Now(id) => id,
            Begin::At(later) => return Some(later),
            Begin::Never => return None,
        };
        let dialing = Dialing { shared: Arc::downgrade(self), id };
        let progress = Arc::new(DialProgress::new());
        let dial = dial(self.maker.clone(), dialing, Arc::clone(&progress));
        // Not under the lock: a runtime that is ending drops the task immediately.
        let task = tokio::spawn(dial).abort_handle();
        lock(&self.idle).waiting.own(id, task, progress);
        None
    }
}

impl WaitingCall<'_> {
    async fn connection(&mut self) -> Result<Idle, Error> {
        loop {
            let told = match self.shared.dial_for(self.id) {
                None => (&mut self.told).await,
                Some(later) => match timeout_at(later, &mut self.told).await {
                    Ok(told) => told,
                    Err(_) => continue,
                },
            };
            // While the pool exists, no sender is dropped before it has sent.
            let told = told.unwrap_or_else(|_| Err(handed_back()));
            return told.map_err(|error| self.attempt.dial_failed(error));
        }
    }
}

impl Drop for WaitingCall<'_> {
    fn drop(&mut self) {
        let (left, progress) = {
            let waiting = &mut lock(&self.shared.idle).waiting;
            (waiting.leave(self.id), waiting.progress(self.id))
        };
        // The call that still waits has ended.
        if let Some(progress) = progress.filter(|_| left.is_some()) {
            self.attempt.still_dialing(&progress);
        }
        drop(left);
        // A connection that was given meanwhile goes to the next call.
        self.told.close();
        if let Ok(Ok(idle)) = self.told.try_recv() {
            self.shared.give(idle, None);
        }
    }
}

/// Dial in progress. Dropping it unfinished, as when its runtime ends, fails its call.
struct Dialing {
    shared: Weak<H1Shared>,
    id: u64,
}

impl Drop for Dialing {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        let call = lock(&shared.idle).waiting.end_dial(self.id);
        if let Some(call) = call {
            let _ = call.send(Err(handed_back()));
        }
    }
}

impl Dialing {
    fn end(mut self, outcome: Result<Box<H1Connection>, Error>) {
        let Some(shared) = std::mem::take(&mut self.shared).upgrade() else { return };
        let (call, next) = {
            let waiting = &mut lock(&shared.idle).waiting;
            (waiting.end_dial(self.id), waiting.without_dial())
        };
        match (outcome, call) {
            (Ok(mut link), call) => {
                // Polled once, so that the end of the connection is noticed while it is unused.
                if call.is_some() || link.is_usable() {
                    let expires = link.expires(Instant::now(), shared.idle_timeout);
                    shared.give(Idle { link, expires }, call);
                }
            }
            (Err(error), Some(call)) => drop(call.send(Err(error))),
            // Its call has ended; another call waited for this dial instead of starting one.
            (Err(_), None) => drop(next.map(|call| shared.dial_for(call))),
        }
    }
}

async fn dial(maker: H1Maker, dialing: Dialing, progress: Arc<DialProgress>) {
    let outcome = maker.connect(&progress).await;
    dialing.end(outcome);
}

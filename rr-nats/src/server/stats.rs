//! What a server counts.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rr_spi::Error;

use super::state::ServerState;
use crate::connection::NatsState;

/// What a server counts.
#[derive(Clone)]
pub struct NatsServerStats(Arc<ServerState>);

impl NatsServerStats {
    pub(super) fn of(site: &Arc<ServerState>) -> Self {
        Self(Arc::clone(site))
    }

    /// Returns whether the server has a connection.
    #[must_use]
    pub fn state(&self) -> NatsState {
        self.0.state()
    }

    /// Waits until the state is another than `known`, and returns it.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time; a state that has passed meanwhile is not seen.
    pub async fn changed(&self, known: NatsState) -> NatsState {
        self.0.changed(known).await
    }

    /// Returns what went wrong last with the connection or a subscription, if anything has.
    #[must_use]
    pub fn last_error(&self) -> Option<Error> {
        self.0.last_error()
    }

    /// Returns how many requests are being answered in tasks of their own.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.0.tasks.now()
    }

    /// Returns how many connections were made.
    #[must_use]
    pub fn connects(&self) -> u64 {
        self.0.counts.connects.load(Ordering::Relaxed)
    }

    /// Returns how many messages were dropped because they named no reply subject.
    #[must_use]
    pub fn without_reply(&self) -> u64 {
        self.0.counts.without_reply.load(Ordering::Relaxed)
    }

    /// Returns how many requests were given up unanswered, because so many replies could not leave
    /// that there was no room even for refusing them.
    #[must_use]
    pub fn given_up(&self) -> u64 {
        self.0.counts.given_up.load(Ordering::Relaxed)
    }

    /// Returns how many headers of requests were dropped because they do not fit the grammar.
    #[must_use]
    pub fn headers_dropped(&self) -> u64 {
        self.0.counts.headers_dropped.load(Ordering::Relaxed)
    }

    /// Returns how many calls were cancelled by their callers.
    #[must_use]
    pub fn cancelled(&self) -> u64 {
        self.0.cancels.cancelled()
    }

    /// Returns how often, on the present connection, the client library has dropped requests because
    /// too many waited in it.
    #[must_use]
    pub fn requests_dropped(&self) -> u64 {
        self.0.current().map_or(0, |link| link.dropped())
    }

    /// Returns how many replies the NATS server has denied on the present connection.
    #[must_use]
    pub fn replies_denied(&self) -> u64 {
        self.0.current().map_or(0, |link| link.replies_denied())
    }
}

impl fmt::Debug for NatsServerStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsServerStats")
            .field("tasks", &self.tasks())
            .field("connects", &self.connects())
            .field("cancelled", &self.cancelled())
            .finish_non_exhaustive()
    }
}

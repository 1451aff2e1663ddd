//! Counters of a server.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rr_spi::Error;

use super::state::ServerState;
use crate::connection::NatsState;

/// Counters and connection state of a server; clones share them.
#[derive(Clone)]
pub struct NatsServerStats(pub(super) Arc<ServerState>);

impl NatsServerStats {
    /// Returns the state of the server's connection.
    #[must_use]
    pub fn state(&self) -> NatsState {
        self.0.state()
    }

    /// Waits until the state differs from `known`, and returns it.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time. A state that began and ended between two calls
    /// is not reported.
    pub async fn changed(&self, known: NatsState) -> NatsState {
        self.0.changed(known).await
    }

    /// Returns the last error of the connection or of a subscription, if there was one.
    #[must_use]
    pub fn last_error(&self) -> Option<Error> {
        self.0.last_error()
    }

    /// Returns how many requests are being answered in separate tasks.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.0.tasks.now()
    }

    /// Returns how many connections the server has made.
    #[must_use]
    pub fn connects(&self) -> u64 {
        self.0.counts.connects.load(Ordering::Relaxed)
    }

    /// Returns how many messages were dropped because they named no usable reply subject.
    #[must_use]
    pub fn without_reply(&self) -> u64 {
        self.0.counts.without_reply.load(Ordering::Relaxed)
    }

    /// Returns how many requests were given up unanswered: so many replies were waiting to leave
    /// that not even a refusal could be started, or too many messages arrived while a handler
    /// computed. Observers are told `ResourceExhausted`, rejected, `overloaded`.
    #[must_use]
    pub fn given_up(&self) -> u64 {
        self.0.counts.given_up.load(Ordering::Relaxed)
    }

    /// Returns how many request headers were dropped because they violate the header grammar.
    #[must_use]
    pub fn headers_dropped(&self) -> u64 {
        self.0.counts.headers_dropped.load(Ordering::Relaxed)
    }

    /// Returns how many calls were cancelled by their callers.
    #[must_use]
    pub fn cancelled(&self) -> u64 {
        self.0.cancels.cancelled()
    }

    /// Returns how often the client library has dropped requests on the current connection because
    /// too many waited in the library.
    #[must_use]
    pub fn requests_dropped(&self) -> u64 {
        self.0.current().map_or(0, |link| link.dropped())
    }

    /// Returns the figures for [`Server::stats`](rr_spi::Server::stats).
    pub(super) fn figures(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("connects", self.connects()),
            ("without_reply", self.without_reply()),
            ("given_up", self.given_up()),
            ("headers_dropped", self.headers_dropped()),
            ("cancelled", self.cancelled()),
            ("requests_dropped", self.requests_dropped()),
            ("replies_denied", self.replies_denied()),
        ]
    }

    /// Returns how many replies the NATS server has denied on the current connection.
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

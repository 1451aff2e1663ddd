//! State shared by the requests of one connection.

use std::sync::Arc;

use super::ServerState;
use super::retirement::Retirement;
use super::tasks::Tasks;
use super::timeouts::ActivityMonitor;

/// State shared by the requests of one connection.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) info: Arc<rr_spi::Peer>,
    pub(super) state: Arc<ServerState>,
    pub(super) tasks: Tasks,
    pub(super) activity: Arc<ActivityMonitor>,
    pub(super) retirement: Retirement,
}

impl Peer {
    /// Returns whether the next reply of HTTP/1.1 is to be the last one on its connection, although
    /// the server continues to serve.
    pub(super) fn retires(&self) -> bool {
        self.activity.is_retired() || self.retirement.is_due(&self.state.leaving)
    }
}

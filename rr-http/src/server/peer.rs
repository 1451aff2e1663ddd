//! State shared by the requests of one connection.

use std::sync::Arc;

use super::ServerState;
use super::tasks::Tasks;
use super::timeouts::ActivityMonitor;

/// State shared by the requests of one connection.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) info: Arc<rr_spi::Peer>,
    pub(super) state: Arc<ServerState>,
    pub(super) tasks: Tasks,
    pub(super) activity: Arc<ActivityMonitor>,
}

//! State shared by the requests of one connection.

use std::sync::Arc;

use bytes::Bytes;
use http::Version;
use hyper::body::Incoming;
use rr_spi::{BodyAccount, BodyShare, Peer};

use super::ServerState;
use super::carrier::Carrier;
use super::drain_body::discard;
use super::reply::Reply;
use super::retirement::Retirement;
use super::tasks::Tasks;
use super::timeouts::ActivityMonitor;

/// State shared by the requests of one connection.
#[derive(Clone)]
pub(super) struct ConnectionState {
    pub(super) peer: Arc<Peer>,
    pub(super) server: Arc<ServerState>,
    pub(super) tasks: Tasks,
    pub(super) activity: Arc<ActivityMonitor>,
    pub(super) retirement: Retirement,
}

impl Carrier for ConnectionState {
    type Body = Incoming;
    type Failure = hyper::Error;
    type Reply = Reply;

    fn state(&self) -> &ServerState {
        &self.server
    }

    fn caller(&self) -> Option<&Arc<Peer>> {
        Some(&self.peer)
    }

    fn account(&self) -> &Arc<BodyAccount> {
        self.activity.account()
    }

    fn retires(&self) -> bool {
        self.activity.is_retired() || self.retirement.is_due(&self.server.leaving)
    }

    /// The connection stays in use meanwhile: bytes that arrive do not belong to another request
    /// yet.
    fn discard(&self, rest: Incoming) {
        discard(&self.tasks, self.activity.start_request(), rest);
    }

    fn reply(&self, bytes: Bytes, share: BodyShare, version: Version) -> Reply {
        Reply::new(bytes, share, &self.activity, version)
    }
}

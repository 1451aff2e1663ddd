//! What a transport brings: the running thing.

use std::sync::Arc;
use std::time::Duration;

use rr_spi::{Code, Delivery, DrainReport, Error, Requester, async_trait};

use super::Raw;
use crate::Direction;

/// A running server and requesters that reach it. Dropping it ends both.
///
/// # Contract
///
/// Requesters stay usable as values after [`Rig::stop`]: their calls then fail. A proxy that
/// stands in between for the sake of [`Rig::kill_link`] goes with the server
/// ([`TcpProxy::close`](crate::TcpProxy::close)): what it took in could not be called not sent.
///
/// # For implementors
///
/// The provided methods stand for what a rig cannot do. They belong to a capability each; a case
/// that needs the capability fails when it is claimed and the method is not there.
///
/// # For wrappers
///
/// Delegate every method.
#[async_trait]
pub trait Rig: Send + Sync + 'static {
    /// Returns the requester; every call of this method may return the same one.
    fn requester(&self) -> Arc<dyn Requester>;

    /// Makes another requester, with connections of its own where there are any.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from connecting; the case fails with it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error>;

    /// Drains the server and returns what became of its requests.
    ///
    /// It is called several times and from several tasks in some cases.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the drain.
    async fn stop(&self, grace: Duration) -> DrainReport;

    /// Cuts every connection between the rig's requesters and its server at whatever point it is,
    /// and lets none be made until [`Rig::restore_link`].
    ///
    /// When it returns, nothing passes any more, and replies that were under way are lost. Over a
    /// broker it is the requesters' link to the broker that is cut. Capability `link`.
    ///
    /// # Panics
    ///
    /// When the rig has no control over the link.
    ///
    /// # Cancel safety
    ///
    /// Not needed: the suite does not drop it.
    async fn kill_link(&self) {
        panic!("the capability `link` is claimed, but the rig does not have `kill_link`");
    }

    /// Cuts every connection between the rig's requesters and its server as soon as so many more
    /// bytes have passed in one direction, on all of them together; 0 lets none of the next ones
    /// pass. Connections that are made afterwards are whole.
    ///
    /// It returns when that is prepared. Where nothing is cut until then, [`Rig::restore_link`]
    /// calls it off. Over a broker it is the requesters' link to the broker that is cut. Capability
    /// `cut`; [`StreamLink`](crate::StreamLink) and [`TcpProxy`](crate::TcpProxy) do it.
    ///
    /// # Panics
    ///
    /// When the rig has no control over single bytes.
    ///
    /// # Cancel safety
    ///
    /// Not needed: the suite does not drop it.
    async fn cut_after(&self, direction: Direction, bytes: u64) {
        let _ = (direction, bytes);
        panic!("the capability `cut` is claimed, but the rig does not have `cut_after`");
    }

    /// Lets connections through again, and every byte on them. Capabilities `link` and `cut`.
    ///
    /// # Panics
    ///
    /// When the rig has no control over the link.
    ///
    /// # Cancel safety
    ///
    /// Not needed: the suite does not drop it.
    async fn restore_link(&self) {
        panic!("the capability `link` is claimed, but the rig does not have `restore_link`");
    }

    /// Lets the server die as a process would, without a drain, so that calls in it vanish, and
    /// another one with the same routes and options come up at the same address.
    ///
    /// It returns when the new one is there. Requesters are not told. Over a broker it is the
    /// responder or the broker that dies; the rig says which. Capability `restart`.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from coming up; the case fails with it. `Unimplemented`, not sent, when
    /// the rig cannot do it.
    ///
    /// # Cancel safety
    ///
    /// Not needed: the suite does not drop it.
    async fn restart(&self) -> Result<(), Error> {
        let text = "the capability `restart` is claimed, but the rig does not have `restart`";
        Err(Error::failure(Code::Unimplemented, Delivery::NotSent, None, text))
    }

    /// Returns a peer that speaks the wire below the API. Capability `raw`.
    fn raw(&self) -> Option<Arc<dyn Raw>> {
        None
    }

    /// Returns what is alive at this moment, as far as the transport can tell.
    fn live(&self) -> Live {
        Live::default()
    }
}

/// What is alive in a rig; what the transport cannot tell is `None` and is not checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Live {
    /// Requests that the server handles, shielded work included.
    pub in_flight: Option<usize>,
    /// Calls that the requesters wait for.
    pub pending: Option<usize>,
    /// Open connections of the rig's requesters, whatever made them.
    pub connections: Option<usize>,
    /// Subscriptions that the server holds at a broker.
    pub subscriptions: Option<usize>,
}

impl Live {
    /// Sets the number of requests that the server handles.
    #[must_use]
    pub fn with_in_flight(mut self, requests: usize) -> Self {
        self.in_flight = Some(requests);
        self
    }

    /// Sets the number of calls that the requesters wait for.
    #[must_use]
    pub fn with_pending(mut self, calls: usize) -> Self {
        self.pending = Some(calls);
        self
    }

    /// Sets the number of open connections.
    #[must_use]
    pub fn with_connections(mut self, connections: usize) -> Self {
        self.connections = Some(connections);
        self
    }

    /// Sets the number of subscriptions that the server holds at a broker.
    #[must_use]
    pub fn with_subscriptions(mut self, subscriptions: usize) -> Self {
        self.subscriptions = Some(subscriptions);
        self
    }

    /// Tells whether no request is in flight and no call pending, as far as is known.
    pub(crate) fn is_idle(self) -> bool {
        self.in_flight.unwrap_or(0) == 0 && self.pending.unwrap_or(0) == 0
    }
}

//! The rig of a transport: a running server and its requesters.

use std::sync::Arc;
use std::time::Duration;

use rr_spi::{Code, Delivery, DrainReport, Error, Requester, async_trait};

use super::Raw;
use crate::stream_link::Direction;

/// Running server and requesters connected to it. Dropping the rig ends both.
///
/// # Contract
///
/// Requesters stay usable after [`Rig::stop`]; their calls then fail. A proxy that implements
/// [`Rig::kill_link`] must stop listening with the server
/// ([`TcpProxy::close`](crate::TcpProxy::close)): the requester could not report a request that the
/// proxy accepted as not sent.
///
/// # For implementors
///
/// Each provided method belongs to a capability that the rig may lack. A case that needs the
/// capability fails when the harness claims it and the rig does not implement the method.
///
/// # For wrappers
///
/// Delegate every method.
#[async_trait]
pub trait Rig: Send + Sync + 'static {
    /// Returns the requester of the rig; each call may return the same requester.
    fn requester(&self) -> Arc<dyn Requester>;

    /// Makes another requester, with separate connections if the transport has connections.
    ///
    /// # Errors
    ///
    /// Any error of connecting; the case fails with it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    async fn connect_again(&self) -> Result<Arc<dyn Requester>, Error>;

    /// Drains the server and returns the report of the drain.
    ///
    /// Some cases call this several times and from several tasks.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the drain.
    async fn stop(&self, grace: Duration) -> DrainReport;

    /// Cuts every connection between the rig's requesters and its server immediately, even in the
    /// middle of a message, and prevents new ones until [`Rig::restore_link`].
    ///
    /// After it returns, no byte passes, and replies in transit are lost. Over a broker, the
    /// requesters' link to the broker is cut. Capability `link`.
    ///
    /// # Panics
    ///
    /// When the rig cannot control the link.
    ///
    /// # Cancel safety
    ///
    /// Not needed: the suite does not drop the future.
    async fn kill_link(&self) {
        panic!("the capability `link` is claimed, but the rig does not have `kill_link`");
    }

    /// Cuts every connection between the rig's requesters and its server once `bytes` more bytes
    /// have passed in `direction`, summed over all connections. With 0 no further byte passes.
    /// Connections opened after the cut are not affected.
    ///
    /// Returns when the cut is armed. [`Rig::restore_link`] disarms a cut that has not happened
    /// yet. Over a broker, the requesters' link to the broker is cut. Capability `cut`;
    /// [`StreamLink`](crate::StreamLink) and [`TcpProxy`](crate::TcpProxy) implement it.
    ///
    /// # Panics
    ///
    /// When the rig cannot cut at a given byte.
    ///
    /// # Cancel safety
    ///
    /// Not needed: the suite does not drop the future.
    async fn cut_after(&self, direction: Direction, bytes: u64) {
        let _ = (direction, bytes);
        panic!("the capability `cut` is claimed, but the rig does not have `cut_after`");
    }

    /// Accepts new connections again and disarms a pending cut. Capabilities `link` and `cut`.
    ///
    /// # Panics
    ///
    /// When the rig cannot control the link.
    ///
    /// # Cancel safety
    ///
    /// Not needed: the suite does not drop the future.
    async fn restore_link(&self) {
        panic!("the capability `link` is claimed, but the rig does not have `restore_link`");
    }

    /// Kills the server without a drain, as if its process died, so that its calls vanish; then
    /// starts another server with the same routes and options at the same address.
    ///
    /// Returns when the new server is up. Requesters are not notified. Over a broker, the rig
    /// decides whether the responder or the broker is killed. Capability `restart`.
    ///
    /// # Errors
    ///
    /// Any error of starting; the case fails with it. `Unimplemented`, not sent, when the rig does
    /// not support restarts.
    ///
    /// # Cancel safety
    ///
    /// Not needed: the suite does not drop the future.
    async fn restart(&self) -> Result<(), Error> {
        let text = "the capability `restart` is claimed, but the rig does not have `restart`";
        Err(Error::failure(Code::Unimplemented, Delivery::NotSent, None, text))
    }

    /// Returns a foreign peer that reads and writes the wire format directly. Capability `raw`.
    fn raw(&self) -> Option<Arc<dyn Raw>> {
        None
    }

    /// Returns counts of the live resources, as far as the transport knows them.
    fn live(&self) -> Live {
        Live::default()
    }
}

/// Counts of the live resources of a rig. A count that the transport does not know is `None` and is
/// not checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Live {
    /// Requests that the server handles, shielded work included.
    pub in_flight: Option<usize>,
    /// Calls that the requesters wait for.
    pub pending: Option<usize>,
    /// Open connections of all requesters of the rig.
    pub connections: Option<usize>,
    /// Subscriptions that the server holds at a broker.
    pub subscriptions: Option<usize>,
}

impl Live {
    setters! {
        /// Sets the number of requests that the server handles.
        with_in_flight(requests: usize) sets in_flight = Some(requests);
        /// Sets the number of calls that the requesters wait for.
        with_pending(calls: usize) sets pending = Some(calls);
        /// Sets the number of open connections.
        with_connections(connections: usize) sets connections = Some(connections);
        /// Sets the number of subscriptions that the server holds at a broker.
        with_subscriptions(subscriptions: usize) sets subscriptions = Some(subscriptions);
    }

    /// Returns whether no request is known to be in flight and no call is known to be pending.
    pub(crate) fn is_idle(self) -> bool {
        self.in_flight.unwrap_or(0) == 0 && self.pending.unwrap_or(0) == 0
    }
}

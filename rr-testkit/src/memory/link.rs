//! The link between the requesters and the server of one name, which tests can cut.

use std::fmt;
use std::sync::Arc;

use super::faults::MemoryFaults;
use super::registry::Registry;

/// Link between the requesters and the server of one name. Cut it to simulate an outage.
///
/// # Examples
///
/// ```
/// # use rr_spi::{Context, Delivery, Request, Requester, Routes};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rr_spi::Error> {
/// let client = rr_testkit::loopback(Routes::new());
/// client.link().cut();
/// let request = Request::new("ping".try_into()?, "");
/// let error = client.request(&Context::background(), request).await.unwrap_err();
/// assert_eq!(error.delivery(), Delivery::NotSent);
/// client.link().restore();
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct MemoryLink(Arc<Registry>);

impl MemoryLink {
    pub(super) fn of(registry: &Arc<Registry>) -> Self {
        Self(Arc::clone(registry))
    }

    /// Cuts the link until [`MemoryLink::restore`].
    ///
    /// Pending calls end as `Unavailable`, unknown, `connection-lost`, and the contexts of their
    /// handlers are cancelled with [`Cause::PeerGone`](rr_spi::Cause::PeerGone). Calls made while
    /// the link is cut fail as `Unavailable`, not sent, `not-connected`.
    pub fn cut(&self) {
        self.0.wire().cut();
    }

    /// Restores the link after [`MemoryLink::cut`].
    pub fn restore(&self) {
        self.0.wire().restore();
        self.0.announce();
    }

    /// Injects faults into the calls of all requesters of this name from now on.
    pub fn set_faults(&self, faults: MemoryFaults) {
        self.0.wire().set_faults(faults);
    }

    /// Returns the number of faults injected so far; see [`MemoryLink::set_faults`].
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.0.wire().faulted()
    }

    /// Returns whether the link is cut.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.0.wire().connected().is_err()
    }

    /// Returns the number of calls that wait for a reply, over all requesters of this name.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.0.wire().pending()
    }

    /// Returns whether a server is registered under the name.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.0.server().is_some()
    }
}

impl fmt::Debug for MemoryLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLink")
            .field("cut", &self.is_cut())
            .field("pending", &self.pending())
            .finish_non_exhaustive()
    }
}

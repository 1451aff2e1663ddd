//! What lies between requesters and a server of one name, and can be cut.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rr_spi::{CancelHandle, Cause, Code, Context, Delivery, Error, Reason};

use super::{Meeting, MemoryFault, MemoryFaults};

/// What lies between the requesters and the server of one name: cut it to see an application live
/// through an outage.
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
pub struct MemoryLink(Arc<Meeting>);

impl MemoryLink {
    pub(super) fn of(meeting: &Arc<Meeting>) -> Self {
        Self(Arc::clone(meeting))
    }

    /// Cuts the link until [`MemoryLink::restore`].
    ///
    /// Calls that wait end as `Unavailable`, unknown, `connection-lost`, and their handlers are
    /// told that the peer is gone. Calls made while it is cut fail as `Unavailable`, not sent,
    /// `not-connected`.
    pub fn cut(&self) {
        self.0.wire().cut();
    }

    /// Lets calls through again.
    pub fn restore(&self) {
        self.0.wire().restore();
        self.0.announce();
    }

    /// Lets single calls go wrong from now on, whichever requester of this name makes them.
    pub fn set_faults(&self, faults: MemoryFaults) {
        self.0.wire().set_faults(faults);
    }

    /// Returns how many calls have gone wrong by [`MemoryLink::set_faults`] so far.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.0.wire().faulted.load(Ordering::SeqCst)
    }

    /// Tells whether it is cut.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.0.wire().scope().is_none()
    }

    /// Returns how many calls of any requester of this name wait for an answer.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.0.wire().pending.load(Ordering::SeqCst)
    }

    /// Tells whether somebody serves the name.
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

/// The state of a link.
pub(super) struct Wire {
    /// The scope that every call is in; `None` while the link is cut.
    scope: Mutex<Option<(Context, CancelHandle)>>,
    pending: AtomicUsize,
    faults: Mutex<MemoryFaults>,
    faulted: AtomicU64,
}

impl Default for Wire {
    fn default() -> Self {
        let whole = Some(Context::background().child());
        Self {
            scope: Mutex::new(whole),
            pending: AtomicUsize::new(0),
            faults: Mutex::new(MemoryFaults::none()),
            faulted: AtomicU64::new(0),
        }
    }
}

impl Wire {
    /// Returns the scope of a call that is made now.
    pub(super) fn connected(&self) -> Result<Context, Error> {
        self.scope().ok_or_else(|| {
            let (code, reason) = (Code::Unavailable, Reason::NOT_CONNECTED);
            Error::failure(code, Delivery::NotSent, reason, "the link is cut")
        })
    }

    /// Counts a call for as long as what is returned lives.
    pub(super) fn wait(&self) -> Pending<'_> {
        self.pending.fetch_add(1, Ordering::SeqCst);
        Pending(&self.pending)
    }

    /// Returns what goes wrong with a call that is sent now.
    pub(super) fn fault(&self) -> Option<MemoryFault> {
        let fault = self.faults.lock().unwrap_or_else(PoisonError::into_inner).next();
        self.faulted.fetch_add(u64::from(fault.is_some()), Ordering::SeqCst);
        fault
    }

    fn set_faults(&self, faults: MemoryFaults) {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    fn scope(&self) -> Option<Context> {
        let scope = self.scope.lock().unwrap_or_else(PoisonError::into_inner);
        scope.as_ref().map(|(scope, _)| scope.clone())
    }

    fn cut(&self) {
        let before = self.scope.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Outside of the lock: it wakes whoever waits.
        if let Some((_, handle)) = before {
            handle.cancel_with(Cause::PeerGone);
        }
    }

    fn restore(&self) {
        let mut scope = self.scope.lock().unwrap_or_else(PoisonError::into_inner);
        scope.get_or_insert_with(|| Context::background().child());
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("cut", &self.scope().is_none()).finish_non_exhaustive()
    }
}

/// A call that waits; see [`Wire::wait`].
#[derive(Debug)]
pub(super) struct Pending<'a>(&'a AtomicUsize);

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

//! What lies between requesters and a server of one name, and can be cut.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
        self.0.wire().connected().is_err()
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
///
/// A call that finds it whole and is answered at once writes to nothing here: where many calls go at
/// a time, what they all write to is most of what they cost.
pub(super) struct Wire {
    /// The scope of every call that waits; `None` while the link is cut.
    scope: Mutex<Option<(Context, CancelHandle)>>,
    /// How often the link was cut and restored: odd while it is cut.
    turns: AtomicU64,
    pending: AtomicUsize,
    /// Whether any faults were ever set.
    is_faulty: AtomicBool,
    faults: Mutex<MemoryFaults>,
    faulted: AtomicU64,
}

/// A link that was whole when a call was made over it.
#[derive(Clone, Copy)]
pub(super) struct Connected<'a> {
    wire: &'a Wire,
    turn: u64,
}

impl Default for Wire {
    fn default() -> Self {
        let whole = Some(Context::background().child());
        Self {
            scope: Mutex::new(whole),
            turns: AtomicU64::new(0),
            pending: AtomicUsize::new(0),
            is_faulty: AtomicBool::new(false),
            faults: Mutex::new(MemoryFaults::none()),
            faulted: AtomicU64::new(0),
        }
    }
}

impl Wire {
    /// Returns the link for a call that is made now.
    pub(super) fn connected(&self) -> Result<Connected<'_>, Error> {
        let turn = self.turns.load(Ordering::SeqCst);
        if turn % 2 == 0 {
            return Ok(Connected { wire: self, turn });
        }
        let (code, reason) = (Code::Unavailable, Reason::NOT_CONNECTED);
        Err(Error::failure(code, Delivery::NotSent, reason, "the link is cut"))
    }

    /// Returns what goes wrong with a call that is sent now.
    pub(super) fn fault(&self) -> Option<MemoryFault> {
        if !self.is_faulty.load(Ordering::SeqCst) {
            return None;
        }
        let fault = self.faults.lock().unwrap_or_else(PoisonError::into_inner).next();
        self.faulted.fetch_add(u64::from(fault.is_some()), Ordering::SeqCst);
        fault
    }

    fn set_faults(&self, faults: MemoryFaults) {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
        self.is_faulty.store(true, Ordering::SeqCst);
    }

    fn cut(&self) {
        let before = {
            let mut scope = self.scope();
            self.turns.fetch_add(u64::from(scope.is_some()), Ordering::SeqCst);
            scope.take()
        };
        // Outside of the lock: it wakes whoever waits.
        if let Some((_, handle)) = before {
            handle.cancel_with(Cause::PeerGone);
        }
    }

    fn restore(&self) {
        let mut scope = self.scope();
        if scope.is_none() {
            *scope = Some(Context::background().child());
            self.turns.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn scope(&self) -> MutexGuard<'_, Option<(Context, CancelHandle)>> {
        self.scope.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connected<'_> {
    /// Waits for what comes over the link, as one of the pending calls.
    ///
    /// # Errors
    ///
    /// `Unavailable`, unknown, `connection-lost`, when it was cut since the call was made.
    pub(super) async fn race<F: Future>(self, future: F) -> Result<F::Output, Error> {
        let _pending = Pending::of(self.wire);
        let link = {
            let scope = self.wire.scope();
            let same = self.wire.turns.load(Ordering::SeqCst) == self.turn;
            scope.as_ref().filter(|_| same).map(|(link, _)| link.clone())
        };
        let cut = || lost("the link was cut");
        link.ok_or_else(cut)?.race(future).await.map_err(|_| cut())
    }

    /// Tells whether it was cut since the call was made.
    pub(super) fn is_cut(self) -> bool {
        self.wire.turns.load(Ordering::SeqCst) != self.turn
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("cut", &self.connected().is_err()).finish_non_exhaustive()
    }
}

/// A call that waits.
#[derive(Debug)]
struct Pending<'a>(&'a AtomicUsize);

impl<'a> Pending<'a> {
    fn of(wire: &'a Wire) -> Self {
        wire.pending.fetch_add(1, Ordering::SeqCst);
        Self(&wire.pending)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Makes the error for a call whose connection broke.
pub(super) fn lost(text: &'static str) -> Error {
    Error::failure(Code::Unavailable, Delivery::Unknown, Reason::CONNECTION_LOST, text)
}

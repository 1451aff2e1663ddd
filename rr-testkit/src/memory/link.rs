//! What lies between requesters and a server of one name, and can be cut.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll, Waker};

use pin_project_lite::pin_project;
use rr_spi::{Code, Delivery, Error, Reason};
use slab::Slab;

use super::{Registry, MemoryFault, MemoryFaults};

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
pub struct MemoryLink(Arc<Registry>);

impl MemoryLink {
    pub(super) fn of(registry: &Arc<Registry>) -> Self {
        Self(Arc::clone(registry))
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
    /// How often the link was cut and restored: odd while it is cut. Written under the lock of
    /// `waiting`.
    turns: AtomicU64,
    /// The calls that wait.
    waiting: Mutex<Slab<Waker>>,
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
        Self {
            turns: AtomicU64::new(0),
            waiting: Mutex::default(),
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
        if !is_cut(turn) {
            return Ok(Connected { wire: self, turn });
        }
        let (code, reason) = (Code::Unavailable, Reason::NOT_CONNECTED);
        Err(Error::failure(code, Delivery::NotSent, reason, "the link is cut").into_failure())
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
        let waiting = {
            let mut waiting = self.waiting();
            if is_cut(self.turns.load(Ordering::SeqCst)) {
                return;
            }
            self.turns.fetch_add(1, Ordering::SeqCst);
            std::mem::take(&mut *waiting)
        };
        // Outside of the lock, since it may do anything.
        for (_, waker) in waiting {
            waker.wake();
        }
    }

    fn restore(&self) {
        let _waiting = self.waiting();
        if is_cut(self.turns.load(Ordering::SeqCst)) {
            self.turns.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Slab<Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells whether a link is cut that was cut and restored so often.
fn is_cut(turns: u64) -> bool {
    turns % 2 == 1
}

impl<'a> Connected<'a> {
    /// Waits for what comes over the link, as one of the pending calls.
    ///
    /// # Errors
    ///
    /// `Unavailable`, unknown, `connection-lost`, when it was cut since the call was made.
    pub(super) fn race<F: Future>(self, future: F) -> Linked<'a, F> {
        Linked { future, link: self, _pending: PendingWakers::of(self.wire), registered: None }
    }

    /// Tells whether it was cut since the call was made.
    pub(super) fn is_cut(self) -> bool {
        self.wire.turns.load(Ordering::SeqCst) != self.turn
    }

    /// Has the waker woken when the link is cut; `None` when it was.
    fn register(self, waker: &Waker) -> Option<(usize, Waker)> {
        let mut waiting = self.wire.waiting();
        // Looked at under the lock, since it changes under it.
        (!self.is_cut()).then(|| (waiting.insert(waker.clone()), waker.clone()))
    }

    fn forget(self, registered: &mut Option<(usize, Waker)>) {
        let Some((key, _)) = registered.take() else { return };
        let mut waiting = self.wire.waiting();
        // After a cut the key may be that of a later call.
        let removed = if self.is_cut() { None } else { waiting.try_remove(key) };
        // Outside of the lock: a waker may own a task.
        drop(waiting);
        drop(removed);
    }
}

pin_project! {
    /// See [`Connected::race`].
    pub(super) struct Linked<'a, F> {
        #[pin]
        future: F,
        link: Connected<'a>,
        _pending: PendingWakers<'a>,
        // Under this key, among those that wait; most polls come with the same waker.
        registered: Option<(usize, Waker)>,
    }

    impl<F> PinnedDrop for Linked<'_, F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.link.forget(this.registered);
        }
    }
}

impl<F: Future> Future for Linked<'_, F> {
    type Output = Result<F::Output, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.link.is_cut() {
            return Poll::Ready(Err(lost("the link was cut")));
        }
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        if this.registered.as_ref().is_some_and(|(_, waker)| waker.will_wake(cx.waker())) {
            return Poll::PendingWakers;
        }
        this.link.forget(this.registered);
        *this.registered = this.link.register(cx.waker());
        match this.registered {
            Some(_) => Poll::PendingWakers,
            None => Poll::Ready(Err(lost("the link was cut"))),
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("cut", &self.connected().is_err()).finish_non_exhaustive()
    }
}

/// A call that waits.
#[derive(Debug)]
struct PendingWakers<'a>(&'a AtomicUsize);

impl<'a> PendingWakers<'a> {
    fn of(wire: &'a Wire) -> Self {
        wire.pending.fetch_add(1, Ordering::SeqCst);
        Self(&wire.pending)
    }
}

impl Drop for PendingWakers<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Makes the error for a call whose connection broke.
pub(super) fn lost(text: &'static str) -> Error {
    Error::failure(Code::Unavailable, Delivery::Unknown, Reason::CONNECTION_LOST, text)
        .into_failure()
}

//! State of a link: its cuts, its faults and its pending calls.

use std::fmt;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll, Waker};

use pin_project_lite::pin_project;
use rr_spi::{Code, Delivery, Error, Reason};
use slab::Slab;

use super::faults::{MemoryFault, MemoryFaults};
use crate::sync::lock;

/// State of a link.
///
/// A call that completes on its first poll over an intact link only reads this state. Under
/// concurrent calls, contention on shared writes would dominate their cost.
pub(super) struct Wire {
    /// Number of cuts and restores: odd while the link is cut. Written under the lock of `waiting`.
    turns: AtomicU64,
    /// Wakers of the pending calls.
    waiting: Mutex<Slab<Waker>>,
    pending: AtomicUsize,
    /// Whether [`Wire::set_faults`] was ever called.
    is_faulty: AtomicBool,
    faults: Mutex<MemoryFaults>,
    faulted: AtomicU64,
}

/// View of the link held by one call, taken while the link was intact.
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
    /// Returns the view for a new call; fails when the link is cut.
    pub(super) fn connected(&self) -> Result<Connected<'_>, Error> {
        let turn = self.turns.load(Ordering::SeqCst);
        if !is_cut(turn) {
            return Ok(Connected { wire: self, turn });
        }
        let (code, reason) = (Code::Unavailable, Reason::NOT_CONNECTED);
        Err(Error::failure(code, Delivery::NotSent, reason, "the link is cut").into_failure())
    }

    /// Takes the scheduled fault of the call that is being sent.
    pub(super) fn fault(&self) -> Option<MemoryFault> {
        if !self.is_faulty.load(Ordering::SeqCst) {
            return None;
        }
        let fault = lock(&self.faults).next();
        self.faulted.fetch_add(u64::from(fault.is_some()), Ordering::SeqCst);
        fault
    }

    pub(super) fn faulted(&self) -> u64 {
        self.faulted.load(Ordering::SeqCst)
    }

    pub(super) fn pending(&self) -> usize {
        self.pending.load(Ordering::SeqCst)
    }

    pub(super) fn set_faults(&self, faults: MemoryFaults) {
        *lock(&self.faults) = faults;
        self.is_faulty.store(true, Ordering::SeqCst);
    }

    pub(super) fn cut(&self) {
        let waiting = {
            let mut waiting = lock(&self.waiting);
            if is_cut(self.turns.load(Ordering::SeqCst)) {
                return;
            }
            self.turns.fetch_add(1, Ordering::SeqCst);
            std::mem::take(&mut *waiting)
        };
        // Outside of the lock: wakers run foreign code.
        for (_, waker) in waiting {
            waker.wake();
        }
    }

    pub(super) fn restore(&self) {
        let _waiting = lock(&self.waiting);
        if is_cut(self.turns.load(Ordering::SeqCst)) {
            self.turns.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Returns whether a link is cut after this many cuts and restores.
fn is_cut(turns: u64) -> bool {
    turns % 2 == 1
}

impl<'a> Connected<'a> {
    /// Waits for `future` until the link is cut; counts as a pending call meanwhile.
    ///
    /// # Errors
    ///
    /// `Unavailable`, unknown, `connection-lost`, when the link was cut since the call was made.
    pub(super) fn race<F: Future>(self, future: F) -> Linked<'a, F> {
        Linked { future, link: self, _pending: PendingGuard::of(self.wire), registered: None }
    }

    /// Returns whether the link was cut since the call was made, even if it was restored since.
    pub(super) fn is_cut(self) -> bool {
        self.wire.turns.load(Ordering::SeqCst) != self.turn
    }

    /// Registers the waker to be woken by a cut; `None` when the link was already cut.
    fn register(self, waker: &Waker) -> Option<(usize, Waker)> {
        let mut waiting = lock(&self.wire.waiting);
        // Checked under the lock, since `cut` changes the count under the same lock.
        (!self.is_cut()).then(|| (waiting.insert(waker.clone()), waker.clone()))
    }

    fn forget(self, registered: &mut Option<(usize, Waker)>) {
        let Some((key, _)) = registered.take() else { return };
        let mut waiting = lock(&self.wire.waiting);
        // A cut empties the slab, so afterwards the key may belong to a later call.
        let removed = if self.is_cut() { None } else { waiting.try_remove(key) };
        // Outside of the lock: dropping a waker may drop its task.
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
        _pending: PendingGuard<'a>,
        // Key in `waiting` and the waker there. Most polls come with the same waker, which is kept.
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
            return Poll::Pending;
        }
        this.link.forget(this.registered);
        *this.registered = this.link.register(cx.waker());
        match this.registered {
            Some(_) => Poll::Pending,
            None => Poll::Ready(Err(lost("the link was cut"))),
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("cut", &self.connected().is_err()).finish_non_exhaustive()
    }
}

/// Guard that counts one pending call.
#[derive(Debug)]
struct PendingGuard<'a>(&'a AtomicUsize);

impl<'a> PendingGuard<'a> {
    fn of(wire: &'a Wire) -> Self {
        wire.pending.fetch_add(1, Ordering::SeqCst);
        Self(&wire.pending)
    }
}

impl Drop for PendingGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Makes the error of a call whose connection broke.
pub(super) fn lost(text: &'static str) -> Error {
    Error::failure(Code::Unavailable, Delivery::Unknown, Reason::CONNECTION_LOST, text)
        .into_failure()
}

//! Wakes that a future makes for itself.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use tokio::task::coop::has_budget_remaining;

/// Most polls in a row before the task gives way to others. A call takes no more than these: one
/// that writes, and one each for the head, the body and the answer. Whoever wakes itself to give
/// way does so soon.
const POLLS_MAX: usize = 4;

/// Stands between a connection and the task that polls it.
///
/// The ends of a request and of a body wake each other through channels. Such a wake comes while
/// the connection is being polled: then it is polled again, at once, where its task would be
/// scheduled otherwise. All other wakes go on to the task, which may be another from one poll to
/// the next.
pub(crate) struct Rewaker {
    signal: Arc<Signal>,
    /// The waker of `signal`, made once.
    waker: Waker,
    /// Which task it is that `signal` knows; most polls come from the same, and need no lock.
    task: Option<Identity>,
}

struct Signal {
    state: AtomicU8,
    task: Mutex<Option<Waker>>,
}

/// What tells the waker of one task from that of another while one of them is kept: the addresses
/// of its data and of its functions.
type Identity = (usize, usize);

fn identity(waker: &Waker) -> Identity {
    (waker.data().addr(), std::ptr::from_ref(waker.vtable()).addr())
}

/// Nothing has happened since the last poll.
const QUIET: u8 = 0;
/// A poll is under way, and nothing has happened since it began.
const POLLED: u8 = 1;
/// Another poll is called for; when none is under way, the task knows.
const WOKEN: u8 = 2;

/// What a poll leaves to the connection that it is a part of.
pub(crate) enum Leaves {
    /// To go on.
    Work,
    /// Nothing: what it woke the connection for is done.
    Nothing,
}

thread_local! {
    /// The signal whose wakes are held back on this thread, by its address, of which zero is none's;
    /// and whether there was one.
    static HELD: Cell<(usize, bool)> = const { Cell::new((0, false)) };
}

/// Polls a part of the connection that is being polled, and wakes the connection only if the part
/// left it something to do.
///
/// Whoever takes a piece of a body wakes the connection, so that it brings the next. After the last
/// piece there is none, and to poll the connection for nothing costs as much as a third of what it
/// does for a call.
pub(crate) fn poll_part<T>(
    cx: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> (T, Leaves),
) -> T {
    let holding = Holding { before: HELD.replace((cx.waker().data().addr(), false)) };
    let (polled, leaves) = poll(cx);
    let (_, woken) = HELD.get();
    drop(holding);
    if woken && matches!(leaves, Leaves::Work) {
        cx.waker().wake_by_ref();
    }
    polled
}

/// Wakes are held back until this is dropped.
struct Holding {
    before: (usize, bool),
}

impl Drop for Holding {
    fn drop(&mut self) {
        HELD.set(self.before);
    }
}

impl Rewaker {
    pub(crate) fn new() -> Self {
        let signal = Arc::new(Signal { state: AtomicU8::new(QUIET), task: Mutex::new(None) });
        Self { waker: Waker::from(Arc::clone(&signal)), signal, task: None }
    }

    /// Returns the waker that leads to the next poll.
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Tells whether a poll is called for. Without one, nothing has happened.
    pub(crate) fn is_woken(&self) -> bool {
        self.signal.state.load(Ordering::Acquire) == WOKEN
    }

    /// Names the task that is woken from now on, at once if a poll is called for already. Returns
    /// the waker of the one before, which may own a task: not to be dropped under a lock.
    pub(crate) fn hand_to(&mut self, task: &Waker) -> Option<Waker> {
        let before = self.name(task);
        if self.is_woken() {
            task.wake_by_ref();
        }
        before
    }

    /// Wakes no task before the next poll, which is about to come.
    pub(crate) fn expect(&mut self) {
        self.signal.state.swap(POLLED, Ordering::AcqRel);
    }

    fn name(&mut self, task: &Waker) -> Option<Waker> {
        let this = Some(identity(task));
        if self.task == this {
            return None;
        }
        self.task = this;
        self.signal.replace(task.clone())
    }

    /// Polls, and polls again as long as that is called for meanwhile.
    pub(crate) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        drop(self.name(cx.waker()));
        let mut inner = Context::from_waker(&self.waker);
        for _ in 0..POLLS_MAX {
            // Swapped, and not stored, so that this poll sees all that came before a wake.
            self.signal.state.swap(POLLED, Ordering::AcqRel);
            let polled = poll(&mut inner);
            let is_quiet = self.signal.settle();
            if polled.is_ready() || is_quiet {
                return polled;
            }
            // Without budget all of tokio is pending, and outside of a worker it wakes at once.
            if !has_budget_remaining() {
                break;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Signal {
    fn task(&self) -> MutexGuard<'_, Option<Waker>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(&self, task: Waker) -> Option<Waker> {
        self.task().replace(task)
    }

    /// Ends a poll. Returns `false` when another is called for.
    fn settle(&self) -> bool {
        let (is, was) = (Ordering::AcqRel, Ordering::Acquire);
        self.state.compare_exchange(POLLED, QUIET, is, was).is_ok()
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let (held, _) = HELD.get();
        if held == Arc::as_ptr(self).addr() {
            HELD.set((held, true));
            return;
        }
        if self.state.swap(WOKEN, Ordering::AcqRel) != QUIET {
            return;
        }
        // Woken outside of the lock, since it may do anything.
        let task = self.task().clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl fmt::Debug for Rewaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rewaker").field("is_woken", &self.is_woken()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    /// Counts how often a task is woken.
    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Task {
        fn woken(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    #[test]
    fn a_wake_within_a_poll_polls_again_and_wakes_no_task() {
        let (mut rewaker, task) = (Rewaker::new(), Arc::new(Task::default()));
        let waker = Waker::from(Arc::clone(&task));
        let mut polls = 0;
        let polled = rewaker.poll(&mut Context::from_waker(&waker), |cx| {
            polls += 1;
            if polls < POLLS_MAX {
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        assert_eq!((polls, task.woken()), (POLLS_MAX, 0));
    }

    #[test]
    fn a_wake_between_polls_wakes_the_task_once() {
        let (mut rewaker, task) = (Rewaker::new(), Arc::new(Task::default()));
        let waker = Waker::from(Arc::clone(&task));
        let mut cx = Context::from_waker(&waker);
        for round in 1..3 {
            assert!(rewaker.poll(&mut cx, |_| Poll::<()>::Pending).is_pending());
            rewaker.waker().wake_by_ref();
            rewaker.waker().wake_by_ref();
            assert!(rewaker.is_woken());
            assert_eq!(task.woken(), round);
        }
    }

    #[test]
    fn what_wakes_for_ever_gives_way_and_comes_again() {
        let (mut rewaker, task) = (Rewaker::new(), Arc::new(Task::default()));
        let waker = Waker::from(Arc::clone(&task));
        let polled = rewaker.poll(&mut Context::from_waker(&waker), |cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        assert_eq!(task.woken(), 1);
    }

    #[test]
    fn a_wake_is_handed_on_to_whoever_comes_next() {
        let (mut rewaker, first, next) =
            (Rewaker::new(), Arc::new(Task::default()), Arc::new(Task::default()));
        let waker = Waker::from(Arc::clone(&first));
        // Ready, and woken all the same: another poll is called for.
        let polled = rewaker.poll(&mut Context::from_waker(&waker), |cx| {
            cx.waker().wake_by_ref();
            Poll::Ready(())
        });
        assert!(polled.is_ready() && rewaker.is_woken());
        assert!(rewaker.hand_to(&Waker::from(Arc::clone(&next))).is_some());
        assert_eq!((first.woken(), next.woken()), (0, 1));
        let polled = rewaker.poll(&mut Context::from_waker(&waker), |_| Poll::<()>::Pending);
        assert!(polled.is_pending());
        assert!(!rewaker.is_woken());
    }

    #[test]
    fn a_part_wakes_its_connection_only_for_what_it_leaves_to_do() {
        let (mut rewaker, task) = (Rewaker::new(), Arc::new(Task::default()));
        let other = Waker::from(Arc::clone(&task));
        let connection = rewaker.waker().clone();
        let mut polls = 0;
        let polled = rewaker.poll(&mut Context::from_waker(&other), |cx| {
            polls += 1;
            let leaves = if polls == 1 { Leaves::Work } else { Leaves::Nothing };
            poll_part(cx, |_| {
                connection.wake_by_ref();
                connection.clone().wake();
                other.wake_by_ref();
                (Poll::<()>::Pending, leaves)
            })
        });
        assert!(polled.is_pending() && !rewaker.is_woken());
        // What it woke besides was woken.
        assert_eq!((polls, task.woken()), (2, 2));
        connection.wake_by_ref();
        assert!(rewaker.is_woken());
    }

    #[test]
    fn a_part_polled_by_another_task_or_that_panics_holds_nothing_back() {
        let (rewaker, task) = (Rewaker::new(), Arc::new(Task::default()));
        let other = Waker::from(Arc::clone(&task));
        poll_part(&mut Context::from_waker(&other), |_| {
            rewaker.waker().wake_by_ref();
            ((), Leaves::Nothing)
        });
        assert!(rewaker.is_woken());
        let rewaker = Rewaker::new();
        let panics = std::panic::AssertUnwindSafe(|| {
            poll_part(&mut Context::from_waker(rewaker.waker()), |_| panic!("within the poll"))
        });
        let panicked: std::thread::Result<()> = std::panic::catch_unwind(panics);
        assert!(panicked.is_err());
        rewaker.waker().wake_by_ref();
        assert!(rewaker.is_woken());
    }

    #[test]
    fn a_wake_before_an_expected_poll_wakes_no_task() {
        let (mut rewaker, task) = (Rewaker::new(), Arc::new(Task::default()));
        let waker = Waker::from(Arc::clone(&task));
        assert!(rewaker.hand_to(&waker).is_none());
        rewaker.expect();
        rewaker.waker().wake_by_ref();
        assert!(rewaker.is_woken());
        let mut cx = Context::from_waker(&waker);
        assert!(rewaker.poll(&mut cx, |_| Poll::<()>::Pending).is_pending());
        assert_eq!(task.woken(), 0);
        rewaker.waker().wake_by_ref();
        assert_eq!(task.woken(), 1);
    }

    #[test]
    fn a_future_without_budget_does_not_spin() {
        // In no worker: there a wake for want of budget comes later.
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let mut rewaker = Rewaker::new();
        let (to, mut from) = tokio::sync::mpsc::unbounded_channel();
        for value in 0..10_000 {
            to.send(value).unwrap();
        }
        drop(to);
        let all = async {
            let mut received = 0;
            while from.recv().await.is_some() {
                received += 1;
            }
            received
        };
        let mut all = pin!(all);
        let mut polls = 0;
        let polling = poll_fn(|cx| {
            rewaker.poll(cx, |cx| {
                polls += 1;
                all.as_mut().poll(cx)
            })
        });
        let polling = async { tokio::time::timeout(Duration::from_secs(10), polling).await };
        let received = runtime.block_on(polling);
        assert_eq!(received, Ok(10_000));
        // One for each budget of 128, and not four.
        assert!(polls < 200, "{polls} polls");
    }
}

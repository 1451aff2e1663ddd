//! Wakes that a future makes for itself.

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
    /// The task that `signal` knows; most polls come from the same, and need no lock.
    task: Option<Waker>,
}

struct Signal {
    state: AtomicU8,
    task: Mutex<Option<Waker>>,
}

/// Nothing has happened since the last poll.
const QUIET: u8 = 0;
/// A poll is under way, and nothing has happened since it began.
const POLLED: u8 = 1;
/// Another poll is called for; when none is under way, the task knows.
const WOKEN: u8 = 2;

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

    /// Names the task that is woken from now on, at once if a poll is called for already.
    pub(crate) fn hand_to(&mut self, task: &Waker) {
        self.name(task);
        if self.is_woken() {
            task.wake_by_ref();
        }
    }

    fn name(&mut self, task: &Waker) {
        if self.task.as_ref().is_some_and(|known| known.will_wake(task)) {
            return;
        }
        // Dropped outside of the lock: a waker may own a task.
        let _before = (self.task.replace(task.clone()), self.signal.replace(task.clone()));
    }

    /// Polls, and polls again as long as that is called for meanwhile.
    pub(crate) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.name(cx.waker());
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
        rewaker.hand_to(&Waker::from(Arc::clone(&next)));
        assert_eq!((first.woken(), next.woken()), (0, 1));
        let polled = rewaker.poll(&mut Context::from_waker(&waker), |_| Poll::<()>::Pending);
        assert!(polled.is_pending());
        assert!(!rewaker.is_woken());
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

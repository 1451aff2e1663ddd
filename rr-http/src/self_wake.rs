//! Intercepts wake-ups that a future triggers while it is being polled, so that it is polled again
//! in place instead of rescheduled.
//!
//! The states of a connection, and what changes them:
//!
//! ```text
//!               begin_poll                   end_poll
//!   QUIET ----------------------> POLLED ----------------> QUIET
//!     |                            ^   |
//!     | wake:                      |   | wake: wakes no task
//!     | wakes the task             |   v
//!     v         begin_poll         |  POLLED + WOKEN
//!   WOKEN -------------------------+   |
//!                                  |   | end_poll returns false
//!                                  +---+
//!                 polled again in place, at most 4 times; after that the task is woken
//! ```
//!
//! A wake in `WOKEN` or `POLLED + WOKEN` wakes no task, since another poll is due in any case. A wake
//! by an event from outside the poll also sets `NEWS`: then the connection is polled, and not only
//! the call on it. `model.rs` checks that no order of polls, wakes and hand-overs loses a wake.

#[cfg(test)]
mod model;
mod wake_flag;

use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, Mutex, atomic};
use std::task::{Context, Poll, Wake, Waker};

use tokio::task::coop::has_budget_remaining;

use self::wake_flag::WakeFlag;
use crate::sync::lock;

/// Maximum number of consecutive polls before the task yields. A call needs no more: one to write,
/// and one each for the head, the body and the answer. A future that wakes itself in order to yield
/// therefore yields soon.
const POLLS_MAX: usize = 4;

/// Wake-up filter between a connection and the task that polls it.
///
/// The two ends of a request or a body wake each other through channels. Such a wake arrives while
/// the connection is being polled: the connection is then polled again immediately, instead of its
/// task being rescheduled. All other wakes are passed to the task, which may change from one poll
/// to the next.
pub(crate) struct SelfWake {
    signal: Arc<Signal>,
    /// The waker of `signal`, made once.
    waker: Waker,
    /// Identity of the task that `signal` wakes. Most polls come from that task, and need no lock.
    task: Option<Identity>,
    /// Whether the connection has to be polled for an event from outside its last poll.
    news: bool,
}

struct Signal {
    flag: WakeFlag,
    task: Mutex<Option<Waker>>,
    /// Whether wakes within a poll count as news too.
    own_wakes_are_news: bool,
}

/// Identity of a task's waker: the addresses of its data and of its vtable. Unique while the waker
/// is kept.
type Identity = (usize, usize);

fn identity(waker: &Waker) -> Identity {
    (waker.data().addr(), std::ptr::from_ref(waker.vtable()).addr())
}

thread_local! {
    /// Connection that is being polled on this thread.
    static CURRENT: Cell<CurrentPoll> = const { Cell::new(CurrentPoll { signal: 0, holds: false, held: false }) };
}

/// See [`CURRENT`].
#[derive(Clone, Copy)]
struct CurrentPoll {
    /// Address of the signal of the connection being polled; zero if there is none.
    signal: usize,
    /// Whether wakes of the connection are held back, and whether there was one.
    holds: bool,
    held: bool,
}

/// Guard that restores the previous value of [`CURRENT`], also if a poll panics.
struct Before(CurrentPoll);

impl CurrentPoll {
    fn enter(self) -> Before {
        Before(CURRENT.replace(self))
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// Work that polling a part leaves to its connection.
pub(crate) enum Leaves {
    /// The connection has to be polled.
    Work,
    /// None: the event that caused the wake has been handled.
    Nothing,
}

/// Polls a part of the connection that is being polled. Wakes the connection only if the part
/// leaves it work.
///
/// Reading a body frame wakes the connection task, so that it delivers the next frame. After the
/// last frame a poll has no effect, and costs as much as a third of the connection's work for a
/// call.
pub(crate) fn poll_part<T>(
    cx: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> (T, Leaves),
) -> T {
    let own = CURRENT.get();
    if own.signal != cx.waker().data().addr() {
        return poll(cx).0;
    }
    let before = CurrentPoll { holds: true, held: false, ..own }.enter();
    let (polled, leaves) = poll(cx);
    let held = CURRENT.get().held;
    drop(before);
    if held && matches!(leaves, Leaves::Work) {
        cx.waker().wake_by_ref();
    }
    polled
}

impl SelfWake {
    /// Makes the filter of a connection over a socket of this crate. Within a poll, such a
    /// connection wakes itself only for the call, or for lack of budget, which [`SelfWake::poll`]
    /// detects.
    pub(crate) fn new() -> Self {
        Self::with(false)
    }

    /// Makes the filter of a connection over a stream of the application, which may wake the
    /// connection for any reason.
    pub(crate) fn of_stream() -> Self {
        Self::with(true)
    }

    fn with(own_wakes_are_news: bool) -> Self {
        let (flag, task) = (WakeFlag::new(), Mutex::new(None));
        let signal = Arc::new(Signal { flag, task, own_wakes_are_news });
        Self { waker: Waker::from(Arc::clone(&signal)), signal, task: None, news: false }
    }

    /// Returns the waker that requests another poll.
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Returns whether the connection has to be polled. If not, nothing has happened since the last
    /// poll.
    pub(crate) fn is_woken(&self) -> bool {
        self.news || self.signal.flag.is_woken()
    }

    /// Sets the task that is woken from now on; wakes it immediately if a poll is already needed.
    /// Returns the waker of the previous task. The waker may own a task and must not be dropped
    /// under a lock.
    pub(crate) fn hand_to(&mut self, task: &Waker) -> Option<Waker> {
        let before = self.set_task(task);
        if self.is_woken() {
            task.wake_by_ref();
        }
        before
    }

    /// Suppresses wakes of the task until the next poll, which is about to start.
    pub(crate) fn expect(&mut self) {
        self.news |= self.signal.flag.begin_poll();
    }

    fn set_task(&mut self, task: &Waker) -> Option<Waker> {
        let this = Some(identity(task));
        if self.task == this {
            return None;
        }
        let before = lock(&self.signal.task).replace(task.clone());
        self.task = this;
        before
    }

    /// Polls, and polls again if a wake arrived during the poll. The closure receives the `news`
    /// flag, and clears it before it polls the connection.
    pub(crate) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>, &mut bool) -> Poll<T>,
    ) -> Poll<T> {
        drop(self.set_task(cx.waker()));
        let signal = Arc::as_ptr(&self.signal).addr();
        let _before = CurrentPoll { signal, holds: false, held: false }.enter();
        for _ in 0..POLLS_MAX {
            self.expect();
            let polled = poll(&mut Context::from_waker(&self.waker), &mut self.news);
            let is_quiet = self.signal.flag.end_poll();
            if polled.is_ready() || is_quiet {
                return polled;
            }
            // Without budget every tokio resource is pending, and outside of a worker it wakes
            // immediately. Work that the connection could not do is news.
            if !has_budget_remaining() {
                self.news = true;
                break;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let own = CURRENT.get();
        let is_own = own.signal == Arc::as_ptr(self).addr();
        if is_own && own.holds {
            CURRENT.set(CurrentPoll { held: true, ..own });
            return;
        }
        if !self.flag.wake(!is_own || self.own_wakes_are_news) {
            return;
        }
        // Outside of the lock: waking may run any code.
        let task = lock(&self.task).clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl fmt::Debug for SelfWake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SelfWake").field("is_woken", &self.is_woken()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
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
        let (mut self_wake, task) = (SelfWake::new(), Arc::new(Task::default()));
        let waker = Waker::from(Arc::clone(&task));
        let mut polls = 0;
        let polled = self_wake.poll(&mut Context::from_waker(&waker), |cx, _| {
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
        let (mut self_wake, task) = (SelfWake::new(), Arc::new(Task::default()));
        let waker = Waker::from(Arc::clone(&task));
        let mut cx = Context::from_waker(&waker);
        for round in 1..3 {
            assert!(self_wake.poll(&mut cx, |_, _| Poll::<()>::Pending).is_pending());
            self_wake.waker().wake_by_ref();
            self_wake.waker().wake_by_ref();
            assert!(self_wake.is_woken());
            assert_eq!(task.woken(), round);
        }
    }

    #[test]
    fn a_future_that_always_wakes_itself_yields_and_is_polled_again() {
        let (mut self_wake, task) = (SelfWake::new(), Arc::new(Task::default()));
        let waker = Waker::from(Arc::clone(&task));
        let polled = self_wake.poll(&mut Context::from_waker(&waker), |cx, _| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        assert_eq!(task.woken(), 1);
    }

    #[test]
    fn a_pending_wake_passes_to_the_next_task() {
        let (mut self_wake, first, next) =
            (SelfWake::new(), Arc::new(Task::default()), Arc::new(Task::default()));
        let waker = Waker::from(Arc::clone(&first));
        // Ready, but also woken: another poll is needed.
        let polled = self_wake.poll(&mut Context::from_waker(&waker), |cx, _| {
            cx.waker().wake_by_ref();
            Poll::Ready(())
        });
        assert!(polled.is_ready() && self_wake.is_woken());
        assert!(self_wake.hand_to(&Waker::from(Arc::clone(&next))).is_some());
        assert_eq!((first.woken(), next.woken()), (0, 1));
        let polled = self_wake.poll(&mut Context::from_waker(&waker), |_, _| Poll::<()>::Pending);
        assert!(polled.is_pending());
        assert!(!self_wake.is_woken());
    }

    #[test]
    fn a_part_wakes_its_connection_only_for_what_it_leaves_to_do() {
        let (mut self_wake, task) = (SelfWake::new(), Arc::new(Task::default()));
        let other = Waker::from(Arc::clone(&task));
        let connection = self_wake.waker().clone();
        let mut polls = 0;
        let polled = self_wake.poll(&mut Context::from_waker(&other), |cx, _| {
            polls += 1;
            let leaves = if polls == 1 { Leaves::Work } else { Leaves::Nothing };
            poll_part(cx, |_| {
                connection.wake_by_ref();
                connection.wake_by_ref();
                other.wake_by_ref();
                (Poll::<()>::Pending, leaves)
            })
        });
        assert!(polled.is_pending() && !self_wake.is_woken());
        // Other wakers were not held back.
        assert_eq!((polls, task.woken()), (2, 2));
        connection.wake_by_ref();
        assert!(self_wake.is_woken());
    }

    #[test]
    fn a_part_polled_by_another_task_or_that_panics_holds_nothing_back() {
        let (self_wake, task) = (SelfWake::new(), Arc::new(Task::default()));
        let other = Waker::from(Arc::clone(&task));
        poll_part(&mut Context::from_waker(&other), |_| {
            self_wake.waker().wake_by_ref();
            ((), Leaves::Nothing)
        });
        assert!(self_wake.is_woken());
        let mut self_wake = SelfWake::new();
        let panics = std::panic::AssertUnwindSafe(|| {
            let mut cx = Context::from_waker(&other);
            self_wake.poll(&mut cx, |cx, _| poll_part(cx, |_| panic!("within the poll")))
        });
        let panicked: std::thread::Result<Poll<()>> = std::panic::catch_unwind(panics);
        assert!(panicked.is_err());
        self_wake.waker().wake_by_ref();
        assert!(self_wake.is_woken());
        assert_eq!(CURRENT.get().signal, 0);
    }

    #[test]
    fn news_is_there_until_the_connection_is_polled() {
        let waker = Waker::noop();
        let mut cx = Context::from_waker(waker);
        let from_elsewhere = |waker: Waker| std::thread::spawn(|| waker.wake()).join().unwrap();
        let (mut ours, mut stream) = (SelfWake::new(), SelfWake::of_stream());
        for self_wake in [&mut ours, &mut stream] {
            // The call ends, and the connection has not handled the wake from the other thread.
            let waker = self_wake.waker().clone();
            let polled = self_wake.poll(&mut cx, |_, _| {
                from_elsewhere(waker.clone());
                Poll::Ready(())
            });
            assert!(polled.is_ready() && self_wake.is_woken());
            assert!(self_wake.poll(&mut cx, |_, _| Poll::Ready(())).is_ready());
            self_wake.expect();
            assert!(self_wake.is_woken());
            let polled = self_wake.poll(&mut cx, |_, news| {
                *news = false;
                Poll::<()>::Pending
            });
            assert!(polled.is_pending() && !self_wake.is_woken());
        }
        // A wake within the poll is for the call, unless the connection runs over a foreign stream.
        let mut own = |self_wake: &mut SelfWake| {
            let mut rounds = 0;
            let polled = self_wake.poll(&mut cx, |cx, news| {
                rounds += 1;
                if rounds == 2 {
                    return Poll::Ready(());
                }
                *news = false;
                cx.waker().wake_by_ref();
                Poll::Pending
            });
            assert!(polled.is_ready());
            self_wake.is_woken()
        };
        assert!(!own(&mut ours) && own(&mut stream));
    }

    #[test]
    fn a_wake_before_an_expected_poll_wakes_no_task() {
        let (mut self_wake, task) = (SelfWake::new(), Arc::new(Task::default()));
        let waker = Waker::from(Arc::clone(&task));
        assert!(self_wake.hand_to(&waker).is_none());
        self_wake.expect();
        self_wake.waker().wake_by_ref();
        assert!(self_wake.is_woken());
        let mut cx = Context::from_waker(&waker);
        assert!(self_wake.poll(&mut cx, |_, _| Poll::<()>::Pending).is_pending());
        assert_eq!(task.woken(), 0);
        self_wake.waker().wake_by_ref();
        assert_eq!(task.woken(), 1);
    }

    #[test]
    fn work_left_for_lack_of_budget_is_news() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut self_wake = SelfWake::new();
        let mut rounds = 0;
        let once = poll_fn(|cx| {
            let polled = self_wake.poll(cx, |cx, news| {
                rounds += 1;
                *news = false;
                let mut spend = pin!(async {
                    loop {
                        tokio::task::coop::consume_budget().await;
                    }
                });
                let _: Poll<()> = spend.as_mut().poll(cx);
                cx.waker().wake_by_ref();
                Poll::<()>::Pending
            });
            Poll::Ready(polled.is_pending())
        });
        assert!(runtime.block_on(once));
        assert_eq!(rounds, 1);
        self_wake.expect();
        assert!(self_wake.news);
    }

    #[test]
    fn a_future_without_budget_does_not_spin() {
        // Not on a worker, where a wake for lack of budget is deferred.
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let mut self_wake = SelfWake::new();
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
            self_wake.poll(cx, |cx, _| {
                polls += 1;
                all.as_mut().poll(cx)
            })
        });
        let polling = async { tokio::time::timeout(Duration::from_secs(10), polling).await };
        let received = runtime.block_on(polling);
        assert_eq!(received, Ok(10_000));
        // One poll for each budget of 128, not four.
        assert!(polls < 200, "{polls} polls");
    }
}

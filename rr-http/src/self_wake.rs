//! Intercepts wake-ups that a future triggers while it is being polled, so that it is polled again
//! in place instead of rescheduled.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use tokio::task::coop::has_budget_remaining;

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
    /// Whether the connection has to be polled for an event; see [`NEWS`].
    news: bool,
}

struct Signal {
    state: AtomicU8,
    task: Mutex<Option<Waker>>,
    /// Whether wakes within a poll count as news too.
    own_are_news: bool,
}

/// Identity of a task's waker: the addresses of its data and of its vtable. Unique while the waker
/// is kept.
type Identity = (usize, usize);

fn identity(waker: &Waker) -> Identity {
    (waker.data().addr(), std::ptr::from_ref(waker.vtable()).addr())
}

/// Nothing has happened since the last poll.
const QUIET: u8 = 0;
/// A poll is in progress, or about to start.
const POLLED: u8 = 1;
/// Another poll is needed. If none is in progress, the task has been woken.
const WOKEN: u8 = 2;
/// The poll is needed because of an event outside the poll in progress, such as one of the socket.
/// A poll of the call alone neither handles nor clears it.
const NEWS: u8 = 4;

thread_local! {
    /// Connection that is being polled on this thread.
    static OWN: Cell<Own> = const { Cell::new(Own { signal: 0, holds: false, held: false }) };
}

/// See [`OWN`].
#[derive(Clone, Copy)]
struct Own {
    /// Address of the signal of the connection being polled; zero if there is none.
    signal: usize,
    /// Whether wakes of the connection are held back, and whether there was one.
    holds: bool,
    held: bool,
}

/// Guard that restores the previous value of [`OWN`], also if a poll panics.
struct Before(Own);

impl Own {
    fn enter(self) -> Before {
        Before(OWN.replace(self))
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        OWN.set(self.0);
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
    let own = OWN.get();
    if own.signal != cx.waker().data().addr() {
        return poll(cx).0;
    }
    let before = Own { holds: true, held: false, ..own }.enter();
    let (polled, leaves) = poll(cx);
    let held = OWN.get().held;
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

    fn with(own_are_news: bool) -> Self {
        let (state, task) = (AtomicU8::new(QUIET), Mutex::new(None));
        let signal = Arc::new(Signal { state, task, own_are_news });
        Self { waker: Waker::from(Arc::clone(&signal)), signal, task: None, news: false }
    }

    /// Returns the waker that requests another poll.
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Returns whether the connection has to be polled. If not, nothing has happened since the last
    /// poll.
    pub(crate) fn is_woken(&self) -> bool {
        self.news || self.signal.state.load(Ordering::Acquire) & WOKEN != 0
    }

    /// Sets the task that is woken from now on; wakes it immediately if a poll is already needed.
    /// Returns the waker of the previous task. The waker may own a task and must not be dropped
    /// under a lock.
    pub(crate) fn hand_to(&mut self, task: &Waker) -> Option<Waker> {
        let before = self.name(task);
        if self.is_woken() {
            task.wake_by_ref();
        }
        before
    }

    /// Suppresses wakes of the task until the next poll, which is about to start.
    pub(crate) fn expect(&mut self) {
        // A swap, not a store, so that this poll sees everything that preceded a wake.
        let before = self.signal.state.swap(POLLED, Ordering::AcqRel);
        self.news |= before & NEWS != 0;
    }

    fn name(&mut self, task: &Waker) -> Option<Waker> {
        let this = Some(identity(task));
        if self.task == this {
            return None;
        }
        let before = self.signal.replace(task.clone());
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
        drop(self.name(cx.waker()));
        let signal = Arc::as_ptr(&self.signal).addr();
        let _before = Own { signal, holds: false, held: false }.enter();
        for _ in 0..POLLS_MAX {
            self.expect();
            let polled = poll(&mut Context::from_waker(&self.waker), &mut self.news);
            let is_quiet = self.signal.end_poll();
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

impl Signal {
    fn replace(&self, task: Waker) -> Option<Waker> {
        lock(&self.task).replace(task)
    }

    /// Ends a poll. Returns `false` when another is needed.
    fn end_poll(&self) -> bool {
        let (is, was) = (Ordering::AcqRel, Ordering::Acquire);
        self.state.compare_exchange(POLLED, QUIET, is, was).is_ok()
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let own = OWN.get();
        let is_own = own.signal == Arc::as_ptr(self).addr();
        if is_own && own.holds {
            OWN.set(Own { held: true, ..own });
            return;
        }
        let says_nothing = is_own && !self.own_are_news;
        let woken = if says_nothing { WOKEN } else { WOKEN | NEWS };
        // During a poll, the connection is polled again in place. A task that was woken need not be
        // woken again.
        if self.state.fetch_or(woken, Ordering::AcqRel) != QUIET {
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
        let (mut rewaker, task) = (SelfWake::new(), Arc::new(Task::default()));
        let waker = Waker::from(Arc::clone(&task));
        let mut polls = 0;
        let polled = rewaker.poll(&mut Context::from_waker(&waker), |cx, _| {
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
        let (mut rewaker, task) = (SelfWake::new(), Arc::new(Task::default()));
        let waker = Waker::from(Arc::clone(&task));
        let mut cx = Context::from_waker(&waker);
        for round in 1..3 {
            assert!(rewaker.poll(&mut cx, |_, _| Poll::<()>::Pending).is_pending());
            rewaker.waker().wake_by_ref();
            rewaker.waker().wake_by_ref();
            assert!(rewaker.is_woken());
            assert_eq!(task.woken(), round);
        }
    }

    #[test]
    fn what_wakes_for_ever_gives_way_and_comes_again() {
        let (mut rewaker, task) = (SelfWake::new(), Arc::new(Task::default()));
        let waker = Waker::from(Arc::clone(&task));
        let polled = rewaker.poll(&mut Context::from_waker(&waker), |cx, _| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        assert_eq!(task.woken(), 1);
    }

    #[test]
    fn a_wake_is_handed_on_to_whoever_comes_next() {
        let (mut rewaker, first, next) =
            (SelfWake::new(), Arc::new(Task::default()), Arc::new(Task::default()));
        let waker = Waker::from(Arc::clone(&first));
        // Ready, but also woken: another poll is needed.
        let polled = rewaker.poll(&mut Context::from_waker(&waker), |cx, _| {
            cx.waker().wake_by_ref();
            Poll::Ready(())
        });
        assert!(polled.is_ready() && rewaker.is_woken());
        assert!(rewaker.hand_to(&Waker::from(Arc::clone(&next))).is_some());
        assert_eq!((first.woken(), next.woken()), (0, 1));
        let polled = rewaker.poll(&mut Context::from_waker(&waker), |_, _| Poll::<()>::Pending);
        assert!(polled.is_pending());
        assert!(!rewaker.is_woken());
    }

    #[test]
    fn a_part_wakes_its_connection_only_for_what_it_leaves_to_do() {
        let (mut rewaker, task) = (SelfWake::new(), Arc::new(Task::default()));
        let other = Waker::from(Arc::clone(&task));
        let connection = rewaker.waker().clone();
        let mut polls = 0;
        let polled = rewaker.poll(&mut Context::from_waker(&other), |cx, _| {
            polls += 1;
            let leaves = if polls == 1 { Leaves::Work } else { Leaves::Nothing };
            poll_part(cx, |_| {
                connection.wake_by_ref();
                connection.wake_by_ref();
                other.wake_by_ref();
                (Poll::<()>::Pending, leaves)
            })
        });
        assert!(polled.is_pending() && !rewaker.is_woken());
        // Other wakers were not held back.
        assert_eq!((polls, task.woken()), (2, 2));
        connection.wake_by_ref();
        assert!(rewaker.is_woken());
    }

    #[test]
    fn a_part_polled_by_another_task_or_that_panics_holds_nothing_back() {
        let (rewaker, task) = (SelfWake::new(), Arc::new(Task::default()));
        let other = Waker::from(Arc::clone(&task));
        poll_part(&mut Context::from_waker(&other), |_| {
            rewaker.waker().wake_by_ref();
            ((), Leaves::Nothing)
        });
        assert!(rewaker.is_woken());
        let mut rewaker = SelfWake::new();
        let panics = std::panic::AssertUnwindSafe(|| {
            let mut cx = Context::from_waker(&other);
            rewaker.poll(&mut cx, |cx, _| poll_part(cx, |_| panic!("within the poll")))
        });
        let panicked: std::thread::Result<Poll<()>> = std::panic::catch_unwind(panics);
        assert!(panicked.is_err());
        rewaker.waker().wake_by_ref();
        assert!(rewaker.is_woken());
        assert_eq!(OWN.get().signal, 0);
    }

    #[test]
    fn news_is_there_until_the_connection_is_polled() {
        let waker = Waker::noop();
        let mut cx = Context::from_waker(waker);
        let from_elsewhere = |waker: Waker| std::thread::spawn(|| waker.wake()).join().unwrap();
        let (mut ours, mut stream) = (SelfWake::new(), SelfWake::of_stream());
        for rewaker in [&mut ours, &mut stream] {
            // The call ends, and the connection has not handled the wake from the other thread.
            let waker = rewaker.waker().clone();
            let polled = rewaker.poll(&mut cx, |_, _| {
                from_elsewhere(waker.clone());
                Poll::Ready(())
            });
            assert!(polled.is_ready() && rewaker.is_woken());
            assert!(rewaker.poll(&mut cx, |_, _| Poll::Ready(())).is_ready());
            rewaker.expect();
            assert!(rewaker.is_woken());
            let polled = rewaker.poll(&mut cx, |_, news| {
                *news = false;
                Poll::<()>::Pending
            });
            assert!(polled.is_pending() && !rewaker.is_woken());
        }
        // A wake within the poll is for the call, unless the connection runs over a foreign stream.
        let mut own = |rewaker: &mut SelfWake| {
            let mut rounds = 0;
            let polled = rewaker.poll(&mut cx, |cx, news| {
                rounds += 1;
                if rounds == 2 {
                    return Poll::Ready(());
                }
                *news = false;
                cx.waker().wake_by_ref();
                Poll::Pending
            });
            assert!(polled.is_ready());
            rewaker.is_woken()
        };
        assert!(!own(&mut ours) && own(&mut stream));
    }

    #[test]
    fn a_wake_before_an_expected_poll_wakes_no_task() {
        let (mut rewaker, task) = (SelfWake::new(), Arc::new(Task::default()));
        let waker = Waker::from(Arc::clone(&task));
        assert!(rewaker.hand_to(&waker).is_none());
        rewaker.expect();
        rewaker.waker().wake_by_ref();
        assert!(rewaker.is_woken());
        let mut cx = Context::from_waker(&waker);
        assert!(rewaker.poll(&mut cx, |_, _| Poll::<()>::Pending).is_pending());
        assert_eq!(task.woken(), 0);
        rewaker.waker().wake_by_ref();
        assert_eq!(task.woken(), 1);
    }

    #[test]
    fn what_was_not_done_for_want_of_budget_is_news() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut rewaker = SelfWake::new();
        let mut rounds = 0;
        let once = poll_fn(|cx| {
            let polled = rewaker.poll(cx, |cx, news| {
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
        rewaker.expect();
        assert!(rewaker.news);
    }

    #[test]
    fn a_future_without_budget_does_not_spin() {
        // Not on a worker, where a wake for lack of budget is deferred.
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let mut rewaker = SelfWake::new();
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
            rewaker.poll(cx, |cx, _| {
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

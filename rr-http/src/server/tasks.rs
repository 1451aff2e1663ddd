//! Tasks of a server: all are counted, and all end with the server.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep};

use super::reply::Sending;
use super::stop::{Stop, Waiting};
use super::timeouts::{Active, ActivityMonitor, CHECK_MAX};
use crate::sync::{Gauge, GaugeGuard};

/// Tasks that a server owns. They are counted, and end with the server at the latest.
///
/// A task takes a lock only when it has to wait: HTTP/2 streams that are answered immediately take
/// none. A task that has ended leaves no state behind.
#[derive(Clone)]
pub(super) struct Tasks {
    count: Gauge,
    end: Arc<Stop>,
    /// Notified when the last task has ended.
    ended: Arc<Notify>,
}

impl Tasks {
    pub(super) fn new(count: Gauge) -> Self {
        Self { count, end: Arc::default(), ended: Arc::default() }
    }

    /// Starts a task that holds `held` until it has ended. After [`Tasks::end`] the task ends
    /// before its future is polled.
    pub(super) fn spawn<F, H>(&self, held: H, future: F)
    where
        F: Future<Output: Send> + Send + 'static,
        H: Send + 'static,
    {
        let running = self.count();
        let (end, waiting) = (Arc::clone(&self.end), Waiting::default());
        // Detached: the task ends by itself or with `Tasks::end`.
        drop(tokio::spawn(Task { future, _held: held, _running: running, end, waiting }));
    }

    /// Counts a task that the application runs, such as a request of a mounted service, until the
    /// guard is dropped. [`Tasks::end`] does not end it.
    pub(super) fn count(&self) -> Running {
        let ended = Ended { count: self.count.clone(), ended: Arc::clone(&self.ended) };
        Running { _counted: self.count.one(), _ended: ended }
    }

    /// Ends every task, at its current await.
    pub(super) fn end(&self) {
        self.end.stop();
    }

    /// Waits until every task has ended.
    pub(super) async fn none(&self) {
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            ended.as_mut().enable();
            if self.count.now() == 0 {
                return;
            }
            ended.await;
        }
    }
}

pin_project! {
    /// Future of a task, and the values that are dropped after it, in this order.
    ///
    /// Written by hand: an `async` block that awaits a captured future stores it twice, and a task
    /// is moved several times before it runs.
    struct Task<F, H> {
        #[pin]
        future: F,
        _held: H,
        _running: Running,
        end: Arc<Stop>,
        waiting: Waiting,
    }

    impl<F, H> PinnedDrop for Task<F, H> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.end.forget(this.waiting);
        }
    }
}

impl<F: Future, H> Future for Task<F, H> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.end.is_stopped() || this.future.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match this.end.register(this.waiting, cx.waker()) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }
}

/// Guard of a running task: first decrements the count, then notifies.
pub(super) struct Running {
    _counted: GaugeGuard,
    _ended: Ended,
}

#[derive(Clone)]
struct Ended {
    count: Gauge,
    ended: Arc<Notify>,
}

impl Clone for Running {
    /// Counts once more.
    fn clone(&self) -> Self {
        Self { _counted: self._ended.count.one(), _ended: self._ended.clone() }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if self.count.now() == 0 {
            self.ended.notify_waiters();
        }
    }
}

/// Executor of the streams of one HTTP/2 connection. Hyper spawns each stream separately from its
/// connection; with this executor, the handlers still end with the server.
#[derive(Clone)]
pub(super) struct H2Executor {
    tasks: Tasks,
    activity: Arc<ActivityMonitor>,
}

impl H2Executor {
    pub(super) fn new(tasks: Tasks, activity: Arc<ActivityMonitor>) -> Self {
        Self { tasks, activity }
    }
}

impl<F> Executor<F> for H2Executor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        let bounded =
            Bounded { stream, active: self.activity.start_request(), sending: None, timer: None };
        self.tasks.spawn((), bounded);
    }
}

pin_project! {
    /// HTTP/2 stream that ends when its reply does not move for a write timeout. The stream is then
    /// reset, independently of the others on the connection: h2 resets a stream whose handles were
    /// dropped before it was ended, and discards its pending bytes.
    struct Bounded<F> {
        #[pin]
        stream: F,
        active: Active,
        sending: Option<(Sending, Duration)>,
        // Made when a reply has to wait, which is rare.
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future> Future for Bounded<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let before = Sending::take_begun();
        let polled = this.stream.poll(cx);
        let begun = Sending::take_begun();
        drop(before);
        if polled.is_ready() {
            return Poll::Ready(());
        }
        let activity = this.active.monitor();
        if let Some(begun) = begun {
            *this.sending = Some((begun, activity.age()));
        }
        let Some((sending, since)) = this.sending else { return Poll::Pending };
        loop {
            let now = activity.age();
            let moved = sending.moved_at().map_or(*since, |moved| moved.max(*since));
            let end = moved.saturating_add(activity.write_timeout());
            if now >= end {
                return Poll::Ready(());
            }
            let wait = (end - now).min(CHECK_MAX);
            let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(wait)));
            if timer.is_elapsed() {
                timer.as_mut().reset(Instant::now() + wait);
            }
            ready!(timer.as_mut().poll(cx));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn tasks_that_wait_have_not_begun_or_come_late_all_end() {
        let count = Gauge::default();
        let tasks = Tasks::new(count.clone());
        let held = Arc::new(());
        tasks.spawn(Arc::clone(&held), async {});
        tasks.spawn(Arc::clone(&held), pending::<()>());
        tokio::task::yield_now().await;
        assert_eq!((count.now(), Arc::strong_count(&held)), (1, 2));
        tasks.spawn(Arc::clone(&held), pending::<()>());
        tasks.end();
        tasks.spawn(Arc::clone(&held), pending::<()>());
        assert_eq!(count.now(), 3);
        tokio::time::timeout(Duration::from_secs(10), tasks.none()).await.unwrap();
        assert_eq!(Arc::strong_count(&held), 1);
    }
}

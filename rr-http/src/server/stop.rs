//! One-time signal that many tasks wait for, such as the end of serving requests.

use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use slab::Slab;

use crate::sync::lock;

/// Signal to every connection that requests are no longer served, or to every task of a server to
/// end.
///
/// A connection is polled for each request; waiting for the signal takes no lock then. The
/// connection registers once, and again only if its task changes.
#[derive(Default)]
pub(super) struct Stop {
    stopped: AtomicBool,
    waiting: Mutex<Slab<Waker>>,
}

impl Stop {
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        for (_, waker) in waiting {
            waker.wake();
        }
    }

    /// Waits for the signal.
    pub(super) fn wait(&self) -> Stopped<'_> {
        Stopped { stop: self, waiting: Waiting::default() }
    }

    /// Runs a future until the signal. Then returns `None`, and the future can be polled further.
    pub(super) async fn race<F: Future>(&self, mut future: Pin<&mut F>) -> Option<F::Output> {
        let mut stopped = pin!(self.wait());
        std::future::poll_fn(|cx| match stopped.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => future.as_mut().poll(cx).map(Some),
        })
        .await
    }

    /// Returns whether the signal has been given.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Registers a task to be woken by the signal. Returns `false` when the signal has been given.
    pub(super) fn register(&self, waiting: &mut Waiting, waker: &Waker) -> bool {
        if matches!(&waiting.0, Some((_, known)) if known.will_wake(waker)) {
            return true;
        }
        let mut all = lock(&self.waiting);
        // Checked under the lock, since the flag is set before the wakers are taken.
        if self.is_stopped() {
            return false;
        }
        let before = waiting.0.take();
        let removed = before.as_ref().and_then(|(key, _)| all.try_remove(*key));
        waiting.0 = Some((all.insert(waker.clone()), waker.clone()));
        // Outside of the lock: a waker may own a task.
        drop(all);
        drop((before, removed));
        true
    }

    /// Removes a task that waits no longer.
    pub(super) fn forget(&self, waiting: &mut Waiting) {
        if let Some((key, _)) = waiting.0.take() {
            let removed = lock(&self.waiting).try_remove(key);
            drop(removed);
        }
    }
}

/// Registration of a task that waits for a [`Stop`], and the task's waker.
#[derive(Default)]
pub(super) struct Waiting(Option<(usize, Waker)>);

/// Future of [`Stop::wait`].
pub(super) struct Stopped<'a> {
    stop: &'a Stop,
    waiting: Waiting,
}

impl Future for Stopped<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let stop = self.stop;
        if stop.is_stopped() || !stop.register(&mut self.waiting, cx.waker()) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.stop.forget(&mut self.waiting);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn stop_wakes_waiters_and_forgets_dropped_ones() {
        let stop = Arc::new(Stop::default());
        assert_eq!(stop.race(pin!(async { 7 })).await, Some(7));
        let waiting = tokio::spawn({
            let stop = Arc::clone(&stop);
            async move { stop.race(pin!(pending::<()>())).await }
        });
        while lock(&stop.waiting).is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(lock(&stop.waiting).len(), 1);
        stop.stop();
        assert_eq!(waiting.await.unwrap(), None);
        stop.wait().await;
        assert!(lock(&stop.waiting).is_empty());
    }
}

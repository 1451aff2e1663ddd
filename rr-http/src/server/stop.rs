//! A moment that many tasks wait for: such as that from which a server serves no more requests.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use slab::Slab;

/// Tells every connection that requests are no longer served, or every task of a server that it
/// ends.
///
/// A connection is polled for each request, and waiting for this costs it no lock then: it
/// registers once, and again only should its task ever change.
#[derive(Default)]
pub(super) struct Stop {
    stopped: AtomicBool,
    waiting: Mutex<Slab<Waker>>,
}

impl Stop {
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        let waiting = std::mem::take(&mut *self.lock());
        for (_, waker) in waiting {
            waker.wake();
        }
    }

    /// Waits for the moment.
    pub(super) fn wait(&self) -> Stopped<'_> {
        Stopped { stop: self, waiting: Waiting::default() }
    }

    /// Runs a future until the moment has come; then returns `None`, and the future can be polled
    /// further.
    pub(super) async fn race<F: Future>(&self, mut future: Pin<&mut F>) -> Option<F::Output> {
        let mut stopped = pin!(self.wait());
        std::future::poll_fn(|cx| match stopped.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => future.as_mut().poll(cx).map(Some),
        })
        .await
    }

    /// Tells whether the moment has come.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Has a task woken at that moment. Returns `false` when it has come.
    pub(super) fn register(&self, waiting: &mut Waiting, waker: &Waker) -> bool {
        if matches!(&waiting.0, Some((_, known)) if known.will_wake(waker)) {
            return true;
        }
        let mut all = self.lock();
        // Looked at under the lock, since it is set before the waiting are taken.
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

    /// Forgets a task that waits no more.
    pub(super) fn forget(&self, waiting: &mut Waiting) {
        if let Some((key, _)) = waiting.0.take() {
            let removed = self.lock().try_remove(key);
            drop(removed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slab<Waker>> {
        // A panic cannot leave the slab half-changed: wakers are woken outside of the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task that waits for a [`Stop`], and the waker that it gave.
#[derive(Default)]
pub(super) struct Waiting(Option<(usize, Waker)>);

/// See [`Stop::wait`].
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
    async fn whoever_waits_is_woken_and_whoever_left_is_forgotten() {
        let stop = Arc::new(Stop::default());
        assert_eq!(stop.race(pin!(async { 7 })).await, Some(7));
        let waiting = tokio::spawn({
            let stop = Arc::clone(&stop);
            async move { stop.race(pin!(pending::<()>())).await }
        });
        while stop.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(stop.lock().len(), 1);
        stop.stop();
        assert_eq!(waiting.await.unwrap(), None);
        stop.wait().await;
        assert!(stop.lock().is_empty());
    }
}

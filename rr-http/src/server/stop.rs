//! The moment from which a server serves no more requests.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use slab::Slab;

/// Tells every connection that requests are no longer served.
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

    /// Waits until requests are no longer served.
    pub(super) fn wait(&self) -> Stopped<'_> {
        Stopped { stop: self, registered: None }
    }

    /// Runs a future until requests are no longer served; then returns `None`, and the future can
    /// be polled further.
    pub(super) async fn race<F: Future>(&self, mut future: Pin<&mut F>) -> Option<F::Output> {
        let mut stopped = pin!(self.wait());
        std::future::poll_fn(|cx| match stopped.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => future.as_mut().poll(cx).map(Some),
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Slab<Waker>> {
        // A panic cannot leave the slab half-changed: wakers are woken outside of the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Stop::wait`].
pub(super) struct Stopped<'a> {
    stop: &'a Stop,
    registered: Option<(usize, Waker)>,
}

impl Future for Stopped<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let stop = self.stop;
        if stop.stopped.load(Ordering::SeqCst) {
            return Poll::Ready(());
        }
        if matches!(&self.registered, Some((_, waker)) if waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        let mut waiting = stop.lock();
        // Looked at again under the lock, since it is set before the waiting are taken.
        if stop.stopped.load(Ordering::SeqCst) {
            return Poll::Ready(());
        }
        if let Some((key, _)) = self.registered.take() {
            waiting.try_remove(key);
        }
        let key = waiting.insert(cx.waker().clone());
        self.registered = Some((key, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        if let Some((key, _)) = self.registered {
            self.stop.lock().try_remove(key);
        }
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

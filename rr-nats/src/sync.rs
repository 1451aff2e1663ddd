//! Locks, and waits for the first of two futures or for a change of shared state.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::Notify;

/// Locks a mutex, even after a panic under its lock.
///
/// No foreign code runs under the locks of this crate, and their values are valid between any two
/// statements: a panic loses one entry at most.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Output of the future that completed first.
pub(crate) enum First<A, B> {
    One(A),
    Other(B),
}

/// Runs two futures until one completes, and drops the other. The first future wins ties.
pub(crate) async fn first<A: Future, B: Future>(one: A, other: B) -> First<A::Output, B::Output> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|cx| match one.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(First::One(output)),
        Poll::Pending => other.as_mut().poll(cx).map(First::Other),
    })
    .await
}

/// Waits until `check` returns `Some`. Calls it again at every notification.
///
/// Changes between the call and the wait are not missed if each change is followed by
/// `notify_waiters`.
pub(crate) async fn until<T>(notice: &Notify, check: impl Fn() -> Option<T>) -> T {
    loop {
        let mut noticed = pin!(notice.notified());
        noticed.as_mut().enable();
        if let Some(found) = check() {
            return found;
        }
        noticed.await;
    }
}

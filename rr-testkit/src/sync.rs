//! Locks and waits for a change of shared state.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Locks a mutex. A poisoned lock is safe to use: no foreign code runs under the locks of this
/// crate, so that a panic cannot leave a value half-changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until a condition holds; checks it again after each notification.
///
/// Changes between the check and the wait are not missed if each change is followed by
/// `notify_waiters`.
pub(crate) async fn until(changed: &Notify, mut holds: impl FnMut() -> bool) {
    loop {
        let notified = changed.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if holds() {
            return;
        }
        notified.await;
    }
}

//! Ways to wait: for the first of two futures, for something that others change.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::sync::Notify;

/// Which of two futures was done first.
pub(crate) enum First<A, B> {
    One(A),
    Other(B),
}

/// Runs two futures until one is done, and drops the other. The first one wins ties.
pub(crate) async fn first<A: Future, B: Future>(one: A, other: B) -> First<A::Output, B::Output> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|cx| match one.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(First::One(output)),
        Poll::PendingCall => other.as_mut().poll(cx).map(First::Other),
    })
    .await
}

/// Waits until `look` finds what it looks for, and looks again at every notice.
///
/// A change between looking and waiting is not missed: whoever makes one calls `notify_waiters`
/// after it.
pub(crate) async fn until<T>(notice: &Notify, look: impl Fn() -> Option<T>) -> T {
    loop {
        let mut noticed = pin!(notice.notified());
        noticed.as_mut().enable();
        if let Some(found) = look() {
            return found;
        }
        noticed.await;
    }
}

//! Two futures, of which the first to be done counts.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

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
        Poll::Pending => other.as_mut().poll(cx).map(First::Other),
    })
    .await
}

//! Call that starts at its first poll.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::task::coop::consume_budget;

pin_project! {
    /// Call that starts at its first poll, by a function that holds its request.
    ///
    /// An `async` block reserves memory for what it was made of until it ends. Here the future of the
    /// response takes the place of the function, and so of the request.
    #[project = BegunProject]
    pub(super) enum Begun<B, F> {
        Fresh { begin: Option<B> },
        Running { #[pin] future: F },
    }
}

impl<B, F, T, E> Begun<B, F>
where
    B: FnOnce() -> Result<F, E>,
    F: Future<Output = Result<T, E>>,
{
    pub(super) fn by(begin: B) -> Self {
        Self::Fresh { begin: Some(begin) }
    }
}

impl<B, F, T, E> Future for Begun<B, F>
where
    B: FnOnce() -> Result<F, E>,
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.as_mut().project() {
                BegunProject::Fresh { begin } => {
                    // Calls that complete on their first poll never yield: without this, a loop of
                    // such calls would starve other tasks.
                    ready!(pin!(consume_budget()).poll(cx));
                    // The function is gone only after a call that could not start.
                    let Some(begin) = begin.take() else { return Poll::Pending };
                    match begin() {
                        Ok(future) => self.set(Self::Running { future }),
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
                BegunProject::Running { future } => return future.poll(cx),
            }
        }
    }
}

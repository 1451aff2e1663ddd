//! Work that runs to completion even if its call is dropped.

use std::fmt;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use tokio::task::JoinHandle;

use crate::in_flight::{InFlight, Shielded};

/// Future of the result of shielded work; see [`Context::shield`](super::Context::shield).
pub struct Shield<T>(JoinHandle<T>);

impl<T: Send + 'static> Shield<T> {
    pub(super) fn spawn<F>(in_flight: Option<Arc<InFlight>>, future: F) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        let guard = in_flight.map(Shielded::enter);
        Self(tokio::spawn(async move {
            let output = future.await;
            drop(guard);
            output
        }))
    }
}

impl<T> Future for Shield<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<T> {
        match ready!(Pin::new(&mut self.0).poll(cx)) {
            Ok(output) => Poll::Ready(output),
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime is shutting down and drops the waiting task as well.
                Err(_) => Poll::Pending,
            },
        }
    }
}

impl<T> fmt::Debug for Shield<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shield").field("done", &self.0.is_finished()).finish()
    }
}

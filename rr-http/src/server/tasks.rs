//! Tasks of a server: each is counted, and each ends when everything must end.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::watch::Watch;
use crate::count::{Count, Counted};

/// Tasks that a server owns: they are counted, and end with it at the latest.
#[derive(Clone)]
pub(super) struct Tasks {
    count: Count,
    owned: Arc<Mutex<Owned>>,
    /// Told when the last one has ended.
    ended: Arc<Notify>,
}

#[derive(Default)]
struct Owned {
    tasks: JoinSet<()>,
    ended: bool,
}

impl Tasks {
    pub(super) fn new(count: Count) -> Self {
        Self { count, owned: Arc::default(), ended: Arc::default() }
    }

    /// Starts a task, which holds something until it has ended; once everything has ended it is
    /// dropped instead.
    pub(super) fn spawn<F, H>(&self, held: H, future: F)
    where
        F: Future<Output: Send> + Send + 'static,
        H: Send + 'static,
    {
        let ended = Ended { count: self.count.clone(), ended: Arc::clone(&self.ended) };
        let running = Running { _counted: self.count.one(), _ended: ended };
        let task = Task { future, _held: held, _running: running };
        let mut owned = self.lock();
        // Those that have ended are forgotten here, so that the set does not grow.
        while owned.tasks.try_join_next().is_some() {}
        if owned.ended {
            // What a task holds may itself start tasks when it is dropped.
            drop(owned);
            return;
        }
        owned.tasks.spawn(task);
    }

    /// Ends every task, at its current await.
    pub(super) fn end(&self) {
        let mut owned = self.lock();
        owned.ended = true;
        owned.tasks.abort_all();
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

    fn lock(&self) -> MutexGuard<'_, Owned> {
        // A panic cannot leave the set half-changed: nothing foreign runs under the lock.
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pin_project! {
    /// What a task runs, and what ends with it, in this order.
    ///
    /// Written by hand: an `async` block that awaits a future it was given has room for it twice,
    /// and a task is moved several times before it runs.
    struct Task<F, H> {
        #[pin]
        future: F,
        _held: H,
        _running: Running,
    }
}

impl<F: Future, H> Future for Task<F, H> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().future.poll(cx).map(drop)
    }
}

/// A task that runs: it is counted off first, and then told of.
struct Running {
    _counted: Counted,
    _ended: Ended,
}

struct Ended {
    count: Count,
    ended: Arc<Notify>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        if self.count.now() == 0 {
            self.ended.notify_waiters();
        }
    }
}

/// Runs the streams of one HTTP/2 connection, so that what a handler does ends with the server
/// even though hyper runs it apart from its connection.
#[derive(Clone)]
pub(super) struct Streams {
    tasks: Tasks,
    watch: Arc<Watch>,
}

impl Streams {
    pub(super) fn new(tasks: Tasks, watch: Arc<Watch>) -> Self {
        Self { tasks, watch }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        self.tasks.spawn(self.watch.begin(), stream);
    }
}

//! Tasks of a server: each is counted, and each ends when everything must end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::rt::Executor;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// How many of something there are, and a way to wait until there are none.
#[derive(Clone, Default)]
pub(super) struct Count(Arc<(AtomicUsize, Notify)>);

/// One of what is counted.
pub(super) struct Counted(Count);

impl Count {
    pub(super) fn now(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    pub(super) fn one(&self) -> Counted {
        self.0.0.fetch_add(1, Ordering::SeqCst);
        Counted(self.clone())
    }

    /// Waits until there are none.
    pub(super) async fn none(&self) {
        loop {
            let mut notified = std::pin::pin!(self.0.1.notified());
            notified.as_mut().enable();
            if self.now() == 0 {
                return;
            }
            notified.await;
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0.0.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.0.1.notify_waiters();
        }
    }
}

/// Tasks that a server owns: they are counted, and end with it at the latest.
#[derive(Clone)]
pub(super) struct Tasks {
    count: Count,
    owned: Arc<Mutex<Owned>>,
}

#[derive(Default)]
struct Owned {
    tasks: JoinSet<()>,
    ended: bool,
}

impl Tasks {
    pub(super) fn new(count: Count) -> Self {
        Self { count, owned: Arc::default() }
    }

    /// Starts a task; once everything has ended it is dropped instead.
    pub(super) fn spawn<F>(&self, future: F)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let counted = self.count.one();
        let task = async move {
            let _counted = counted;
            let _ = future.await;
        };
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
        self.count.none().await;
    }

    fn lock(&self) -> MutexGuard<'_, Owned> {
        // A panic cannot leave the set half-changed: nothing foreign runs under the lock.
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the streams of one HTTP/2 connection, so that what a handler does ends with the server
/// even though hyper runs it apart from its connection.
#[derive(Clone)]
pub(super) struct Streams {
    tasks: Tasks,
    of_connection: Count,
}

impl Streams {
    pub(super) fn new(tasks: Tasks, of_connection: Count) -> Self {
        Self { tasks, of_connection }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        let counted = self.of_connection.one();
        self.tasks.spawn(async move {
            let _counted = counted;
            stream.await
        });
    }
}

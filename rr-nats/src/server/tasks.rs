//! Counter of the requests that are being answered, replies included.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::sync::until;

/// Counter of the requests that are being answered. A request counts until its reply is handed
/// over.
#[derive(Clone, Debug, Default)]
pub(super) struct Tasks(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    running: AtomicUsize,
    fewer: Notify,
}

/// Guard of one counted request; dropping it decrements the counter.
#[derive(Debug)]
pub(super) struct Running(Arc<Shared>);

impl Tasks {
    pub(super) fn enter(&self) -> Running {
        self.0.running.fetch_add(1, Ordering::SeqCst);
        Running(Arc::clone(&self.0))
    }

    pub(super) fn now(&self) -> usize {
        self.0.running.load(Ordering::SeqCst)
    }

    /// Waits until no request is left.
    pub(super) async fn idle(&self) {
        self.below(1).await;
    }

    /// Waits until there are fewer requests than `limit`.
    pub(super) async fn below(&self, limit: usize) {
        if self.now() >= limit {
            until(&self.0.fewer, || (self.now() < limit).then_some(())).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
        self.0.fewer.notify_waiters();
    }
}

//! Life of an instance or a link.

use std::sync::Arc;

use rr_spi::{CancelHandle, Cause, Context};

/// Something that ends for all who wait for it, and then begins anew.
#[derive(Clone)]
pub(super) struct Life(Context, Arc<CancelHandle>);

impl Default for Life {
    fn default() -> Self {
        let (context, handle) = Context::background().child();
        Self(context, Arc::new(handle))
    }
}

impl Life {
    /// Runs a future until the life ends; `None` if it ended first.
    pub(super) async fn race<F: Future>(&self, future: F) -> Option<F::Output> {
        self.0.race(future).await.ok()
    }

    /// Returns whether the life of this clone has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.0.cause().is_some()
    }

    pub(super) fn end(&mut self) {
        std::mem::take(self).1.cancel_with(Cause::PeerGone);
    }
}

//! A call that is recorded while it is in progress.

use rr_spi::{Error, Response};

use super::call::Started;
use super::writer::Queue;

/// Guard of a call in progress. A call that is dropped ends as such.
pub(super) struct Running<'a> {
    queue: &'a Queue,
    started: Option<Started>,
}

impl<'a> Running<'a> {
    pub(super) const fn new(queue: &'a Queue, started: Started) -> Self {
        Self { queue, started: Some(started) }
    }

    /// Records the outcome, if none is recorded yet.
    pub(super) fn end(&mut self, outcome: &Result<Response, Error>) {
        self.push(Some(outcome.clone()));
    }

    fn push(&mut self, outcome: Option<Result<Response, Error>>) {
        if let Some(started) = self.started.take() {
            self.queue.push(started.ended(outcome));
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.push(None);
    }
}

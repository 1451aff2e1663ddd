//! Body of a request on its way out.

use std::sync::Arc;

use bytes::{Buf, Bytes};

/// Shortest body in bytes that is tracked, so that short requests cost no allocation. It is far below
/// the window of 64 KiB that a server grants by default (RFC 9113 §6.9.2).
const TRACKED_BYTES_MIN: usize = 4096;

/// Body of a request that is handed over to h2. H2 drops it once it has been written.
#[derive(Debug)]
pub(crate) struct Outgoing {
    bytes: Bytes,
    _mark: Option<Arc<()>>,
}

/// Observes whether an [`Outgoing`] body still exists.
#[derive(Debug)]
pub(crate) struct OutgoingWatch(Option<Arc<()>>);

impl Outgoing {
    /// Makes a body; the watch tells whether it has left.
    pub(crate) fn new(bytes: Bytes) -> (Self, OutgoingWatch) {
        let mark = (bytes.len() >= TRACKED_BYTES_MIN).then(Arc::default);
        (Self { bytes, _mark: mark.clone() }, OutgoingWatch(mark))
    }
}

impl OutgoingWatch {
    /// Returns whether a part of the body waits to be written. Short bodies are not tracked: they
    /// count as written.
    pub(crate) fn is_unsent(&self) -> bool {
        self.0.as_ref().is_some_and(|mark| Arc::strong_count(mark) > 1)
    }
}

impl Buf for Outgoing {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

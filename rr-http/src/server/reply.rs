//! Body of a reply that is being sent: its share of the budget, and its progress.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::Version;
use http_body::{Body, Frame, SizeHint};
use rr_spi::BodyShare;

use super::timeouts::{
    Active, ActivityMonitor, AtomicInstant, LeavingReply, PROGRESS_BYTES_MIN, WriteRule,
};
use crate::sync::lock;

/// Longest body that is handed to h2 together with the end of its stream. An ended stream cannot be
/// reset while its window is exhausted, so that a longer body ends its stream only when its last
/// byte has left, which costs one more frame, one more write and one more read.
///
/// A stream begins with a window of 65,535 bytes unless the peer chose another one (RFC 9113
/// §6.5.2): up to this length, a reply hardly ever waits for the window of its stream.
const ENDS_WITH_DATA_MAX: usize = 64 * 1024;

thread_local! {
    /// Reply that the stream being polled on this thread has begun to send.
    static SENDING: Cell<Option<Sending>> = const { Cell::new(None) };
}

/// Body of a reply: of a route, or of the fallback.
pub(super) enum Reply {
    Own(OwnReply),
    Streamed(StreamedReply),
}

/// Body of a reply of a route.
pub(super) struct OwnReply {
    data: Option<Leaving>,
    is_h2: bool,
    /// Progress of a reply whose end of stream waits for the last byte.
    progress: Option<Arc<Progress>>,
}

/// Body of a reply of the fallback, which may take any time. The connection stays in use until the
/// body has ended.
pub(super) struct StreamedReply {
    body: StreamedBody,
    _active: Active,
}

/// Body of a service of the application.
pub(super) type StreamedBody = Pin<Box<dyn Body<Data = Bytes, Error = io::Error> + Send>>;

impl Reply {
    pub(super) fn new(
        bytes: Bytes,
        share: BodyShare,
        activity: &Arc<ActivityMonitor>,
        version: Version,
    ) -> Self {
        let is_h2 = version == Version::HTTP_2;
        if bytes.is_empty() {
            return Self::Own(OwnReply { data: None, is_h2, progress: None });
        }
        let waits = is_h2 && bytes.len() > ENDS_WITH_DATA_MAX;
        let progress = waits.then(|| Arc::new(Progress::default()));
        let way = match &progress {
            Some(progress) => Way::Stream(Arc::clone(progress), Arc::clone(activity)),
            None if is_h2 => Way::Connection(activity.start_reply(WriteRule::Whole)),
            None => Way::Connection(activity.start_reply(WriteRule::Progress)),
        };
        let data = Some(Leaving { bytes, way, _share: Some(share) });
        Self::Own(OwnReply { data, is_h2, progress })
    }

    pub(super) fn streamed(body: StreamedBody, active: Active) -> Self {
        Self::Streamed(StreamedReply { body, _active: active })
    }
}

impl Body for Reply {
    type Data = Leaving;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Leaving>, io::Error>>> {
        let own = match &mut *self {
            Self::Own(own) => own,
            Self::Streamed(reply) => {
                let leaving = |bytes| Leaving { bytes, way: Way::Untracked, _share: None };
                let frame = ready!(reply.body.as_mut().poll_frame(cx));
                return Poll::Ready(frame.map(|frame| Ok(frame?.map_data(leaving))));
            }
        };
        if let Some(data) = own.data.take() {
            if own.is_h2 {
                SENDING.set(Some(Sending { progress: own.progress.clone() }));
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match &own.progress {
            Some(progress) => progress.poll_sent(cx).map(|()| None),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(own) => own.data.is_none() && own.progress.is_none(),
            Self::Streamed(reply) => reply.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(own) => {
                SizeHint::with_exact(own.data.as_ref().map_or(0, |data| data.remaining() as u64))
            }
            Self::Streamed(reply) => reply.body.size_hint(),
        }
    }
}

/// Bytes of a reply that are leaving, with their share of the budget. They count as not having left
/// while hyper or h2 buffers them, including for an exhausted window.
pub(super) struct Leaving {
    bytes: Bytes,
    way: Way,
    /// `None` for the fallback, whose bodies have no budget.
    _share: Option<BodyShare>,
}

/// Receiver of the progress of a reply.
enum Way {
    Connection(LeavingReply),
    Stream(Arc<Progress>, Arc<ActivityMonitor>),
    /// None: a reply of the fallback may pause.
    Untracked,
}

impl Leaving {
    fn record_progress(&mut self, taken: usize) {
        match &mut self.way {
            Way::Connection(reply) => reply.record_moved(taken),
            Way::Stream(progress, activity) => progress.record_sent(taken, activity),
            Way::Untracked => {}
        }
    }
}

impl Buf for Leaving {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, taken: usize) {
        self.bytes.advance(taken);
        self.record_progress(taken);
    }

    fn copy_to_bytes(&mut self, taken: usize) -> Bytes {
        self.record_progress(taken);
        self.bytes.copy_to_bytes(taken)
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Way::Stream(progress, _) = &self.way {
            progress.leave();
        }
    }
}

/// Progress of the reply of one stream.
#[derive(Default)]
struct Progress {
    /// When [`PROGRESS_BYTES_MIN`] bytes had last left since the time before, and the number of
    /// bytes that have left since.
    moved_at: AtomicInstant,
    taken: AtomicUsize,
    state: Mutex<Departure>,
}

#[derive(Default)]
struct Departure {
    has_left: bool,
    waker: Option<Waker>,
}

impl Progress {
    /// Records that bytes have left. Restarts the write timeout of the stream after every
    /// [`PROGRESS_BYTES_MIN`] bytes.
    fn record_sent(&self, bytes: usize, activity: &ActivityMonitor) {
        if self.taken.fetch_add(bytes, Ordering::Relaxed) + bytes >= PROGRESS_BYTES_MIN {
            self.taken.store(0, Ordering::Relaxed);
            self.moved_at.set(activity.age());
        }
    }

    fn leave(&self) {
        let waker = self.with(|state| {
            state.has_left = true;
            state.waker.take()
        });
        // Outside of the lock: waking runs foreign code.
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Returns `Ready` once the reply has left; otherwise stores the waker.
    fn poll_sent(&self, cx: &Context<'_>) -> Poll<()> {
        self.with(|state| match state.has_left {
            true => Poll::Ready(()),
            false => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut Departure) -> T) -> T {
        change(&mut lock(&self.state))
    }
}

/// Reply that an HTTP/2 stream is sending.
pub(super) struct Sending {
    progress: Option<Arc<Progress>>,
}

impl Sending {
    /// Returns the reply that this thread has begun to send since the last call.
    pub(super) fn take_begun() -> Option<Self> {
        SENDING.take()
    }

    /// Returns the age of the connection when [`PROGRESS_BYTES_MIN`] further bytes of the reply had
    /// last left.
    pub(super) fn moved_at(&self) -> Option<Duration> {
        self.progress.as_ref().and_then(|progress| progress.moved_at.get())
    }
}

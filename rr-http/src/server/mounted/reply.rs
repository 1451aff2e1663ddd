//! Replies of a mounted service.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use rr_spi::BodyShare;

use super::super::tasks::Running;

/// Body of a reply of [`HttpService`](super::HttpService): one frame of bytes, or none.
///
/// The bytes count in the service's budget of bodies until the last reference to them has been
/// dropped, as by the server that has written them.
pub struct HttpReplyBody {
    data: Option<Bytes>,
    /// Keeps a drain waiting until the body has been sent or dropped.
    _running: Option<Running>,
}

impl HttpReplyBody {
    pub(super) fn new(bytes: Bytes, share: BodyShare, running: Option<Running>) -> Self {
        if bytes.is_empty() {
            return Self { data: None, _running: running };
        }
        let leaving = Leaving { bytes, _share: share, _running: running.clone() };
        Self { data: Some(Bytes::from_owner(leaving)), _running: running }
    }
}

/// Bytes that are leaving, their share of the budget, and their part of a drain.
struct Leaving {
    bytes: Bytes,
    _share: BodyShare,
    _running: Option<Running>,
}

impl AsRef<[u8]> for Leaving {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Body for HttpReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.data.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.data.as_ref().map_or(0, |data| data.len() as u64))
    }
}

impl fmt::Debug for HttpReplyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.data.as_ref().map_or(0, Bytes::len);
        f.debug_struct("HttpReplyBody").field("bytes", &bytes).finish_non_exhaustive()
    }
}

//! Replies of a mounted service.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use rr_spi::BodyShare;

use super::super::tasks::Running;
use crate::body::Whole;

/// Body of a reply of [`HttpService`](super::HttpService): one frame of bytes, or none.
///
/// The bytes count in the service's budget of bodies until the last reference to them has been
/// dropped, as by the server that has written them.
pub struct HttpReplyBody {
    data: Whole<Bytes>,
    /// Keeps a drain waiting until the body has been sent or dropped.
    _running: Option<Running>,
}

impl HttpReplyBody {
    pub(super) fn new(bytes: Bytes, share: BodyShare, running: Option<Running>) -> Self {
        if bytes.is_empty() {
            return Self { data: Whole::empty(), _running: running };
        }
        let leaving = Leaving { bytes, _share: share, _running: running.clone() };
        Self { data: Whole::new(Bytes::from_owner(leaving)), _running: running }
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
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.data).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.data.size_hint()
    }
}

impl fmt::Debug for HttpReplyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.data.size_hint().lower();
        f.debug_struct("HttpReplyBody").field("bytes", &bytes).finish_non_exhaustive()
    }
}

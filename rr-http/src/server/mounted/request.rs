//! Requests of a mounted service: their bodies and their callers.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::Extensions;
use http_body::{Body, Frame, SizeHint};
use rr_spi::Peer;

use super::super::BoxError;

/// Returns the caller that the application has put into the extensions of a request.
pub(super) fn caller(extensions: &Extensions) -> Option<Arc<Peer>> {
    if let Some(peer) = extensions.get::<Arc<Peer>>() {
        return Some(Arc::clone(peer));
    }
    if let Some(peer) = extensions.get::<Peer>() {
        return Some(Arc::new(peer.clone()));
    }
    let address = extensions.get::<SocketAddr>()?;
    Some(Arc::new(Peer::new().with_address(*address)))
}

/// Body of a request, of any kind. Boxed, since it may not be moved once it has been polled.
pub(super) struct RequestBody<B>(Pin<Box<B>>);

impl<B> RequestBody<B> {
    pub(super) fn new(body: B) -> Self {
        Self(Box::pin(body))
    }
}

impl<B: Body<Error: Into<BoxError>>> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = BodyFailure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFailure>>> {
        let Some(frame) = ready!(self.0.as_mut().poll_frame(cx)) else { return Poll::Ready(None) };
        // Copies nothing if the data are `Bytes`.
        let whole = |mut data: B::Data| data.copy_to_bytes(data.remaining());
        let frame = frame.map(|frame| frame.map_data(whole));
        Poll::Ready(Some(frame.map_err(|error| BodyFailure(error.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Failure of the body of a request.
#[derive(Debug)]
pub(super) struct BodyFailure(BoxError);

impl fmt::Display for BodyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for BodyFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

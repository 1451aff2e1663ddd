//! Service of the application for the requests that no route answers.

use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use rr_spi::BoxFuture;
use tower_service::Service;

use super::BoxError;
use super::carrier::Carrier as _;
use super::connection_state::ConnectionState;
use super::reply::{Reply, StreamedBody};
use crate::body::Whole;
use crate::socket::contained;

/// Service of the application, behind one type.
#[derive(Clone)]
pub(super) struct Fallback(Arc<dyn Fn(Request<HttpRequestBody>) -> Answering + Send + Sync>);

type Answering = BoxFuture<'static, Response<StreamedBody>>;

impl Fallback {
    pub(super) fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<HttpRequestBody>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let service = Arc::new(service);
        Self(Arc::new(move |request| {
            let shared = Arc::clone(&service);
            Box::pin(async move {
                // Here, so that a panic of `Clone` is contained too.
                let mut service = S::clone(&shared);
                drop(shared);
                let Ok(()) = poll_fn(|cx| service.poll_ready(cx)).await;
                let Ok(reply) = service.call(request).await;
                reply.map(|body| Box::pin(Contained(Some(Box::pin(body)))) as _)
            })
        }))
    }

    /// Answers a request. A panic of the service becomes a reply with status 500.
    pub(super) fn answer(
        &self,
        shared: &ConnectionState,
        mut parts: Parts,
        body: Incoming,
    ) -> BoxFuture<'static, Response<Reply>> {
        // Connections are not handed over, and a service that wants one refuses by itself.
        parts.extensions.remove::<OnUpgrade>();
        if let Some(address) = shared.peer.address() {
            parts.extensions.insert(address);
        }
        parts.extensions.insert(Arc::clone(&shared.peer));
        let is_h1 = parts.version < Version::HTTP_2;
        let (shared, active) = (shared.clone(), shared.activity.start_request());
        let mut answering =
            Contained(Some((self.0)(Request::from_parts(parts, HttpRequestBody(body)))));
        Box::pin(async move {
            let mut reply = poll_fn(|cx| answering.poll_answer(cx)).await.unwrap_or_else(failed);
            if is_h1 && (shared.server.intake.is_draining() || shared.retires()) {
                reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            reply.map(|body| Reply::streamed(body, active))
        })
    }
}

/// Makes the reply for a service that panicked, whose text goes to the panic hook and nowhere else.
fn failed() -> Response<StreamedBody> {
    let text = Bytes::from_static(b"the service failed unexpectedly\n");
    let mut reply = Response::new(Box::pin(Contained(Some(Box::pin(Whole::new(text))))) as _);
    *reply.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    reply.headers_mut().insert(header::CONTENT_TYPE, text);
    reply
}

/// Body of a request to the service of
/// [`HttpServerBuilder::with_fallback`](crate::HttpServerBuilder::with_fallback), as it arrives.
pub struct HttpRequestBody(Incoming);

impl Body for HttpRequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx).map_err(io::Error::other)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl fmt::Debug for HttpRequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequestBody").finish_non_exhaustive()
    }
}

/// Future or body of the service, whose panics are contained, those of its destructor too. `None`
/// after a panic.
struct Contained<T: ?Sized>(Option<Pin<Box<T>>>);

impl<T: ?Sized> Contained<T> {
    fn end(&mut self) {
        let value = self.0.take();
        // The panic hook has shown it.
        let _ = contained(|| drop(value));
    }
}

impl<T: ?Sized> Drop for Contained<T> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<T: ?Sized + Future> Contained<T> {
    /// Polls the future. The outcome is `None` if it has panicked.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<T::Output>> {
        let Some(future) = &mut self.0 else { return Poll::Ready(None) };
        let polled = contained(|| future.as_mut().poll(cx));
        polled.map_or(Poll::Ready(None), |polled| polled.map(Some))
    }
}

impl<B: Body<Error: Into<BoxError>>> Body for Contained<B> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let polled =
            contained(|| {
                let frame = ready!(body.as_mut().poll_frame(cx));
                let whole = |mut data: B::Data| data.copy_to_bytes(data.remaining());
                Poll::Ready(frame.map(|frame| {
                    frame.map(|frame| frame.map_data(whole)).map_err(io::Error::other)
                }))
            });
        polled.unwrap_or_else(|error| {
            self.end();
            Poll::Ready(Some(Err(error)))
        })
    }

    fn is_end_stream(&self) -> bool {
        let is_end = |body: &Pin<Box<B>>| contained(|| body.is_end_stream()).unwrap_or(false);
        self.0.as_ref().is_none_or(is_end)
    }

    fn size_hint(&self) -> SizeHint {
        let hint = |body: &Pin<Box<B>>| contained(|| body.size_hint()).unwrap_or_default();
        self.0.as_ref().map_or_else(SizeHint::default, hint)
    }
}

//! Head of a request for its handler.

use std::sync::Arc;

use bytes::Bytes;

use crate::headers::Headers;
use crate::idempotency::Idempotency;
use crate::peer::Peer;
use crate::request::Request;
use crate::target::Target;

/// Headers, target, idempotency and peer of the request that a handler answers.
///
/// [`Context::request`](crate::Context::request) returns it. It never travels on by itself: a call
/// that the handler makes carries only the headers that the handler sets on it.
///
/// # Examples
///
/// ```
/// # mod rr_core { pub use rr_spi::*; pub mod context { pub use rr_spi::RequestInfo; } }
/// use rr_core::context::RequestInfo;
/// use rr_core::{Context, Error, Headers};
///
/// async fn greet(ctx: Context, name: String) -> Result<String, Error> {
///     let tenant = ctx.request().headers().get("x-tenant").unwrap_or("no tenant");
///     Ok(format!("Hello, {name} of {tenant}!"))
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Error> {
/// // In a unit test, the request is attached to the context.
/// let mut headers = Headers::new();
/// headers.insert("x-tenant", "berlin")?;
/// let ctx = Context::background().with_request(RequestInfo::default().with_headers(headers));
/// assert_eq!(greet(ctx, "Ada".to_owned()).await?, "Hello, Ada of berlin!");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct RequestInfo {
    target: Option<Target>,
    headers: Headers,
    idempotency: Idempotency,
    peer: Option<Arc<Peer>>,
}

impl RequestInfo {
    /// Information of a context that no server made.
    pub(crate) const NONE: &'static Self = &Self {
        target: None,
        headers: Headers::new(),
        idempotency: Idempotency::Unspecified,
        peer: None,
    };

    /// Copies the information of a request; this only increments reference counts.
    pub(crate) fn of(request: &Request, peer: Option<Arc<Peer>>) -> Self {
        let mut headers = request.headers.clone();
        headers.remove_reply_only();
        Self {
            target: Some(request.target.clone()),
            headers,
            idempotency: request.idempotency.clone(),
            peer,
        }
    }

    /// Takes target, headers and idempotency from a request, and keeps the peer.
    pub(crate) fn with_head_of(self, request: &Request) -> Self {
        Self::of(request, self.peer)
    }

    /// Returns the target that was called; `None` on a context that no server made.
    ///
    /// For a method with an alias, this is the name that the caller used.
    #[must_use]
    pub fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }

    /// Returns the headers of the request. A handler sees them as the middleware around its route
    /// passed them on, other code as they arrived. Whether `content-type` is among them depends on
    /// the transport: see the wire reference, "Other headers".
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Returns the idempotency that the caller declared, with the key of a keyed request.
    #[must_use]
    pub fn idempotency(&self) -> &Idempotency {
        &self.idempotency
    }

    /// Returns the other end of the connection; `None` on a transport without connections to
    /// callers, such as NATS and memory.
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_deref()
    }

    /// Makes the request again, with this body; `None` without a target.
    #[must_use]
    pub fn to_request(&self, body: impl Into<Bytes>) -> Option<Request> {
        let request = Request::new(self.target.clone()?, body);
        let request = request.with_headers(self.headers.clone());
        Some(request.with_idempotency(self.idempotency.clone()))
    }

    /// Replaces the target.
    #[must_use]
    pub fn with_target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    /// Replaces the headers.
    #[must_use]
    pub fn with_headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }

    /// Replaces the idempotency.
    #[must_use]
    pub fn with_idempotency(mut self, idempotency: Idempotency) -> Self {
        self.idempotency = idempotency;
        self
    }

    /// Replaces the peer.
    #[must_use]
    pub fn with_peer(mut self, peer: impl Into<Arc<Peer>>) -> Self {
        self.peer = Some(peer.into());
        self
    }
}

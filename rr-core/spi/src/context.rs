//! Deadline, cancellation and metadata of a call: the explicit first argument of every call.

mod cancel_handle;
mod cause;
mod deadline;
mod metadata;
mod node;
mod passage;
mod race;
mod scope;
mod server_state;
mod shield;

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Error;
use crate::request::Request;
use crate::request_info::RequestInfo;

use node::Parent;
use scope::Scope;

pub use cancel_handle::CancelHandle;
pub use cause::Cause;
pub use deadline::Deadline;
pub use metadata::Criticality;
pub use passage::Passage;
pub use race::Race;
pub use server_state::Mark;
pub use shield::Shield;

pub(crate) use metadata::Metadata;
pub(crate) use node::Node;
pub(crate) use server_state::ServerState;

/// Deadline, cancellation, trace context and baggage of a call.
///
/// A context is the explicit first argument of every call; it is never ambient. Cloning it is
/// cheap. [`Context::with_timeout`] and [`Context::with_deadline`] can only shorten the deadline. A
/// handler passes its context to the calls it makes, which inherit the remaining time.
///
/// # Examples
///
/// ```
/// # mod rr_core { pub use rr_spi::*; pub mod context { pub use rr_spi::Cause; } }
/// use std::time::Duration;
///
/// use rr_core::Context;
/// use rr_core::context::Cause;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let ctx = Context::background().with_timeout(Duration::from_secs(2));
/// assert!(ctx.remaining() <= Some(Duration::from_secs(2)));
///
/// let (child, handle) = ctx.child();
/// handle.cancel();
/// assert_eq!(child.cause(), Some(Cause::Cancelled));
/// assert_eq!(ctx.cause(), None);
/// # }
/// ```
#[derive(Clone)]
pub struct Context {
    deadline: Option<Deadline>,
    node: Option<Arc<Node>>,
    retries: u32,
    unbounded: bool,
}

impl Context {
    /// Returns the root of all contexts: no deadline, never cancelled.
    ///
    /// A call made with this context gets the default timeout of 10 s, unless
    /// [`Context::unbounded`] is used.
    #[must_use]
    pub const fn background() -> Self {
        Self { deadline: None, node: None, retries: 0, unbounded: false }
    }

    /// Returns a context that ends after `timeout` at the latest, and no later than this one.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        self.with_deadline(Deadline::after(timeout))
    }

    /// Returns a context that ends at `deadline` at the latest, and no later than this one.
    #[must_use]
    pub fn with_deadline(&self, deadline: Deadline) -> Self {
        let earlier = self.deadline.map_or(deadline, |own| own.min(deadline));
        Self { deadline: Some(earlier), ..self.clone() }
    }

    /// Returns a context to which no default timeout is applied.
    ///
    /// If the reply is lost, the call waits until it is cancelled. A deadline that this context
    /// already has stays. Without a deadline, the request carries no timeout and the server applies
    /// its own default (30 s). The same holds for a deadline of more than 115 days, which has more
    /// digits than the wire carries.
    #[must_use]
    pub fn unbounded(&self) -> Self {
        Self { unbounded: true, ..self.clone() }
    }

    /// Returns this context, with a default timeout if it has no deadline and is not unbounded.
    ///
    /// For the outermost layer of a call, so that all attempts share one deadline.
    #[must_use]
    pub fn or_timeout(&self, default: Duration) -> Self {
        self.or_timeout_at(default, Instant::now())
    }

    pub(crate) fn or_timeout_at(&self, default: Duration, now: Instant) -> Self {
        if self.deadline.is_some() || self.unbounded {
            return self.clone();
        }
        self.with_deadline(Deadline::after_at(now, default))
    }

    /// Returns the instant at which the call ends.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }

    /// Returns the remaining time; zero when the deadline has passed, `None` without a deadline.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(Deadline::remaining)
    }

    /// Returns the number of earlier attempts of the call made with this context; 0 on the first.
    ///
    /// The number that a handler's request carried is [`Context::inbound_retries`].
    #[must_use]
    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// Returns a context for an attempt after `retries` earlier attempts. For retry layers.
    #[must_use]
    pub fn with_retries(&self, retries: u32) -> Self {
        Self { retries, ..self.clone() }
    }

    /// Returns a child with a separate cancellation scope, and the handle that cancels it.
    ///
    /// Cancelling the child does not cancel this context. Dropping the handle cancels the child
    /// with [`Cause::CallerDropped`]. Allocates once.
    pub fn child(&self) -> (Self, CancelHandle) {
        let node = Arc::new(Node::child_of(self.node.as_ref()));
        let handle = CancelHandle::new(Arc::clone(&node), self.deadline);
        (Self { node: Some(node), ..self.clone() }, handle)
    }

    /// Returns a context with the same trace, baggage and values, but no deadline or cancellation.
    ///
    /// For work that continues after the call, such as shielded work.
    #[must_use]
    pub fn detached(&self) -> Self {
        // The parent link stays, so that the server's state of the call is still found.
        let node = self.node.as_ref().map(|node| Arc::new(Node::detached_child_of(node)));
        Self { node, ..Self::background() }
    }

    /// Runs a future until it completes, the deadline passes or this context is cancelled.
    ///
    /// Attempts, dispatch, limits and retry sleeps are built on this method. It arms one timer,
    /// after the first pending poll, and spawns no task. The deadline wins ties.
    ///
    /// # Errors
    ///
    /// The [`Cause`] when the context ended first.
    ///
    /// # Panics
    ///
    /// When polled outside of a tokio runtime with time enabled, if the context has a deadline.
    ///
    /// # Cancel safety
    ///
    /// Dropping the returned future drops `future`.
    pub fn race<F: Future>(&self, future: F) -> Race<'_, F> {
        Race::new(self, future)
    }

    /// Waits until the context ends and returns the cause.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time.
    pub async fn cancelled(&self) -> Cause {
        match self.race(pending::<Infallible>()).await {
            Err(cause) => cause,
            Ok(never) => match never {},
        }
    }

    /// Returns the cause if the context has ended, else `None`.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.cause_by(|deadline| deadline.has_passed())
    }

    pub(crate) fn cause_at(&self, now: Instant) -> Option<Cause> {
        self.cause_by(|deadline| deadline.instant() <= now)
    }

    fn cause_by(&self, has_passed: impl FnOnce(&Deadline) -> bool) -> Option<Cause> {
        let expired = || self.deadline.as_ref().is_some_and(has_passed);
        self.scope_cause().or_else(|| expired().then_some(Cause::DeadlineExceeded))
    }

    /// Returns whether a call that is dropped now counts as expired: its deadline has passed, or
    /// passes within 5 ms. A transport need not cancel such a call at the peer, whose timer ends it.
    #[must_use]
    pub fn is_at_deadline(&self) -> bool {
        let is_expired = self.cause() == Some(Cause::DeadlineExceeded);
        is_expired || self.deadline.is_some_and(cancel_handle::is_close)
    }

    /// Spawns a future that runs to completion even if the handler is dropped.
    ///
    /// A drain of the server that handles this call waits for the future, within its grace. While as
    /// many shielded futures run as the server admits requests, it refuses further requests. On a
    /// context that no server made, only the caller waits for it. Inside, use [`Context::detached`]
    /// with a separate timeout: this context ends with the call.
    ///
    /// # Examples
    ///
    /// ```
    /// # use rr_spi as rr_core;
    /// # use std::time::Duration;
    /// # use rr_core::Context;
    /// async fn charge(_: Context) {}
    ///
    /// async fn handler(ctx: Context) {
    ///     let inside = ctx.detached().with_timeout(Duration::from_secs(5));
    ///     ctx.shield(charge(inside)).await;
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// When called outside of a tokio runtime. A panic of `future` resumes in the task that awaits
    /// the result.
    ///
    /// # Cancel safety
    ///
    /// Dropping the returned future leaves `future` running.
    pub fn shield<F>(&self, future: F) -> Shield<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Shield::spawn(self.server_state().map(|server| Arc::clone(&server.in_flight)), future)
    }

    /// Returns the request id that a caller or a proxy has set.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.data()?.request_id.as_deref()
    }

    /// Returns the W3C trace context's `traceparent`, verbatim.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        self.data()?.traceparent.as_deref()
    }

    /// Returns the W3C trace context's `tracestate`, verbatim.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.data()?.tracestate.as_deref()
    }

    /// Returns the W3C `baggage`, verbatim.
    #[must_use]
    pub fn baggage(&self) -> Option<&str> {
        self.data()?.baggage.as_deref()
    }

    /// Returns the criticality of the call; [`Criticality::Critical`] if none was set.
    #[must_use]
    pub fn criticality(&self) -> Criticality {
        self.data().map_or(Criticality::Critical, |data| data.criticality)
    }

    /// Returns a value that was attached in this process, such as the peer's identity.
    #[must_use]
    pub fn value<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.data()?.values.iter().rev().find_map(|value| value.downcast_ref())
    }

    /// Returns what arrived with the request that the handler answers: headers, target, idempotency
    /// and peer.
    ///
    /// On a context that no server made, such as [`Context::background`], it is empty.
    #[must_use]
    pub fn request(&self) -> &RequestInfo {
        let attached = self.data().and_then(|data| data.request.as_deref());
        let arrived = || self.server_state().and_then(|server| server.request.get());
        attached.or_else(arrived).unwrap_or(RequestInfo::NONE)
    }

    /// Returns a context whose [`Context::request`] is the given one.
    ///
    /// For unit tests of handlers, and for middleware that hides a header from handlers.
    #[must_use]
    pub fn with_request(&self, request: RequestInfo) -> Self {
        self.with_data(|data| data.request = Some(Arc::new(request)))
    }

    /// Returns a context with a request id, which is passed on over every further hop.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, unless the id is 1 to 256 printable ASCII characters.
    pub fn with_request_id(&self, id: &str) -> Result<Self, Error> {
        let id = metadata::checked("request id", id, metadata::REQUEST_ID_BYTES_MAX)?;
        Ok(self.with_data(|data| data.request_id = Some(id)))
    }

    /// Returns a context with a W3C trace context, which is passed on over every further hop.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, unless both are printable ASCII of at most 512 bytes.
    pub fn with_trace(&self, traceparent: &str, tracestate: Option<&str>) -> Result<Self, Error> {
        let parent = metadata::checked("traceparent", traceparent, metadata::TRACE_BYTES_MAX)?;
        let state = tracestate
            .map(|state| metadata::checked("tracestate", state, metadata::TRACE_BYTES_MAX))
            .transpose()?;
        Ok(self.with_data(|data| (data.traceparent, data.tracestate) = (Some(parent), state)))
    }

    /// Returns a context with W3C baggage, which is passed on over every further hop.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, unless the baggage is printable ASCII of at most 8192 bytes.
    pub fn with_baggage(&self, baggage: &str) -> Result<Self, Error> {
        let baggage = metadata::checked("baggage", baggage, metadata::BAGGAGE_BYTES_MAX)?;
        Ok(self.with_data(|data| data.baggage = Some(baggage)))
    }

    /// Returns a context with this criticality. It travels with the calls made with the context, and
    /// with the calls that their handlers make.
    #[must_use]
    pub fn with_criticality(&self, criticality: Criticality) -> Self {
        self.with_data(|data| data.criticality = criticality)
    }

    /// Returns a context with an attached value, which stays in this process.
    #[must_use]
    pub fn with_value<T: Any + Send + Sync>(&self, value: T) -> Self {
        self.with_data(|data| data.values.push(Arc::new(value)))
    }

    fn with_data(&self, change: impl FnOnce(&mut Metadata)) -> Self {
        let mut data = self.data().cloned().unwrap_or_default();
        change(&mut data);
        let node = Node {
            parent: Parent(self.node.clone()),
            data: Some(Arc::new(data)),
            ..Node::default()
        };
        Self { node: Some(Arc::new(node)), ..self.clone() }
    }

    fn data(&self) -> Option<&Metadata> {
        self.node.as_ref()?.data.as_deref()
    }

    /// Returns the cancellation scopes above this context, nearest first.
    fn scopes(&self) -> impl Iterator<Item = &Scope> {
        let nodes = std::iter::successors(self.node.as_deref(), |node| {
            if node.is_detached { None } else { node.parent.0.as_deref() }
        });
        nodes.filter_map(|node| node.scope.as_ref())
    }

    fn scope_cause(&self) -> Option<Cause> {
        self.scopes().find_map(Scope::cause)
    }

    fn server_state(&self) -> Option<&ServerState> {
        let nodes = std::iter::successors(self.node.as_deref(), |node| node.parent.0.as_deref());
        nodes.filter_map(|node| node.server.as_ref()).next()
    }

    /// Makes the root context of a request that arrived, and its handle for the server.
    pub(crate) fn for_inbound(
        deadline: Deadline,
        data: Option<Metadata>,
        server: ServerState,
    ) -> (Self, CancelHandle) {
        let node = Arc::new(Node {
            scope: Some(Scope::default()),
            data: data.map(Arc::new),
            server: Some(server),
            ..Node::default()
        });
        let handle = CancelHandle::new(Arc::clone(&node), Some(deadline));
        (Self { deadline: Some(deadline), node: Some(node), ..Self::background() }, handle)
    }

    /// Returns a context with the head of a request that middleware has changed; `None` if it is as
    /// it arrived, or if middleware has replaced it with [`Context::with_request`].
    pub(crate) fn with_changed_request(&self, request: &Request) -> Option<Self> {
        let arrived = self.server_state()?.request.get()?;
        let is_replaced = self.data().is_some_and(|data| data.request.is_some());
        let is_same = arrived.headers().shares_entries(&request.headers)
            && arrived.target() == Some(&request.target);
        let changed = !is_replaced && !is_same;
        changed.then(|| self.with_request(arrived.clone().with_head_of(request)))
    }

    /// Stores what arrived with the request; the first call counts.
    pub(crate) fn set_request(&self, request: &Request) {
        if let Some(server) = self.server_state() {
            server.request.get_or_init(|| RequestInfo::of(request, server.peer.clone()));
        }
    }

    /// Returns the node with the nearest scope of this context, to cancel it later. This takes less
    /// memory than a clone of the context.
    pub(crate) fn own_scope(&self) -> Option<Arc<Node>> {
        let mut nodes = std::iter::successors(self.node.as_ref(), |node| {
            if node.is_detached { None } else { node.parent.0.as_ref() }
        });
        nodes.find(|node| node.scope.is_some()).cloned()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Context");
        if let Some(remaining) = self.remaining() {
            out.field("remaining", &remaining);
        }
        if let Some(cause) = self.cause() {
            out.field("cause", &cause);
        }
        if self.retries > 0 {
            out.field("retries", &self.retries);
        }
        if let Some(id) = self.request_id() {
            out.field("request_id", &id);
        }
        out.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

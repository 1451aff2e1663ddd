//! Middleware around a requester or a responder.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rr_spi::{Context, Error, Middleware, Next, Requester, Responder, defaults};

use crate::client::Client;
use crate::observe::{Observe, Observers};

/// Requester or responder wrapped in middleware; implements the same trait.
///
/// The first middleware added is the outermost. Around a requester, a stack applies the default
/// deadline on entry, so that all layers share one deadline. An empty stack costs nothing.
///
/// A stack around a responder is one handler: a request that its middleware refuses counts as run.
/// If a refusal must report `Rejected`, use [`Router::with`](crate::Router::with).
///
/// # Examples
///
/// ```
/// use rr_core::{Context, Error, Middleware, Next, Request, Requester, Response, Stack, async_trait};
///
/// struct Tag;
///
/// #[async_trait]
/// impl Middleware for Tag {
///     async fn handle(&self, ctx: &Context, mut request: Request, next: Next<'_>) -> Result<Response, Error> {
///         request.headers.insert("x-tag", "a")?;
///         next.run(ctx, request).await
///     }
/// }
///
/// fn tagged(client: impl Requester) -> impl Requester {
///     Stack::new(client).with(Tag)
/// }
/// ```
pub struct Stack<T> {
    middleware: Vec<Arc<dyn Middleware>>,
    timeout_default: Duration,
    inner: T,
}

impl<T> Stack<T> {
    /// Makes a stack without middleware.
    pub const fn new(inner: T) -> Self {
        Self { middleware: Vec::new(), timeout_default: defaults::CLIENT_TIMEOUT, inner }
    }

    /// Adds a middleware inside the existing ones.
    #[must_use]
    pub fn with(mut self, middleware: impl Middleware) -> Self {
        self.middleware.push(Arc::new(middleware));
        self
    }

    /// Reports each call to these observers, exactly once, whatever its attempts did: adds an
    /// [`Observe`] outside of the existing middleware. Around a responder it must not be used, since
    /// a server reports its requests itself.
    ///
    /// The attempts are reported by the requester, to the observers of its configuration.
    ///
    /// # Examples
    ///
    /// ```
    /// use rr_core::observe::{End, Observer, Observers};
    /// use rr_core::{Requester, Stack};
    ///
    /// struct Failures;
    ///
    /// impl Observer for Failures {
    ///     fn ended(&self, end: &End<'_>) {
    ///         if let Some(error) = end.outcome.error() {
    ///             eprintln!("{:?} failed: {}", end.start.kind, error.account());
    ///         }
    ///     }
    /// }
    ///
    /// fn observed(client: impl Requester) -> impl Requester {
    ///     Stack::new(client).observed_by(Observers::new(Failures))
    /// }
    /// ```
    #[must_use]
    pub fn observed_by(mut self, observers: Observers) -> Self {
        self.middleware.insert(0, Arc::new(Observe::new(observers)));
        self
    }

    /// Replaces the timeout of a call whose context has no deadline; 10 s by default. Applies only
    /// with middleware: an empty stack leaves the timeout to the inner requester.
    #[must_use]
    pub const fn with_timeout_default(mut self, timeout: Duration) -> Self {
        self.timeout_default = timeout;
        self
    }

    /// Returns the inner requester or responder.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.inner
    }
}

impl Stack<Client> {
    /// Waits until the peer of the client can be reached, as [`Client::ready`] does. The middleware
    /// takes no part in it.
    ///
    /// # Errors
    ///
    /// `DeadlineExceeded` or `Canceled`, not sent, when the context ended first.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), rr_core::Error> {
    /// use std::time::Duration;
    ///
    /// use rr_core::{Context, connect, recommended};
    ///
    /// let client = recommended(connect("http://orders:8080").await?);
    /// client.ready(&Context::background().with_timeout(Duration::from_secs(30))).await?;
    /// # Ok(()) }
    /// ```
    pub async fn ready(&self, ctx: &Context) -> Result<(), Error> {
        self.inner.ready(ctx).await
    }
}

impl<T: Requester> Requester for Stack<T> {
    rr_spi::boxed! {
        fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
            let next = Next::for_requester(&self.middleware, &self.inner);
            if self.middleware.is_empty() || ctx.deadline().is_some() {
                return next.run(ctx, request);
            }
            Box::pin(async move {
                let ctx = ctx.or_timeout(self.timeout_default);
                next.run(&ctx, request).await
            })
        }
    }
}

impl<T: Responder> Responder for Stack<T> {
    rr_spi::boxed! {
        fn respond(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
            Next::for_responder(&self.middleware, &self.inner).run(ctx, request)
        }
    }
}

impl<T> fmt::Debug for Stack<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack").field("middleware", &self.middleware.len()).finish_non_exhaustive()
    }
}

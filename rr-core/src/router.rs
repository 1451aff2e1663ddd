//! Routing table from targets to handlers.

mod handler;
mod method;
#[cfg(feature = "json")]
mod typed;

use std::fmt;
use std::sync::Arc;

use rr_spi::{Error, Middleware, Next, Responder, Route, Routes};

pub use handler::{Handler, IntoHandler};
pub use method::{HandlerExt, Method};

/// Routing table from targets to handlers.
///
/// Accepts responders, `Arc<dyn Responder>`, [`Forward`](crate::Forward), and async functions and
/// closures of the forms `async fn(Context, Request)`, `async fn(Context, T)` and `async fn(T)`.
/// `T` is deserializable and the result serializable, or a [`Reply`](crate::Reply) with headers; a
/// method without input takes `(): ()`. Methods over shared state are a
/// [`Service`](crate::Service). The error is [`Error`], an [`AppError`](rr_spi::AppError) or a [`CallError`](crate::CallError). A
/// handler that returns `CallError<A>` passes on the failure of another call with
/// `.map_err(Error::from)?`.
///
/// # Examples
///
#[cfg_attr(feature = "json", doc = "```")]
#[cfg_attr(not(feature = "json"), doc = "```ignore")]
/// use rr_core::{Context, Error, HandlerExt, Request, Response, Router};
///
/// async fn ping(_ctx: Context, _request: Request) -> Result<Response, Error> {
///     Ok(Response::new("pong"))
/// }
///
/// async fn double(n: u32) -> Result<u32, Error> {
///     Ok(n * 2)
/// }
///
/// let router = Router::new()
///     .route("ping", ping.safe())
///     .route("math.double", double)
///     .route("math.half", |n: u32| async move { Ok::<_, Error>(n / 2) });
/// ```
#[derive(Default)]
pub struct Router {
    routes: Routes,
    middleware: Vec<Arc<dyn Middleware>>,
}

impl Router {
    /// Makes a router without routes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Routes one target.
    ///
    /// # Panics
    ///
    /// When the target is malformed or already routed; see [`Router::try_route`].
    #[track_caller]
    #[must_use]
    pub fn route<M>(self, target: &str, handler: impl IntoHandler<M>) -> Self {
        accepted(self.try_route(target, handler))
    }

    /// Routes one target whose name is known only at run time.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when the target is malformed; `AlreadyExists`, not sent, when
    /// it is already routed.
    pub fn try_route<M>(
        mut self,
        target: &str,
        handler: impl IntoHandler<M>,
    ) -> Result<Self, Error> {
        let route = Route::Target(target.to_owned());
        handler.into_handler().add(&mut self.routes, route)?;
        Ok(self)
    }

    /// Routes every method of a service.
    ///
    /// # Panics
    ///
    /// When the name is malformed or already routed.
    #[track_caller]
    #[must_use]
    pub fn service<M>(mut self, service: &str, handler: impl IntoHandler<M>) -> Self {
        let route = Route::Service(service.to_owned());
        let added = handler.into_handler().add(&mut self.routes, route);
        accepted(added.map(|()| self))
    }

    /// Declares that a service has no methods besides those routed by name. Calls to other methods
    /// fail with `Unimplemented` on every transport and never reach the fallback.
    ///
    /// Without this declaration, a call that no route matches fails as `Unavailable`,
    /// `no-responder`, on transports where another process may serve it, such as NATS.
    ///
    /// # Panics
    ///
    /// When the name is malformed, or one handler answers the whole service.
    #[track_caller]
    #[must_use]
    pub fn close(self, service: &str) -> Self {
        accepted(self.try_close(service))
    }

    /// Declares that a service whose name is known only at run time has no further methods; see
    /// [`Router::close`].
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when the name is malformed; `AlreadyExists`, not sent, when one
    /// handler answers the whole service.
    pub fn try_close(mut self, service: &str) -> Result<Self, Error> {
        self.routes.close_service(service)?;
        Ok(self)
    }

    /// Routes every target that no other route matches.
    ///
    /// # Panics
    ///
    /// When the router already has a fallback.
    #[track_caller]
    #[must_use]
    pub fn fallback<M>(mut self, handler: impl IntoHandler<M>) -> Self {
        let added = handler.into_handler().add(&mut self.routes, Route::Fallback);
        accepted(added.map(|()| self))
    }

    /// Adds the routes of another router; that router's middleware still wraps them.
    ///
    /// # Panics
    ///
    /// When both routers have the same route; see [`Router::try_merge`].
    #[track_caller]
    #[must_use]
    pub fn merge(self, routes: impl Into<Routes>) -> Self {
        accepted(self.try_merge(routes))
    }

    /// Adds the routes of another router whose names are known only at run time.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`, not sent, when both routers have the same route.
    pub fn try_merge(mut self, routes: impl Into<Routes>) -> Result<Self, Error> {
        self.routes.merge(routes.into())?;
        Ok(self)
    }

    /// Adds a readiness check of the application, such as one of its database.
    ///
    /// Over HTTP, a health check (`/.well-known/rr/health`) runs all of them simultaneously and
    /// answers 503 with the names and messages of those that fail. Requests are served
    /// nevertheless. A check has 1 s, and its outcome is reused for 1 s, so that frequent health
    /// checks do not load the application. A panic fails the check.
    ///
    /// Load balancers and people read the message of the check's error. The message of an error
    /// that comes from a call of rr is replaced by a general text, unless the check calls
    /// [`Error::expose`].
    ///
    /// # Panics
    ///
    /// When the name is empty or has more than 64 bytes, or when there is a check with this name.
    ///
    /// # Examples
    ///
    /// ```
    /// use rr_core::{Code, Error, Router};
    ///
    /// # struct Database;
    /// # impl Database { async fn ping(&self) -> bool { true } }
    /// # static DATABASE: Database = Database;
    /// let router = Router::new().readiness_check("database", || async {
    ///     match DATABASE.ping().await {
    ///         true => Ok(()),
    ///         false => Err(Error::new(Code::Unavailable, "no answer")),
    ///     }
    /// });
    /// ```
    #[track_caller]
    #[must_use]
    pub fn readiness_check<F, E>(
        mut self,
        name: &str,
        check: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Error>,
    {
        let added = self.routes.readiness_check(name, move || {
            let check = check();
            Box::pin(async move { check.await.map_err(Into::into) })
        });
        accepted(added.map(|()| self))
    }

    /// Removes the descriptions of the services added so far, so that transports publish nothing
    /// about them: neither at `/.well-known/rr` over HTTP nor in `$SRV.INFO` over NATS.
    #[must_use]
    pub fn without_descriptions(self) -> Self {
        Self { routes: self.routes.without_descriptions(), ..self }
    }

    /// Returns the routes without the middleware of this router.
    #[cfg(feature = "schema")]
    pub(crate) fn bare_routes(&self) -> &Routes {
        &self.routes
    }

    /// Wraps every route in middleware, including routes added later. The first middleware added is
    /// the outermost.
    ///
    /// A request that the middleware refuses before it runs `next` fails as `Rejected`: no handler
    /// was entered.
    #[must_use]
    pub fn with(mut self, middleware: impl Middleware) -> Self {
        self.middleware.push(Arc::new(middleware));
        self
    }
}

/// Panics at the location that added the route instead of in this function.
#[track_caller]
fn accepted<T>(outcome: Result<T, Error>) -> T {
    match outcome {
        Ok(router) => router,
        Err(error) => panic!("{}; {}", error.message(), error.hint()),
    }
}

impl From<Router> for Routes {
    fn from(router: Router) -> Self {
        if router.middleware.is_empty() {
            return router.routes;
        }
        router.routes.wrap(&router.middleware)
    }
}

impl Responder for Router {
    rr_spi::boxed! {
        /// Answers as a single handler: a request that the middleware or the routes refuse counts as
        /// run. To add the routes individually, use [`Router::merge`].
        fn respond(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
            Next::for_responder(&self.middleware, &self.routes).run(ctx, request)
        }
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes: Vec<_> = self.routes.iter().map(|(route, _)| route).collect();
        f.debug_struct("Router")
            .field("routes", &routes)
            .field("middleware", &self.middleware.len())
            .finish()
    }
}

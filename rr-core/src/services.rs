//! Service: methods over one state.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;

use rr_spi::{Context, Error, HandlerError, Middleware, Request, Response, Routes};

use crate::call::Handler;
use crate::router::{IntoHandler, Method, Router};

/// Service: methods over one state, under one name.
///
/// A method is an async function whose first argument is the state, which each call receives as a
/// clone: the state is an `Arc`, or a struct that is cheap to clone. After the state, the forms are
/// those of [`Router`]: `(S, Context, Request)`, `(S, Context, T)` and `(S, T)`. A service is
/// closed: a call to a method that it does not have fails as `Unimplemented`.
///
/// # Examples
///
#[cfg_attr(feature = "json", doc = "```")]
#[cfg_attr(not(feature = "json"), doc = "```ignore")]
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// use rr_core::{Context, Error, HandlerExt, Local, RequesterExt, Router, Service};
///
/// #[derive(Default)]
/// struct Stock {
///     left: AtomicU32,
/// }
///
/// impl Stock {
///     async fn add(self: Arc<Self>, count: u32) -> Result<u32, Error> {
///         Ok(self.left.fetch_add(count, Ordering::Relaxed) + count)
///     }
///
///     async fn left(self: Arc<Self>, _: Context, (): ()) -> Result<u32, Error> {
///         Ok(self.left.load(Ordering::Relaxed))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rr_core::CallError> {
/// let stock = Service::new("stock.v1", Arc::new(Stock::default()))
///     .method("add", Stock::add)
///     .method("left", Stock::left.safe());
/// let local = Local::new(Router::new().merge(stock));
/// let three: u32 = local.call(&Context::background(), "stock.v1.add", &3).await?;
/// assert_eq!(three, 3);
/// # Ok(()) }
/// ```
pub struct Service<S> {
    name: String,
    state: S,
    router: Router,
}

impl<S: Clone + Send + Sync + 'static> Service<S> {
    /// Makes a service without methods.
    ///
    /// # Panics
    ///
    /// When the name is malformed; see [`Service::try_new`].
    #[track_caller]
    #[must_use]
    pub fn new(name: &str, state: S) -> Self {
        Self { name: name.to_owned(), state, router: Router::new().close(name) }
    }

    /// Makes a service whose name is known only at run time.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when the name is malformed.
    pub fn try_new(name: &str, state: S) -> Result<Self, Error> {
        Ok(Self { name: name.to_owned(), state, router: Router::new().try_close(name)? })
    }

    /// Adds a method.
    ///
    /// # Panics
    ///
    /// When the name is malformed, or the service has a method of this name; see
    /// [`Service::try_method`].
    #[track_caller]
    #[must_use]
    pub fn method<M>(self, name: &str, method: impl IntoMethod<S, M>) -> Self {
        let target = self.target(name);
        let router = self.router.route(&target, method.into_handler_of(self.state.clone()));
        Self { router, ..self }
    }

    /// Adds a method whose name is known only at run time.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when the name is malformed; `AlreadyExists`, not sent, when the
    /// service has a method of this name.
    pub fn try_method<M>(self, name: &str, method: impl IntoMethod<S, M>) -> Result<Self, Error> {
        let target = self.target(name);
        let router = self.router.try_route(&target, method.into_handler_of(self.state.clone()))?;
        Ok(Self { router, ..self })
    }

    /// Wraps every method in middleware, including methods added later. The first middleware added
    /// is the outermost.
    #[must_use]
    pub fn with(self, middleware: impl Middleware) -> Self {
        Self { router: self.router.with(middleware), ..self }
    }

    fn target(&self, method: &str) -> String {
        format!("{}.{method}", self.name)
    }
}

impl<S> From<Service<S>> for Router {
    fn from(service: Service<S>) -> Self {
        service.router
    }
}

impl<S> From<Service<S>> for Routes {
    fn from(service: Service<S>) -> Self {
        service.router.into()
    }
}

impl<S> fmt::Debug for Service<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("name", &self.name)
            .field("router", &self.router)
            .finish_non_exhaustive()
    }
}

/// Conversion of a function over a state into a handler; see [`Service`] for the accepted forms.
///
/// `M` is a marker that distinguishes the forms and is always inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a method over the state `{S}`",
    label = "not a method of this service",
    note = "a method is `async fn(S, Context, Request)`, `async fn(S, Context, T)` or `async fn(S, T)`, where `S` is the state of the service, by value",
    note = "with `Service::new(name, Arc::new(state))`, write `async fn place(self: Arc<Self>, ..)`",
    note = "it returns `Result<Response, E>` on bytes, or `Result<U, E>` or `Result<Reply<U>, E>` where `T: DeserializeOwned` and `U: Serialize`",
    note = "`E` is `Error`, an `AppError` or a `CallError`; a method without input takes `(): ()`",
    note = "its future must be `Send + 'static`"
)]
pub trait IntoMethod<S, M>: Sized {
    /// Converts `self` into a handler that clones `state` for each call.
    fn into_handler_of(self, state: S) -> Handler;
}

/// Marker of methods with a declared idempotency.
#[derive(Debug)]
pub struct AsDeclaredMethod<M>(PhantomData<M>);

impl<S, F: IntoMethod<S, M>, M> IntoMethod<S, AsDeclaredMethod<M>> for Method<F> {
    fn into_handler_of(self, state: S) -> Handler {
        self.map(|function| function.into_handler_of(state)).into_handler()
    }
}

/// Marker of methods on raw requests and responses.
#[derive(Debug)]
pub struct AsRawMethod<E>(PhantomData<E>);

impl<S, F, R, E> IntoMethod<S, AsRawMethod<E>> for F
where
    S: Clone + Send + Sync + 'static,
    F: Fn(S, Context, Request) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Response, E>> + Send + 'static,
    E: HandlerError + 'static,
{
    fn into_handler_of(self, state: S) -> Handler {
        (move |ctx: Context, request: Request| self(state.clone(), ctx, request)).into_handler()
    }
}

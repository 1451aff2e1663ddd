//! A server and a requester for it in one value, for unit tests.

use std::sync::Arc;

use rr_spi::{CallConfig, Intake, IntakeConfig, ManyRequester, Requester, Routes, Server};

use crate::memory::{MemoryLink, MemoryRequester, Registry, serve_at};

/// A server and a requester for it over the in-memory transport; see [`loopback`].
#[derive(Debug)]
pub struct Loopback {
    requester: MemoryRequester,
    server: Server,
}

/// Serves routes in memory and returns a requester for them.
///
/// # Panics
///
/// When called outside of a tokio runtime.
///
/// # Examples
///
/// ```
/// # use std::sync::Arc;
/// # use rr_spi::{async_trait, Context, Declared, Error, Request, Requester, Responder, Response, Route, Routes};
/// struct Ping;
///
/// #[async_trait]
/// impl Responder for Ping {
///     async fn respond(&self, _: &Context, _: Request) -> Result<Response, Error> {
///         Ok(Response::new("pong"))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Error> {
/// let mut routes = Routes::new();
/// routes.insert(Route::Target("ping".into()), Declared::Safe, Arc::new(Ping))?;
/// let client = rr_testkit::loopback(routes);
/// let request = Request::new("ping".try_into()?, "");
/// assert_eq!(client.request(&Context::background(), request).await?.body, "pong");
/// # Ok(()) }
/// ```
pub fn loopback(routes: impl Into<Routes>) -> Loopback {
    loopback_with(routes, IntakeConfig::default(), CallConfig::default())
}

/// Serves routes in memory with the given limits and returns a requester for them.
///
/// # Panics
///
/// When called outside of a tokio runtime.
pub fn loopback_with(
    routes: impl Into<Routes>,
    server: IntakeConfig,
    client: CallConfig,
) -> Loopback {
    let registry = Arc::new(Registry::default());
    let requester = MemoryRequester::at(Arc::clone(&registry), client);
    let server = serve_at(&registry, "memory://", Intake::new(routes, server))
        .expect("a registry that nobody else knows has a free place");
    Loopback { requester, server }
}

impl Loopback {
    /// Returns the server, to drain it or to read its in-flight count.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Returns another requester for the same routes.
    #[must_use]
    pub fn requester(&self) -> MemoryRequester {
        self.requester.clone()
    }

    /// Returns the link between requester and server, to cut it or inject faults.
    #[must_use]
    pub fn link(&self) -> MemoryLink {
        self.requester.link()
    }

    /// Splits the loopback into its requester and its server.
    pub fn into_parts(self) -> (MemoryRequester, Server) {
        (self.requester, self.server)
    }
}

impl ManyRequester for Loopback {}

impl Requester for Loopback {
    rr_spi::boxed! {
        fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
            self.requester.request(ctx, request)
        }
    }
}

//! Routes of a generated server.

use std::future::Future;

use rr_spi::{Context, Declared, Routes, defaults};

use super::client::Method;
use super::description::ServiceDescription;
use crate::router::{self, HandlerExt as _, IntoHandler, Router};

/// Routes of a service, gathered method by method.
///
/// Nothing here fails or panics: `#[service]` has checked that names are well-formed and differ.
#[derive(Debug)]
pub struct Routing {
    description: &'static ServiceDescription,
    routes: Routes,
}

impl Routing {
    /// Begins with a service without methods.
    #[must_use]
    pub fn new(description: &'static ServiceDescription) -> Self {
        Self { description, routes: Routes::new() }
    }

    /// Adds a method under its name and its aliases, in one codec or a tuple of codecs.
    #[must_use]
    pub fn method<F, C, M>(mut self, method: &Method, codecs: C, function: F) -> Self
    where
        F: Clone,
        C: Clone,
        router::Method<F, C>: IntoHandler<M>,
    {
        let description = method.description;
        let handler = || {
            let handler = function.clone().accepts(codecs.clone());
            match description.idempotency {
                Declared::Safe => handler.safe(),
                Declared::Idempotent => handler.idempotent(),
                Declared::Keyed => handler.keyed(),
                _ => handler,
            }
        };
        for name in description.aliases {
            self.add(&format!("{}.{name}", self.description.name), handler());
        }
        self.add(description.target, handler());
        self
    }

    fn add<M>(&mut self, target: &str, handler: impl IntoHandler<M>) {
        // Cannot fail: the names are well-formed and differ.
        if let Ok(router) = Router::new().try_route(target, handler) {
            let _ = self.routes.merge(router.into());
        }
    }

    /// Closes the service and returns its routes, with its description.
    #[must_use]
    pub fn into_router(mut self) -> Router {
        let _ = self.routes.close_service(self.description.name);
        let _ = self.routes.describe(self.description.name, self.description.to_json());
        Router::new().try_merge(self.routes).unwrap_or_default()
    }
}

/// Runs an implementation to its end, also if its caller leaves or its deadline passes.
///
/// Its context is detached from the cancellation of the call but keeps the deadline, or 30 s without
/// one, so that the calls that the implementation makes end.
///
/// # Cancel safety
///
/// Dropping the future leaves the implementation running.
pub async fn run_to_end<R>(ctx: &Context, call: impl FnOnce(Context) -> R) -> R::Output
where
    R: Future<Output: Send + 'static> + Send + 'static,
{
    let detached = ctx.detached();
    let detached = match ctx.deadline() {
        Some(deadline) => detached.with_deadline(deadline),
        None => detached.with_timeout(defaults::SERVER_TIMEOUT),
    };
    ctx.shield(call(detached)).await
}

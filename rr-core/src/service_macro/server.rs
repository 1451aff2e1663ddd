//! Routes of a generated server.

use std::future::Future;

use rr_spi::{Context, Declared, Error, Routes, defaults};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::Method;
use super::description::ServiceDescription;
use crate::router::{Handler, IntoHandler, Router};

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

    /// Adds a method under its name and its aliases.
    #[must_use]
    pub fn method<F, R, T, U>(mut self, method: &Method, call: F) -> Self
    where
        F: Fn(Context, T) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<U, Error>> + Send + 'static,
        T: DeserializeOwned + Send + 'static,
        U: Serialize + Send + 'static,
    {
        let description = method.description;
        for name in description.aliases {
            let target = format!("{}.{name}", self.description.name);
            self.add(&target, description.idempotency, call.clone().into_handler());
        }
        self.add(description.target, description.idempotency, call.into_handler());
        self
    }

    fn add(&mut self, target: &str, declared: Declared, handler: Handler) {
        let handler = match declared {
            Declared::Safe => handler.safe(),
            Declared::Idempotent => handler.idempotent(),
            Declared::Keyed => handler.keyed(),
            _ => handler,
        };
        // Cannot fail: the names are well-formed and differ.
        if let Ok(router) = Router::new().try_route(target, handler) {
            let _ = self.routes.merge(router.into());
        }
    }

    /// Closes the service and returns its routes.
    #[must_use]
    pub fn into_router(mut self) -> Router {
        let _ = self.routes.close_service(self.description.name);
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

//! Layers of tower: retries with a budget and a timeout for each attempt at the client; a limit of
//! calls in flight that sheds load at the server.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use rr_core::tower::{CallRequest, LayerMiddleware};
use rr_core::{Code, Middleware, Requester, Response, Stack};
use tower::BoxError;
use tower::ServiceBuilder;
use tower::load_shed::error::Overloaded;
use tower::retry::Policy;
use tower::retry::budget::{Budget, TpsBudget};

/// Timeout of an attempt.
const ATTEMPT: Duration = Duration::from_millis(300);

/// Limit of calls in flight of a server.
const IN_FLIGHT: usize = 64;

#[derive(Clone)]
struct Attempts {
    left: usize,
    budget: Arc<TpsBudget>,
}

impl Policy<CallRequest, Response, BoxError> for Attempts {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _: &mut CallRequest,
        outcome: &mut Result<Response, BoxError>,
    ) -> Option<Ready<()>> {
        if outcome.is_ok() {
            self.budget.deposit();
            return None;
        }
        let may_retry = self.left > 0 && self.budget.withdraw();
        self.left = self.left.saturating_sub(1);
        may_retry.then(|| ready(()))
    }

    fn clone_request(&mut self, request: &CallRequest) -> Option<CallRequest> {
        Some(request.clone())
    }
}

pub(crate) fn client(requester: impl Requester) -> Arc<dyn Requester> {
    let policy = Attempts { left: 2, budget: Arc::new(TpsBudget::default()) };
    let layer = ServiceBuilder::new().retry(policy).timeout(ATTEMPT);
    Arc::new(Stack::new(requester).with(LayerMiddleware::new(layer)))
}

pub(crate) fn server() -> impl Middleware {
    let layer = ServiceBuilder::new().load_shed().concurrency_limit(IN_FLIGHT);
    LayerMiddleware::new(layer).with_codes(|error| match error.is::<Overloaded>() {
        true => Code::ResourceExhausted,
        false => Code::Unavailable,
    })
}

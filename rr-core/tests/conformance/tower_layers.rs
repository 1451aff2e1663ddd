//! Layers of tower that change nothing while their limits hold.

use std::time::Duration;

use rr_core::Middleware;
use rr_core::tower::LayerMiddleware;
use tower::ServiceBuilder;

/// Longer than any case takes.
const TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// More than any case has in flight.
const IN_FLIGHT_MAX: usize = 100_000;

/// Makes middleware of several layers, one of which runs the calls through a task.
pub(crate) fn around() -> impl Middleware {
    let layers = ServiceBuilder::new()
        .timeout(TIMEOUT)
        .load_shed()
        .buffer(IN_FLIGHT_MAX)
        .concurrency_limit(IN_FLIGHT_MAX);
    LayerMiddleware::new(layers)
}

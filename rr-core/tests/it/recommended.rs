//! The recommended layers: what they do, never do, and why they have their order. In virtual time,
//! but where a transport is run.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

mod around_calls;
mod around_routes;
mod order_of_calls;
mod order_of_routes;
mod tiers;

use std::sync::Arc;

use rr_core::{Context, Error, Middleware, Next, Request, Response, async_trait};

/// A layer whose state a test can read.
struct Shared<M>(Arc<M>);

#[async_trait]
impl<M: Middleware> Middleware for Shared<M> {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        self.0.handle(ctx, request, next).await
    }
}

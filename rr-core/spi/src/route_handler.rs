//! Responder of a route at the end of its middleware.

use std::sync::Arc;

use crate::box_future::BoxFuture;
use crate::context::Context;
use crate::error::Error;
use crate::request::Request;
use crate::rescope::rescope_outcome;
use crate::responder::Responder;
use crate::response::Response;

/// Responder of a route.
#[derive(Clone)]
pub(crate) struct RouteHandler {
    pub(crate) responder: Arc<dyn Responder>,
    /// Whether entering the responder counts as running the handler. Otherwise the responder sets
    /// the mark.
    pub(crate) marks: bool,
}

impl RouteHandler {
    /// Runs the responder; `root` is the context that the server made, if middleware might pass on
    /// another one.
    pub(crate) fn respond<'f>(
        &'f self,
        root: Option<&Context>,
        ctx: &'f Context,
        request: Request,
    ) -> BoxFuture<'f, Result<Response, Error>> {
        if let Some(root) = root.filter(|root| self.marks || !ctx.shares_mark_with(root)) {
            // Also if middleware passed on a context that it made itself: the server does not see
            // that mark, and the handler is about to run.
            root.mark_ran();
        }
        if let Some(changed) = ctx.with_changed_request(&request) {
            return Box::pin(async move { self.respond_in(&changed, request).await });
        }
        self.respond_in(ctx, request)
    }

    fn respond_in<'f>(
        &'f self,
        ctx: &'f Context,
        request: Request,
    ) -> BoxFuture<'f, Result<Response, Error>> {
        if !self.marks {
            return self.responder.respond(ctx, request);
        }
        ctx.mark_ran();
        Box::pin(async move { rescope_outcome(self.responder.respond(ctx, request).await) })
    }
}

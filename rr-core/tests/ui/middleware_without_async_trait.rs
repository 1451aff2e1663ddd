use rr_core::{Context, Error, Middleware, Next, Request, Response};

struct Tag;

impl Middleware for Tag {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        next.run(ctx, request).await
    }
}

fn main() {}

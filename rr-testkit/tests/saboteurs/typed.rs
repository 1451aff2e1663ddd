//! Typed calls written by hand, as the in-memory transport alone has none.

use std::sync::Arc;

use rr_spi::{
    Code, Context, Declared, Delivery, Error, Reason, Request, Requester, Responder, Response,
    Route, Routes, async_trait,
};
use rr_testkit::conformance::{Parcel, Typed};

pub(crate) fn honest() -> Typed {
    Typed::new(routes, |client, ctx, parcel| async move { call(&*client, &ctx, &parcel).await })
}

/// As if numbers were floating point on the way.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "its matter")]
pub(crate) fn rounded() -> Typed {
    Typed::new(routes, |client, ctx, mut parcel| async move {
        for number in &mut parcel.numbers {
            *number = *number as f64 as i64;
        }
        call(&*client, &ctx, &parcel).await
    })
}

async fn call(client: &dyn Requester, ctx: &Context, parcel: &Parcel) -> Result<Parcel, Error> {
    let body = serde_json::to_vec(parcel).expect("it is plain data");
    let response = client.request(ctx, Request::new(Typed::TARGET.try_into()?, body)).await?;
    serde_json::from_slice(&response.body).map_err(|error| {
        let (code, reason) = (Code::Internal, Reason::DECODE);
        Error::failure(code, Delivery::Processed, reason, error.to_string())
    })
}

fn routes() -> Routes {
    let mut routes = Routes::new();
    let route = Route::Target(Typed::TARGET.to_owned());
    let added = routes.insert_self_marking(route, Declared::Unspecified, Arc::new(Turns));
    added.expect("the name fits");
    routes
}

struct Turns;

#[async_trait]
impl Responder for Turns {
    async fn respond(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        let parcel: Parcel = serde_json::from_slice(&request.body).map_err(|error| {
            let (code, reason) = (Code::InvalidArgument, Reason::DECODE);
            Error::failure(code, Delivery::Rejected, reason, error.to_string())
        })?;
        ctx.mark_ran();
        let turned = parcel.turned()?;
        Ok(Response::new(serde_json::to_vec(&turned).expect("it is plain data")))
    }
}

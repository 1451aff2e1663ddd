//! Typed calls for the suite.

use rr_core::{CallError, RequesterExt as _, Router};
use rr_testkit::conformance::{Parcel, Typed};

/// Returns a typed responder, and typed calls of it.
pub(crate) fn typed() -> Typed {
    let turned = |parcel: Parcel| async { parcel.turned() };
    let routes = move || Router::new().route(Typed::TARGET, turned).into();
    Typed::new(routes, |client, ctx, parcel| async move {
        client.call(&ctx, Typed::TARGET, &parcel).await.map_err(|error: CallError| error.into())
    })
}

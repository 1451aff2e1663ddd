//! Typed calls, which every rig of this crate has.

use rr_core::{CallError, RequesterExt as _, Router};
use rr_testkit::conformance::{Parcel, Typed};

/// Returns rr-core's typed calls, for the cases that compare them with raw ones.
pub(crate) fn typed() -> Typed {
    let turned = |parcel: Parcel| async { parcel.turned() };
    let routes = move || Router::new().route(Typed::TARGET, turned).into();
    Typed::new(routes, |client, ctx, parcel| async move {
        client.call(&ctx, Typed::TARGET, &parcel).await.map_err(|error: CallError| error.into())
    })
}

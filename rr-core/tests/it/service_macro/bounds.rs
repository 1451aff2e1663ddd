//! Input that is too deep or of another shape is refused, and the service still answers.

use std::sync::Arc;

use rr_core::{Code, Context, Delivery, Error, Reason, RequesterExt, Router, async_trait, service};
use serde::{Deserialize, Serialize};

use super::support::{ctx, rigs};

/// Declares a struct whose fields are all boxes of itself.
macro_rules! deep {
    ($($field:ident)*) => {
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        struct Deep {
            $(
                #[serde(skip_serializing_if = "Option::is_none")]
                $field: Option<Box<Deep>>,
            )*
        }

        /// Names of the fields.
        const FIELDS: &[&str] = &[$(stringify!($field)),*];
    };
}

deep! {
    f00 f01 f02 f03 f04 f05 f06 f07 f08 f09
    f10 f11 f12 f13 f14 f15 f16 f17 f18 f19
    f20 f21 f22 f23 f24 f25 f26 f27 f28 f29
    f30 f31 f32 f33 f34 f35 f36 f37 f38 f39
    f40 f41 f42 f43 f44 f45 f46 f47 f48 f49
}

#[service("deep")]
trait Depths {
    async fn measure(&self, ctx: &Context, value: Deep) -> Result<u32, Error>;
    async fn both(&self, ctx: &Context, left: Deep, right: Box<Deep>) -> Result<u32, Error>;
}

struct Measures;

fn depth(value: &Deep) -> u32 {
    value.f49.as_ref().map_or(1, |inner| 1 + depth(inner))
}

#[async_trait]
impl Depths for Measures {
    async fn measure(&self, _: &Context, value: Deep) -> Result<u32, Error> {
        Ok(depth(&value))
    }

    async fn both(&self, _: &Context, left: Deep, right: Box<Deep>) -> Result<u32, Error> {
        Ok(depth(&left) + depth(&right))
    }
}

/// Nests a value so many levels deep.
fn nested(levels: u32) -> Deep {
    let inner = (1..levels)
        .fold(Deep::default(), |inner, _| Deep { f49: Some(Box::new(inner)), ..Deep::default() });
    assert_eq!((depth(&inner), FIELDS.len()), (levels, 50));
    inner
}

#[tokio::test]
async fn input_that_is_nested_too_deep_is_refused_and_the_service_still_answers() {
    let router = || Router::new().merge(DepthsServer::new(Measures));
    for rig in rigs("service-deep", router).await {
        let client = DepthsClient::new(Arc::clone(&rig.requester));
        assert_eq!(client.measure(&ctx(), nested(100)).await.unwrap(), 100, "{}", rig.name);
        let deep = client.measure(&ctx(), nested(200)).await.unwrap_err();
        let both = client.both(&ctx(), nested(1), Box::new(nested(200))).await.unwrap_err();
        for error in [deep, both] {
            assert_eq!(error.code(), Code::InvalidArgument, "{} {error}", rig.name);
            assert_eq!(error.delivery(), Delivery::Rejected);
            assert_eq!(error.reason(), Some(&Reason::DECODE));
        }
        assert_eq!(client.both(&ctx(), nested(2), Box::new(nested(3))).await.unwrap(), 5);
    }
}

#[tokio::test]
async fn input_of_another_shape_is_refused_with_its_place() {
    let router = || Router::new().merge(DepthsServer::new(Measures));
    let ctx = ctx();
    for rig in rigs("service-shape", router).await {
        for (body, text) in [
            ("", "empty"),
            ("[", "ends early"),
            (r#"{"f00":7}"#, "f00"),
            (&"[".repeat(100_000), "not JSON"),
        ] {
            let call = rig.requester.call_raw(&ctx, DepthsClient::MEASURE, body.to_owned());
            let error = call.await.unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument, "{} {error}", rig.name);
            assert!(error.message().contains(text), "{}", error.message());
        }
    }
}

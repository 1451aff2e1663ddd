//! `#[handler]`: the functions that it accepts can be routed, and answer as without it.

#![cfg(feature = "macros")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::borrow::Cow;
use std::sync::Arc;

use rr_core::codec::{Json, Text};
use rr_core::{
    CallError, Context, Error, HandlerExt, Local, Reply, Request, RequesterExt, Response, Router,
    Service, handler,
};

type Answer<T> = Result<T, Error>;
type Renamed = Context;

#[handler]
async fn double(n: u32) -> Result<u32, Error> {
    Ok(n * 2)
}

#[handler]
async fn triple(_: Context, n: u32) -> Result<Reply<u32>, CallError> {
    Ok(Reply::new(n * 3))
}

#[handler]
async fn sum(_: Renamed, mut numbers: Vec<u32>) -> Answer<Reply<u32>> {
    numbers.push(1);
    Ok(Reply::new(numbers.iter().sum()))
}

#[handler]
async fn echo(_ctx: Context, request: Request) -> Result<Response, Error> {
    Ok(Response::new(request.body))
}

#[handler(codec = [Json, Text])]
async fn shout(text: String) -> Result<String, Error> {
    Ok(text.to_uppercase())
}

#[handler]
async fn shown(name: Cow<'static, str>) -> Result<impl serde::Serialize + Send, Error> {
    Ok(name.len())
}

#[handler(state, crate = ::rr_core)]
async fn least(shop: Arc<Shop>, _: Context, n: u32) -> Result<u32, Error> {
    Ok(shop.left.min(n))
}

struct Shop {
    left: u32,
}

impl Shop {
    #[handler]
    async fn left(self: Arc<Self>, _: Context, (): ()) -> Result<u32, Error> {
        Ok(self.left)
    }

    #[handler]
    async fn add(self: Arc<Self>, n: u32) -> Answer<u32> {
        Ok(self.left + n)
    }
}

/// Types that have the names of a request and a response on bytes.
mod own {
    use rr_core::{Context, Error};

    #[derive(serde::Serialize, serde::Deserialize)]
    pub(super) struct Request(pub(super) u32);

    #[derive(serde::Serialize, serde::Deserialize)]
    pub(super) struct Response(pub(super) u32);

    #[rr_core::handler]
    pub(super) async fn negate(_: Context, request: Request) -> Result<Response, Error> {
        Ok(Response(!request.0))
    }
}

macro_rules! identity {
    ($name:ident, $kind:ty) => {
        #[handler]
        async fn $name(_: Context, value: $kind) -> Result<$kind, Error> {
            Ok(value)
        }
    };
}

identity!(same, u32);

fn router() -> Router {
    let shop = Service::new("shop", Arc::new(Shop { left: 7 }))
        .method("left", Shop::left)
        .method("add", Shop::add)
        .method("least", least);
    Router::new()
        .route("n.double", double)
        .route("n.triple", triple)
        .route("n.sum", sum)
        .route("n.same", same)
        .route("n.negate", own::negate)
        .route("bytes.echo", echo)
        .route("text.shout", shout.accepts((Json, Text)))
        .route("text.length", shown)
        .merge(shop)
}

#[tokio::test]
async fn functions_under_the_attribute_answer_as_without_it() {
    let (local, ctx) = (Local::new(router()), Context::background());
    for (target, expected) in [
        ("n.double", 4),
        ("n.triple", 6),
        ("n.same", 2),
        ("n.negate", !2),
        ("shop.add", 9),
        ("shop.least", 2),
    ] {
        let answer: u32 = local.call(&ctx, target, &2).await.unwrap();
        assert_eq!(answer, expected, "{target}");
    }
    let sum: u32 = local.call(&ctx, "n.sum", &[2, 3]).await.unwrap();
    let left: u32 = local.call(&ctx, "shop.left", &()).await.unwrap();
    let length: usize = local.call(&ctx, "text.length", "four").await.unwrap();
    assert_eq!((sum, left, length), (6, 7, 4));
}

#[tokio::test]
async fn handlers_on_bytes_and_of_other_codecs_answer_as_without_the_attribute() {
    let (local, ctx) = (Local::new(router()), Context::background());
    let echoed = local.call_raw(&ctx, "bytes.echo", "as it is").await.unwrap();
    assert_eq!(&*echoed.body, b"as it is");
    let loud: String = local.codec(Text).call(&ctx, "text.shout", "loud").await.unwrap();
    assert_eq!(loud, "LOUD");
}

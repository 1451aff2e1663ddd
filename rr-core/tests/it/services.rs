//! Services: methods over one state.

#![cfg(feature = "json")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rr_core::codec::{Json, Text};
use rr_core::{
    Code, Context, Delivery, Error, HandlerExt, Local, Middleware, Next, Reason, Reply, Request,
    RequesterExt, Response, Router, Service, async_trait,
};

use crate::everywhere::everywhere;

#[derive(Default)]
struct Stock {
    left: AtomicU32,
}

impl Stock {
    async fn add(self: Arc<Self>, count: u32) -> Result<u32, Error> {
        Ok(self.left.fetch_add(count, Ordering::Relaxed) + count)
    }

    async fn left(self: Arc<Self>, _: Context, (): ()) -> Result<Reply<u32>, Error> {
        Ok(Reply::new(self.left.load(Ordering::Relaxed)).header("x-unit", "boxes"))
    }

    async fn raw(self: Arc<Self>, _: Context, request: Request) -> Result<Response, Error> {
        Ok(Response::new(request.body))
    }

    async fn text(self: Arc<Self>, text: String) -> Result<String, Error> {
        Ok(text)
    }
}

fn stock() -> Service<Arc<Stock>> {
    Service::new("stock.v1", Arc::new(Stock::default()))
        .method("add", Stock::add.idempotent())
        .method("left", Stock::left.safe())
        .method("raw", Stock::raw.safe())
        .method("text", Stock::text.accepts((Json, Text)).safe())
        .method("closure", |state: Arc<Stock>, n: u32| async move {
            Ok::<_, Error>(state.left.load(Ordering::Relaxed) + n)
        })
}

#[tokio::test]
async fn every_form_of_method_answers_on_every_transport_and_the_service_is_closed() {
    let router = || {
        Router::new()
            .merge(stock())
            .fallback(|_: Context, _: Request| async { Ok::<_, Error>(Response::new("fallback")) })
    };
    everywhere("services", router, async |url, client| {
        let ctx = Context::background();
        assert_eq!(client.call::<u32>(&ctx, "stock.v1.add", &3).await.unwrap(), 3, "{url}");
        assert_eq!(client.call::<u32>(&ctx, "stock.v1.add", &4).await.unwrap(), 7, "{url}");
        let left: Reply<u32> = client.call(&ctx, "stock.v1.left", &()).reply().await.unwrap();
        assert_eq!((*left.value(), left.headers().get("x-unit")), (7, Some("boxes")), "{url}");
        let raw = client.call_raw(&ctx, "stock.v1.raw", "bytes").await.unwrap();
        assert_eq!(raw.body, "bytes", "{url}");
        let text: String = client.codec(Text).call(&ctx, "stock.v1.text", "a").await.unwrap();
        assert_eq!(text, "a", "{url}");
        assert_eq!(client.call::<u32>(&ctx, "stock.v1.closure", &1).await.unwrap(), 8, "{url}");
        let error = client.call_raw(&ctx, "stock.v1.none", "").await.unwrap_err();
        let known = (error.code(), error.delivery(), error.reason());
        let expected = (Code::Unimplemented, Delivery::Rejected, Some(&Reason::NO_SUCH_TARGET));
        assert_eq!(known, expected, "{url}: {error}");
    })
    .await;
}

#[derive(Clone)]
struct Shop(&'static str);

impl Shop {
    async fn name(self, (): ()) -> Result<String, Error> {
        Ok(self.0.to_owned())
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_that_is_clone_needs_no_arc() {
    let shop = Service::new("shop", Shop("berlin")).method("name", Shop::name);
    let local = Local::new(shop);
    let name: String = local.call(&Context::background(), "shop.name", &()).await.unwrap();
    assert_eq!(name, "berlin");
}

struct Refuse;

#[async_trait]
impl Middleware for Refuse {
    async fn handle(&self, _: &Context, _: Request, _: Next<'_>) -> Result<Response, Error> {
        Err(Error::failure(Code::Unauthenticated, Delivery::Rejected, None, "no token"))
    }
}

#[tokio::test(start_paused = true)]
async fn middleware_of_a_service_wraps_its_methods_only() {
    let router = Router::new().merge(stock().with(Refuse));
    let local = Local::new(router);
    let ctx = Context::background();
    let error = local.call_raw(&ctx, "stock.v1.raw", "").await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Unauthenticated, Delivery::Rejected));
    let error = local.call_raw(&ctx, "stock.v1.none", "").await.unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented);
}

#[test]
fn names_that_are_malformed_or_given_twice_are_refused() {
    let service = || Service::new("shop", Shop("berlin"));
    let name = |_: Shop, (): ()| async { Ok::<_, Error>(()) };
    let error = service().try_method("a b", name).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let error = service().method("a", name).try_method("a", name).unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists);
    let error = Service::try_new("", Shop("berlin")).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let merged =
        Router::new().merge(service().method("a", name)).try_merge(service().method("a", name));
    assert_eq!(merged.unwrap_err().code(), Code::AlreadyExists);
    let merged =
        Router::new().merge(service().method("a", name)).try_merge(service().method("b", name));
    merged.unwrap();
}

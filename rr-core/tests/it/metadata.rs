//! Headers of requests in handlers, headers of replies in calls, and the peer.

#![cfg(feature = "json")]

use rr_core::{
    CallError, Code, Context, Delivery, Error, Forward, Headers, Idempotency, IdempotencyKey,
    Local, Middleware, Next, Reply, Request, Requester, RequesterExt, Response, Router,
    async_trait,
    context::{Criticality, RequestInfo},
};

use crate::everywhere::everywhere;

/// Repeats what the request carried as the value, and its tags as headers of the reply.
async fn describe(ctx: Context, (): ()) -> Result<Reply<Vec<String>>, Error> {
    let request = ctx.request();
    let key = match request.idempotency() {
        Idempotency::Keyed(key) => key.as_str().to_owned(),
        other => format!("{other:?}"),
    };
    let tenant = request.headers().get("x-tenant").unwrap_or("none").to_owned();
    let target = request.target().map(ToString::to_string).unwrap_or_default();
    let mut reply = Reply::new(vec![tenant, target, key]);
    for tag in request.headers().get_all("x-tag") {
        reply = reply.header("x-seen", tag.to_owned());
    }
    Ok(reply.header_bin("x-raw-bin", vec![0, 255]))
}

async fn is_peer_known(ctx: Context, (): ()) -> Result<bool, Error> {
    Ok(ctx.request().peer().and_then(rr_core::context::Peer::address).is_some())
}

#[tokio::test]
async fn a_handler_sees_the_request_and_a_call_sees_the_headers_of_the_reply() {
    let router = || {
        Router::new().route("meta.describe", describe).route("meta.is_peer_known", is_peer_known)
    };
    everywhere("metadata", router, async |url, client| {
        let ctx = Context::background();
        let call = client
            .call(&ctx, "meta.describe", &())
            .header("x-tenant", "berlin")
            .header("x-tag", "a")
            .header("x-tag", "b")
            .keyed(IdempotencyKey::new("key-1").unwrap());
        let reply: Reply<Vec<String>> = call.reply().await.unwrap();
        assert_eq!(reply.value(), &["berlin", "meta.describe", "key-1"], "{url}");
        let seen: Vec<_> = reply.headers().get_all("x-seen").collect();
        assert_eq!(seen, ["a", "b"], "{url}");
        assert_eq!(reply.headers().get_bin("x-raw-bin").unwrap(), [0, 255].as_slice(), "{url}");
        let value: Vec<String> = client.call(&ctx, "meta.describe", &()).safe().await.unwrap();
        assert_eq!(value, ["none", "meta.describe", "Safe"], "{url}");
        let known: bool = client.call(&ctx, "meta.is_peer_known", &()).await.unwrap();
        assert_eq!(known, url.starts_with("http:"), "{url}");
    })
    .await;
}

#[tokio::test]
async fn a_handler_and_the_handlers_that_it_calls_have_the_criticality_of_the_call() {
    async fn read(ctx: Context, (): ()) -> Result<String, Error> {
        Ok(ctx.criticality().as_str().to_owned())
    }
    async fn pass(ctx: Context, (): ()) -> Result<Vec<String>, CallError> {
        let inner = Local::new(Router::new().route("inner.read", read));
        let inner: String = inner.call(&ctx, "inner.read", &()).await?;
        Ok(vec![read(ctx, ()).await?, inner])
    }
    async fn check(url: &str, client: &impl Requester) {
        for criticality in Criticality::ALL {
            let ctx = Context::background().with_criticality(criticality);
            let seen: Vec<String> = client.call(&ctx, "outer.pass", &()).await.unwrap();
            assert_eq!(seen, [criticality.as_str(); 2], "{url}");
        }
        let ctx = Context::background();
        let seen: Vec<String> = client.call(&ctx, "outer.pass", &()).await.unwrap();
        assert_eq!(seen, ["critical"; 2], "{url}");
    }
    let router = || Router::new().route("outer.pass", pass);
    check("local", &Local::new(router())).await;
    everywhere("criticality", router, async |url, client| check(url, &client).await).await;
}

/// Passes a call on over the same transport: the criticality leaves a process again as it came.
#[tokio::test]
async fn the_criticality_travels_on_over_the_wire() {
    async fn read(ctx: Context, (): ()) -> Result<String, Error> {
        Ok(ctx.criticality().as_str().to_owned())
    }
    let router = || Router::new().route("inner.read", read);
    everywhere("criticality-on", router, async |url, client| {
        let client = std::sync::Arc::new(client);
        let outer = Local::new(Router::new().route("outer.pass", move |ctx: Context, (): ()| {
            let client = std::sync::Arc::clone(&client);
            async move { client.call::<String>(&ctx, "inner.read", &()).await }
        }));
        let ctx = Context::background().with_criticality(Criticality::Sheddable);
        let seen: String = outer.call(&ctx, "outer.pass", &()).await.unwrap();
        assert_eq!(seen, "sheddable", "{url}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_came_with_a_request_does_not_travel_on_but_a_bridge_passes_it() {
    let inner = || Local::new(Router::new().route("meta.describe", describe));
    let calls_on = move |ctx: Context, (): ()| {
        let inner = inner();
        async move { inner.call::<Vec<String>>(&ctx, "meta.describe", &()).await }
    };
    let router = Router::new()
        .route("outer", calls_on)
        .fallback(Forward(Local::new(Router::new().route("meta.describe", describe))));
    let local = Local::new(router);
    let ctx = Context::background();
    let call = local.call::<Vec<String>>(&ctx, "outer", &()).header("x-tenant", "berlin");
    assert_eq!(call.await.unwrap()[0], "none");
    let call = local.call::<Vec<String>>(&ctx, "meta.describe", &()).header("x-tenant", "berlin");
    assert_eq!(call.await.unwrap()[0], "berlin");
}

/// Hides a header from handlers, and adds one to the request.
struct Hide;

#[async_trait]
impl Middleware for Hide {
    async fn handle(
        &self,
        ctx: &Context,
        mut request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        request.headers.insert("x-tenant", "changed")?;
        let mut headers = ctx.request().headers().clone();
        headers.remove("x-tag");
        let ctx = ctx.with_request(RequestInfo::default().with_headers(headers));
        next.run(&ctx, request).await
    }
}

#[tokio::test(start_paused = true)]
async fn middleware_may_replace_what_a_handler_sees() {
    let local = Local::new(Router::new().route("meta.describe", describe).with(Hide));
    let ctx = Context::background();
    let call = local.call(&ctx, "meta.describe", &());
    let call = call.header("x-tenant", "berlin").header("x-tag", "a");
    let reply: Reply<Vec<String>> = call.reply().await.unwrap();
    assert_eq!(reply.value()[0], "berlin");
    assert!(!reply.headers().contains("x-seen"));
}

/// Replaces the tenant that the caller claims.
struct Verify;

#[async_trait]
impl Middleware for Verify {
    async fn handle(
        &self,
        ctx: &Context,
        mut request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        request.headers.insert("x-tenant", "verified")?;
        next.run(ctx, request).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_that_middleware_replaces_is_replaced_for_every_form_of_handler() {
    async fn raw(ctx: Context, request: Request) -> Result<Response, Error> {
        assert_eq!(request.headers.get("x-tenant"), Some("verified"));
        assert_eq!(ctx.request().headers().get("x-tenant"), Some("verified"));
        Ok(Response::new(""))
    }
    let router = Router::new().route("meta.describe", describe).route("meta.raw", raw).with(Verify);
    let local = Local::new(router);
    let ctx = Context::background();
    let call = local.call::<Vec<String>>(&ctx, "meta.describe", &()).header("x-tenant", "forged");
    assert_eq!(call.await.unwrap(), ["verified", "meta.describe", "Unspecified"]);
    local.call_raw(&ctx, "meta.raw", "").header("x-tenant", "forged").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_context_that_no_server_made_has_an_empty_request() {
    let ctx = Context::background();
    assert!(ctx.request().headers().is_empty() && ctx.request().target().is_none());
    let mut headers = Headers::new();
    headers.insert("x-tenant", "berlin").unwrap();
    let ctx = ctx.with_request(RequestInfo::default().with_headers(headers));
    let reply = describe(ctx.child().0, ()).await.unwrap();
    assert_eq!(reply.value()[0], "berlin");
}

#[tokio::test(start_paused = true)]
async fn a_header_of_a_reply_that_is_refused_fails_the_method_as_processed() {
    type Bad = fn(Reply<()>) -> Reply<()>;
    let malformed: Bad = |reply| reply.header("no spaces", "a");
    let reserved: Bad = |reply| reply.header("nats-msg-id", "1");
    let binary: Bad = |reply| reply.header_bin("x-raw", vec![1]);
    let too_many: Bad = |reply| (0..65).fold(reply, |reply, _| reply.header("x-n", "1"));
    let too_long: Bad = |reply| reply.header("x-long", "a".repeat(17 * 1024));
    for bad in [malformed, reserved, binary, too_many, too_long] {
        let method = move |(): ()| async move { Ok::<_, Error>(bad(Reply::new(()))) };
        let local = Local::new(Router::new().route("meta.bad", method));
        let outcome = local.call::<()>(&Context::background(), "meta.bad", &()).await;
        let Err(CallError::Rr(error)) = outcome else { panic!("{outcome:?}") };
        assert_eq!((error.code(), error.delivery()), (Code::Internal, Delivery::Processed));
        assert!(error.message().starts_with("a header of the reply is invalid: "), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_call_of_a_reply_keeps_application_errors() {
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    struct Full;
    impl rr_core::AppError for Full {
        const TYPE: &'static str = "meta.Full";
    }
    async fn full((): ()) -> Result<Reply<u8>, Full> {
        Err(Full)
    }
    let client: Box<dyn Requester> = Box::new(Local::new(Router::new().route("meta.full", full)));
    let ctx = Context::background();
    let outcome = client.call::<u8>(&ctx, "meta.full", &()).app_error::<Full>().reply().await;
    assert!(matches!(outcome, Err(CallError::App(Full))), "{outcome:?}");
}

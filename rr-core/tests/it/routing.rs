//! Every form that can be routed, called through every form of call.

#![cfg(feature = "json")]

use std::borrow::Cow;
use std::sync::Arc;

use rr_core::{
    AppError, CallError, Code, Context, Delivery, Error, HandlerExt, Local, Middleware, Next,
    Reason, Request, Requester, RequesterExt, Responder, Response, Router, Stack, Target,
    async_trait,
};
use serde::{Deserialize, Serialize};

async fn raw(_: Context, request: Request) -> Result<Response, Error> {
    Ok(Response::new(request.body))
}

async fn typed(n: u32) -> Result<u32, Error> {
    Ok(n * 2)
}

async fn typed_with_context(ctx: Context, (): ()) -> Result<bool, Error> {
    Ok(ctx.deadline().is_some())
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct OutOfStock {
    left: u32,
}

impl AppError for OutOfStock {
    const TYPE: &'static str = "orders.OutOfStock";
}

async fn app_error(left: u32) -> Result<(), OutOfStock> {
    Err(OutOfStock { left })
}

async fn call_error(left: u32) -> Result<(), CallError<OutOfStock>> {
    Err(CallError::App(OutOfStock { left }).into_own())
}

struct Named(&'static str);

#[async_trait]
impl Responder for Named {
    async fn respond(&self, _: &Context, request: Request) -> Result<Response, Error> {
        Ok(Response::new(format!("{} {}", self.0, request.target.method())))
    }
}

fn router() -> Router {
    let shared: Arc<dyn Responder> = Arc::new(Named("shared"));
    Router::new()
        .route("raw", raw)
        .route("typed", typed)
        .route("with.context", typed_with_context)
        .route("app", app_error)
        .route("call", call_error)
        .route("closure", |n: u32| async move { Ok::<_, Error>(n + 1) })
        .route("safe", raw.safe())
        .route("shared", shared)
        .service("named", Named("service"))
        .fallback(Named("fallback"))
}

#[tokio::test(start_paused = true)]
async fn every_form_of_handler_answers() {
    let client: Arc<dyn Requester> = Arc::new(Local::new(router()));
    let ctx = Context::background();
    assert_eq!(client.call_raw(&ctx, "raw", "bytes").await.unwrap().body, "bytes");
    assert_eq!(client.call::<u32>(&ctx, "typed", &21).await.unwrap(), 42);
    assert!(client.call::<bool>(&ctx, "with.context", &()).await.unwrap());
    assert_eq!(client.call::<u32>(&ctx, "closure", &1).await.unwrap(), 2);
    for (target, body) in [
        ("shared", "shared shared"),
        ("named.x", "service x"),
        ("other.y", "fallback y"),
        ("safe", ""),
    ] {
        assert_eq!(client.call_raw(&ctx, target, "").await.unwrap().body, body);
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_may_be_text_of_any_lifetime_or_a_target() -> Result<(), Error> {
    let client = Local::new(router());
    let ctx = Context::background();
    let target = Target::parse("typed")?;
    let owned = String::from("typed");
    let short: &str = &owned;
    let call = |outcome: Result<u32, CallError>| assert_eq!(outcome.unwrap(), 2);
    call(client.call(&ctx, "typed", &1).await);
    call(client.call(&ctx, short, &1).await);
    call(client.call(&ctx, &owned, &1).await);
    call(client.call(&ctx, owned.clone(), &1).await);
    call(client.call(&ctx, &target, &1).await);
    call(client.call(&ctx, target, &1).await);
    let error = client.call_raw(&ctx, "no target", "").await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::NotSent));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn application_errors_come_back_as_values_in_either_way_of_returning_them() {
    let client = Local::new(router());
    let ctx = Context::background();
    for target in ["app", "call"] {
        let call = client.call::<()>(&ctx, target, &3).app_error::<OutOfStock>();
        assert!(matches!(call.await, Err(CallError::App(OutOfStock { left: 3 }))), "{target}");
        let Err(CallError::Rr(error)) = client.call::<()>(&ctx, target, &3).await else {
            panic!("without the type it is an ordinary error");
        };
        assert_eq!(
            (error.code(), error.delivery()),
            (Code::FailedPrecondition, Delivery::Processed)
        );
        assert_eq!(error.reason(), Some(&Reason::APP));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_fit_is_rejected_before_the_handler() {
    let client = Local::new(router());
    let ctx = Context::background();
    let error = client.call_raw(&ctx, "typed", "\"text\"").await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::Rejected));
    assert_eq!(error.reason(), Some(&Reason::DECODE));
    let call = client.call_raw(&ctx, "typed", "1").header("content-type", "text/plain");
    let error = call.await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::Unimplemented, Some(&Reason::CODEC)));
    let Err(CallError::Rr(error)) = client.call::<u32>(&ctx, "raw", "text").await else {
        panic!("text is no number");
    };
    assert_eq!((error.code(), error.delivery()), (Code::Internal, Delivery::Processed));
}

#[tokio::test(start_paused = true)]
async fn a_downstreams_application_error_of_the_same_type_is_the_handlers_when_it_says_so() {
    async fn call_on(
        own: bool,
        client: Arc<Local>,
        ctx: Context,
    ) -> Result<(), CallError<OutOfStock>> {
        let outcome = client.call::<()>(&ctx, "app", &3).app_error::<OutOfStock>().await;
        if own { outcome.map_err(CallError::into_own) } else { outcome }
    }
    let inner = Arc::new(Local::new(router()));
    for own in [true, false] {
        let inner = Arc::clone(&inner);
        let handler = move |ctx: Context, (): ()| call_on(own, Arc::clone(&inner), ctx);
        let outer = Local::new(Router::new().route("outer", handler));
        let ctx = Context::background();
        match outer.call::<()>(&ctx, "outer", &()).app_error::<OutOfStock>().await {
            Err(CallError::App(OutOfStock { left: 3 })) => assert!(own, "it did not say so"),
            Err(CallError::Rr(error)) => {
                assert_eq!((error.code(), error.delivery()), (Code::Internal, Delivery::Processed));
                assert!(error.details().is_empty() && error.reason().is_none() && !own);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_downstreams_application_error_does_not_leak_by_a_question_mark() {
    let inner = Arc::new(Local::new(router()));
    let outer = Local::new(Router::new().route("outer", move |ctx: Context, n: u32| {
        let inner = Arc::clone(&inner);
        async move {
            inner.call::<()>(&ctx, "app", &n).app_error::<OutOfStock>().await?;
            Ok::<_, Error>(())
        }
    }));
    let ctx = Context::background();
    let call = outer.call::<()>(&ctx, "outer", &3).app_error::<OutOfStock>();
    let Err(CallError::Rr(error)) = call.await else { panic!("it must not arrive as App") };
    assert_eq!((error.code(), error.delivery()), (Code::Internal, Delivery::Processed));
    assert!(error.details().is_empty());
}

/// One error type for a handler's own refusals and for the calls that it makes.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
enum PlaceError {
    #[error("{left} left")]
    OutOfStock { left: u32 },
    #[error(transparent)]
    #[serde(skip)]
    Call(#[from] Error),
}

impl AppError for PlaceError {
    const TYPE: &'static str = "orders.PlaceError";

    fn message(&self) -> Cow<'static, str> {
        self.to_string().into()
    }

    fn failed_call(&self) -> Option<&Error> {
        match self {
            Self::Call(error) => Some(error),
            Self::OutOfStock { .. } => None,
        }
    }
}

/// Calls `target` of `inner` and fails with what that says, in one of the three forms of a handler.
fn places(inner: Arc<Local>, target: &'static str) -> Router {
    let place = move || {
        let inner = Arc::clone(&inner);
        async move {
            if target.is_empty() {
                return Err(PlaceError::OutOfStock { left: 2 });
            }
            if target == "own" {
                Err(Error::new(Code::NotFound, "no such shop"))?;
            }
            inner.call_raw(&Context::background(), target, "3").await?;
            Ok::<_, PlaceError>(())
        }
    };
    let (raw, converted) = (place.clone(), place.clone());
    Router::new()
        .route("typed", move |(): ()| place())
        .route("raw", move |_: Context, _: Request| {
            let place = raw();
            async move { place.await.map(|()| Response::new("")) }
        })
        .route("converted", move |(): ()| {
            let place = converted();
            async move { place.await.map_err(Error::from) }
        })
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_within_an_application_error_is_rescoped_and_never_encoded() {
    let inner = Arc::new(Local::new(router()));
    let ctx = Context::background();
    for form in ["typed", "raw", "converted"] {
        let call = async |target| {
            let outer = Local::new(places(Arc::clone(&inner), target));
            outer.call_raw(&ctx, form, "null").await.unwrap_err()
        };
        // The application's own values travel with their message.
        let error = call("").await;
        assert_eq!((error.message(), error.reason()), ("2 left", Some(&Reason::APP)), "{form}");
        assert_eq!(error.details()[0].value, r#"{"OutOfStock":{"left":2}}"#, "{form}");
        // A call that was not sent, and one that was answered by an application error.
        for (target, message) in
            [("no target", "the handler failed"), ("app", "a call further down failed")]
        {
            let error = call(target).await;
            let told = (error.code(), error.delivery(), error.reason());
            assert_eq!(told, (Code::Internal, Delivery::Processed, None), "{form} {target}");
            assert_eq!(error.message(), message, "{form} {target}");
            assert!(error.details().is_empty(), "{form} {target}: {error:?}");
        }
        // An error that the handler itself made is its own, as in a handler that returns `Error`.
        let error = call("own").await;
        assert_eq!((error.code(), error.message()), (Code::NotFound, "no such shop"), "{form}");
    }
}

#[tokio::test(start_paused = true)]
async fn malformed_calls_fail_before_anything_is_sent() {
    let client = Local::new(router());
    let ctx = Context::background();
    let bad_target = client.call_raw(&ctx, "a b", "").await.unwrap_err();
    let bad_header = client.call_raw(&ctx, "raw", "").header("nats-x", "1").await.unwrap_err();
    for error in [bad_target, bad_header] {
        assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::NotSent));
    }
}

#[test]
#[should_panic(expected = "target `raw` is routed already")]
fn a_duplicate_route_panics_when_it_is_a_literal() {
    let _ = router().route("raw", raw);
}

#[test]
fn a_duplicate_route_is_an_error_when_it_is_not() {
    let error = router().try_route("raw", raw).unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists);
    assert!(router().try_route("a..b", raw).is_err());
    assert!(router().try_merge(router()).is_err());
}

/// Appends its name on the way in and refuses when told to.
struct Layer(&'static str);

#[async_trait]
impl Middleware for Layer {
    async fn handle(
        &self,
        ctx: &Context,
        mut request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        if request.headers.get("x-refuse") == Some(self.0) {
            return Err(Error::new(Code::PermissionDenied, "no"));
        }
        request.headers.append("x-path", self.0)?;
        next.run(ctx, request).await
    }
}

async fn path(_: Context, request: Request) -> Result<Response, Error> {
    Ok(Response::new(request.headers.get_all("x-path").collect::<Vec<_>>().join(" ")))
}

#[tokio::test(start_paused = true)]
async fn the_first_middleware_named_is_the_outermost_on_both_sides() {
    let inner = Router::new().with(Layer("c")).route("path", path).with(Layer("d"));
    let router = Router::new().with(Layer("b")).merge(inner);
    let client = Stack::new(Local::new(router)).with(Layer("1")).with(Layer("2"));
    let ctx = Context::background();
    assert_eq!(client.call_raw(&ctx, "path", "").await.unwrap().body, "1 2 b c d");
    let error = client.call_raw(&ctx, "path", "").header("x-refuse", "d").await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::PermissionDenied, Delivery::Rejected));
}

#[tokio::test(start_paused = true)]
async fn a_stack_around_a_responder_is_one_handler() {
    let client = Local::new(Router::new().route("path", Stack::new(Named("x")).with(Layer("a"))));
    let ctx = Context::background();
    let error = client.call_raw(&ctx, "path", "").header("x-refuse", "a").await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::PermissionDenied, Delivery::Processed));
}

/// A responder around another that leaves it less time.
struct Hurried(Router);

#[async_trait]
impl Responder for Hurried {
    async fn respond(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        let ctx = ctx.with_timeout(std::time::Duration::from_millis(100));
        self.0.respond(&ctx, request).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_earlier_deadline_of_a_wrapping_responder_holds() {
    let slow = Router::new().route("a.slow", |(): ()| async {
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        Ok::<_, Error>(())
    });
    let client = Local::new(Router::new().service("a", Hurried(slow)));
    let began = tokio::time::Instant::now();
    let ctx = Context::background();
    let error = client.call::<()>(&ctx, "a.slow", &()).await.unwrap_err();
    let CallError::Rr(error) = error;
    assert_eq!((error.code(), error.delivery()), (Code::DeadlineExceeded, Delivery::Processed));
    assert!(began.elapsed() < std::time::Duration::from_millis(200), "{:?}", began.elapsed());
}

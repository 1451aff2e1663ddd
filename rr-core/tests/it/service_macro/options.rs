//! Options of a client, and the timeout of a method.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use rr_core::{
    CallOptions, Code, Context, Delivery, Error, Local, Router, async_trait, call::ReplyHeaders,
    service,
};
use tokio::time::Instant;

use super::shop::{OrderError, Orders, OrdersClient, OrdersServer, Shop, book};
use super::support::{Recorder, ctx, rigs};

#[tokio::test]
async fn headers_of_the_options_reach_the_server_and_those_of_the_reply_come_back() {
    let recorder = Recorder::default();
    let router = || Router::new().with(recorder.clone()).merge(OrdersServer::new(Shop::default()));
    for rig in rigs("service-headers", router).await {
        let headers = ReplyHeaders::new();
        let options = CallOptions::new().header("x-tenant", "acme").header_bin("x-raw-bin", "a\0b");
        let plain = OrdersClient::new(Arc::clone(&rig.requester));
        let client = plain.with(options.reply_headers(&headers));
        assert!(headers.latest().is_empty());
        client.list(&ctx()).await.unwrap();
        let request = recorder.latest();
        assert_eq!(request.headers.get("x-tenant"), Some("acme"), "{}", rig.name);
        assert_eq!(request.headers.get_bin("x-raw-bin").unwrap(), "a\0b");
        assert_eq!(headers.latest().get("x-served-by"), Some("shop"), "{}", rig.name);
        plain.list(&ctx()).await.unwrap();
        assert!(!recorder.latest().headers.contains("x-tenant"), "options are of one client");
        // Options replace options.
        client.with(CallOptions::default()).list(&ctx()).await.unwrap();
        assert!(!recorder.latest().headers.contains("x-tenant"));
    }
}

#[tokio::test]
async fn the_headers_of_an_error_come_back_too() {
    #[service("failing")]
    trait Failing {
        async fn fail(&self, ctx: &Context) -> Result<(), Error>;
    }
    struct Fails;
    #[async_trait]
    impl Failing for Fails {
        async fn fail(&self, _: &Context) -> Result<(), Error> {
            let mut headers = rr_core::Headers::new();
            headers.insert("x-why", "because")?;
            Err(Error::new(Code::Aborted, "no").with_headers(headers))
        }
    }
    let headers = ReplyHeaders::new();
    let client = FailingClient::new(Local::new(FailingServer::new(Fails)));
    let client = client.with(CallOptions::new().reply_headers(&headers));
    assert_eq!(client.fail(&ctx()).await.unwrap_err().code(), Code::Aborted);
    assert_eq!(headers.latest().get("x-why"), Some("because"));
}

#[tokio::test]
async fn a_malformed_header_fails_the_call_before_it_is_sent() {
    let recorder = Recorder::default();
    let router = Router::new().with(recorder.clone()).merge(OrdersServer::new(Shop::default()));
    let client = OrdersClient::new(Local::new(router));
    for options in [
        CallOptions::new().header("no name", "x").header("x-good", "1"),
        CallOptions::new().header("nats-x", "1"),
        CallOptions::new().header_bin("x-not-binary", "1"),
    ] {
        let Err(OrderError::Call(error)) = client.with(options).find(&ctx(), 1).await else {
            panic!("the header is malformed")
        };
        assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::NotSent));
    }
    assert_eq!(recorder.count(), 0);
}

/// Implementation that never answers.
struct Hangs;

#[async_trait]
impl Orders for Hangs {
    async fn place(
        &self,
        _: &Context,
        _: super::shop::Order,
    ) -> Result<super::shop::Receipt, OrderError> {
        pending().await
    }

    async fn find(&self, _: &Context, _: u64) -> Result<super::shop::Order, OrderError> {
        pending().await
    }

    async fn move_to(&self, _: &Context, _: u64, _: String) -> Result<(), OrderError> {
        pending().await
    }

    async fn list(&self, _: &Context) -> Result<Vec<super::shop::Order>, Error> {
        pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn the_timeout_of_a_method_only_shortens_that_of_the_context() {
    let client = OrdersClient::new(Local::new(OrdersServer::new(Hangs)));
    let hurried = client.with(CallOptions::new().timeout(Duration::from_millis(300)));
    let patient = client.with(CallOptions::new().timeout(Duration::from_secs(60)));
    for (client, timeout, expected) in [
        (&client, None, 2000),
        (&client, Some(20_000), 2000),
        (&client, Some(500), 500),
        (&hurried, Some(20_000), 300),
        (&patient, Some(20_000), 2000),
    ] {
        let (background, expected) = (Context::background(), Duration::from_millis(expected));
        let timeout = timeout.map(Duration::from_millis);
        let ctx = timeout.map_or_else(|| background.clone(), |time| background.with_timeout(time));
        let began = Instant::now();
        let Err(OrderError::Call(error)) = client.place(&ctx, book(1)).await else {
            panic!("it hangs")
        };
        assert_eq!(error.code(), Code::DeadlineExceeded);
        let took = began.elapsed();
        assert!(took >= expected && took < expected + Duration::from_millis(10), "{took:?}");
    }
    // Without a timeout of its own, a method has the time of the context.
    let began = Instant::now();
    let error =
        client.list(&Context::background().with_timeout(Duration::from_secs(7))).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert!(began.elapsed() >= Duration::from_secs(7), "{:?}", began.elapsed());
}

//! Promises that the compiler can keep: sizes, Send, object safety.

use std::sync::Arc;
use std::time::Duration;

use rr_core::call::{Call, Raw};
use rr_core::many::{ManyConfig, ManyRequester, request_many};
use rr_core::transport::{Attempt, Intake};
use rr_core::{
    Client, Context, Error, Forward, Headers, Local, Middleware, Request, Requester, RequesterExt,
    Responder, Response, Router, Server, Stack, Target, context::CancelHandle, defaults,
};

fn shared<T: Send + Sync + 'static>() {}
fn sent<T: Send>(_: &T) {}

#[test]
fn values_and_handles_can_be_shared_between_threads() {
    shared::<Context>();
    shared::<CancelHandle>();
    shared::<Error>();
    shared::<Headers>();
    shared::<Request>();
    shared::<Response>();
    shared::<Target>();
    shared::<Attempt>();
    shared::<Intake>();
    shared::<Server>();
    shared::<Client>();
    shared::<Local>();
    shared::<Router>();
    shared::<Stack<Local>>();
    shared::<Forward<Local>>();
    shared::<Call<'static, Local, Raw>>();
}

#[test]
fn sizes_are_those_of_the_design() {
    assert_eq!(size_of::<Context>(), 32);
    assert_eq!(size_of::<Error>(), 8);
    assert_eq!(size_of::<Headers>(), 8);
    assert!(size_of::<Request>() <= 104);
    assert!(size_of::<Response>() <= 48);
}

#[test]
fn traits_are_object_safe_and_smart_pointers_implement_them() {
    fn requester<T: Requester>() {}
    fn responder<T: Responder>() {}
    requester::<Arc<dyn Requester>>();
    requester::<Box<dyn Requester>>();
    requester::<&'static dyn Requester>();
    responder::<Arc<dyn Responder>>();
    responder::<Box<dyn Responder>>();
    shared::<Arc<dyn Middleware>>();
    fn many<T: ManyRequester>() {}
    many::<Arc<dyn ManyRequester>>();
    many::<Box<dyn ManyRequester>>();
    many::<&'static dyn ManyRequester>();
    many::<Client>();
}

#[tokio::test]
async fn futures_can_be_spawned() {
    let client: Arc<dyn Requester> = Arc::new(Local::new(Router::new()));
    let ctx = Context::background();
    sent(&client.call_raw(&ctx, "a", "").into_future());
    #[cfg(feature = "json")]
    sent(&client.call::<u8>(&ctx, "a", &()).into_future());
    sent(&ctx.cancelled());
    let local = Local::new(Router::new());
    let request = Request::new("a".try_into().unwrap(), "");
    let mut replies = request_many(&local, &ctx, request, ManyConfig::default());
    sent(&replies);
    sent(&replies.next());
    sent(&rr_core::connect("x"));
    sent(&rr_core::serve("x", Router::new()));
}

#[test]
fn defaults_are_those_of_the_design() {
    assert_eq!(defaults::BODY_BYTES_MAX, 1_015_808);
    assert_eq!(defaults::CLIENT_TIMEOUT, Duration::from_secs(10));
    assert_eq!(defaults::SERVER_TIMEOUT, Duration::from_secs(30));
    assert_eq!(defaults::SERVER_TIMEOUT_MAX, Duration::from_secs(300));
    assert_eq!(defaults::CONNECT_TIMEOUT, Duration::from_secs(5));
    assert_eq!(defaults::DRAIN_GRACE, Duration::from_secs(25));
    assert_eq!(defaults::IN_FLIGHT_MAX, 1024);
    assert_eq!((defaults::HEADER_ENTRIES_MAX, defaults::HEADER_BYTES_MAX), (64, 16_384));
}

//! The link of the in-memory transport: what a cut does to calls and handlers.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rr_spi::{
    CallConfig, Cause, Code, Context, Declared, Delivery, Error, Reason, Request, Requester,
    Responder, Response, Route, Routes, async_trait,
};
use rr_testkit::{Loopback, MemoryRequester, loopback, serve};
use tokio::sync::mpsc;

/// Never answers; tells when it was entered, and then why its context ended.
struct Hang(mpsc::UnboundedSender<Option<Cause>>);

#[async_trait]
impl Responder for Hang {
    async fn respond(&self, ctx: &Context, _: Request) -> Result<Response, Error> {
        let (told, own) = (self.0.clone(), ctx.clone());
        told.send(None).unwrap();
        drop(ctx.shield(async move { told.send(Some(own.cancelled().await)) }));
        pending().await
    }
}

fn hanging() -> (Routes, mpsc::UnboundedReceiver<Option<Cause>>) {
    let (told, tells) = mpsc::unbounded_channel();
    let mut routes = Routes::new();
    let route = Route::Target("hang".into());
    routes.insert(route, Declared::Unspecified, Arc::new(Hang(told))).unwrap();
    (routes, tells)
}

fn request() -> Request {
    Request::new("hang".try_into().unwrap(), "")
}

async fn call(client: &impl Requester) -> Error {
    client.request(&Context::background(), request()).await.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_cut_ends_the_call_as_unknown_and_tells_the_handler() {
    let (routes, mut tells) = hanging();
    let client: Arc<Loopback> = Arc::new(loopback(routes));
    let calling = Arc::clone(&client);
    let waiting = tokio::spawn(async move { call(&*calling).await });
    assert_eq!(tells.recv().await, Some(None));
    assert_eq!(client.link().pending(), 1);
    client.link().cut();
    let error = waiting.await.unwrap();
    assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::Unknown));
    assert_eq!(error.reason(), Some(&Reason::CONNECTION_LOST));
    assert_eq!(tells.recv().await, Some(Some(Cause::PeerGone)));
    assert_eq!(client.link().pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_over_a_link_that_is_cut_is_not_sent_until_it_is_restored() {
    let (routes, mut tells) = hanging();
    let client = loopback(routes);
    client.link().cut();
    client.link().cut();
    let error = call(&client).await;
    assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::NotSent));
    assert_eq!(error.reason(), Some(&Reason::NOT_CONNECTED));
    assert!(tells.try_recv().is_err());
    client.link().restore();
    assert!(!client.link().is_cut());
    let error = call(&client).await;
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert_eq!(tells.recv().await, Some(None));
}

#[tokio::test(start_paused = true)]
async fn ready_waits_for_the_link_as_it_does_for_the_server() {
    let client = MemoryRequester::new("memory://ready-link", CallConfig::default()).unwrap();
    client.link().cut();
    let waiting = {
        let client = client.clone();
        tokio::spawn(async move { client.ready(&Context::background()).await })
    };
    let _server = serve("memory://ready-link", Routes::new()).unwrap();
    tokio::task::yield_now().await;
    assert!(client.link().is_served() && !waiting.is_finished());
    client.link().restore();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_call_of_before_a_cut_leaves_those_after_it_alone() {
    let (routes, _tells) = hanging();
    let client: Arc<Loopback> = Arc::new(loopback(routes));
    let ctx = Context::background();
    let mut before = client.request(&ctx, request());
    assert!(poll_fn(|cx| Poll::Ready(before.as_mut().poll(cx).is_pending())).await);
    client.link().cut();
    client.link().restore();
    let after = tokio::spawn({
        let client = Arc::clone(&client);
        async move { call(&*client).await }
    });
    while client.link().pending() < 2 {
        tokio::task::yield_now().await;
    }
    drop(before);
    client.link().cut();
    let error = tokio::time::timeout(Duration::from_secs(10), after).await.unwrap().unwrap();
    assert_eq!(error.reason(), Some(&Reason::CONNECTION_LOST));
}

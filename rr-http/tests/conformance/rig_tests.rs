//! The rigs do what they claim, or cases would pass for nothing.

use std::sync::atomic::{AtomicUsize, Ordering};

use rr_spi::{
    Code, Context, Declared, Delivery, Reason, Request, Requester, Responder, Response, Route,
};
use rr_testkit::conformance::{RawAnswer, RawReply, RawRequest};

use super::*;

/// Counts its runs and answers how many there were; `hang` never answers.
#[derive(Default)]
struct Counter(AtomicUsize);

#[async_trait]
impl Responder for Counter {
    async fn respond(&self, _: &Context, request: Request) -> Result<Response, Error> {
        let runs = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        if request.target.method() == "hang" {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(runs.to_string()))
    }
}

async fn start(harness: &Http) -> (Box<dyn Rig>, Arc<Counter>) {
    let counter = Arc::new(Counter::default());
    let mut routes = Routes::new();
    let service = Route::Service("lab".into());
    routes.insert(service, Declared::Unspecified, Arc::clone(&counter) as _).unwrap();
    (harness.start(routes, StartOptions::default()).await.unwrap(), counter)
}

async fn call(client: &dyn Requester, target: &'static str) -> Result<Response, Error> {
    let request = Request::new(target.try_into().unwrap(), "body");
    client.request(&Context::background(), request).await
}

/// Starts a call that hangs in its handler.
async fn hang(rig: &dyn Rig, counter: &Counter) -> tokio::task::JoinHandle<Error> {
    let (before, client) = (counter.0.load(Ordering::SeqCst), rig.requester());
    let hanging = tokio::spawn(async move { call(&*client, "lab.hang").await.unwrap_err() });
    while counter.0.load(Ordering::SeqCst) == before {
        tokio::task::yield_now().await;
    }
    hanging
}

async fn a_cut_link_fails_calls_and_a_restored_one_carries_them(harness: Http) {
    let (rig, counter) = start(&harness).await;
    let client = rig.requester();
    assert_eq!(call(&*client, "lab.run").await.unwrap().body, "1");
    assert_eq!(rig.live().connections, Some(1), "{}", harness.name);
    let hanging = hang(&*rig, &counter).await;
    rig.kill_link().await;
    assert_eq!(rig.live().connections, Some(0));
    let error = hanging.await.unwrap();
    assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::Unknown));
    for _ in 0..3 {
        let error = call(&*client, "lab.run").await.unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error:?}");
    }
    rig.restore_link().await;
    assert_eq!(call(&*client, "lab.run").await.unwrap().body, "3", "{}", harness.name);
}

async fn a_restart_loses_calls_and_comes_up_at_the_same_address(harness: Http) {
    let (rig, counter) = start(&harness).await;
    let client = rig.requester();
    for _ in 0..3 {
        let hanging = hang(&*rig, &counter).await;
        rig.restart().await.unwrap();
        let error = hanging.await.unwrap();
        assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::Unknown));
        call(&*client, "lab.run").await.unwrap();
        assert_eq!(rig.live().in_flight, Some(0), "{}", harness.name);
    }
}

async fn a_raw_peer_says_and_hears_what_is_on_the_wire(harness: Http) {
    let (rig, _counter) = start(&harness).await;
    let raw = rig.raw().unwrap();
    let reply = raw.send(RawRequest::new("lab.run").with_body("b")).await.unwrap();
    assert_eq!((reply.code, &reply.body[..]), (None, &b"1"[..]), "{}", harness.name);
    let reply = raw.send(RawRequest::new("lab.run").with_timeout("soon")).await.unwrap();
    assert_eq!(reply.code.as_deref(), Some("invalid_argument"));
    assert_eq!(reply.delivery.as_deref(), Some("rejected"));
    let reply = raw.send(RawRequest::new("lab.run").with_timeout("0")).await.unwrap();
    assert_eq!(reply.code.as_deref(), Some("deadline_exceeded"));

    let success = RawReply::success("hi").with_header("x-a", "1");
    let client = raw.answering(RawAnswer::Reply(success)).await.unwrap();
    for _ in 0..2 {
        let answer = call(&*client, "any.thing").await.unwrap();
        assert_eq!((&answer.body[..], answer.headers.get("x-a")), (&b"hi"[..], Some("1")));
    }
    let odd = RawReply::failure("from_the_future").with_delivery("processed");
    let client = raw.answering(RawAnswer::Reply(odd)).await.unwrap();
    let error = call(&*client, "any.thing").await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Unknown, Delivery::Processed));
    let garbage = RawAnswer::Garbage("no HTTP at all\r\n\r\n".into());
    let client = raw.answering(garbage).await.unwrap();
    let error = call(&*client, "any.thing").await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Internal, Delivery::Unknown), "{error:?}");
    assert_eq!(error.reason(), Some(&Reason::BAD_RESPONSE));
}

#[tokio::test]
async fn links_are_cut_and_restored() {
    for harness in both(Http::proxied) {
        a_cut_link_fails_calls_and_a_restored_one_carries_them(harness).await;
    }
}

#[tokio::test(start_paused = true)]
async fn pipes_are_cut_and_restored() {
    for harness in both(Http::pipe) {
        a_cut_link_fails_calls_and_a_restored_one_carries_them(harness).await;
    }
}

#[tokio::test]
async fn servers_on_sockets_die_and_come_back() {
    for harness in both(Http::proxied) {
        a_restart_loses_calls_and_comes_up_at_the_same_address(harness).await;
    }
}

#[tokio::test(start_paused = true)]
async fn servers_on_pipes_die_and_come_back() {
    for harness in both(Http::pipe) {
        a_restart_loses_calls_and_comes_up_at_the_same_address(harness).await;
    }
}

#[tokio::test]
async fn raw_peers_speak_over_sockets() {
    for harness in both(Http::tcp).into_iter().chain(both(Http::proxied)) {
        a_raw_peer_says_and_hears_what_is_on_the_wire(harness).await;
    }
}

#[tokio::test(start_paused = true)]
async fn raw_peers_speak_over_pipes() {
    for harness in both(Http::pipe) {
        a_raw_peer_says_and_hears_what_is_on_the_wire(harness).await;
    }
}

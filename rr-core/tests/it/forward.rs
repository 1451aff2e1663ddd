//! A bridge passes calls and answers on, and says what it knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rr_core::{
    Code, Context, Delivery, Error, Forward, Local, Reason, Request, Requester as _, RequesterExt,
    Response, Router, config::CallConfig, context::Cause,
};
use rr_testkit::{loopback, loopback_with};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

async fn remaining(ctx: Context, _: Request) -> Result<Response, Error> {
    let millis = ctx.remaining().map(|left| left.as_millis()).unwrap_or_default();
    Ok(Response::new(millis.to_string()))
}

async fn refuse(_: Context, request: Request) -> Result<Response, Error> {
    Err(Error::new(Code::NotFound, "no such thing").with_headers(request.headers))
}

async fn hang(_: Context, _: Request) -> Result<Response, Error> {
    std::future::pending().await
}

fn backend() -> Router {
    Router::new().route("remaining", remaining).route("refuse", refuse).route("hang", hang)
}

#[tokio::test(start_paused = true)]
async fn answers_errors_and_deadlines_cross_a_bridge() {
    let back = loopback(backend());
    let front = loopback(Router::new().fallback(Forward(back)));
    let ctx = Context::background().with_timeout(ms(500));
    assert_eq!(front.call_raw(&ctx, "remaining", "").await.unwrap().body, "500");
    let error = front.call_raw(&ctx, "refuse", "").header("x-a", "1").await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::NotFound, Delivery::Processed));
    assert_eq!((error.message(), error.headers().get("x-a")), ("no such thing", Some("1")));
    let error = front.call_raw(&ctx, "unknown", "").await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Unimplemented, Delivery::Rejected));
    assert_eq!(error.reason(), Some(&Reason::NO_SUCH_TARGET));
}

#[tokio::test(start_paused = true)]
async fn what_never_reached_the_backend_is_rejected_by_the_bridge() {
    let (back, server) = loopback(backend()).into_parts();
    drop(server);
    tokio::time::sleep(ms(1)).await;
    let front = Local::new(Router::new().fallback(Forward(back)));
    let error = front.call_raw(&Context::background(), "refuse", "").await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::Rejected));
    assert_eq!(error.reason(), Some(&Reason::NO_RESPONDER));
}

#[tokio::test(start_paused = true)]
async fn a_bridges_own_deadline_says_unknown() {
    let back = loopback(backend());
    let front = loopback(Router::new().fallback(Forward(back)));
    // The caller waits longer than the server grants, so that the server's answer is seen.
    let config = rr_core::config::IntakeConfig::default().with_timeout_max(ms(50));
    let (requester, _server) = front.into_parts();
    let bridge = Local::with_config(Router::new().fallback(Forward(requester)), config);
    let error = bridge.call_raw(&Context::background(), "hang", "").await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::DeadlineExceeded, Delivery::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_at_the_front_stops_the_handler_at_the_back() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let (seen, mut causes) = tokio::sync::mpsc::unbounded_channel();
    let counter = Arc::clone(&dropped);
    let back = Router::new().route("hang", move |ctx: Context, _: Request| {
        let (counter, seen) = (Arc::clone(&counter), seen.clone());
        tokio::spawn(async move { seen.send(ctx.cancelled().await) });
        async move {
            let _guard = OnDrop(counter);
            std::future::pending::<Result<Response, Error>>().await
        }
    });
    let front = loopback(Router::new().fallback(Forward(loopback(back))));
    let (ctx, handle) = Context::background().child();
    let call = tokio::spawn(async move { front.call_raw(&ctx, "hang", "").await });
    tokio::time::sleep(ms(10)).await;
    handle.cancel();
    assert_eq!(call.await.unwrap().unwrap_err().code(), Code::Canceled);
    assert_eq!(causes.recv().await, Some(Cause::CallerDropped));
    tokio::time::sleep(ms(1)).await;
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_deadline_gets_that_of_the_bridge() {
    let server = rr_core::config::IntakeConfig::default().with_timeout_default(ms(7000));
    let back = loopback_with(backend(), server, CallConfig::default());
    let front = loopback(Router::new().fallback(Forward(back)));
    let unbounded = Context::background().unbounded();
    assert_eq!(front.call_raw(&unbounded, "remaining", "").await.unwrap().body, "30000");
}

#[tokio::test(start_paused = true)]
async fn a_bridge_whose_grace_is_over_gives_up_what_waits_behind_it() {
    let (back, behind) = loopback(backend()).into_parts();
    let (front, bridge) = loopback(Router::new().fallback(Forward(back))).into_parts();
    let call = async { front.call_raw(&Context::background(), "hang", "").await };
    let stop = async {
        tokio::time::sleep(ms(10)).await;
        bridge.shutdown(ms(50)).await
    };
    let (outcome, report) = tokio::join!(call, stop);
    let error = outcome.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::Unknown));
    assert_eq!((report.completed, report.aborted), (0, 1));
    // Told like any caller that goes, and not waited for.
    assert_eq!(behind.shutdown(ms(50)).await.aborted, 0);
}

struct OnDrop(Arc<AtomicUsize>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Fails after the bridge was answered, as a middleware may that adds a header.
struct Spoil;

#[rr_core::async_trait]
impl rr_core::Middleware for Spoil {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: rr_core::Next<'_>,
    ) -> Result<Response, Error> {
        let mut response = next.run(ctx, request).await?;
        response.headers.insert("x-city", "münchen")?;
        Ok(response)
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_after_the_backend_ran_is_processed() {
    let front = Local::new(Router::new().fallback(Forward(loopback(backend()))).with(Spoil));
    let error = front.call_raw(&Context::background(), "remaining", "").await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::Processed));
}

#[tokio::test(start_paused = true)]
async fn a_bridge_adds_itself_to_via_and_passes_trailing_metadata_back() {
    async fn trailing(_: Context, request: Request) -> Result<Response, Error> {
        let via: Vec<_> = request.headers.get_all("via").map(str::to_owned).collect();
        let mut headers = rr_core::Headers::new();
        headers.insert("trailer-x", "1")?;
        match &request.body[..] {
            b"fail" => Err(Error::new(Code::NotFound, "none").with_headers(headers)),
            _ => Ok(Response::new(via.join(", ")).with_headers(headers)),
        }
    }
    let back = loopback(Router::new().route("trailing", trailing));
    let front = loopback(Router::new().fallback(Forward(back)));
    let ctx = Context::background();
    let response = front.call_raw(&ctx, "trailing", "").header("via", "1.1 proxy").await.unwrap();
    assert_eq!(response.body, "1.1 proxy, rr/1 rr");
    assert_eq!(response.headers.get("trailer-x"), Some("1"));
    let error = front.call_raw(&ctx, "trailing", "fail").await.unwrap_err();
    assert_eq!(error.headers().get("trailer-x"), Some("1"));
    let refused = front.call_raw(&ctx, "trailing", "").header("trailer-x", "1").await.unwrap_err();
    assert_eq!((refused.code(), refused.delivery()), (Code::InvalidArgument, Delivery::NotSent));
}

#[tokio::test]
async fn only_a_request_for_the_admin_page_needs_room_for_via() {
    async fn via(_: Context, request: Request) -> Result<Response, Error> {
        Ok(Response::new(request.headers.get("via").unwrap_or("none").to_owned()))
    }
    let back = loopback(Router::new().route("t.via", via).route("rr.debug", via));
    let front = loopback(Router::new().fallback(Forward(back)));
    let ctx = Context::background();
    let full = 16 * 1024;
    // With this many headers, of this many bytes together.
    let padded = |target: &str, entries: usize, bytes: usize| {
        let mut request = Request::new(target.try_into().unwrap(), "");
        for number in 1..entries {
            request.headers.insert(format!("p{number:02}"), "").unwrap();
        }
        request.headers.insert("pad", "x".repeat(bytes - 3 * entries)).unwrap();
        request
    };
    for (entries, bytes) in [(63, 1000), (1, full - 10)] {
        for target in ["t.via", "rr.debug"] {
            let response = front.request(&ctx, padded(target, entries, bytes)).await.unwrap();
            assert_eq!(response.body, "rr/1 rr", "{target}: {entries} headers, {bytes} bytes");
        }
    }
    for (entries, bytes) in [(64, 1000), (1, full - 9), (1, full)] {
        let response = front.request(&ctx, padded("t.via", entries, bytes)).await.unwrap();
        assert_eq!(response.body, "none", "{entries} headers, {bytes} bytes");
        let error = front.request(&ctx, padded("rr.debug", entries, bytes)).await.unwrap_err();
        let outcome = (error.code(), error.delivery());
        assert_eq!(outcome, (Code::ResourceExhausted, Delivery::Rejected), "{error}");
        assert_eq!(error.reason(), Some(&Reason::REQUEST_TOO_LARGE), "{error}");
        assert!(error.message().contains("no room for the `via`"), "{error}");
    }
}

//! Handlers that call themselves in this process.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rr_core::{
    Code, Context, Error, Local, Request, Requester, Responder, Response, Router, Target,
    async_trait,
};

type Own = Arc<OnceLock<Local>>;

/// Calls itself as many times as its body has bytes.
struct Recursive {
    own: Own,
    waits: bool,
}

#[async_trait]
impl Responder for Recursive {
    async fn respond(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        if self.waits {
            tokio::task::yield_now().await;
        }
        if request.body.is_empty() {
            return Ok(Response::new("bottom"));
        }
        let rest = request.body.slice(1..);
        // A frame of its own, as handlers have.
        let frame = std::hint::black_box([0_u8; 4096]);
        let answer = self.own.get().unwrap().request(ctx, Request::new(target(), rest)).await;
        std::hint::black_box(frame);
        answer
    }
}

fn target() -> Target {
    Target::parse("deep.call").unwrap()
}

fn local(waits: bool) -> Own {
    let own = Own::default();
    let recursive = Recursive { own: Arc::clone(&own), waits };
    let routes = Router::new().service("deep", recursive);
    own.set(Local::new(routes)).unwrap();
    own
}

async fn descend(local: &Own, levels: usize) -> Result<Response, Error> {
    let ctx = Context::background().with_timeout(Duration::from_secs(60));
    local.get().unwrap().request(&ctx, Request::new(target(), vec![0; levels])).await
}

#[tokio::test]
async fn a_handler_that_calls_itself_over_local_does_not_exhaust_the_stack() {
    for waits in [false, true] {
        let local = local(waits);
        assert_eq!(descend(&local, 1000).await.unwrap().body, "bottom");
        // One level more than may be in flight.
        let error = descend(&local, 1024).await.unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted);
        assert_eq!(local.get().unwrap().intake().in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_a_deep_call_drops_all_of_its_handlers() {
    let own = Own::default();
    struct Waits(Own);
    #[async_trait]
    impl Responder for Waits {
        async fn respond(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
            if request.body.is_empty() {
                return std::future::pending().await;
            }
            let rest = request.body.slice(1..);
            self.0.get().unwrap().request(ctx, Request::new(target(), rest)).await
        }
    }
    own.set(Local::new(Router::new().service("deep", Waits(Arc::clone(&own))))).unwrap();
    let intake = own.get().unwrap().intake();
    let call = descend(&own, 99);
    let waited = tokio::time::timeout(Duration::from_secs(1), call).await;
    assert!(waited.is_err());
    tokio::time::timeout(Duration::from_secs(1), intake.idle()).await.unwrap();
}

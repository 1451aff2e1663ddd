//! The faults of the in-memory transport: what each does to the handler, and what the caller hears.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rr_spi::{
    Code, Context, Declared, Delivery, Error, Reason, Request, Requester, Responder, Response,
    Route, Routes, async_trait,
};
use rr_testkit::{Loopback, MemoryFault, MemoryFaults, loopback};
use tokio::time::Instant;

/// Counts its runs, each of which takes its time.
#[derive(Clone, Default)]
struct Counted(Arc<AtomicUsize>);

const WORK: Duration = Duration::from_millis(30);

#[async_trait]
impl Responder for Counted {
    async fn respond(&self, _: &Context, _: Request) -> Result<Response, Error> {
        self.0.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(WORK).await;
        Ok(Response::new("done"))
    }
}

fn served(faults: MemoryFaults) -> (Loopback, Counted) {
    let counted = Counted::default();
    let mut routes = Routes::new();
    let route = Route::Target("count".into());
    routes.insert(route, Declared::Unspecified, Arc::new(counted.clone())).unwrap();
    let client = loopback(routes);
    client.link().set_faults(faults);
    (client, counted)
}

async fn call(client: &Loopback, timeout: Duration) -> Result<Response, Error> {
    let ctx = Context::background().with_timeout(timeout);
    client.request(&ctx, Request::new("count".try_into().unwrap(), "")).await
}

#[tokio::test(start_paused = true)]
async fn each_fault_says_what_a_network_would_and_runs_the_handler_or_not() {
    let timeout = Duration::from_millis(100);
    let (expired, lost) = (Code::DeadlineExceeded, Code::Unavailable);
    for (fault, code, delivery, reason, runs, took) in [
        (
            MemoryFault::DropRequest,
            expired,
            Delivery::Unknown,
            Some(Reason::EXPIRED_AWAITING_REPLY),
            0,
            timeout,
        ),
        (
            MemoryFault::DropReply,
            expired,
            Delivery::Unknown,
            Some(Reason::EXPIRED_AWAITING_REPLY),
            1,
            timeout,
        ),
        (
            MemoryFault::FailBefore,
            lost,
            Delivery::NotSent,
            Some(Reason::CONNECT_FAILED),
            0,
            Duration::ZERO,
        ),
        (MemoryFault::FailAfter, lost, Delivery::Unknown, Some(Reason::CONNECTION_LOST), 1, WORK),
    ] {
        let (client, counted) = served(MemoryFaults::script([Some(fault)]));
        let start = Instant::now();
        let error = call(&client, timeout).await.unwrap_err();
        assert_eq!((error.code(), error.delivery()), (code, delivery), "{fault:?}");
        assert_eq!((error.reason(), start.elapsed()), (reason.as_ref(), took), "{fault:?}");
        assert_eq!(counted.0.load(Ordering::SeqCst), runs, "{fault:?}");
        assert_eq!((client.link().faults(), client.link().pending()), (1, 0), "{fault:?}");
        // What comes after the script is left alone.
        assert_eq!(call(&client, timeout).await.unwrap().body, "done");
        assert_eq!(client.server().in_flight(), 0, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_before_its_lost_reply_takes_the_handler_along() {
    let (client, counted) = served(MemoryFaults::script([Some(MemoryFault::DropReply)]));
    let error = call(&client, WORK / 2).await.unwrap_err();
    assert_eq!(error.delivery(), Delivery::Unknown);
    while client.server().in_flight() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(counted.0.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cut_link_ends_a_call_that_waits_for_a_lost_message() {
    for fault in [MemoryFault::DropRequest, MemoryFault::DropReply] {
        let (client, _) = served(MemoryFaults::script([Some(fault)]));
        let cut = async {
            tokio::time::sleep(WORK * 2).await;
            client.link().cut();
        };
        let (outcome, ()) = tokio::join!(call(&client, WORK * 10), cut);
        let error = outcome.unwrap_err();
        let told = (error.code(), error.delivery(), error.reason());
        let reason = Some(&Reason::CONNECTION_LOST);
        assert_eq!(told, (Code::Unavailable, Delivery::Unknown, reason), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unbounded_call_waits_for_a_lost_message_until_it_is_cancelled() {
    let (client, _) = served(MemoryFaults::script([Some(MemoryFault::DropRequest)]));
    let (ctx, handle) = Context::background().unbounded().child();
    let calling = client.request(&ctx, Request::new("count".try_into().unwrap(), ""));
    let cancelling = async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        handle.cancel();
    };
    let (outcome, ()) = tokio::join!(calling, cancelling);
    let error = outcome.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Canceled, Delivery::Unknown));
}

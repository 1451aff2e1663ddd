//! A call that is held back is a call without attempts.

use rr_core::config::IntakeConfig;
use rr_core::{
    Code, Context, Error, Reason, Request, Requester as _, Response, Router, recommended,
};
use std::time::Duration;

use super::support::*;

async fn unused(_: Context, _: Request) -> Result<Response, Error> {
    Ok(Response::new(""))
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_held_back_is_a_call_without_attempts() {
    let (log, _guard) = Log::capture();
    // The server refuses every request.
    let config = IntakeConfig::default().with_in_flight_max(0);
    let client = recommended(InProcess::new(Router::new().route("shop.find", unused), config));
    let error = loop {
        log.take();
        let ctx = Context::background().with_timeout(Duration::from_millis(100));
        let error = client.request(&ctx, request("shop.find")).await.unwrap_err();
        if error.reason() == Some(&Reason::THROTTLED) {
            break error;
        }
        assert_eq!(error.code(), Code::ResourceExhausted);
    };
    let entries = log.take();
    assert!(entries.iter().all(|entry| entry.name != "attempt"), "{entries:?}");
    let call = entries.last().unwrap();
    assert_eq!((&*call.name, call.is_span), ("call", true));
    assert_eq!(call.get("rr.code"), "resource_exhausted");
    assert_eq!(call.get("rr.reason"), "throttled");
    assert_eq!(call.get("rr.delivery"), error.delivery().as_str());
}

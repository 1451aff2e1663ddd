//! When a collection ends, in virtual time, over a transport whose replies come as told.

use std::time::Duration;

use rr_core::many::{ManyConfig, ManyEnd, request_many};
use rr_core::{Code, Context, Delivery, Error, Local, Reason, Router};
use tokio::time::{Instant, timeout};

use super::support::*;
use crate::balance::support::unavailable;
use Step::{Lost, Pause, Refusal, Reply, Sentinel, Silence};

#[tokio::test(start_paused = true)]
async fn the_total_time_ends_a_collection_with_what_came() {
    let source = Scripted::new(&[Reply("a"), Pause(ms(30)), Reply("b"), Pause(ms(80)), Reply("c")]);
    let (ctx, begin) = (within(100), Instant::now());
    let mut replies = request_many(&source, &ctx, request(), ManyConfig::default());
    assert_eq!(bodies(all(&mut replies).await), ["a", "b"]);
    assert_eq!((replies.end(), replies.count()), (Some(ManyEnd::Deadline), 2));
    assert_eq!(begin.elapsed(), ms(100));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_before_the_first_reply_is_an_error() {
    let source = Scripted::new(&[Silence]);
    let ctx = within(100);
    let mut replies =
        request_many(&source, &ctx, request(), ManyConfig::default().with_stall(ms(9)));
    let error = replies.next().await.unwrap().unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::DeadlineExceeded, Delivery::Unknown));
    assert_eq!(replies.end(), Some(ManyEnd::Deadline));
    assert!(replies.next().await.is_none());
    let ctx = within(0);
    let mut replies = request_many(&source, &ctx, request(), ManyConfig::default());
    let error = replies.next().await.unwrap().unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::DeadlineExceeded, Delivery::NotSent));
}

#[tokio::test(start_paused = true)]
async fn without_a_deadline_the_timeout_of_calls_applies() {
    let (source, ctx, begin) = (Scripted::new(&[Silence]), Context::background(), Instant::now());
    let mut replies = request_many(&source, &ctx, request(), ManyConfig::default());
    assert!(replies.next().await.unwrap().is_err());
    assert_eq!(begin.elapsed(), rr_core::defaults::CLIENT_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_stall_after_the_first_reply_ends_the_collection_and_cancels_the_rest() {
    let steps = [Pause(ms(900)), Reply("a"), Pause(ms(40)), Reply("b"), Silence];
    let (source, ctx, begin) = (Scripted::new(&steps), within(5000), Instant::now());
    let config = ManyConfig::default().with_stall(ms(50));
    let mut replies = request_many(&source, &ctx, request(), config);
    assert_eq!(bodies(all(&mut replies).await), ["a", "b"]);
    assert_eq!(replies.end(), Some(ManyEnd::Stalled));
    assert_eq!((begin.elapsed(), source.dropped()), (ms(990), 1));
}

#[tokio::test(start_paused = true)]
async fn time_between_two_waits_is_no_stall() {
    let source = Scripted::new(&[Reply("a"), Reply("b"), Silence]);
    let ctx = within(5000);
    let config = ManyConfig::default().with_stall(ms(50));
    let mut replies = request_many(&source, &ctx, request(), config);
    assert_eq!(replies.next().await.unwrap().unwrap().body, "a");
    tokio::time::sleep(ms(1000)).await;
    assert_eq!(replies.next().await.unwrap().unwrap().body, "b");
    tokio::time::sleep(ms(1000)).await;
    assert!(timeout(ms(49), replies.next()).await.is_err());
    assert!(timeout(ms(2), replies.next()).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_count_ends_the_collection_and_errors_do_not_count() {
    let refused = unavailable(Delivery::Rejected, Reason::OVERLOADED);
    let source = Scripted::new(&[Refusal(refused), Reply("a"), Reply("b"), Reply("c")]);
    let ctx = within(5000);
    let config = ManyConfig::default().with_replies_max(2);
    let mut replies = request_many(&source, &ctx, request(), config);
    let items = all(&mut replies).await;
    assert!(items[0].is_err());
    assert_eq!(bodies(items.into_iter().skip(1).collect()), ["a", "b"]);
    assert_eq!((replies.end(), source.dropped()), (Some(ManyEnd::Count), 1));
}

#[tokio::test(start_paused = true)]
async fn the_mark_of_the_end_ends_the_collection_and_cancels_nothing() {
    let source = Scripted::new(&[Reply("a"), Sentinel]);
    let ctx = within(5000);
    let mut replies = request_many(&source, &ctx, request(), ManyConfig::default());
    assert_eq!(bodies(all(&mut replies).await), ["a"]);
    assert_eq!((replies.end(), source.dropped()), (Some(ManyEnd::Sentinel), 0));
}

#[tokio::test(start_paused = true)]
async fn after_the_first_reply_no_error_claims_that_nothing_ran() {
    for claimed in [Delivery::NotSent, Delivery::Rejected, Delivery::Unknown] {
        let lost = unavailable(claimed, Reason::CONNECTION_LOST);
        let source = Scripted::new(&[Reply("a"), Lost(lost)]);
        let ctx = within(5000);
        let mut replies = request_many(&source, &ctx, request(), ManyConfig::default());
        assert!(replies.next().await.unwrap().is_ok());
        let error = replies.next().await.unwrap().unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::Unknown));
        assert!(replies.next().await.is_none());
        assert_eq!(replies.end(), Some(ManyEnd::Failed));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_context_ends_the_collection_with_an_error() {
    let source = Scripted::new(&[Reply("a"), Silence]);
    let (ctx, handle) = within(5000).child();
    let mut replies = request_many(&source, &ctx, request(), ManyConfig::default());
    assert!(replies.next().await.unwrap().is_ok());
    handle.cancel();
    let error = replies.next().await.unwrap().unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Canceled, Delivery::Unknown));
    assert_eq!(replies.end(), Some(ManyEnd::Failed));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_dropped_loses_no_reply() {
    let source = Scripted::new(&[Pause(ms(10)), Reply("a"), Pause(ms(10)), Reply("b")]);
    let ctx = within(5000);
    let mut replies = request_many(&source, &ctx, request(), ManyConfig::default());
    let mut seen = Vec::new();
    loop {
        match timeout(ms(3), replies.next()).await {
            Ok(Some(reply)) => seen.push(reply.unwrap().body),
            Ok(None) => break,
            Err(_) => {}
        }
    }
    assert_eq!(seen, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_the_first_wait_and_a_drop_cancels() {
    let source = Scripted::new(&[Reply("a"), Silence]);
    let ctx = within(5000);
    drop(request_many(&source, &ctx, request(), ManyConfig::default()));
    assert_eq!(source.dropped(), 0);
    let mut replies = request_many(&source, &ctx, request(), ManyConfig::default());
    assert!(replies.next().await.is_some());
    drop(replies);
    assert_eq!(source.dropped(), 1);
}

#[cfg(feature = "json")]
async fn double(n: u32) -> Result<u32, Error> {
    match n.checked_mul(2) {
        Some(n) => Ok(n),
        None => Err(Error::new(Code::OutOfRange, "too large")),
    }
}

#[tokio::test(start_paused = true)]
async fn a_requester_whose_requests_have_one_reply_gives_that_one() {
    let local = Local::new(Router::new().route("orders.place", |_: Context, _| async {
        Ok::<_, Error>(rr_core::Response::new("done"))
    }));
    let ctx = within(100);
    let config = ManyConfig::default().with_stall(Duration::MAX).with_empty_ends(true);
    let mut replies = request_many(&local, &ctx, request(), config);
    assert_eq!(bodies(all(&mut replies).await), ["done"]);
    assert_eq!((replies.end(), replies.endpoint()), (Some(ManyEnd::AllAnswered), None));
    let empty = Local::new(Router::new());
    let mut replies = request_many(&empty, &ctx, request(), config);
    let error = replies.next().await.unwrap().unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Unimplemented, Delivery::Rejected));
    assert_eq!(replies.end(), Some(ManyEnd::Failed));
}

#[cfg(feature = "json")]
#[tokio::test(start_paused = true)]
async fn a_typed_call_decodes_each_reply() {
    use rr_core::{CallError, RequesterExt};

    let local = Local::new(Router::new().route("math.double", double));
    let ctx = within(100);
    let call = |n: &u32| local.call::<u32>(&ctx, "math.double", n).many(ManyConfig::default());
    let mut replies = call(&21);
    assert_eq!((replies.next().await.unwrap().unwrap(), replies.count()), (42, 1));
    assert!(replies.next().await.is_none());
    let Some(Err(CallError::Rr(error))) = call(&u32::MAX).next().await else { panic!("an error") };
    assert_eq!((error.code(), error.delivery()), (Code::OutOfRange, Delivery::Processed));
    let mut text = local.call::<String>(&ctx, "math.double", &1).many(ManyConfig::default());
    let Some(Err(CallError::Rr(error))) = text.next().await else { panic!("no text") };
    assert_eq!((error.code(), error.delivery()), (Code::Internal, Delivery::Processed));
    let mut malformed = local.call::<u32>(&ctx, "no target", &1).many(ManyConfig::default());
    let Some(Err(CallError::Rr(error))) = malformed.next().await else { panic!("an error") };
    assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::NotSent));
    assert_eq!(malformed.end(), Some(ManyEnd::Failed));
}

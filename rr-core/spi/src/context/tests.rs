use std::future::{pending, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn context_stays_small() {
    assert_eq!(size_of::<Context>(), 32);
    assert_eq!(size_of::<Option<Deadline>>(), 16);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_only_gets_shorter() {
    let ctx = Context::background().with_timeout(ms(100));
    assert_eq!(ctx.with_timeout(ms(200)).remaining(), Some(ms(100)));
    assert_eq!(ctx.with_timeout(ms(50)).remaining(), Some(ms(50)));
    assert_eq!(ctx.child().0.remaining(), Some(ms(100)));
    assert!(Context::background().with_timeout(Duration::MAX).remaining() > Some(ms(1 << 39)));
}

#[tokio::test(start_paused = true)]
async fn default_applies_unless_opted_out() {
    let ctx = Context::background();
    assert_eq!(ctx.or_timeout(ms(10)).remaining(), Some(ms(10)));
    assert_eq!(ctx.with_timeout(ms(50)).or_timeout(ms(10)).remaining(), Some(ms(50)));
    assert_eq!(ctx.unbounded().or_timeout(ms(10)).remaining(), None);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_a_race_on_time_and_wins_ties() {
    let ctx = Context::background().with_timeout(ms(20));
    let start = Instant::now();
    assert_eq!(ctx.race(pending::<()>()).await, Err(Cause::DeadlineExceeded));
    assert_eq!(start.elapsed(), ms(20));
    assert_eq!(ctx.race(ready(1)).await, Err(Cause::DeadlineExceeded));
    let ctx = Context::background().with_timeout(ms(20));
    let tie = ctx.race(tokio::time::sleep(ms(20))).await;
    assert_eq!(tie, Err(Cause::DeadlineExceeded));
    let ctx = Context::background().with_timeout(ms(20));
    assert_eq!(ctx.race(tokio::time::sleep(ms(19))).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn cancelling_a_scope_reaches_everything_below_and_nothing_above() {
    let (parent, parent_handle) = Context::background().child();
    let mut chain = vec![parent.child()];
    for _ in 0..4 {
        let next = chain[chain.len() - 1].0.child();
        chain.push(next);
    }
    let deepest = chain[4].0.clone();
    let waiting = tokio::spawn(async move { deepest.cancelled().await });
    tokio::task::yield_now().await;
    chain[2].1.cancel();
    assert_eq!(waiting.await.unwrap(), Cause::Cancelled);
    assert_eq!(chain[1].0.cause(), None);
    assert_eq!(chain[3].0.cause(), Some(Cause::Cancelled));
    parent_handle.cancel_with(Cause::Shutdown);
    assert_eq!(chain[1].0.cause(), Some(Cause::Shutdown));
    assert_eq!(parent.cause(), Some(Cause::Shutdown));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_race_leaves_no_waiter() {
    let (ctx, _handle) = Context::background().child();
    let races: Vec<_> = (0..100).map(|_| Box::pin(ctx.race(pending::<()>()))).collect();
    let mut races = races;
    for race in &mut races {
        assert!(tokio::time::timeout(Duration::ZERO, race).await.is_err());
    }
    let scope = ctx.scopes().next().unwrap();
    assert_eq!(scope.waiting(), 100);
    drop(races);
    assert_eq!(scope.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_just_before_the_deadline_counts_as_the_deadline() {
    let (ctx, handle) = Context::background().with_timeout(ms(100)).child();
    tokio::time::sleep(ms(96)).await;
    handle.cancel_with(Cause::PeerGone);
    assert_eq!(ctx.cause(), Some(Cause::DeadlineExceeded));
    let (ctx, handle) = Context::background().with_timeout(ms(100)).child();
    tokio::time::sleep(ms(90)).await;
    handle.cancel_with(Cause::PeerGone);
    assert_eq!(ctx.cause(), Some(Cause::PeerGone));
}

#[test]
fn the_first_cause_stays_and_a_dropped_handle_cancels() {
    let (ctx, handle) = Context::background().child();
    handle.cancel_with(Cause::HedgeLost);
    drop(handle);
    assert_eq!(ctx.scope_cause(), Some(Cause::HedgeLost));
    let (ctx, handle) = Context::background().child();
    drop(handle);
    assert_eq!(ctx.scope_cause(), Some(Cause::CallerDropped));
}

#[tokio::test(start_paused = true)]
async fn detached_keeps_the_trace_and_drops_the_bounds() {
    let (ctx, handle) = Context::background().with_timeout(ms(5)).child();
    let ctx = ctx.with_trace("00-a-b-01", None).unwrap().with_request_id("r1").unwrap();
    let detached = ctx.with_value(7_u32).detached();
    handle.cancel();
    assert_eq!(detached.cause(), None);
    assert_eq!(detached.remaining(), None);
    assert_eq!(detached.traceparent(), Some("00-a-b-01"));
    assert_eq!((detached.request_id(), detached.value::<u32>()), (Some("r1"), Some(&7)));
    assert!(ctx.with_request_id("a\r\nb").is_err());
}

#[test]
fn a_very_long_chain_of_children_drops_without_recursion() {
    let mut ctx = Context::background();
    let mut handles = Vec::new();
    for _ in 0..200_000 {
        let (child, handle) = ctx.child();
        handles.push(handle);
        ctx = child;
    }
    drop(handles);
    drop(ctx);
}

#[tokio::test(start_paused = true)]
async fn shielded_work_continues_after_its_caller() {
    let (tx, rx) = tokio::sync::oneshot::channel();
    let ctx = Context::background().with_timeout(ms(10));
    let shielded = ctx.shield(async move {
        tokio::time::sleep(ms(50)).await;
        let _ = tx.send(7);
    });
    assert!(ctx.race(shielded).await.is_err());
    assert_eq!(rx.await, Ok(7));
}

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::defaults;
use crate::error::{Code, Delivery, Detail, Reason, RetryHint};
use crate::responder::Responder;
use crate::response::Response;
use crate::routes::{Declared, Route};
use crate::{BoxFuture, Middleware, Next};

type Outcome = Result<Response, Error>;

/// A responder made of a closure, so that each test shows its handler.
struct Do<F>(F);

impl<F> Responder for Do<F>
where
    F: Fn(Context) -> BoxFuture<'static, Outcome> + Send + Sync + 'static,
{
    crate::boxed! {
        fn respond(&self, ctx: &Context, _request: Request) -> Result<Response, Error> {
            (self.0)(ctx.clone())
        }
    }
}

fn intake<F, T>(handler: F) -> Intake
where
    F: Fn(Context) -> T + Send + Sync + 'static,
    T: Future<Output = Outcome> + Send + 'static,
{
    let mut routes = Routes::new();
    let responder = Arc::new(Do(move |ctx| Box::pin(handler(ctx)) as BoxFuture<'static, Outcome>));
    routes.insert(Route::Target("t".into()), Declared::Unspecified, responder).unwrap();
    Intake::new(routes, IntakeConfig::default().with_in_flight_max(2))
}

fn request() -> Request {
    Request::new(Target::try_from("t").unwrap(), "")
}

async fn ask(intake: &Intake, timeout: Option<u64>) -> Outcome {
    let timeout = timeout.map(Duration::from_millis);
    let (ctx, _handle) = intake.context(Inbound::new(timeout));
    intake.handle(&ctx, request()).await
}

fn told(outcome: Outcome) -> (Code, Delivery, Option<Reason>) {
    let error = outcome.unwrap_err();
    (error.code(), error.delivery(), error.reason().cloned())
}

#[tokio::test(start_paused = true)]
async fn expired_on_arrival_does_not_run() {
    let intake = intake(|_| async { panic!("must not run") });
    let expected = (Code::DeadlineExceeded, Delivery::Rejected, Some(Reason::EXPIRED_ON_ARRIVAL));
    assert_eq!(told(ask(&intake, Some(0)).await), expected);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_handler_ends_at_the_clamped_deadline_as_processed() {
    let intake = intake(|ctx| async move {
        assert_eq!(ctx.remaining(), Some(defaults::SERVER_TIMEOUT_MAX));
        std::future::pending().await
    });
    let outcome = ask(&intake, Some(u64::MAX / 2)).await;
    assert_eq!(told(outcome), (Code::DeadlineExceeded, Delivery::Processed, None));
    assert_eq!(intake.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_contained_and_its_text_stays_here() {
    let intake = intake(|_| async { panic!("secret") });
    let error = ask(&intake, None).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Internal, Delivery::Processed));
    assert_eq!(error.reason(), Some(&Reason::PANIC));
    assert!(!format!("{error:?}").contains("secret"));
    assert_eq!(intake.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_over_the_limit_is_rejected_immediately() {
    let intake = intake(|_| std::future::pending());
    let (ctx, _handle) = intake.context(Inbound::default());
    let mut first = Box::pin(intake.handle(&ctx, request()));
    let mut second = Box::pin(intake.handle(&ctx, request()));
    for waiting in [&mut first, &mut second] {
        assert!(tokio::time::timeout(Duration::ZERO, waiting).await.is_err());
    }
    let expected = (Code::ResourceExhausted, Delivery::Rejected, Some(Reason::OVERLOADED));
    assert_eq!(told(ask(&intake, None).await), expected);
    drop(first);
    assert_eq!(intake.in_flight(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_claimed_by_a_handler_is_ignored() {
    let intake = intake(|_| async {
        Err(Error::failure(Code::Unavailable, Delivery::NotSent, Reason::NO_RESPONDER, "x"))
    });
    assert_eq!(told(ask(&intake, None).await), (Code::Unavailable, Delivery::Processed, None));
}

struct Refuse;

#[crate::async_trait]
impl Middleware for Refuse {
    async fn handle(&self, _: &Context, _: Request, _: Next<'_>) -> Outcome {
        Err(Error::new(Code::Unauthenticated, "who are you"))
    }
}

#[tokio::test(start_paused = true)]
async fn middleware_before_the_handler_rejects() {
    let inner = intake(|_| async { panic!("must not run") });
    let routes = inner.routes().clone().wrap(&[Arc::new(Refuse)]);
    let intake = Intake::new(routes, IntakeConfig::default());
    let error = ask(&intake, None).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Unauthenticated, Delivery::Rejected));
    assert_eq!(error.message(), "who are you");
}

/// Calls another service before or after the rest of the chain, and fails when that call fails.
struct Quota {
    before: bool,
}

#[crate::async_trait]
impl Middleware for Quota {
    async fn handle(&self, ctx: &Context, request: Request, next: Next<'_>) -> Outcome {
        if !self.before {
            next.run(ctx, request.clone()).await?;
        }
        let refused = Error::failure(
            Code::ResourceExhausted,
            Delivery::Processed,
            Reason::RATE_LIMITED,
            "secret of the quota service",
        );
        let after = RetryHint::After(Duration::from_millis(1));
        let refused = refused.with_retry(after).with_detail(Detail::new("secret", "s"));
        let attempt = crate::Attempt::start(ctx, Duration::MAX)?;
        attempt.run(async { Err(refused) }).await?;
        next.run(ctx, request).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_server_middleware_calls_is_rescoped_and_what_is_known_of_the_handler_holds()
{
    for (before, held) in [(true, Delivery::Rejected), (false, Delivery::Processed)] {
        for marks in [true, false] {
            let error = ask(&behind(Quota { before }, marks), None).await.unwrap_err();
            assert_eq!((error.code(), error.delivery()), (Code::ResourceExhausted, held));
            assert_eq!((error.reason(), error.retry()), (None, RetryHint::Unset));
            assert!(error.details().is_empty() && !error.message().contains("secret"));
        }
    }
}

/// Runs the rest of the chain with a timeout of 100 ms.
struct Hurry;

#[crate::async_trait]
impl Middleware for Hurry {
    async fn handle(&self, ctx: &Context, request: Request, next: Next<'_>) -> Outcome {
        next.run(&ctx.with_timeout(Duration::from_millis(100)), request).await
    }
}

/// Runs the rest of the chain unchanged.
struct Pass;

#[crate::async_trait]
impl Middleware for Pass {
    async fn handle(&self, ctx: &Context, request: Request, next: Next<'_>) -> Outcome {
        next.run(ctx, request).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_earlier_deadline_that_middleware_sets_holds_for_the_handler() {
    let slow = |_| async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        Ok(Response::new("late"))
    };
    let hurry = || [Arc::new(Hurry) as Arc<dyn Middleware>, Arc::new(Pass)];
    let direct = Intake::new(intake(slow).routes().clone().wrap(&hurry()), IntakeConfig::default());
    // Also as one handler of other routes.
    let mut nested = Routes::new();
    let inner = Arc::new(intake(slow).routes().clone().wrap(&hurry()));
    nested.insert(Route::Fallback, Declared::Unspecified, inner).unwrap();
    for intake in [direct, Intake::new(nested, IntakeConfig::default())] {
        let started = Instant::now();
        let expected = (Code::DeadlineExceeded, Delivery::Processed, None);
        assert_eq!(told(ask(&intake, Some(10_000)).await), expected);
        assert_eq!(started.elapsed(), Duration::from_millis(100));
        assert_eq!(intake.in_flight(), 0);
    }
    // While a bridge waits for a run elsewhere, the delivery is `Unknown`.
    let mut routes = Routes::new();
    let waits = Do(|ctx: Context| -> BoxFuture<'static, Outcome> {
        Box::pin(async move {
            let _passage = ctx.pass();
            std::future::pending().await
        })
    });
    routes.insert_self_marking(Route::Fallback, Declared::Unspecified, Arc::new(waits)).unwrap();
    let intake = Intake::new(routes.wrap(&hurry()), IntakeConfig::default());
    let expected = (Code::DeadlineExceeded, Delivery::Unknown, None);
    assert_eq!(told(ask(&intake, Some(10_000)).await), expected);
}

#[tokio::test(start_paused = true)]
async fn a_bridge_that_waits_says_unknown_for_itself_and_passes_answers_on() {
    let mut routes = Routes::new();
    let bridge = Do(|ctx: Context| -> BoxFuture<'static, Outcome> {
        Box::pin(async move {
            let passage = ctx.pass();
            if ctx.inbound_retries() == 0 {
                return std::future::pending().await;
            }
            let answer = Err(Error::failure(Code::NotFound, Delivery::Rejected, None, "verbatim"));
            passage.resolve(answer)
        })
    });
    routes.insert_self_marking(Route::Fallback, Declared::Unspecified, Arc::new(bridge)).unwrap();
    let intake = Intake::new(routes, IntakeConfig::default());
    let outcome = ask(&intake, Some(20)).await;
    assert_eq!(told(outcome), (Code::DeadlineExceeded, Delivery::Unknown, None));
    let (ctx, _handle) = intake.context(Inbound { retries: 1, ..Inbound::default() });
    let error = intake.handle(&ctx, request()).await.unwrap_err();
    assert_eq!((error.delivery(), error.message()), (Delivery::Rejected, "verbatim"));
}

/// Runs `next` the given number of times, then fails by itself.
struct After(usize);

#[crate::async_trait]
impl Middleware for After {
    async fn handle(&self, ctx: &Context, request: Request, next: Next<'_>) -> Outcome {
        for _ in 0..self.0 {
            let _ = next.run(ctx, request.clone()).await;
        }
        Err(Error::failure(Code::InvalidArgument, Delivery::NotSent, None, "a bad header"))
    }
}

/// Passes on a new context, against the contract.
struct Astray;

#[crate::async_trait]
impl Middleware for Astray {
    async fn handle(&self, _: &Context, request: Request, next: Next<'_>) -> Outcome {
        let outcome = next.run(&Context::background(), request).await;
        outcome.and_then(|_| Err(Error::new(Code::Internal, "after side effects")))
    }
}

/// A bridge to a run that succeeds.
struct Bridge;

#[crate::async_trait]
impl Responder for Bridge {
    async fn respond(&self, ctx: &Context, _: Request) -> Outcome {
        let passage = ctx.pass();
        passage.resolve(Ok(Response::new("ran elsewhere")))
    }
}

fn behind(middleware: impl Middleware, marks: bool) -> Intake {
    let mut routes = Routes::new();
    let responder = Arc::new(Bridge);
    let insert = if marks { Routes::insert } else { Routes::insert_self_marking };
    insert(&mut routes, Route::Target("t".into()), Declared::Unspecified, responder).unwrap();
    Intake::new(routes.wrap(&[Arc::new(middleware)]), IntakeConfig::default())
}

#[tokio::test(start_paused = true)]
async fn a_failure_after_a_run_is_never_unexecuted() {
    for marks in [true, false] {
        let (_, delivery, _) = told(ask(&behind(After(1), marks), None).await);
        assert_eq!(delivery, Delivery::Processed, "marked by the route: {marks}");
        let (_, delivery, _) = told(ask(&behind(Astray, marks), None).await);
        assert_eq!(delivery, Delivery::Processed, "marked by the route: {marks}");
        let (_, delivery, _) = told(ask(&behind(After(0), marks), None).await);
        assert_eq!(delivery, Delivery::Rejected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_foreign_context_proves_no_delivery() {
    let intake = intake(|_| async { Err(Error::new(Code::Internal, "after side effects")) });
    let outcome = intake.handle(&Context::background(), request()).await;
    assert_eq!(told(outcome).1, Delivery::Processed);
}

#[tokio::test(start_paused = true)]
async fn nothing_happens_before_the_first_poll() {
    let intake = intake(|_| async { panic!("must not run") });
    let (ctx, _handle) = intake.context(Inbound::new(Some(Duration::from_millis(10))));
    let late = intake.handle(&ctx, request());
    assert_eq!(intake.in_flight(), 0);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(told(late.await).2, Some(Reason::EXPIRED_ON_ARRIVAL));
}

#[tokio::test(start_paused = true)]
async fn a_request_pending_after_cancel_all_is_cancelled() {
    let intake = intake(|_| std::future::pending());
    let (ctx, _handle) = intake.context(Inbound::default());
    let late = intake.handle(&ctx, request());
    intake.cancel_all(Cause::Shutdown);
    assert_eq!(told(late.await).0, Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn shielded_work_takes_no_requests_place() {
    let intake = intake(|ctx| async move {
        ctx.shield(tokio::time::sleep(Duration::from_millis(50))).await;
        Ok(Response::new("done"))
    });
    let (one, two) = tokio::join!(ask(&intake, None), ask(&intake, None));
    assert!(one.is_ok() && two.is_ok());
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_panics_again_is_contained_too() {
    let intake = intake(|_| async { std::panic::panic_any(Bomb) });
    assert_eq!(told(ask(&intake, None).await).2, Some(Reason::PANIC));
}

#[tokio::test(start_paused = true)]
async fn a_kept_context_keeps_no_handler_alive() {
    let state = Arc::new(());
    let held = Arc::clone(&state);
    let (sender, contexts) = std::sync::mpsc::channel();
    let intake = intake(move |ctx| {
        let _state = Arc::clone(&held);
        let _ = sender.send(ctx);
        async { Ok(Response::default()) }
    });
    ask(&intake, None).await.unwrap();
    drop(intake);
    assert_eq!(Arc::strong_count(&state), 1);
    assert!(contexts.recv().unwrap().cause().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_in_a_drain_is_counted() {
    let intake = intake(|_| std::future::pending());
    let (ctx, handle) = intake.context(Inbound::default());
    let mut dropped = Box::pin(intake.handle(&ctx, request()));
    assert!(tokio::time::timeout(Duration::ZERO, &mut dropped).await.is_err());
    intake.drain();
    drop(dropped);
    assert_eq!((intake.report().completed, intake.report().aborted), (0, 1));
    let mut gone = Box::pin(intake.handle(&ctx, request()));
    handle.cancel_with(Cause::PeerGone);
    assert!((&mut gone).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_shielded_work_and_refuses_newcomers() {
    let intake = intake(|ctx| async move {
        let _detached = ctx.shield(tokio::time::sleep(Duration::from_millis(80)));
        Ok(Response::new("done"))
    });
    assert_eq!(ask(&intake, None).await.unwrap().body, "done");
    assert_eq!(intake.in_flight(), 1);
    intake.drain();
    let expected = (Code::Unavailable, Delivery::Rejected, Some(Reason::DRAINING));
    assert_eq!(told(ask(&intake, None).await), expected);
    let start = Instant::now();
    intake.idle().await;
    assert_eq!(start.elapsed(), Duration::from_millis(80));
    assert_eq!(intake.report().refused, 1);
}

#[tokio::test(start_paused = true)]
async fn cancel_all_gives_its_cause_to_waiting_requests() {
    let intake = intake(|_| std::future::pending());
    let waiting = {
        let intake = intake.clone();
        tokio::spawn(async move { ask(&intake, None).await })
    };
    tokio::task::yield_now().await;
    intake.drain();
    intake.cancel_all(Cause::Shutdown);
    let expected = (Code::Unavailable, Delivery::Processed, Some(Reason::DRAINING));
    assert_eq!(told(waiting.await.unwrap()), expected);
    assert_eq!(intake.report().aborted, 1);
}

#[tokio::test(start_paused = true)]
async fn a_lingering_drain_admits_until_it_refuses_and_counts_all_along() {
    let intake = intake(|_| async { Ok(Response::new("")) });
    intake.admit_while_draining();
    intake.drain();
    assert!(ask(&intake, None).await.is_ok());
    intake.stop_admitting();
    let expected = (Code::Unavailable, Delivery::Rejected, Some(Reason::DRAINING));
    assert_eq!(told(ask(&intake, None).await), expected);
    let report = intake.report();
    assert_eq!((report.completed, report.refused), (1, 1));
}

#[tokio::test]
async fn bodies_are_held_while_handlers_run_and_one_too_many_is_rejected() {
    let open = Arc::new(tokio::sync::Semaphore::new(0));
    let waits = Arc::clone(&open);
    let mut routes = Routes::new();
    let handler = Arc::new(Do(move |_| {
        let waits = Arc::clone(&waits);
        Box::pin(async move {
            waits.acquire().await.unwrap().forget();
            Ok(Response::new("done"))
        }) as BoxFuture<'static, Outcome>
    }));
    routes.insert(Route::Target("t".into()), Declared::Unspecified, handler).unwrap();
    let intake = Intake::new(routes, IntakeConfig::default().with_bodies_bytes_max(100));
    let request = |bytes| Request::new(Target::try_from("t").unwrap(), vec![0; bytes]);
    let (ctx, _handle) = intake.context(Inbound::new(None));
    let mut first = Box::pin(intake.handle(&ctx, request(60)));
    let charged = intake.bodies().whole().request(30).unwrap();
    let mut second = Box::pin(intake.handle(&ctx, request(40)).charged(charged));
    let poll = |handle: &mut std::pin::Pin<Box<Handle<'_>>>| {
        handle.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    };
    assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
    assert_eq!(intake.bodies().held(), 100);
    let refused = told(intake.handle(&ctx, request(1)).await);
    assert_eq!(refused, (Code::ResourceExhausted, Delivery::Rejected, Some(Reason::OVERLOADED)));
    assert_eq!(intake.in_flight(), 2);
    open.add_permits(1);
    first.await.unwrap();
    assert_eq!(intake.bodies().held(), 40);
    drop(second);
    assert_eq!(intake.bodies().held(), 0);
}

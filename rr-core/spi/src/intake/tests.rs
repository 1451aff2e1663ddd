use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::context::Mark;
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
    fn respond<'a, 'c, 'f>(&'a self, ctx: &'c Context, _: Request) -> BoxFuture<'f, Outcome>
    where
        'a: 'f,
        'c: 'f,
    {
        (self.0)(ctx.clone())
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
async fn one_too_many_is_rejected_at_once() {
    let intake = intake(|_| std::future::pending());
    let (ctx, _handle) = intake.context(Inbound::default());
    let _first = intake.handle(&ctx, request());
    let _second = intake.handle(&ctx, request());
    let expected = (Code::ResourceExhausted, Delivery::Rejected, Some(Reason::OVERLOADED));
    assert_eq!(told(ask(&intake, None).await), expected);
    drop(_first);
    assert_eq!(intake.in_flight(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_says_of_its_delivery_does_not_count() {
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

#[tokio::test(start_paused = true)]
async fn a_bridge_that_waits_says_unknown_for_itself_and_passes_answers_on() {
    let mut routes = Routes::new();
    let bridge = Do(|ctx: Context| -> BoxFuture<'static, Outcome> {
        Box::pin(async move {
            ctx.mark(Mark::Passed);
            if ctx.retries() == 0 {
                return std::future::pending().await;
            }
            Err(Error::failure(Code::NotFound, Delivery::Rejected, None, "verbatim"))
        })
    });
    routes.insert_unmarked(Route::Fallback, Declared::Unspecified, Arc::new(bridge)).unwrap();
    let intake = Intake::new(routes, IntakeConfig::default());
    let outcome = ask(&intake, Some(20)).await;
    assert_eq!(told(outcome), (Code::DeadlineExceeded, Delivery::Unknown, None));
    let (ctx, _handle) = intake.context(Inbound { retries: 1, ..Inbound::default() });
    let error = intake.handle(&ctx, request()).await.unwrap_err();
    assert_eq!((error.delivery(), error.message()), (Delivery::Rejected, "verbatim"));
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
    let start = tokio::time::Instant::now();
    intake.idle().await;
    assert_eq!(start.elapsed(), Duration::from_millis(80));
    assert_eq!(intake.report().refused, 1);
}

#[tokio::test(start_paused = true)]
async fn cancelling_all_says_why_to_those_that_wait() {
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
    intake.linger();
    intake.drain();
    assert!(ask(&intake, None).await.is_ok());
    intake.refuse();
    let expected = (Code::Unavailable, Delivery::Rejected, Some(Reason::DRAINING));
    assert_eq!(told(ask(&intake, None).await), expected);
    let report = intake.report();
    assert_eq!((report.completed, report.refused), (1, 1));
}

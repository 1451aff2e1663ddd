//! Observers of calls: one report for each call, whatever its attempts did, and one event for each
//! attempt that is followed by another.

use std::sync::{Arc, Mutex};

use rr_core::observe::{End, Event, Kind, Observer, Observers, Start};
use rr_core::retry::{RetryBudget, RetryBudgetConfig, RetryConfig, RetryDecision};
use rr_core::transport::BoxFuture;
use rr_core::{Code, Context, Delivery, Error, Request, Requester, Response, Stack};
use rr_core::{recommended_with, retry::Retry};
use tokio::time::{sleep, timeout};

use super::support::*;

/// Writes each report of a call, and each event but those of the budget, as a line.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn push(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Observer for Lines {
    fn observes(&self, kind: Kind) -> bool {
        kind == Kind::ClientCall
    }

    fn started(&self, start: &Start<'_>) -> Option<Box<dyn rr_core::observe::Span>> {
        self.push(format!("call of {}", start.route.unwrap_or("nothing")));
        None
    }

    fn ended(&self, end: &End<'_>) {
        let code = end.outcome.code().map_or("ok", Code::as_str);
        let attempts = end.outcome.error().map_or(0, |error| error.attempts().len());
        let (sizes, millis) =
            ((end.request_bytes, end.outcome.response_bytes()), end.elapsed().as_millis());
        let delivery = end.outcome.delivery().as_str();
        self.push(format!("{code} ({delivery}) {attempts} {sizes:?} in {millis} ms"));
    }

    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Retry { context, target, failed, .. } => {
                assert!(context.deadline().is_some(), "the context is that of the call");
                let decision = failed.decision.map(|decision| decision.to_string());
                self.push(format!("{target} {} {}", failed.code, decision.unwrap()));
            }
            Event::RetryRefused { target, failed, .. } => {
                self.push(format!("{target} {} is not tried again", failed.code));
            }
            Event::RetryBudget { .. } => {}
            other => self.push(format!("{other:?}")),
        }
    }
}

fn observed(script: &Arc<Script>, lines: &Lines) -> Stack<Arc<Script>> {
    let observers = Observers::new(lines.clone());
    let retry = retry(RetryConfig::default()).with_observers(observers.clone());
    Stack::new(Arc::clone(script)).with(retry).observed_by(observers)
}

#[tokio::test(start_paused = true)]
async fn a_call_is_reported_once_and_each_further_attempt_announced() {
    let lines = Lines::default();
    let script = Script::new([
        Step::Fail(ms(10), refused()),
        Step::Fail(ms(10), lost()),
        Step::Answer(ms(10)),
    ]);
    observed(&script, &lines).request(&within(9000), idempotent()).await.unwrap();
    let reported = lines.take();
    assert_eq!(
        reported[..2],
        ["call of orders.place", "orders.place unavailable sent again immediately"]
    );
    assert!(reported[2].starts_with("orders.place unavailable tried again after"), "{reported:?}");
    assert!(reported[3].starts_with("ok (processed) 0 (4, 4) in "), "{reported:?}");
    assert_eq!(reported.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_attempt_that_is_given_up_is_part_of_the_report_of_the_call() {
    let lines = Lines::default();
    let script = Script::new([Step::Fail(ms(10), lost())]);
    let error = observed(&script, &lines).request(&within(9000), plain()).await.unwrap_err();
    assert_eq!(decisions(&error), [RetryDecision::NotIdempotent]);
    assert_eq!(lines.take(), ["call of orders.place", "unavailable (unknown) 1 (4, 0) in 10 ms"]);

    let script = Script::new([Step::Hang]);
    let client = observed(&script, &lines);
    assert!(timeout(ms(5), client.request(&within(9000), plain())).await.is_err());
    assert_eq!(lines.take(), ["call of orders.place", "canceled (unknown) 0 (4, 0) in 5 ms"]);
}

#[tokio::test(start_paused = true)]
async fn the_recommended_stack_reports_calls_and_retries() {
    let lines = Lines::default();
    let script = Script::broken(exhausted());
    let client = recommended_with(Arc::clone(&script), Observers::new(lines.clone()));
    let error = client.request(&Context::background(), plain()).await.unwrap_err();
    assert_eq!(error.delivery(), Delivery::Rejected);
    let reported = lines.take();
    let retries = reported.iter().filter(|line| line.contains("again")).count();
    assert_eq!((retries, reported.len()), (script.seen().len() - 1, retries + 2), "{reported:?}");
    assert!(retries > 0);
}

/// Keeps what the events of the budget say is left, and counts the retries that it refused.
#[derive(Clone, Default)]
struct Budgets(Arc<Mutex<(Vec<u64>, usize)>>);

impl Observer for Budgets {
    fn event(&self, event: &Event<'_>) {
        let mut seen = self.0.lock().unwrap();
        match event {
            Event::RetryBudget { left, .. } => seen.0.push(*left),
            Event::RetryRefused { failed, .. } => {
                assert_eq!(failed.decision, Some(RetryDecision::BudgetSpent));
                seen.1 += 1;
            }
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_budget_is_reported_when_it_is_drawn_on_and_once_in_each_slice_of_its_window() {
    let budgets = Budgets::default();
    let take = || std::mem::take(&mut *budgets.0.lock().unwrap());
    let config = RetryBudgetConfig::default().with_percent(0).with_floor_per_second(1);
    let budget = RetryBudget::with_config(&config.with_window(ms(2000)));
    let client = |script| {
        let retry = retry(RetryConfig::default().with_attempts_max(2));
        let observers = Observers::new(budgets.clone());
        Stack::new(script).with(retry.with_budget(budget.clone()).with_observers(observers))
    };
    let broken = client(Script::broken(lost()));
    for _ in 0..3 {
        broken.request(&within(9000), idempotent()).await.unwrap_err();
    }
    // Two retries were left: the first of a slice, then after each retry, made or refused.
    let (left, refused) = take();
    assert!(left.ends_with(&[0, 0]) && left.starts_with(&[2, 1]), "{left:?}");
    assert_eq!(refused, 1);

    sleep(ms(3000)).await;
    let works = client(Script::new([Step::Answer(ms(0))]));
    for _ in 0..3 {
        works.request(&within(9000), idempotent()).await.unwrap();
    }
    assert_eq!(take(), (vec![2], 0), "the retries have left the window");
}

/// Panics in every method.
struct Panics;

impl Observer for Panics {
    fn observes(&self, _: Kind) -> bool {
        panic!("when it is asked")
    }

    fn event(&self, _: &Event<'_>) {
        panic!("at an event")
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_ends_no_call_and_hides_none_from_the_others() {
    let lines = Lines::default();
    let observers = Observers::new(Panics).and(lines.clone());
    let script = Script::failing([refused()]);
    let retry = Retry::new().with_observers(observers.clone());
    let client = Stack::new(script).with(retry).observed_by(observers);
    client.request(&within(9000), plain()).await.unwrap();
    assert_eq!(lines.take().len(), 3);
}

/// Returns the future of the requester, not one around it.
struct Direct(Mutex<usize>);

impl Requester for Direct {
    fn request<'a, 'c, 'f>(
        &'a self,
        _: &'c Context,
        _: Request,
    ) -> BoxFuture<'f, Result<Response, Error>>
    where
        'a: 'f,
        'c: 'f,
        Self: 'f,
    {
        let future: BoxFuture<'f, _> = Box::pin(async { Ok(Response::new("done")) });
        *self.0.lock().unwrap() = (&raw const *future).cast::<()>() as usize;
        future
    }
}

#[tokio::test]
async fn without_observers_a_call_has_no_future_more() {
    for observers in [Observers::default(), Observers::new(Attempts)] {
        let direct = Arc::new(Direct(Mutex::default()));
        let client = Stack::new(Arc::clone(&direct)).observed_by(observers);
        let ctx = within(9000);
        let future = client.request(&ctx, plain());
        assert_eq!((&raw const *future).cast::<()>() as usize, *direct.0.lock().unwrap());
        future.await.unwrap();
    }
}

/// Observes attempts alone.
struct Attempts;

impl Observer for Attempts {
    fn observes(&self, kind: Kind) -> bool {
        kind == Kind::ClientAttempt
    }
}

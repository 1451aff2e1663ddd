//! Throttling in virtual time.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rr_spi::{Attempt, Requester, SeededEntropy, Stage};
use tokio::time::sleep;

use super::*;
use crate::Stack;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Destination that is up or down.
#[derive(Default)]
struct Switch {
    is_down: AtomicBool,
    calls: AtomicU64,
    fails_with: Mutex<Option<Error>>,
}

#[async_trait]
impl Requester for Switch {
    async fn request(&self, _: &Context, _: Request) -> Result<Response, Error> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.is_down.load(Ordering::Relaxed) {
            let error = self.fails_with.lock().unwrap().clone();
            return Err(error.unwrap_or_else(|| {
                Error::failure(Code::Unavailable, Delivery::Rejected, Reason::DRAINING, "going")
            }));
        }
        Ok(Response::new("done"))
    }
}

struct Rig {
    switch: Arc<Switch>,
    client: Stack<Arc<Switch>>,
}

impl Rig {
    fn new(config: ThrottleConfig) -> Self {
        let switch = Arc::new(Switch::default());
        let throttle = Throttle::with_config(config).with_entropy(SeededEntropy::new(7));
        Self { client: Stack::new(Arc::clone(&switch)).with(throttle), switch }
    }

    /// Makes 100 calls a second; returns how many reached the destination and were answered.
    async fn seconds(&self, seconds: u64) -> (u64, u64) {
        let (before, mut answered) = (self.switch.calls.load(Ordering::Relaxed), 0);
        for _ in 0..seconds * 100 {
            let request = Request::new("a.b".try_into().unwrap(), "");
            match self.client.request(&Context::background(), request).await {
                Ok(_) => answered += 1,
                Err(error) if error.reason() == Some(&Reason::THROTTLED) => {
                    assert_eq!(error.delivery(), Delivery::NotSent);
                    assert_eq!(error.retry(), RetryHint::Never);
                }
                Err(_) => {}
            }
            sleep(ms(10)).await;
        }
        (self.switch.calls.load(Ordering::Relaxed) - before, answered)
    }

    fn set_down(&self, is_down: bool) {
        self.switch.is_down.store(is_down, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_healthy_destination_gets_every_call() {
    let rig = Rig::new(ThrottleConfig::default());
    assert_eq!(rig.seconds(30).await, (3000, 3000));
}

#[tokio::test(start_paused = true)]
async fn a_dead_destination_gets_a_fifth_and_a_recovered_one_everything_soon() {
    let rig = Rig::new(ThrottleConfig::default());
    rig.seconds(20).await;
    rig.set_down(true);
    let (reached, _) = rig.seconds(10).await;
    assert!(reached > 500, "the good calls of the window count: {reached}");
    let (reached, _) = rig.seconds(20).await;
    assert!((350..450).contains(&reached), "{reached} of 2000");
    rig.set_down(false);
    rig.seconds(20).await;
    let (_, answered) = rig.seconds(10).await;
    assert!(answered > 950, "{answered} of 1000 when it is up again");
}

#[tokio::test(start_paused = true)]
async fn many_simultaneous_calls_do_not_hold_each_other_back() {
    struct Slow(AtomicU64);

    #[async_trait]
    impl Requester for Slow {
        async fn request(&self, _: &Context, _: Request) -> Result<Response, Error> {
            self.0.fetch_add(1, Ordering::Relaxed);
            sleep(ms(100)).await;
            Ok(Response::new("done"))
        }
    }

    let throttle = Throttle::new().with_entropy(SeededEntropy::new(7));
    let client = Arc::new(Stack::new(Slow(AtomicU64::new(0))).with(throttle));
    let call = |client: Arc<Stack<Slow>>| async move {
        let request = Request::new("a.b".try_into().unwrap(), "");
        client.request(&Context::background(), request).await
    };
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        calls.spawn(call(Arc::clone(&client)));
    }
    while let Some(outcome) = calls.join_next().await {
        outcome.unwrap().unwrap();
    }
    // Calls that are dropped show nothing of the destination either.
    for _ in 0..1000 {
        let call = call(Arc::clone(&client));
        assert!(tokio::time::timeout(ms(1), call).await.is_err(), "it reached the destination");
    }
}

#[tokio::test(start_paused = true)]
async fn few_failures_hold_nothing_back() {
    let rig = Rig::new(ThrottleConfig::default().with_failures_free(100));
    rig.set_down(true);
    assert_eq!(rig.seconds(1).await.0, 100);
    assert!(rig.seconds(9).await.0 < 500);
}

#[tokio::test(start_paused = true)]
async fn errors_that_show_nothing_of_the_load_hold_nothing_back() {
    for error in [
        Error::new(Code::NotFound, "no such order"),
        Error::new(Code::Unavailable, "the database is away"),
        Error::failure(Code::Canceled, Delivery::Unknown, None, "gone"),
        Error::failure(Code::InvalidArgument, Delivery::NotSent, None, "bad"),
        Error::failure(Code::Unavailable, Delivery::NotSent, Reason::CLOSED, "closed"),
        Error::failure(Code::Unavailable, Delivery::Unknown, Reason::CONNECTION_LOST, "reset"),
        Error::failure(Code::ResourceExhausted, Delivery::NotSent, Reason::RATE_LIMITED, "own"),
        Error::failure(Code::DeadlineExceeded, Delivery::NotSent, Reason::EXPIRED_WAITING, "full"),
        Error::failure(Code::DeadlineExceeded, Delivery::NotSent, None, "late"),
    ] {
        let rig = Rig::new(ThrottleConfig::default());
        *rig.switch.fails_with.lock().unwrap() = Some(error.clone());
        rig.set_down(true);
        assert_eq!(rig.seconds(10).await.0, 1000, "{error:?}");
    }
}

/// Requester whose attempts wait in a stage until the deadline of their context.
struct Stuck(Stage);

#[async_trait]
impl Requester for Stuck {
    async fn request(&self, ctx: &Context, _: Request) -> Result<Response, Error> {
        let attempt = Attempt::start(ctx, ms(10_000))?;
        attempt.stage(self.0);
        attempt.run(pending()).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_black_hole_holds_calls_back_although_nothing_is_sent_and_a_full_client_does_not() {
    for (stage, is_held_back) in [
        (Stage::Place, false),
        (Stage::Connection, true),
        (Stage::Lookup, true),
        (Stage::Connect, true),
        (Stage::Handshake, true),
        (Stage::Sending, true),
    ] {
        let throttle = Throttle::new().with_entropy(SeededEntropy::new(7));
        let client = Stack::new(Stuck(stage)).with(throttle);
        let mut held_back = 0;
        for _ in 0..500 {
            let request = Request::new("a.b".try_into().unwrap(), "");
            let ctx = Context::background().with_timeout(ms(10));
            let error = client.request(&ctx, request).await.unwrap_err();
            assert_eq!(error.delivery(), Delivery::NotSent);
            held_back += u32::from(error.reason() == Some(&Reason::THROTTLED));
        }
        assert_eq!(held_back > 300, is_held_back, "{stage:?}: {held_back} of 500");
        assert!(is_held_back || held_back == 0, "{stage:?}: {held_back} of 500");
    }
}

#[tokio::test(start_paused = true)]
async fn the_alert_ends_a_window_after_the_last_call_in_excess() {
    let (throttle, target) = (Throttle::new(), "a.b".try_into().unwrap());
    let (other, start) = ("b.c".try_into().unwrap(), Instant::now());
    let is_alert = || throttle.is_alert.load(Ordering::Relaxed);
    for call in 0..30 {
        assert_eq!(is_alert(), call > 20);
        throttle.ended(&target, Acceptance::NotAccepted, start + ms(call));
    }
    // Calls to another service neither are held back, nor end the alert early.
    throttle.admit(&other, start + ms(10_028)).unwrap();
    assert!(is_alert());
    throttle.admit(&other, start + ms(10_029)).unwrap();
    assert!(!is_alert());
}

#[test]
fn the_probability_is_that_of_the_formula() {
    let config = ThrottleConfig::default().with_failures_free(0);
    for (calls, accepted, per_mille) in
        [(0, 0, 0), (1, 0, 500), (3, 0, 750), (1000, 0, 800), (1000, 500, 0), (999, 400, 199)]
    {
        let (mut histories, now) = (Histories::new(&config), Instant::now());
        for n in 0..calls {
            let is_accepted = n < accepted;
            let acceptance = match is_accepted {
                true => Acceptance::Accepted,
                false => Acceptance::NotAccepted,
            };
            histories.count("a", acceptance, now);
        }
        let counts = histories.of("a").counts(now);
        assert_eq!(counts.dropped_per_mille(&config), per_mille, "{calls} {accepted}");
    }
}

#[test]
fn each_service_counts_separately_until_there_are_too_many() {
    let config = ThrottleConfig::default();
    let (mut histories, now) = (Histories::new(&config), Instant::now());
    let mut fail = |service: usize| {
        for _ in 0..30 {
            histories.count(&format!("service-{service}"), Acceptance::NotAccepted, now);
        }
        histories.of(&format!("service-{}", service + 1)).counts(now).calls
    };
    assert_eq!(fail(0), 0);
    assert_eq!(fail(126), 0);
    for service in 1..126 {
        fail(service);
    }
    assert_eq!(fail(127), 0);
    assert_eq!(fail(128), 30, "the 129th and the 130th share one history");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_holds_back_no_call_to_another() {
    let rig = Rig::new(ThrottleConfig::default());
    rig.set_down(true);
    rig.seconds(10).await;
    let to = |target: &str| Request::new(target.try_into().unwrap(), "");
    let ctx = Context::background();
    let mut held_back = None;
    for _ in 0..100 {
        let error = rig.client.request(&ctx, to("a.other")).await.unwrap_err();
        if error.reason() == Some(&Reason::THROTTLED) {
            held_back = Some(error);
        }
    }
    let error = held_back.expect("methods of one service count together");
    assert!(error.message().contains("to `a.other`: the service accepted 0 of "));
    assert!(error.message().ends_with(" calls of the last 10 s, those held back included"));
    assert!(!error.hint().is_empty());
    rig.set_down(false);
    for _ in 0..1000 {
        rig.client.request(&ctx, to("b.c")).await.unwrap();
    }
}

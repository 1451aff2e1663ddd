//! What holds for any sequence of calls. A failure prints all that repeats it.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rr_core::hedge::{Hedge, HedgeConfig};
use rr_core::limit::{
    AdaptiveConfig, ConcurrencyConfig, ConcurrencyLimit, Order, RateConfig, RateLimit,
};
use rr_core::retry::RetryHint;
use rr_core::throttle::{Throttle, ThrottleConfig};
use rr_core::transport::SeededEntropy;
use rr_core::{
    Context, Delivery, Error, Idempotency, IdempotencyKey, Reason, Request, Requester, Response,
    async_trait,
};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::support::*;

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(test)
}

fn idempotency() -> impl Strategy<Value = Idempotency> {
    let key = Idempotency::Keyed(IdempotencyKey::new("key").unwrap());
    let all = [Idempotency::Unspecified, Idempotency::Safe, Idempotency::Idempotent, key];
    prop::sample::select(all.to_vec())
}

fn step() -> impl Strategy<Value = Step> {
    let took = prop_oneof![6 => 8_u64..12, 3 => 0_u64..200].prop_map(ms);
    prop_oneof![
        12 => took.clone().prop_map(Step::Answer),
        1 => took.clone().prop_map(|took| Step::Fail(took, lost())),
        1 => took.prop_map(|took| Step::Fail(took, refused())),
        1 => Just(Step::Hang),
    ]
}

fn property(cases: u32) -> ProptestConfig {
    // What failed is printed, and becomes a test of its own.
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(property(200))]

    /// A call has two requests at most, and one unless it may run twice; all second requests together are within
    /// their part of the calls.
    #[test]
    fn hedging_stays_within_its_bounds(
        calls in prop::collection::vec((idempotency(), 0_u64..50), 1..400),
        steps in prop::collection::vec(step(), 1..500),
        percent in 0_u32..=100,
    ) {
        run(async {
            let config = HedgeConfig::default().with_extra_percent(percent);
            let hedged = watched(Hedge::with_config(config), Script::new(steps));
            let mut may_run_twice = 0;
            for (idempotency, pause) in calls {
                let is_hedged = matches!(idempotency, Idempotency::Safe | Idempotency::Idempotent);
                may_run_twice += u64::from(is_hedged);
                let before = hedged.watch.sent();
                let request = plain().with_idempotency(idempotency);
                let _ = hedged.client.request(&within(300), request).await;
                let sent = hedged.watch.sent() - before;
                prop_assert!(sent == 1 || (sent == 2 && is_hedged), "{sent} {is_hedged}");
                prop_assert!(hedged.watch.most() <= 2 && hedged.watch.in_flight() == 0);
                sleep(ms(pause)).await;
            }
            let sent = hedged.layer.stats().sent;
            prop_assert!(sent * 100 <= may_run_twice * u64::from(percent), "{sent} {may_run_twice}");
            Ok(())
        })?;
    }

    /// In no interval of time are more calls admitted than the burst and the rate of that time; and a refused call
    /// that waits for the time it was told is admitted.
    #[test]
    fn a_rate_admits_no_more_than_its_burst_and_its_rate(
        pauses in prop::collection::vec(prop_oneof![Just(0_u64), 0..30_u64, 0..2000_u64], 1..200),
        rate in 1_u32..200,
        burst in 0_u32..20,
    ) {
        run(async {
            let config = RateConfig::default().with_calls_per_second(rate).with_burst(burst);
            let limit = watched(RateLimit::new(config), Host::new(Does::Answers(ms(0))));
            let mut admitted: Vec<Instant> = Vec::new();
            for pause in pauses {
                sleep(ms(pause)).await;
                if limit.client.request(&within(1000), plain()).await.is_ok() {
                    admitted.push(Instant::now());
                }
            }
            for (first, begin) in admitted.iter().enumerate() {
                for (last, end) in admitted.iter().enumerate().skip(first) {
                    let gained = (*end - *begin).as_secs_f64() * f64::from(rate);
                    let most = f64::from(burst.max(1)) + gained + 1e-6;
                    prop_assert!((last - first + 1) as f64 <= most, "{} {most}", last - first + 1);
                }
            }
            for _ in 0..burst + 5 {
                let refused = limit.client.request(&within(1000), plain()).await;
                let Err(error) = refused else { continue };
                let RetryHint::After(wait) = error.retry() else { panic!("{error:?}") };
                // Timers fire at whole milliseconds, never early.
                sleep(wait).await;
                let outcome = limit.client.request(&within(1000), plain()).await;
                prop_assert!(outcome.is_ok(), "{outcome:?} after {wait:?}");
            }
            Ok(())
        })?;
    }

    /// The part of the calls that is held back is that of the formula over the calls of the window.
    #[test]
    fn a_throttle_follows_its_formula(
        outcomes in prop::collection::vec(any::<bool>(), 0..300),
        calls_percent in 50_u32..400,
        free in 0_u32..50,
        most in 0_u32..120,
        seed: u64,
    ) {
        run(async {
            let config = ThrottleConfig::default()
                .with_calls_percent(calls_percent)
                .with_failures_free(free)
                .with_dropped_percent_max(most);
            let host = Host::new(Does::Answers(ms(0)));
            let throttle = Throttle::with_config(config).with_entropy(SeededEntropy::new(seed));
            let throttled = watched(throttle, Arc::clone(&host));
            let (mut calls, mut accepted) = (0_u64, 0_u64);
            for is_accepted in outcomes {
                let does = if is_accepted { Does::Answers(ms(0)) } else { Does::Fails(exhausted()) };
                host.now_does(does);
                let outcome = throttled.client.request(&within(1000), plain()).await;
                calls += 1;
                accepted += u64::from(outcome.is_ok());
                let allowed = accepted * u64::from(calls_percent.max(100)) / 100 + u64::from(free);
                let part = calls.saturating_sub(allowed) * 1000 / (calls + 1);
                let part = part.min(u64::from(most.min(95)) * 10);
                let dropped = throttled.layer.dropped_per_mille(&plain().target);
                prop_assert_eq!(u64::from(dropped), part);
                let is_held_back = is_refused(&outcome, &Reason::THROTTLED);
                prop_assert!(!is_held_back || most > 0);
            }
            Ok(())
        })?;
    }
}

/// What becomes of a call at its destination.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Answers(u64),
    Fails(u64),
    Hangs,
    Panics,
}

/// Call that arrives after a pause: its fate, its timeout, and whether its caller drops or cancels it after a time.
#[derive(Clone, Debug)]
struct Arrival {
    pause: u64,
    fate: Fate,
    timeout: u64,
    dropped: Option<u64>,
    cancelled: Option<u64>,
}

fn arrival() -> impl Strategy<Value = Arrival> {
    let fate = prop_oneof![
        4 => (0_u64..100).prop_map(Fate::Answers),
        1 => (0_u64..100).prop_map(Fate::Fails),
        1 => Just(Fate::Hangs),
        1 => Just(Fate::Panics),
    ];
    let some = || prop::option::weighted(0.2, 0_u64..100);
    let all = (prop_oneof![Just(0_u64), 0_u64..30], fate, 1_u64..200, some(), some());
    all.prop_map(|(pause, fate, timeout, dropped, cancelled)| Arrival {
        pause,
        fate,
        timeout,
        dropped,
        cancelled,
    })
}

/// Destination that reads the fate of each call from its body.
struct Fated(Vec<Arrival>);

#[async_trait]
impl Requester for Fated {
    async fn request(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        let number: usize = std::str::from_utf8(&request.body).unwrap().parse().unwrap();
        let run = async {
            match self.0[number].fate {
                Fate::Answers(after) => {
                    sleep(ms(after)).await;
                    Ok(Response::new("done"))
                }
                Fate::Fails(after) => {
                    sleep(ms(after)).await;
                    Err(exhausted())
                }
                Fate::Hangs => std::future::pending().await,
                Fate::Panics => panic!("as told"),
            }
        };
        let ended = |cause| Err(Error::from_cause(cause, Delivery::Unknown));
        ctx.race(run).await.unwrap_or_else(ended)
    }
}

/// A limit of one of the kinds; the smallest has one permit.
fn limit_of(kind: u32, initial: usize) -> ConcurrencyLimit {
    let config = AdaptiveConfig::default().with_initial(initial).with_min(1).with_max(8);
    match kind {
        0 => ConcurrencyLimit::fixed(initial),
        1 => ConcurrencyLimit::additive(config, ms(50)),
        _ => ConcurrencyLimit::adaptive(config),
    }
}

proptest! {
    #![proptest_config(property(300))]

    /// No more calls run than the limit was at most, and no permit is lost, whatever ends the calls.
    #[test]
    fn a_limit_holds_and_loses_no_permit(
        arrivals in prop::collection::vec(arrival(), 1..60),
        kind in 0_u32..3,
        initial in 1_usize..=8,
        wait in prop_oneof![Just(0_u64), 0_u64..100],
        newest: bool,
    ) {
        let order = if newest { Order::NewestFirst } else { Order::OldestFirst };
        let config = ConcurrencyConfig::default()
            .with_wait_max(ms(wait))
            .with_waiting_max(5)
            .with_order(order);
        run(async {
            let limit = limit_of(kind, initial).with_config(config);
            let (hangs, mut fates) = (arrivals.len(), arrivals.clone());
            fates.push(Arrival { fate: Fate::Hangs, ..fates[0].clone() });
            let limited = watched(limit, Fated(fates));
            let mut calls = tokio::task::JoinSet::new();
            // The largest limit that the kind may reach.
            let most = if kind == 0 { initial } else { 8 };
            for (number, arrival) in arrivals.into_iter().enumerate() {
                sleep(ms(arrival.pause)).await;
                let client = Arc::clone(&limited.client);
                calls.spawn(async move { play(&*client, number, &arrival).await });
                yield_now().await;
                prop_assert!(limited.layer.in_flight() <= most && limited.layer.waiting() <= 5);
                prop_assert!(limited.watch.most() <= most, "{}", limited.watch.most());
            }
            // Each call ends by its deadline, and some by a panic.
            while calls.join_next().await.is_some() {}
            prop_assert_eq!((limited.layer.in_flight(), limited.layer.waiting()), (0, 0));
            prop_assert_eq!(limited.watch.in_flight(), 0);
            let limit = limited.layer.limit();
            for _ in 0..limit {
                limited.start(fated(hangs)).await;
            }
            prop_assert_eq!(limited.watch.in_flight(), limit, "every permit is there");
            Ok(())
        })?;
    }
}

/// Makes a call that its caller may drop or cancel.
async fn play(client: &dyn Requester, number: usize, arrival: &Arrival) {
    let (ctx, handle) = within(arrival.timeout).child();
    let cancel = async {
        sleep(arrival.cancelled.map_or(Duration::from_secs(3600), ms)).await;
        handle.cancel();
        std::future::pending::<()>().await;
    };
    let (call, mut cancel) = (client.request(&ctx, fated(number)), std::pin::pin!(cancel));
    let mut call = std::pin::pin!(call);
    let either = std::future::poll_fn(|cx| {
        let _ = cancel.as_mut().poll(cx);
        call.as_mut().poll(cx).map(drop)
    });
    let dropped = arrival.dropped.map_or(Duration::from_secs(3600), ms);
    let _ = tokio::time::timeout(dropped, either).await;
}

fn fated(number: usize) -> Request {
    Request::new("a.b".try_into().unwrap(), number.to_string())
}

//! Limits in virtual time.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use proptest::prelude::*;
use rr_spi::{
    Code, Context, Criticality, Delivery, Error, Middleware, Next, Reason, Request, Requester,
    Response, RetryHint, async_trait,
};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, sleep};

use super::adaptive::{Aimd, Gradient, Limit, Sample};
use super::gate::{Entered, Entry, Gate};
use super::*;
use crate::Stack;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Destination that takes some time for each call, and counts the calls in flight.
#[derive(Default)]
struct Busy {
    running: AtomicUsize,
    most: AtomicUsize,
    /// Keys in the order in which their calls began.
    began: std::sync::Mutex<Vec<String>>,
}

struct OnDrop<'a>(&'a AtomicUsize);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Requester for Busy {
    async fn request(&self, _: &Context, request: Request) -> Result<Response, Error> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        let _guard = OnDrop(&self.running);
        self.most.fetch_max(running, Ordering::SeqCst);
        self.began.lock().unwrap().push(request.headers.get("x-key").unwrap_or("").to_owned());
        sleep(ms(100)).await;
        Ok(Response::new("done"))
    }
}

type Client = Arc<Stack<Arc<Busy>>>;

fn client(limit: ConcurrencyLimit) -> (Client, Arc<Busy>) {
    let busy = Arc::new(Busy::default());
    (Arc::new(Stack::new(Arc::clone(&busy)).with(limit)), busy)
}

fn keyed(limit: ConcurrencyLimit) -> ConcurrencyLimit {
    limit.with_key(|_, request| request.headers.get("x-key").map(str::to_owned))
}

fn request(key: &str) -> Request {
    let mut request = Request::new("a.b".try_into().unwrap(), "");
    request.headers.insert("x-key", key.to_owned()).unwrap();
    request
}

/// Starts a call, and lets it run until it waits.
async fn start(client: &Client, ctx: Context, key: &str) -> JoinHandle<Result<Response, Error>> {
    let (client, request) = (Arc::clone(client), request(key));
    let call = tokio::spawn(async move { client.request(&ctx, request).await });
    yield_now().await;
    call
}

fn of(criticality: Criticality) -> Context {
    Context::background().with_criticality(criticality)
}

fn waiting(wait: u64, most: usize) -> ConcurrencyConfig {
    ConcurrencyConfig::default().with_wait_max(ms(wait)).with_waiting_max(most)
}

#[tokio::test(start_paused = true)]
async fn a_call_above_the_limit_is_refused() {
    let (client, busy) = client(ConcurrencyLimit::fixed(2));
    let first = start(&client, Context::background(), "a").await;
    let second = start(&client, Context::background(), "a").await;
    let error = client.request(&Context::background(), request("a")).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::ResourceExhausted, Delivery::NotSent));
    assert_eq!(error.reason(), Some(&Reason::OVERLOADED));
    assert!(first.await.unwrap().is_ok() && second.await.unwrap().is_ok());
    assert!(client.request(&Context::background(), request("a")).await.is_ok());
    assert_eq!(busy.most.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_call_runs_when_another_ends_or_is_dropped() {
    let limit = ConcurrencyLimit::fixed(1).with_config(waiting(1000, 8));
    let (client, busy) = client(limit);
    let began = Instant::now();
    let first = start(&client, Context::background(), "a").await;
    let second = start(&client, Context::background(), "a").await;
    assert!(second.await.unwrap().is_ok());
    assert_eq!(began.elapsed(), ms(200));
    first.await.unwrap().unwrap();

    let dropped = start(&client, Context::background(), "a").await;
    let next = start(&client, Context::background(), "a").await;
    sleep(ms(50)).await;
    dropped.abort();
    assert!(next.await.unwrap().is_ok());
    assert_eq!((began.elapsed(), busy.most.load(Ordering::SeqCst)), (ms(350), 1));
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_by_its_limit_by_the_deadline_and_by_a_cancellation() {
    let limit = ConcurrencyLimit::fixed(1).with_config(waiting(50, 8));
    let (client, _) = client(limit);
    let _first = start(&client, Context::background(), "a").await;
    let error = client.request(&Context::background(), request("a")).await.unwrap_err();
    assert_eq!(error.reason(), Some(&Reason::OVERLOADED));
    let short = Context::background().with_timeout(ms(10));
    let error = client.request(&short, request("a")).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::DeadlineExceeded, Delivery::NotSent));
    let (ctx, handle) = Context::background().child();
    let cancelled = start(&client, ctx, "a").await;
    handle.cancel();
    assert_eq!(cancelled.await.unwrap().unwrap_err().code(), Code::Canceled);
    sleep(ms(100)).await;
    assert!(client.request(&Context::background(), request("a")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_when_its_turn_comes_passes_its_permit_on() {
    let (client, busy) = client(ConcurrencyLimit::fixed(1).with_config(waiting(1000, 8)));
    let ctx = Context::background();
    let first = start(&client, ctx.clone(), "a").await;
    let mut second = Box::pin(client.request(&ctx, request("b")));
    assert!(polled_once(&mut second).await.is_none(), "it waits");
    // The first call ends and begins the second, which is not polled any more.
    first.await.unwrap().unwrap();
    let third = start(&client, ctx.clone(), "c").await;
    assert_eq!(busy.began.lock().unwrap().len(), 1);
    drop(second);
    third.await.unwrap().unwrap();
    assert_eq!(busy.began.lock().unwrap()[..], ["a", "c"]);
}

/// Polls a future once.
async fn polled_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    poll_fn(|cx| match Pin::new(&mut *future).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_at_its_deadline_lowers_an_adaptive_limit() {
    let config = AdaptiveConfig::default().with_initial(4);
    for (dropped_after, lowers) in [(60, true), (40, false)] {
        let limit = Arc::new(ConcurrencyLimit::additive(config.clone(), ms(1000)));
        let client = Stack::new(Arc::new(Busy::default())).with(Shared(Arc::clone(&limit)));
        // A server drops a handler at the deadline of its call.
        let ctx = Context::background().with_timeout(ms(60));
        let call = client.request(&ctx, request("a"));
        assert!(tokio::time::timeout(ms(dropped_after), call).await.is_err());
        assert_eq!(limit.limit() < 4, lowers, "{dropped_after}");
        assert_eq!(limit.in_flight(), 0);
    }
}

struct Shared(Arc<ConcurrencyLimit>);

#[async_trait]
impl Middleware for Shared {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        self.0.handle(ctx, request, next).await
    }
}

#[tokio::test(start_paused = true)]
async fn the_most_critical_runs_first_and_sheddable_calls_leave_a_reserve() {
    let limit = keyed(ConcurrencyLimit::fixed(5).with_config(waiting(10_000, 8)));
    let (client, busy) = client(limit);
    let mut calls = Vec::new();
    for _ in 0..4 {
        calls.push(start(&client, of(Criticality::Sheddable), "shed").await);
    }
    assert_eq!(busy.running.load(Ordering::SeqCst), 3, "60 % of 5");
    for _ in 0..2 {
        calls.push(start(&client, of(Criticality::Critical), "crit").await);
    }
    assert_eq!(busy.running.load(Ordering::SeqCst), 5);
    calls.push(start(&client, of(Criticality::Critical), "late").await);
    calls.push(start(&client, of(Criticality::CriticalPlus), "plus").await);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let began = busy.began.lock().unwrap().clone();
    assert_eq!(began[5..], ["plus", "late", "shed"]);
}

#[tokio::test(start_paused = true)]
async fn a_busy_key_does_not_keep_others_waiting() {
    let limit = keyed(ConcurrencyLimit::fixed(2).with_config(waiting(10_000, 64)));
    let (client, busy) = client(limit);
    let mut calls = Vec::new();
    for _ in 0..10 {
        calls.push(start(&client, Context::background(), "busy").await);
    }
    calls.push(start(&client, Context::background(), "quiet").await);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let began = busy.began.lock().unwrap().clone();
    assert_eq!(began.iter().position(|key| key == "quiet"), Some(2), "{began:?}");
}

#[tokio::test(start_paused = true)]
async fn a_key_fills_only_its_part() {
    let config = ConcurrencyConfig::default().with_key_percent_max(50);
    let limit = keyed(ConcurrencyLimit::fixed(4).with_config(config));
    let (client, busy) = client(limit);
    let mut calls = Vec::new();
    for _ in 0..3 {
        calls.push(start(&client, Context::background(), "a").await);
    }
    calls.push(start(&client, Context::background(), "b").await);
    assert_eq!(busy.began.lock().unwrap().len(), 3);
    let refused = calls.remove(2).await.unwrap().unwrap_err();
    assert_eq!(refused.reason(), Some(&Reason::OVERLOADED));
}

#[tokio::test(start_paused = true)]
async fn of_too_many_waiting_calls_the_newest_or_the_oldest_is_refused() {
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let config = waiting(10_000, 2).with_order(order);
        let (client, _) = client(ConcurrencyLimit::fixed(1).with_config(config));
        let mut calls = Vec::new();
        for key in ["runs", "old", "middle", "new"] {
            calls.push(start(&client, Context::background(), key).await);
        }
        let mut refused = Vec::new();
        for (call, key) in calls.into_iter().zip(["runs", "old", "middle", "new"]) {
            if let Err(error) = call.await.unwrap() {
                assert_eq!(error.reason(), Some(&Reason::OVERLOADED));
                refused.push(key);
            }
        }
        let expected = if order == Order::OldestFirst { "new" } else { "old" };
        assert_eq!(refused, [expected], "{order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_without_enough_time_is_refused_before_it_runs() {
    let (client, busy) = client(ConcurrencyLimit::fixed(100));
    for _ in 0..10 {
        client.request(&Context::background(), request("a")).await.unwrap();
    }
    let short = Context::background().with_timeout(ms(50));
    let error = client.request(&short, request("a")).await.unwrap_err();
    assert_eq!(error.reason(), Some(&Reason::EXPIRED_ON_ARRIVAL));
    assert_eq!((error.code(), error.delivery()), (Code::DeadlineExceeded, Delivery::NotSent));
    assert_eq!(busy.began.lock().unwrap().len(), 10);
    let enough = Context::background().with_timeout(ms(150));
    assert!(client.request(&enough, request("a")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_rate_lets_a_burst_through_and_then_its_rate() {
    let busy = Arc::new(Busy::default());
    let config = RateConfig::default().with_calls_per_second(10).with_burst(5);
    let limit = RateLimit::new(config).with_key(|_, request| {
        request.headers.get("x-key").filter(|key| !key.is_empty()).map(str::to_owned)
    });
    let client = Arc::new(Stack::new(Arc::clone(&busy)).with(limit));
    for key in ["", "a", "b"] {
        let mut let_through = 0;
        for _ in 0..20 {
            let call = start(&client, Context::background(), key).await;
            let_through += usize::from(!call.is_finished());
        }
        assert_eq!(let_through, 5, "{key}");
    }
    let error = client.request(&Context::background(), request("a")).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::ResourceExhausted, Delivery::NotSent));
    assert_eq!(error.reason(), Some(&Reason::RATE_LIMITED));
    let RetryHint::After(wait) = error.retry() else { panic!("{error:?}") };
    assert!(wait > Duration::ZERO && wait <= ms(100), "{wait:?}");
    sleep(wait).await;
    assert!(client.request(&Context::background(), request("a")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn keys_of_a_rate_are_bounded_and_idle_ones_make_way() {
    let busy = Arc::new(Busy::default());
    let config = RateConfig::default().with_calls_per_second(10).with_burst(1).with_keys_max(2);
    let limit = RateLimit::new(config)
        .with_key(|_, request| request.headers.get("x-key").map(str::to_owned));
    let client: Client = Arc::new(Stack::new(Arc::clone(&busy)).with(limit));
    for (key, is_limited) in [("a", false), ("b", false), ("c", false), ("d", true), ("a", true)] {
        let call = start(&client, Context::background(), key).await;
        assert_eq!(call.is_finished(), is_limited, "{key}: the third key and later share one");
    }
    sleep(ms(1000)).await;
    for key in ["c", "d"] {
        let call = start(&client, Context::background(), key).await;
        assert!(!call.is_finished(), "{key}");
    }
}

/// Feeds a limit for a time with the calls of a destination that serves `capacity` calls in parallel
/// in 10 ms each, and more calls more slowly, under full load. Returns the median of the limits of the
/// last second, in which a probe may lower the limit for some steps.
fn settled(limit: &mut dyn Limit, from: &mut Instant, capacity: usize, time: Duration) -> usize {
    let end = *from + time;
    let mut limits = Vec::new();
    while *from < end {
        let in_flight = limit.limit(*from);
        let took = ms(10).mul_f64((in_flight as f64 / capacity as f64).max(1.0));
        *from += took;
        for _ in 0..in_flight {
            limit.ended(Sample { now: *from, took, in_flight, is_overload: false });
        }
        if *from + ms(1000) >= end {
            limits.push(limit.limit(*from));
        }
    }
    limits.sort_unstable();
    limits[limits.len() / 2]
}

#[test]
fn an_adaptive_limit_follows_the_capacity() {
    let config = AdaptiveConfig::default();
    let mut gradient = Gradient::new(config.clone());
    let mut additive = Aimd::new(config, ms(15));
    // The latency is 1.5 times that without contention at 1.5 times the capacity. The gradient
    // settles where the shrinking equals the growth by the root of the limit.
    let bounds = [(100, 164, 152), (20, 37, 32), (300, 472, 452), (5, 12, 9)];
    let mut now = Instant::now();
    for (capacity, gradient_max, _) in bounds {
        let settled = settled(&mut gradient, &mut now, capacity, Duration::from_secs(60));
        assert!((capacity..=gradient_max).contains(&settled), "{settled} for {capacity}");
    }
    for (capacity, _, additive_max) in bounds {
        let settled = settled(&mut additive, &mut now, capacity, Duration::from_secs(60));
        assert!((capacity..=additive_max).contains(&settled), "{settled} for {capacity}");
    }
}

#[test]
fn an_adaptive_limit_stays_within_its_bounds_and_does_not_grow_unused() {
    let mut now = Instant::now();
    let config = AdaptiveConfig::default().with_initial(10).with_min(5).with_max(50);
    let mut limit = Gradient::new(config);
    let mut feed = |in_flight_max: usize, is_overload| {
        for _ in 0..4000 {
            now += ms(1);
            let in_flight = limit.limit(now).min(in_flight_max);
            limit.ended(Sample { now, took: ms(10), in_flight, is_overload });
        }
        limit.limit(now)
    };
    assert_eq!(feed(1, false), 10);
    assert_eq!(feed(50, false), 50);
    assert_eq!(feed(50, true), 5);
}

#[test]
fn calls_of_one_overload_lower_an_additive_limit_once() {
    let mut now = Instant::now();
    let mut limit = Aimd::new(AdaptiveConfig::default().with_initial(100), ms(15));
    for expected in [90, 81] {
        now += ms(20);
        for _ in 0..100 {
            limit.ended(Sample { now, took: ms(20), in_flight: 100, is_overload: false });
        }
        assert_eq!(limit.limit(now), expected);
    }
}

/// Step of a schedule: a call arrives, one ends, or one stops waiting.
#[derive(Clone, Debug)]
enum Act {
    Arrive(usize, Option<u8>),
    End(usize),
    GiveUp(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0_usize..4, prop::option::of(0_u8..3)).prop_map(|(c, key)| Act::Arrive(c, key)),
        3 => any::<usize>().prop_map(Act::End),
        1 => any::<usize>().prop_map(Act::GiveUp),
    ];
    prop::collection::vec(act, 0..200)
}

proptest! {
    /// The gate never runs more calls than the limit, loses none, and leaves none waiting that may
    /// run.
    #[test]
    fn the_gate_keeps_its_limit_and_loses_no_call(
        acts in acts(), limit in 1_usize..8, newest: bool, percent in 1_u32..=100,
    ) {
        let order = if newest { Order::NewestFirst } else { Order::OldestFirst };
        let config = waiting(1000, 5).with_order(order).with_key_percent_max(percent);
        let mut gate = Gate::default();
        let mut running: Vec<usize> = Vec::new();
        let mut waits: BTreeMap<u64, usize> = BTreeMap::new();
        let mut entries: Vec<Entry> = Vec::new();
        for act in acts {
            match act {
                Act::Arrive(c, key) => {
                    let key = key.map(|key| key.to_string().into());
                    let entry = Entry { criticality: Criticality::ALL[c], key };
                    let number = entries.len();
                    match gate.enter(&entry, limit, &config, || number) {
                        Entered::Runs => running.push(number),
                        Entered::Waits(id) => {
                            waits.insert(id, number);
                        }
                        Entered::Refused => {}
                    }
                    entries.push(entry);
                }
                Act::End(n) if !running.is_empty() => {
                    let at = n % running.len();
                    gate.leave(&entries[running.swap_remove(at)]);
                    while let Some(number) = gate.next(limit, &config) {
                        running.push(number);
                    }
                }
                Act::GiveUp(n) if !waits.is_empty() => {
                    let id = *waits.keys().nth(n % waits.len()).unwrap();
                    gate.withdraw(id);
                    waits.remove(&id);
                }
                _ => {}
            }
            prop_assert_eq!(gate.running(), running.len());
            prop_assert!(running.len() <= limit && gate.waiting() <= 5);
        }
        for number in running {
            gate.leave(&entries[number]);
        }
        while let Some(number) = gate.next(limit, &config) {
            gate.leave(&entries[number]);
        }
        prop_assert_eq!((gate.running(), gate.waiting()), (0, 0));
    }
}

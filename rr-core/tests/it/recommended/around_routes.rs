//! The layer of `recommended_server` refuses calls only to a server that has too many.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_core::config::IntakeConfig;
use rr_core::context::Criticality;
use rr_core::dedup::Deduplicate;
use rr_core::observe::{Event, Observer, Observers};
use rr_core::transport::Dedup;
use rr_core::{
    Code, Context, Delivery, Error, Idempotency, IdempotencyKey, Local, Reason, Request, Requester,
    Response, Router, recommended_server, recommended_server_with,
};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use crate::retry::support::ms;

/// Waits for as many milliseconds as the body says, and answers.
async fn wait(_: Context, request: Request) -> Result<Response, Error> {
    let millis = std::str::from_utf8(&request.body).unwrap().parse().unwrap();
    sleep(ms(millis)).await;
    Ok(Response::new("done"))
}

/// Waits until just before the deadline, as a long poll without an event does.
async fn poll(ctx: Context, _: Request) -> Result<Response, Error> {
    sleep_until(ctx.deadline().unwrap().instant() - ms(10)).await;
    Ok(Response::new("no event"))
}

/// Serves these routes; the server's own limit is far away.
fn served(router: Router) -> Arc<Local> {
    let config = IntakeConfig::default().with_in_flight_max(100_000);
    Arc::new(Local::with_config(router, config))
}

fn waiting() -> Arc<Local> {
    served(recommended_server(Router::new().route("a.wait", wait)))
}

async fn call(client: Arc<Local>, target: &'static str, millis: u64) -> Result<Response, Error> {
    let request = Request::new(target.try_into().unwrap(), millis.to_string());
    client.request(&Context::background().with_timeout(ms(60_000)), request).await
}

/// Makes calls of this duration at a rate for a time; returns their handles.
async fn load(client: &Arc<Local>, per_second: u64, millis: u64, time: Duration) -> JoinSet<bool> {
    let (end, mut calls) = (Instant::now() + time, JoinSet::new());
    while Instant::now() < end {
        let call = call(Arc::clone(client), "a.wait", millis);
        calls.spawn(async move { call.await.is_ok() });
        sleep(Duration::from_secs(1) / u32::try_from(per_second).unwrap()).await;
    }
    calls
}

async fn assert_none_refused(mut calls: JoinSet<bool>) {
    let total = calls.len();
    let mut answered = 0;
    while let Some(is_answered) = calls.join_next().await {
        answered += usize::from(is_answered.unwrap());
    }
    assert_eq!(answered, total);
}

#[tokio::test(start_paused = true)]
async fn two_hundred_slow_calls_in_flight_are_a_light_load() {
    let client = waiting();
    assert_none_refused(load(&client, 10, 20_000, Duration::from_secs(120)).await).await;
}

#[tokio::test(start_paused = true)]
async fn slow_calls_that_join_fast_ones_are_no_overload() {
    let client = waiting();
    let fast = load(&client, 200, 1, Duration::from_secs(30)).await;
    let (slow, faster) = tokio::join!(
        load(&client, 10, 24_000, Duration::from_secs(120)),
        load(&client, 20, 1, Duration::from_secs(120)),
    );
    for calls in [fast, slow, faster] {
        assert_none_refused(calls).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_may_wait_for_nearly_the_whole_time_of_its_caller() {
    let client = served(recommended_server(Router::new().route("a.poll", poll)));
    for _ in 0..50 {
        let ctx = Context::background().with_timeout(ms(30_000));
        let mut polls = JoinSet::new();
        for _ in 0..20 {
            let (client, ctx) = (Arc::clone(&client), ctx.clone());
            let request = Request::new("a.poll".try_into().unwrap(), "");
            polls.spawn(async move { client.request(&ctx, request).await.is_ok() });
        }
        assert_none_refused(polls).await;
    }
}

/// A service of 32 workers, 50 ms of work each, that does not stop when its caller gives up.
fn workers() -> Router {
    let workers = Arc::new(Semaphore::new(32));
    let handler = move |_: Context, _: Request| {
        let workers = Arc::clone(&workers);
        async move {
            let worker = workers.acquire_owned().await;
            let work = tokio::spawn(async move {
                sleep(ms(50)).await;
                drop(worker);
            });
            work.await.unwrap();
            Ok::<_, Error>(Response::new("done"))
        }
    };
    Router::new().route("a.wait", handler)
}

/// Makes 900 calls per second, 1.4 times the capacity of the workers, with a timeout of 1 s each;
/// returns the number of answers per second in the last three of eight seconds.
async fn answered_under_overload(client: &Arc<Local>) -> usize {
    let (answered, begin) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    for n in 0..7200_u32 {
        sleep_until(begin + Duration::from_secs(n.into()) / 900).await;
        let (client, answered) = (Arc::clone(client), Arc::clone(&answered));
        tokio::spawn(async move {
            let request = Request::new("a.wait".try_into().unwrap(), "");
            let ctx = Context::background().with_timeout(ms(1000));
            let is_answered = client.request(&ctx, request).await.is_ok();
            if is_answered && begin.elapsed() > Duration::from_secs(5) {
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    answered.load(Ordering::Relaxed) / 3
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_server_answers_as_many_calls_as_it_can() {
    let bare = answered_under_overload(&served(workers())).await;
    let limited = answered_under_overload(&served(recommended_server(workers()))).await;
    println!("{limited} answers per second with the limit, {bare} without, of at most 640");
    assert!(bare < 300, "without a limit the queue makes every reply late");
    assert!(limited > 600, "{limited} of 640");
}

/// Starts so many calls of this criticality that never end by themselves.
fn start(
    client: &Arc<Local>,
    count: usize,
    criticality: Criticality,
) -> Vec<JoinHandle<Result<Response, Error>>> {
    let start = |_| {
        let client = Arc::clone(client);
        let ctx = Context::background().with_timeout(ms(60_000)).with_criticality(criticality);
        let request = Request::new("a.wait".try_into().unwrap(), "50000");
        tokio::spawn(async move { client.request(&ctx, request).await })
    };
    (0..count).map(start).collect()
}

#[tokio::test(start_paused = true)]
async fn a_call_above_every_limit_waits_for_50_ms_and_is_refused_before_its_handler() {
    let client = waiting();
    let calls = start(&client, 1024, Criticality::default());
    sleep(ms(1)).await;
    let begin = Instant::now();
    let error = call(Arc::clone(&client), "a.wait", 1).await.unwrap_err();
    assert_eq!(begin.elapsed(), ms(50));
    assert_eq!(error.reason(), Some(&Reason::OVERLOADED));
    assert_eq!((error.code(), error.delivery()), (Code::ResourceExhausted, Delivery::Rejected));
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_above_every_limit_waits_for_its_turn() {
    let client = waiting();
    let mut calls = JoinSet::new();
    for _ in 0..1024 + 256 {
        let call = call(Arc::clone(&client), "a.wait", 40);
        calls.spawn(async move { call.await.is_ok() });
    }
    assert_none_refused(calls).await;
}

/// Keeps 800 calls of 800 ms in flight for a time; returns how many are refused.
async fn refused(client: &Arc<Local>, time: Duration) -> usize {
    let (mut calls, begin) = (JoinSet::new(), Instant::now());
    for n in 0..u32::try_from(time.as_millis()).unwrap() {
        sleep_until(begin + Duration::from_millis(n.into())).await;
        let call = call(Arc::clone(client), "a.wait", 800);
        calls.spawn(async move { call.await.is_err() });
    }
    let refused = calls.join_all().await;
    refused.into_iter().filter(|is_refused| *is_refused).count()
}

#[tokio::test(start_paused = true)]
async fn a_busy_healthy_server_refuses_calls_of_one_probe_alone() {
    let client = waiting();
    let of_the_probe = refused(&client, ms(35_000)).await;
    println!("{of_the_probe} calls refused");
    assert!(of_the_probe < 600, "{of_the_probe}");
    assert_eq!(refused(&client, ms(35_000)).await, 0);
}

/// Keeps the events of a limit.
#[derive(Default)]
struct Limits(Mutex<Vec<String>>);

impl Observer for Limits {
    fn event(&self, event: &Event<'_>) {
        let text = match event {
            Event::LimitRefused { limit, .. } => format!("refused at {limit}"),
            Event::LimitReported { limit, .. } => format!("limit {limit}"),
            _ => return,
        };
        self.0.lock().unwrap().push(text);
    }
}

#[tokio::test(start_paused = true)]
async fn observers_learn_of_the_limit_and_of_refused_calls() {
    let limits = Arc::new(Limits::default());
    let observers = Observers::default().and_shared(limits.clone());
    let router = Router::new().route("a.wait", wait);
    let client = served(recommended_server_with(router, observers));
    call(Arc::clone(&client), "a.wait", 1).await.unwrap();
    let _calls = start(&client, 1024, Criticality::default());
    sleep(ms(1)).await;
    call(Arc::clone(&client), "a.wait", 1).await.unwrap_err();
    assert_eq!(*limits.0.lock().unwrap(), ["limit 1024", "refused at 1024"]);
}

#[tokio::test(start_paused = true)]
async fn sheddable_calls_leave_a_reserve_to_critical_ones() {
    let client = waiting();
    let sheddable = start(&client, 700, Criticality::Sheddable);
    sleep(ms(100)).await;
    let refused = sheddable.iter().filter(|call| call.is_finished()).count();
    assert_eq!(refused, 700 - 1024 * 60 / 100);
    let critical = start(&client, 400, Criticality::Critical);
    sleep(ms(100)).await;
    assert!(critical.iter().all(|call| !call.is_finished()), "they run");
}

#[tokio::test(start_paused = true)]
async fn duplicates_are_suppressed_within_the_limit() {
    let router = Router::new().route("a.wait", wait).with(Deduplicate::in_process());
    let client = served(recommended_server(router));
    let key = IdempotencyKey::new("cart-7").unwrap();
    let request =
        Request::new("a.wait".try_into().unwrap(), "10").with_idempotency(Idempotency::Keyed(key));
    let ctx = Context::background();
    let first = client.request(&ctx, request.clone()).await.unwrap();
    assert_eq!(first.dedup(), Some(Dedup::On));
    let second = client.request(&ctx, request).await.unwrap();
    assert_eq!(second.dedup(), Some(Dedup::Replayed));
}

/// A service, served at two URLs, has one limit.
#[cfg(all(feature = "http", feature = "json", feature = "memory"))]
#[tokio::test]
async fn one_limit_holds_for_a_service_at_several_urls() {
    use rr_core::{RequesterExt as _, Service, connect, serve_all};

    let service =
        Service::new("shop", Arc::new(7_u64))
            .method("add", |state: Arc<u64>, _: Context, n: u64| async move {
                Ok::<_, Error>(*state + n)
            });
    let servers = serve_all(
        ["memory://recommended-server", "http://127.0.0.1:0"],
        recommended_server(service),
    )
    .await
    .unwrap();
    for url in servers.urls() {
        let client = connect(url).await.unwrap();
        let sum: u64 = client.call(&Context::background(), "shop.add", &3).await.unwrap();
        assert_eq!(sum, 10);
    }
}

//! Both ends count what became of their operations, without any observer, over every transport.

#![cfg(feature = "json")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use rr_core::config::{IntakeConfig, Limits};
use rr_core::observe::Stats;
use rr_core::{Client, Code, Context, Error, RequesterExt, Router, Server, recommended};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::everywhere::everywhere_served;

/// Routes of which `t.hang` adds a permit when it is entered.
fn router(hanging: &Arc<Semaphore>) -> Router {
    let hanging = Arc::clone(hanging);
    let hang = move |_: u32| {
        hanging.add_permits(1);
        pending::<Result<u32, Error>>()
    };
    let busy = async |_: u32| Err::<u32, _>(Error::new(Code::Unavailable, "busy"));
    let panics = async |_: u32| -> Result<u32, Error> { panic!("secret") };
    let double = async |n: u32| Ok::<_, Error>(n * 2);
    let router = Router::new().route("t.double", double).route("t.panic", panics);
    router.route("t.hang", hang).route("t.busy", busy)
}

/// Waits until the counts are as they must be.
async fn until(read: impl Fn() -> Stats, is_right: impl Fn(&Stats) -> bool) -> Stats {
    let waited = timeout(Duration::from_secs(20), async {
        while !is_right(&read()) {
            sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(waited.await.is_ok(), "{}", read());
    let stats = read();
    assert_eq!(stats.started, stats.in_flight + stats.succeeded + stats.failed);
    assert_eq!(stats.failures().map(|(_, count)| count).sum::<u64>(), stats.failed);
    stats
}

/// Makes calls of which one succeeds and the others fail, each in its own way.
async fn calls(client: &Client, ctx: &Context) {
    let double = |n| client.call::<u32>(ctx, "t.double", n);
    assert_eq!(double(&3).await.unwrap(), 6);
    client.call::<u32>(ctx, "t.double", &"x".repeat(2000)).await.unwrap_err();
    client.call::<u32>(ctx, "t.double", "text").await.unwrap_err();
    client.call::<u32>(ctx, "t.panic", &3).await.unwrap_err();
}

/// Returns a call that never ends by itself.
fn hang(client: &Client, ctx: &Context) -> tokio::task::JoinHandle<()> {
    let (client, ctx) = (client.clone(), ctx.clone());
    tokio::spawn(async move {
        let _ = client.call::<u32>(&ctx, "t.hang", &3).await;
    })
}

async fn check(server: &Server, url: &str, client: Client, hanging: &Semaphore) {
    let ctx = Context::background().with_timeout(Duration::from_secs(60));
    calls(&client, &ctx).await;
    let hangs = hang(&client, &ctx);
    hanging.acquire().await.unwrap().forget();
    client.call::<u32>(&ctx, "t.double", &3).await.unwrap_err();
    assert_eq!(client.stats().in_flight, 1, "{url}");
    assert_eq!(server.stats().in_flight, 1, "{url}");
    hangs.abort();

    let all_ended = |stats: &Stats| stats.in_flight == 0 && stats.started == 6;
    for stats in
        [until(|| server.stats(), all_ended).await, until(|| client.stats(), all_ended).await]
    {
        assert_eq!((stats.succeeded, stats.failed), (1, 5), "{url}: {stats}");
        let failed = |code| stats.failed_with(code);
        // The body that is too long, and the request that was one too many.
        assert_eq!(failed(Code::ResourceExhausted), 2, "{url}: {stats}");
        assert_eq!((failed(Code::InvalidArgument), failed(Code::Internal)), (1, 1), "{url}");
        assert_eq!(failed(Code::Canceled), 1, "{url}: {stats}");
        assert_eq!(stats.not_run, 3, "{url}: {stats}");
        assert_eq!((stats.retries, stats.disconnects), (0, 0), "{url}: {stats}");
    }

    let retried = recommended(client.clone());
    let ctx = Context::background().with_timeout(Duration::from_secs(5));
    retried.call::<u32>(&ctx, "t.busy", &3).idempotent().await.unwrap_err();
    let stats = client.stats();
    assert!(stats.retries > 0, "{url}: {stats}");
    assert_eq!(stats.started, 7 + stats.retries, "{url}: {stats}");
}

#[tokio::test]
async fn both_ends_count_each_outcome_once_without_observers_on_every_transport() {
    let hanging = Arc::new(Semaphore::new(0));
    let limits = Limits::default().with_request_bytes_max(1000);
    let config = IntakeConfig::default().with_limits(limits).with_in_flight_max(1);
    everywhere_served(
        "stats",
        || router(&hanging),
        &config,
        async |server, url, client| {
            check(server, url, client, &hanging).await;
        },
    )
    .await;
}

#[tokio::test]
async fn counts_are_the_same_with_an_observer() {
    struct Idle;
    impl rr_core::observe::Observer for Idle {}

    let hanging = Arc::new(Semaphore::new(0));
    let limits = Limits::default().with_request_bytes_max(1000);
    let config = IntakeConfig::default().with_limits(limits).with_in_flight_max(1);
    let config = config.with_observers(rr_core::observe::Observers::new(Idle));
    everywhere_served(
        "observed-stats",
        || router(&hanging),
        &config,
        async |server, url, client| {
            check(server, url, client, &hanging).await;
        },
    )
    .await;
}

#[cfg(feature = "http")]
#[tokio::test]
async fn a_call_that_cannot_be_sent_counts_as_not_run() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = rr_core::connect(&url).await.unwrap();
    let ctx = Context::background().with_timeout(Duration::from_secs(5));
    client.call::<u32>(&ctx, "t.double", &3).await.unwrap_err();
    let stats = client.stats();
    assert_eq!((stats.failed, stats.not_run), (1, 1), "{stats}");
    let expected = "1 started, 0 in flight, 0 succeeded, 1 failed (1 unavailable), 1 not run";
    assert_eq!(stats.to_string(), expected);
}

#[cfg(feature = "http")]
#[tokio::test]
async fn several_urls_and_several_hosts_are_counted_together() {
    let router = router(&Arc::new(Semaphore::new(0)));
    let servers = rr_core::serve_all(["http://127.0.0.1:0"; 2], router).await.unwrap();
    let hosts: Vec<_> = servers.urls().map(|url| url.trim_start_matches("http://")).collect();
    let client = rr_core::connect(&format!("http://{}", hosts.join(","))).await.unwrap();
    let ctx = Context::background().with_timeout(Duration::from_secs(60));
    for n in 0..20 {
        assert_eq!(client.call::<u32>(&ctx, "t.double", &n).await.unwrap(), n * 2);
    }
    let ended = |stats: &Stats| stats.succeeded == 20;
    let (served, called) =
        (until(|| servers.stats(), ended).await, until(|| client.stats(), ended).await);
    assert_eq!((served.started, called.started), (20, 20));
    assert_eq!(served.figure("connections"), called.figure("connections"));
    assert_eq!(called.figure("no_such_figure"), None);
}

#[cfg(feature = "http")]
#[tokio::test]
async fn a_get_that_is_refused_counts_as_not_run_although_a_proxy_may_have_repeated_it() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let router = router(&Arc::new(Semaphore::new(0)));
    let server = rr_core::serve("http://127.0.0.1:0", router).await.unwrap();
    let address = server.url().trim_start_matches("http://").to_owned();
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    let head = format!("GET /t/none HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.to_lowercase().contains("rr-delivery: unknown"), "{reply}");
    let stats = until(|| server.stats(), |stats| stats.failed == 1).await;
    assert_eq!(stats.not_run, 1, "{stats}");
}

//! Several hosts behind one URL.

#![cfg(all(feature = "http", feature = "json"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_core::config::{ClientConfig, HttpAddresses, HttpSection};
use rr_core::observe::{Event, Observer, Observers};
use rr_core::{
    Client, Code, Context, Delivery, Error, RequesterExt, Router, Server, connect, connect_with,
    serve, serve_all,
};

fn within(millis: u64) -> Context {
    Context::background().with_timeout(Duration::from_millis(millis))
}

/// Serves `who.are_you`, which answers with a name, below a prefix.
async fn named(name: &'static str, address: &str) -> Server {
    let who = move |(): ()| async move { Ok::<_, Error>(name.to_owned()) };
    let url = format!("http://{address}/api");
    serve(&url, Router::new().route("who.are_you", who)).await.unwrap()
}

/// Returns host and port of a server.
fn host(server: &Server) -> String {
    server.url().strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned()
}

async fn ask(client: &Client) -> Result<String, Error> {
    let ctx = within(5000);
    Ok(client.call::<String>(&ctx, "who.are_you", &()).idempotent().await?)
}

/// Calls until each of these has answered.
async fn ask_until(client: &Client, names: &[&str]) {
    let (begin, mut left) = (tokio::time::Instant::now(), names.to_vec());
    while !left.is_empty() {
        let name = ask(client).await.unwrap();
        left.retain(|one| *one != name);
        assert!(begin.elapsed() < Duration::from_secs(60), "no answer of {left:?}: {client:?}");
    }
}

/// Returns an address at which nothing listens.
async fn unused() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn hosts_of_the_url_and_of_the_configuration_share_the_calls() {
    let (a, b) = (named("a", "127.0.0.1:0").await, named("b", "127.0.0.1:0").await);
    let c = named("c", "127.0.0.1:0").await;
    for version in ["h1", "h2c"] {
        let url = format!("http://{},{}/api?version={version}", host(&a), host(&b));
        let further = HttpSection::default().with_hosts([host(&c)]);
        let client = connect_with(&url, further).await.unwrap();
        client.ready(&within(5000)).await.unwrap();
        ask_until(&client, &["a", "b", "c"]).await;
        let in_query = format!("http://{}/api?hosts={},{}", host(&a), host(&b), host(&c));
        ask_until(&connect(&in_query).await.unwrap(), &["a", "b", "c"]).await;
    }
}

#[tokio::test]
async fn a_host_that_stops_fails_no_call_and_gets_its_share_when_it_is_back() {
    let (a, b) = (named("a", "127.0.0.1:0").await, named("b", "127.0.0.1:0").await);
    let address = host(&b);
    let client = connect(&format!("http://{},{address}/api", host(&a))).await.unwrap();
    ask_until(&client, &["a", "b"]).await;
    b.shutdown(Duration::from_secs(5)).await;
    for _ in 0..100 {
        assert_eq!(ask(&client).await.unwrap(), "a");
    }
    let _b = named("b", &address).await;
    ask_until(&client, &["b"]).await;
}

/// Keeps the endpoints that were ejected.
#[derive(Clone, Default)]
struct Ejected(Arc<Mutex<Vec<String>>>);

impl Observer for Ejected {
    fn event(&self, event: &Event<'_>) {
        if let Event::EndpointEjected { endpoint, .. } = event {
            self.0.lock().unwrap().push((*endpoint).to_owned());
        }
    }
}

#[tokio::test]
async fn the_observers_of_the_client_are_told_of_the_ejection_of_a_host() {
    let (server, dead, ejected) =
        (named("a", "127.0.0.1:0").await, unused().await, Ejected::default());
    let config = ClientConfig::default().with_observers(Observers::new(ejected.clone()));
    let url = format!("http://{},{dead}/api", host(&server));
    let client = connect_with(&url, config).await.unwrap();
    // Simultaneous, so that the dead host gets enough of them before it is avoided.
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let client = client.clone();
        calls.spawn(async move { ask(&client).await });
    }
    calls.join_all().await;
    assert_eq!(*ejected.0.lock().unwrap(), [dead]);
}

#[tokio::test]
async fn ready_waits_for_any_of_the_hosts() {
    let late = unused().await;
    let url = format!("http://{},{late}/api", unused().await);
    let client = connect(&url).await.unwrap();
    let error = client.ready(&within(100)).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::NotSent));
    let error = ask(&client).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::NotSent));
    assert_eq!(error.attempts().len(), 2, "{}", error.report());
    assert!(error.report().to_string().contains(&format!("at {late}")));
    let (ctx, ready) = (within(30_000), Arc::new(AtomicUsize::new(0)));
    let wait = async {
        client.ready(&ctx).await.unwrap();
        ready.fetch_add(1, Ordering::SeqCst);
    };
    let start = async {
        assert_eq!(ready.load(Ordering::SeqCst), 0);
        named("late", &late).await
    };
    let ((), _server) = tokio::join!(wait, start);
    assert_eq!(ask(&client).await.unwrap(), "late");
}

#[tokio::test]
async fn bad_lists_of_hosts_are_refused_with_a_hint() {
    let many: Vec<_> = (0..65).map(|at| format!("h{at}")).collect();
    for url in [
        "http://a,,b",
        "http://a,",
        "http://a,b:x",
        "http://a,a:80",
        "http://a?hosts=b,,c",
        "http+unix:///run/a.sock?hosts=b",
        "http://a?addresses=all&proxy=http://p:3128",
        "http://a,b?addresses=all&proxy=http://p:3128",
        &format!("http://{}", many.join(",")),
        &format!("http://h?hosts={}", many.join(",")),
    ] {
        let error = connect(url).await.unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::NotSent));
        assert!(!error.hint().is_empty(), "{url}: {error}");
    }
    let echo = || Router::new().route("a.b", |(): ()| async { Ok::<_, Error>(()) });
    for error in [
        serve("http://127.0.0.1:0,127.0.0.2:0", echo()).await.unwrap_err(),
        serve_all(["http://127.0.0.1:0,127.0.0.2:0"], echo()).await.unwrap_err(),
    ] {
        assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::NotSent));
        assert!(error.hint().contains("serve_all"), "{}", error.hint());
    }
    let single = rr_http::HttpRequester::connect("http://a?addresses=all").await.unwrap_err();
    assert!(single.hint().contains("rr_core::connect"), "{}", single.hint());
}

#[tokio::test]
async fn each_address_of_a_name_becomes_an_endpoint_while_calls_are_made() {
    let server = named("a", "127.0.0.1:0").await;
    let port = host(&server).rsplit(':').next().unwrap().to_owned();
    let all = HttpSection::default().with_addresses(HttpAddresses::All);
    let client = connect_with(&format!("http://localhost:{port}/api"), all).await.unwrap();
    let endpoint = format!("localhost:{port} (127.0.0.1:{port})");
    assert!(!format!("{client:?}").contains(&endpoint), "nothing is looked up without calls");
    let begin = tokio::time::Instant::now();
    while !format!("{client:?}").contains(&endpoint) {
        assert_eq!(ask(&client).await.unwrap(), "a");
        assert!(begin.elapsed() < Duration::from_secs(60));
    }
    assert_eq!(ask(&client).await.unwrap(), "a");
    // A look-up that fails changes nothing: the name itself stays the endpoint.
    let url = "http://rr.invalid:1/api?addresses=all&lookup_interval=0ms";
    let client = connect(url).await.unwrap();
    for _ in 0..3 {
        let error = ask(&client).await.unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::NotSent));
    }
    assert!(format!("{client:?}").contains("\"rr.invalid:1\""), "{client:?}");
}

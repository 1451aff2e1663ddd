//! Connections that fall silent while new ones work (hyper#4186).
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{context, eventually, fixture, request, told};
use bytes::Bytes;
use http::Response as HttpResponse;
use rr_http::{HttpConfig, HttpRequester, HttpServerConfig};
use rr_spi::{Code, Context, Delivery, Error, Requester as _, Response};
use tokio::io::{DuplexStream, copy_bidirectional, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

const EXPIRED: (Code, Delivery, Option<&str>) =
    (Code::DeadlineExceeded, Delivery::Unknown, Some("expired-awaiting-reply"));

/// An HTTP/2 server on pipes, of which each connection can be made to do nothing for a while. It
/// answers with the number of the connection, and `hang` not at all.
#[derive(Clone, Default)]
struct Pipes {
    made: Arc<Mutex<Vec<watch::Sender<bool>>>>,
    /// Whether new connections hang in the making.
    hangs: Arc<AtomicBool>,
}

impl Pipes {
    fn client(&self) -> HttpRequester {
        let pipes = self.clone();
        let connect = move || {
            let (near, far) = duplex(64 * 1024);
            let (silence, silent) = watch::channel(false);
            let hangs = pipes.hangs.load(Ordering::SeqCst);
            let mut made = pipes.made.lock().unwrap();
            tokio::spawn(answer(far, made.len(), silent));
            made.push(silence);
            async move {
                if hangs {
                    pending::<()>().await;
                }
                Ok::<_, io::Error>(near)
            }
        };
        let url = "http://pipe?version=h2c";
        HttpRequester::with_connector(url, HttpConfig::default(), connect).unwrap()
    }

    fn silence(&self, connection: usize, silent: bool) {
        self.made.lock().unwrap()[connection].send_replace(silent);
    }
}

#[allow(clippy::disallowed_types, reason = "each sender has one receiver, so that no order shows")]
async fn answer(pipe: DuplexStream, number: usize, mut silent: watch::Receiver<bool>) {
    let Ok(mut server) = h2::server::handshake(pipe).await else { return };
    let mut hanging = Vec::new();
    loop {
        if *silent.borrow_and_update() {
            silent.changed().await.unwrap();
            continue;
        }
        tokio::select! {
            biased;
            changed = silent.changed() => changed.unwrap(),
            next = server.accept() => {
                let Some(Ok((request, mut respond))) = next else { return };
                if request.uri().path() == "/hang" {
                    hanging.push(respond);
                    continue;
                }
                // The call may have ended meanwhile.
                if let Ok(mut body) = respond.send_response(HttpResponse::new(()), false) {
                    let _ = body.send_data(Bytes::from(number.to_string()), true);
                }
            }
        }
    }
}

async fn call(
    client: &HttpRequester,
    target: &'static str,
    millis: u64,
) -> Result<Response, Error> {
    let ctx = Context::background().with_timeout(Duration::from_millis(millis));
    client.request(&ctx, request(target, "")).await
}

#[tokio::test(start_paused = true)]
async fn calls_leave_a_connection_that_fell_silent_and_return_when_it_answers() {
    let pipes = Pipes::default();
    let client = pipes.client();
    assert_eq!(call(&client, "m", 100).await.unwrap().body, "0");
    pipes.silence(0, true);
    assert_eq!(told(&call(&client, "m", 100).await.unwrap_err()), EXPIRED);
    let start = Instant::now();
    for _ in 0..10 {
        assert_eq!(call(&client, "m", 100).await.unwrap().body, "1");
    }
    assert_eq!((start.elapsed(), client.connections()), (Duration::ZERO, 2));
    pipes.silence(0, false);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(call(&client, "m", 100).await.unwrap().body, "0", "the oldest fills first");
    assert_eq!(client.connections(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_connection_in_doubt_that_does_not_answer_is_closed_after_10_s() {
    let pipes = Pipes::default();
    let client = pipes.client();
    call(&client, "m", 100).await.unwrap();
    let start = Instant::now();
    let other = client.clone();
    let hanging = tokio::spawn(async move { call(&other, "hang", 60_000).await });
    sleep(Duration::from_millis(1)).await;
    pipes.silence(0, true);
    assert_eq!(told(&call(&client, "m", 99).await.unwrap_err()), EXPIRED);
    assert_eq!(call(&client, "m", 100).await.unwrap().body, "1");
    let lost = (Code::Unavailable, Delivery::Unknown, Some("connection-lost"));
    assert_eq!(told(&hanging.await.unwrap().unwrap_err()), lost);
    assert_eq!(start.elapsed().as_millis(), 10_100);
    assert_eq!(client.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_expires_on_a_connection_that_answers_others_changes_nothing() {
    let pipes = Pipes::default();
    let client = pipes.client();
    call(&client, "m", 100).await.unwrap();
    for _ in 0..5 {
        let others = async {
            sleep(Duration::from_millis(10)).await;
            call(&client, "m", 100).await.unwrap();
        };
        let (expired, ()) = tokio::join!(call(&client, "hang", 100), others);
        assert_eq!(told(&expired.unwrap_err()), EXPIRED);
        assert_eq!(call(&client, "m", 100).await.unwrap().body, "0");
    }
    assert_eq!(client.connections(), 1);
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_dropped_unheard_do_not_cost_the_others_their_connection() {
    let pipes = Pipes::default();
    let client = pipes.client();
    call(&client, "m", 100).await.unwrap();
    pipes.silence(0, true);
    let other = client.clone();
    let patient = tokio::spawn(async move { call(&other, "m", 60_000).await });
    sleep(Duration::from_millis(1)).await;
    // A server of h2's ends a connection with more than 20 streams that were reset unseen.
    for _ in 0..100 {
        let impatient = call(&client, "hang", 60_000);
        assert!(tokio::time::timeout(Duration::from_millis(1), impatient).await.is_err());
    }
    pipes.silence(0, false);
    assert_eq!(patient.await.unwrap().unwrap().body, "0");
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_take_a_connection_in_doubt_once_it_answers() {
    let pipes = Pipes::default();
    let client = pipes.client();
    call(&client, "m", 100).await.unwrap();
    pipes.silence(0, true);
    assert_eq!(told(&call(&client, "m", 100).await.unwrap_err()), EXPIRED);
    pipes.hangs.store(true, Ordering::SeqCst);
    let start = Instant::now();
    let back = async {
        sleep(Duration::from_secs(1)).await;
        pipes.silence(0, false);
    };
    let (answered, ()) = tokio::join!(call(&client, "m", 5_000), back);
    assert_eq!(answered.unwrap().body, "0");
    assert_eq!(start.elapsed().as_millis(), 1_000);
}

/// Carries connections to a server; those made so far can be made to carry nothing any more.
struct Relay {
    url: String,
    silence: watch::Sender<usize>,
}

impl Relay {
    async fn start(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (silence, silenced) = watch::channel(0);
        tokio::spawn(async move {
            for number in 0.. {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut far = TcpStream::connect(&upstream).await.unwrap();
                let mut silenced = silenced.clone();
                tokio::spawn(async move {
                    let silenced = async {
                        let _ = silenced.wait_for(|below| number < *below).await;
                    };
                    tokio::select! {
                        biased;
                        () = silenced => pending::<()>().await,
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                    }
                });
            }
        });
        Self { url, silence }
    }
}

#[tokio::test]
async fn over_sockets_the_call_after_an_expired_one_succeeds_on_another_connection() {
    let fixture = fixture(HttpServerConfig::default()).await;
    for query in ["", "?version=h2c"] {
        let relay = Relay::start(fixture.address()).await;
        let url = format!("{}{query}", relay.url);
        let client = HttpRequester::new(&url, HttpConfig::default()).unwrap();
        client.request(&context(), request("echo", "hi")).await.unwrap();
        relay.silence.send_replace(1);
        assert_eq!(told(&call(&client, "echo", 100).await.unwrap_err()), EXPIRED, "{query}");
        // HTTP/1.1 closes the connection of a call that expired.
        let left = usize::from(!query.is_empty());
        eventually("it is closed or in doubt", || client.connections() == left).await;
        for _ in 0..3 {
            client.request(&context(), request("echo", "hi")).await.unwrap();
        }
        assert_eq!(client.connections(), left + 1, "{query}");
    }
}

/// Keeps this many HTTP/1.1 connections.
async fn keep(client: &HttpRequester, connections: usize) {
    let calls: Vec<_> = (0..connections)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.request(&context(), request("slow", "50")).await })
        })
        .collect();
    for answered in calls {
        answered.await.unwrap().unwrap();
    }
    eventually("all are made", || client.connections() == connections).await;
}

#[tokio::test]
async fn one_expired_call_closes_all_http_1_connections_that_may_be_as_silent() {
    let fixture = fixture(HttpServerConfig::default()).await;
    let relay = Relay::start(fixture.address()).await;
    let client = HttpRequester::connect(&relay.url).await.unwrap();
    keep(&client, 8).await;
    relay.silence.send_replace(8);
    assert_eq!(told(&call(&client, "echo", 100).await.unwrap_err()), EXPIRED);
    assert_eq!(client.connections(), 0);
    for _ in 0..3 {
        client.request(&context(), request("echo", "hi")).await.unwrap();
    }
    assert_eq!(client.connections(), 1);
}

#[tokio::test]
async fn a_slow_handler_closes_no_connection_that_has_answered_since() {
    let fixture = fixture(HttpServerConfig::default()).await;
    let client = HttpRequester::connect(fixture.server.url()).await.unwrap();
    keep(&client, 3).await;
    let others = async {
        // The hanging call has the newest one, this has the next, and the third is unused.
        client.request(&context(), request("echo", "hi")).await.unwrap();
    };
    let (expired, ()) = tokio::join!(call(&client, "hang", 100), others);
    assert_eq!(told(&expired.unwrap_err()), EXPIRED);
    assert_eq!(client.connections(), 1, "the one that answered");
}

#[tokio::test]
async fn a_call_that_expires_on_a_new_http_1_connection_or_is_dropped_closes_no_other() {
    let fixture = fixture(HttpServerConfig::default()).await;
    let client = HttpRequester::connect(fixture.server.url()).await.unwrap();
    keep(&client, 2).await;
    let ctx = context();
    let dropped = client.request(&ctx, request("hang", ""));
    assert!(tokio::time::timeout(Duration::from_millis(50), dropped).await.is_err());
    assert_eq!(client.connections(), 1, "its own is closed");
    // The kept one is used meanwhile, so that the call that hangs has a new one.
    let used = client.request(&ctx, request("slow", "50"));
    let hanging = async {
        tokio::task::yield_now().await;
        call(&client, "hang", 300).await
    };
    let (answered, expired) = tokio::join!(used, hanging);
    answered.unwrap();
    assert_eq!(told(&expired.unwrap_err()), EXPIRED);
    assert_eq!(client.connections(), 1);
}

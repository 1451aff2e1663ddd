//! What the requester says when an HTTP/2 server refuses, goes away or breaks off.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use crate::support::*;
use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request as HttpRequest, Response as HttpResponse};
use rr_http::HttpRequester;
use rr_spi::{Code, Context, Delivery, Error, Requester as _, Response};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

type Server = Connection<TcpStream, Bytes>;

async fn client(url: &str) -> HttpRequester {
    client_with(url, "").await
}

async fn client_with(url: &str, query: &str) -> HttpRequester {
    HttpRequester::connect(&format!("{url}?version=h2c{query}")).await.unwrap()
}

async fn call(client: &HttpRequester, body: &'static str) -> Result<Response, Error> {
    within(client.request(&context(), request("svc.m", body))).await
}

async fn accept(script: &Script) -> Server {
    h2::server::handshake(script.accept().await).await.unwrap()
}

async fn next(server: &mut Server) -> (HttpRequest<RecvStream>, SendResponse<Bytes>) {
    within(server.accept()).await.unwrap().unwrap()
}

/// Keeps a connection's frames moving until the client leaves.
async fn finish(mut server: Server) {
    while let Some(Ok(_)) = server.accept().await {}
}

fn reply(respond: &mut SendResponse<Bytes>, body: &'static str) {
    let mut stream = respond.send_response(HttpResponse::new(()), false).unwrap();
    stream.send_data(Bytes::from_static(body.as_bytes()), true).unwrap();
}

#[tokio::test]
async fn a_reset_stream_is_unknown_and_a_refused_one_rejected_only_without_a_proxy() {
    let lost = (Code::Unavailable, Delivery::Unknown, Some("connection-lost"));
    for (reason, query, expected) in [
        (Reason::REFUSED_STREAM, "", (Code::Unavailable, Delivery::Unknown, None)),
        (Reason::REFUSED_STREAM, "&refusals=none", (Code::Unavailable, Delivery::Unknown, None)),
        (Reason::REFUSED_STREAM, "&refusals=all", (Code::Unavailable, Delivery::Rejected, None)),
        (Reason::CANCEL, "&refusals=all", lost),
        (Reason::INTERNAL_ERROR, "&refusals=all", lost),
    ] {
        let (script, url) = Script::bind().await;
        let client = client_with(&url, query).await;
        let task = tokio::spawn(async move {
            let mut server = accept(&script).await;
            let (_, mut respond) = next(&mut server).await;
            respond.send_reset(reason);
            finish(server).await;
        });
        let error = call(&client, "body").await.unwrap_err();
        assert_eq!(told(&error), expected, "{reason:?}{query}");
        drop(client);
        within(task).await.unwrap();
    }
}

#[tokio::test]
async fn a_reset_after_the_reply_began_never_says_rejected() {
    let (script, url) = Script::bind().await;
    let client = client(&url).await;
    let task = tokio::spawn(async move {
        let mut server = accept(&script).await;
        let (_, mut respond) = next(&mut server).await;
        let mut stream = respond.send_response(HttpResponse::new(()), false).unwrap();
        stream.send_data(Bytes::from_static(b"half"), false).unwrap();
        let stall = tokio::time::sleep(Duration::from_millis(30));
        tokio::pin!(stall);
        tokio::select! {
            biased;
            _ = server.accept() => {}
            () = &mut stall => {}
        }
        stream.send_reset(Reason::REFUSED_STREAM);
        finish(server).await;
    });
    let error = call(&client, "body").await.unwrap_err();
    let expected = (Code::Unavailable, Delivery::Unknown, Some("connection-lost"));
    assert_eq!(told(&error), expected);
    drop(client);
    within(task).await.unwrap();
}

#[tokio::test]
async fn a_goaway_rejects_what_it_does_not_count_and_the_next_call_takes_a_new_connection() {
    let (script, url) = Script::bind().await;
    let client = client(&url).await;
    let task = tokio::spawn(async move {
        let mut server = accept(&script).await;
        let (_, mut first) = next(&mut server).await;
        // No stream above the first is counted; the client does not know it yet.
        server.graceful_shutdown();
        reply(&mut first, "first");
        finish(server).await;
        let mut server = accept(&script).await;
        let (_, mut second) = next(&mut server).await;
        reply(&mut second, "second");
        finish(server).await;
    });
    assert_eq!(call(&client, "").await.unwrap().body, "first");
    assert_eq!(call(&client, "").await.unwrap().body, "second");
    drop(client);
    within(task).await.unwrap();
}

#[tokio::test]
async fn an_abrupt_end_is_unknown_for_the_streams_it_may_have_run() {
    let (script, url) = Script::bind().await;
    let client = client(&url).await;
    let task = tokio::spawn(async move {
        let mut server = accept(&script).await;
        let _request = next(&mut server).await;
        // Ends the socket without a word.
        drop(server);
    });
    let error = call(&client, "body").await.unwrap_err();
    let expected = (Code::Unavailable, Delivery::Unknown, Some("connection-lost"));
    assert_eq!(told(&error), expected);
    within(task).await.unwrap();
    eventually("the connection ends", || client.connections() == 0).await;
}

#[tokio::test]
async fn a_server_that_speaks_no_http_2_is_no_lie() {
    let (script, url) = Script::bind().await;
    let client = client(&url).await;
    let task = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        let mut stream = script.accept().await;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        let mut rest = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await;
    });
    let error = call(&client, "body").await.unwrap_err();
    assert!(matches!(error.delivery(), Delivery::Unknown | Delivery::NotSent), "{error:?}");
    drop(client);
    within(task).await.unwrap();
}

/// A request that a [`Held`] server has received: on which connection, and what answers it.
type Received = (usize, SendResponse<Bytes>);

/// A server that hands every request to the test.
struct Held {
    requests: mpsc::UnboundedReceiver<Received>,
    /// What ends each of the connections that were made.
    ends: Arc<Mutex<Vec<mpsc::UnboundedSender<Ending>>>>,
}

/// How a connection is to end, and what is told once it is on its way.
type Ending = (End, oneshot::Sender<()>);

#[derive(Clone, Copy, Debug)]
enum End {
    Goaway,
    Cut,
}

impl Held {
    /// Serves every connection, with so many streams allowed on each.
    fn start(script: Script, streams: u32) -> Self {
        let (received, requests) = mpsc::unbounded_channel();
        let ends = Arc::new(Mutex::new(Vec::new()));
        let made = Arc::clone(&ends);
        tokio::spawn(async move {
            for id in 0.. {
                let stream = script.accept().await;
                let (end, ended) = mpsc::unbounded_channel();
                made.lock().unwrap().push(end);
                tokio::spawn(hold(stream, streams, id, received.clone(), ended));
            }
        });
        Self { requests, ends }
    }

    async fn next(&mut self) -> Received {
        within(self.requests.recv()).await.unwrap()
    }

    async fn next_of(&mut self, count: usize) -> VecDeque<Received> {
        let mut held = VecDeque::new();
        while held.len() < count {
            held.push_back(self.next().await);
        }
        held
    }

    /// Returns how many connections were made in all.
    fn connections(&self) -> usize {
        self.ends.lock().unwrap().len()
    }

    async fn end(&self, how: End) {
        let ends = self.ends.lock().unwrap().clone();
        for end in ends {
            let (done, seen) = oneshot::channel();
            let _ = end.send((how, done));
            let _ = within(seen).await;
        }
    }
}

async fn hold(
    stream: TcpStream,
    streams: u32,
    id: usize,
    received: mpsc::UnboundedSender<Received>,
    mut ended: mpsc::UnboundedReceiver<Ending>,
) {
    let mut builder = h2::server::Builder::new();
    let Ok(mut server) = builder.max_concurrent_streams(streams).handshake(stream).await else {
        return;
    };
    loop {
        tokio::select! {
            biased;
            Some((end, done)) = ended.recv() => {
                match end {
                    End::Goaway => server.graceful_shutdown(),
                    End::Cut => return,
                }
                let _ = done.send(());
            }
            request = server.accept() => match request {
                Some(Ok((_, respond))) => drop(received.send((id, respond))),
                _ => return,
            },
        }
    }
}

/// Starts calls that run apart from the test.
fn start(client: &HttpRequester, count: usize) -> Vec<JoinHandle<Result<Response, Error>>> {
    let start = |_| {
        let client = client.clone();
        tokio::spawn(async move { call(&client, "").await })
    };
    (0..count).map(start).collect()
}

async fn all_answered(calls: Vec<JoinHandle<Result<Response, Error>>>) {
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().body, "ok");
    }
}

async fn client_of(url: &str, fields: &str) -> HttpRequester {
    HttpRequester::connect(&format!("{url}?version=h2c&{fields}")).await.unwrap()
}

#[tokio::test]
async fn another_connection_is_made_only_when_the_servers_limit_of_streams_is_reached() {
    let (script, url) = Script::bind().await;
    let client = client_of(&url, "h2_streams_max=100").await;
    let mut server = Held::start(script, 8);
    let (_calls, _held) = (start(&client, 8), server.next_of(8).await);
    assert_eq!((server.connections(), client.connections()), (1, 1));
    let (_ninth, _held_too) = (start(&client, 1), server.next().await);
    assert_eq!((server.connections(), client.connections()), (2, 2));
}

#[tokio::test]
async fn limits_of_streams_and_of_connections_are_kept_and_further_calls_wait() {
    for (streams, connections_max) in [(2, 4), (1, 1), (1, 3), (2, 1)] {
        let (script, url) = Script::bind().await;
        let client = client_of(&url, &format!("h2_connections_max={connections_max}")).await;
        let mut server = Held::start(script, streams);
        let calls = start(&client, 40);
        let places = streams as usize * connections_max;
        let mut held = server.next_of(places).await;
        for id in 0..connections_max {
            let on_it = held.iter().filter(|(on, _)| *on == id).count();
            assert_eq!(on_it, streams as usize, "on connection {id}");
        }
        // One place becomes free at a time, and the next call takes it.
        for left in (0..40).rev() {
            assert_eq!(server.connections(), connections_max);
            assert!(server.requests.try_recv().is_err(), "more streams than places");
            reply(&mut held.pop_front().unwrap().1, "ok");
            if left >= places {
                held.push_back(server.next().await);
            }
        }
        all_answered(calls).await;
        assert_eq!(client.connections(), connections_max);
    }
}

#[tokio::test]
async fn a_call_that_waits_for_a_stream_was_not_sent() {
    let (script, url) = Script::bind().await;
    let client = client_of(&url, "h2_connections_max=1").await;
    let call = async |millis| {
        let ctx = Context::background().with_timeout(Duration::from_millis(millis));
        client.request(&ctx, request("svc.m", "")).await
    };
    // The server says nothing yet: one call may go; the others end before it makes room.
    // It is cancelled: with its deadline it would put the connection in doubt.
    let (ctx, handle) = context().child();
    let rest = async {
        let (b, c) = tokio::join!(call(100), call(100));
        handle.cancel();
        (b, c)
    };
    let (a, (b, c)) = tokio::join!(client.request(&ctx, request("svc.m", "")), rest);
    let deliveries = [a, b, c].map(|outcome| outcome.unwrap_err().delivery());
    assert_eq!(deliveries, [Delivery::Unknown, Delivery::NotSent, Delivery::NotSent]);
    // Now it allows one.
    let mut server = Held::start(script, 1);
    let first = start(&client, 1);
    let mut held = server.next().await.1;
    if poll_fn(|cx| Poll::Ready(held.poll_reset(cx))).await.is_ready() {
        // It was the call of before.
        held = server.next().await.1;
    }
    let (error, reason) = (call(100).await.unwrap_err(), Some("expired-waiting"));
    assert_eq!(told(&error), (Code::DeadlineExceeded, Delivery::NotSent, reason));
    reply(&mut held, "ok");
    all_answered(first).await;
}

#[tokio::test]
async fn connections_that_have_ended_or_go_away_cost_no_call() {
    for end in [End::Cut, End::Goaway] {
        let (script, url) = Script::bind().await;
        let client = client_of(&url, "h2_connections_max=4&h2_streams_max=2").await;
        let mut server = Held::start(script, 100);
        let calls = start(&client, 8);
        let mut held = server.next_of(8).await;
        held.make_contiguous().sort_by_key(|(id, _)| *id);
        let ids: Vec<_> = held.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, [0, 0, 1, 1, 2, 2, 3, 3]);
        if matches!(end, End::Goaway) {
            server.end(end).await;
        }
        // One place on each is free then. The reply comes after the GOAWAY: both have been seen.
        let (mut answered, mut open) = (calls, Vec::new());
        for (at, (_, mut respond)) in held.into_iter().enumerate() {
            if at % 2 == 0 { reply(&mut respond, "ok") } else { open.push(respond) }
        }
        eventually("half are answered", || {
            answered.iter().filter(|call| call.is_finished()).count() == 4
        })
        .await;
        if matches!(end, End::Cut) {
            server.end(end).await;
            eventually("the ends are seen", || client.connections() == 0).await;
        }
        let next = start(&client, 1);
        let (id, mut respond) = server.next().await;
        assert_eq!(id, 4, "{end:?}");
        reply(&mut respond, "ok");
        all_answered(next).await;
        if matches!(end, End::Goaway) {
            open.iter_mut().for_each(|respond| reply(respond, "ok"));
            all_answered(std::mem::take(&mut answered)).await;
            eventually("those that go away end", || client.connections() == 1).await;
        }
    }
}

#[tokio::test]
async fn a_stalled_error_body_does_not_lose_what_the_head_says() {
    let (script, url) = Script::bind().await;
    let client = client(&url).await;
    let mut server = Held::start(script, 100);
    let calls = start(&client, 1);
    let mut respond = server.next().await.1;
    let head = HttpResponse::builder().status(503).header("rr-code", "unavailable");
    let head = head.header("rr-delivery", "rejected").body(()).unwrap();
    let _stalled = respond.send_response(head, false).unwrap();
    for call in calls {
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(told(&error), (Code::Unavailable, Delivery::Rejected, None));
    }
}

/// A listener whose queue is full, so that connecting takes until [`Full::drain`].
#[cfg(target_os = "linux")]
struct Full {
    listener: tokio::net::TcpListener,
    queued: Vec<TcpStream>,
}

#[cfg(target_os = "linux")]
impl Full {
    async fn bind() -> (Self, String) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        let pause = Duration::from_millis(100);
        while let Ok(stream) = tokio::time::timeout(pause, TcpStream::connect(address)).await {
            queued.push(stream.unwrap());
        }
        (Self { listener, queued }, format!("http://{address}"))
    }

    /// Takes everything out of the queue, and what comes until the client is served.
    async fn serve(self) {
        drop(self.queued);
        loop {
            let (stream, _) = self.listener.accept().await.unwrap();
            tokio::spawn(async move {
                let Ok(mut server) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((_, mut respond))) = server.accept().await {
                    reply(&mut respond, "ok");
                }
            });
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connection_in_the_making_outlives_the_calls_that_wait_for_it() {
    let (full, url) = Full::bind().await;
    let client = client(&url).await;
    let soon = async || {
        let ctx = Context::background().with_timeout(Duration::from_millis(30));
        client.request(&ctx, request("svc.m", "")).await.unwrap_err()
    };
    for error in [soon().await, soon().await] {
        let (code, reason) = (Code::DeadlineExceeded, Some("expired-connecting"));
        assert_eq!(told(&error), (code, Delivery::NotSent, reason));
    }
    let served = tokio::spawn(full.serve());
    // Nobody calls; the kernel tries again after a second.
    eventually("the connection is made", || client.connections() == 1).await;
    assert_eq!(call(&client, "").await.unwrap().body, "ok");
    assert_eq!(client.connections(), 1);
    served.abort();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn calls_that_wait_for_one_connection_share_its_failure() {
    let (_full, url) = Full::bind().await;
    let client = client_of(&url, "connect_timeout=200ms").await;
    let call = async || {
        // Enough for one try, not for two.
        let ctx = Context::background().with_timeout(Duration::from_millis(390));
        told_owned(&client.request(&ctx, request("svc.m", "")).await.unwrap_err())
    };
    let (a, b, c) = tokio::join!(call(), call(), call());
    let expected = (Code::Unavailable, Delivery::NotSent, Some("connect-failed".to_owned()));
    assert_eq!([a, b, c], [expected.clone(), expected.clone(), expected]);
    // And so does the next call, of the next try.
    assert_eq!(call().await.0, Code::Unavailable);
}

#[cfg(target_os = "linux")]
fn told_owned(error: &Error) -> (Code, Delivery, Option<String>) {
    let (code, delivery, reason) = told(error);
    (code, delivery, reason.map(str::to_owned))
}

#[tokio::test]
async fn a_server_that_hangs_up_at_once_fails_every_call_that_waits() {
    let (script, url) = Script::bind().await;
    let client = client(&url).await;
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    let task = tokio::spawn(async move {
        loop {
            drop(script.accept().await);
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    for call in start(&client, 30) {
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error.code(), Code::Unavailable, "{error:?}");
        assert_ne!(error.delivery(), Delivery::Rejected, "{error:?}");
    }
    assert!(accepted.load(Ordering::SeqCst) < 30, "each call made a connection");
    task.abort();
}

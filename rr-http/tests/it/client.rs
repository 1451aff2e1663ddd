//! What the requester says when a server, written by hand, misbehaves.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::time::Duration;

use crate::support::*;
use rr_http::{HttpConfig, HttpRequester};
use rr_spi::{
    Code, Context, Delivery, Error, Headers, Idempotency, IdempotencyKey, IntakeConfig, Limits,
    Requester as _, Response,
};
use tokio::io::AsyncWriteExt as _;

fn client(url: &str) -> HttpRequester {
    HttpRequester::new(url, HttpConfig::default()).unwrap()
}

async fn call(client: &HttpRequester) -> Result<Response, Error> {
    within(client.request(&context(), request("svc.m", "body"))).await
}

#[tokio::test]
async fn a_request_is_a_post_with_the_headers_of_the_wire_format() {
    let (script, url) = Script::bind().await;
    let client = client(&format!("{url}/api"));
    let ctx = Context::background()
        .with_timeout(Duration::from_secs(5))
        .with_retries(1)
        .with_request_id("id-1")
        .unwrap()
        .with_trace("00-a-b-01", None)
        .unwrap();
    let mut headers = Headers::new();
    headers.insert("content-type", "application/json").unwrap();
    headers.append_bin("sig-bin", vec![0xff]).unwrap();
    let keyed = Idempotency::Keyed(IdempotencyKey::new("k\"1").unwrap());
    let request = request("svc.m", "{}").with_headers(headers).with_idempotency(keyed);
    let serve = async {
        let mut stream = script.accept().await;
        let head = read_request(&mut stream).await.to_ascii_lowercase();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        head
    };
    let (response, head) = tokio::join!(client.request(&ctx, request), serve);
    assert_eq!(response.unwrap(), Response::new("ok"));
    assert!(head.starts_with("post /api/svc/m http/1.1\r\n"), "{head}");
    for line in [
        "connect-protocol-version: 1",
        "content-type: application/json",
        "idempotency-key: \"k\\\"1\"",
        "rr: n=1",
        "x-request-id: id-1",
        "traceparent: 00-a-b-01",
        "sig-bin: /w",
        "content-length: 2",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} in {head}");
    }
    let host = format!("\r\nhost: {}\r\n", url.trim_start_matches("http://"));
    assert!(head.contains(&host), "{head}");
    let millis = head.split("connect-timeout-ms: ").nth(1).unwrap().split('\r').next().unwrap();
    assert!((1..=5000).contains(&millis.parse::<u32>().unwrap()), "{millis}");
}

#[tokio::test]
async fn a_plain_request_says_no_more_than_it_must() {
    let (script, url) = Script::bind().await;
    let client = client(&url);
    let serve = async {
        let mut stream = script.accept().await;
        let head = read_request(&mut stream).await.to_ascii_lowercase();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        head
    };
    let ctx = Context::background().unbounded();
    let (_, head) = tokio::join!(client.request(&ctx, request("m", "")), serve);
    let mut names: Vec<_> =
        head.lines().skip(1).filter_map(|line| line.split_once(':')).map(|pair| pair.0).collect();
    names.sort_unstable();
    let expected = ["connect-protocol-version", "content-length", "content-type", "host"];
    assert_eq!(names, expected, "{head}");
}

#[tokio::test]
async fn a_refused_port_is_not_sent_and_ready_waits_for_a_server() {
    let (script, url) = Script::bind().await;
    drop(script);
    for query in ["", "?version=h2c"] {
        let client = client(&format!("{url}{query}"));
        let error = call(&client).await.unwrap_err();
        let expected = (Code::Unavailable, Delivery::NotSent, Some("connect-failed"));
        assert_eq!(told(&error), expected);
        let ctx = Context::background().with_timeout(Duration::from_millis(60));
        let error = client.ready(&ctx).await.unwrap_err();
        assert_eq!(told(&error), expected);
        assert_eq!((client.connections(), client.in_flight()), (0, 0));
    }
    let client = client(&url);
    let late = async {
        tokio::task::yield_now().await;
        fixture_at(&url, rr_http::HttpServerConfig::default()).await
    };
    let ctx = context();
    let (ready, _fixture) = tokio::join!(client.ready(&ctx), late);
    ready.unwrap();
    assert_eq!(call(&client).await.unwrap_err().code(), Code::Internal);
}

#[tokio::test]
async fn a_connection_closed_before_the_request_was_read_is_unknown_and_not_tried_again() {
    let (script, url) = Script::bind().await;
    let client = client(&url);
    let serve = tokio::spawn(async move {
        for accepted in 0_usize.. {
            match tokio::time::timeout(Duration::from_secs(1), script.accept()).await {
                Ok(stream) => drop(stream),
                Err(_) => return accepted,
            }
        }
        0
    });
    let error = call(&client).await.unwrap_err();
    assert_ne!(error.delivery(), Delivery::Processed, "{error:?}");
    assert_ne!(error.delivery(), Delivery::Rejected, "{error:?}");
    let connections_at_the_end = client.connections();
    assert_eq!(connections_at_the_end, 0, "bytes may have left: nothing may be sent again");
    // Another connection is made only for a request that came back unwritten, and that twice.
    assert!(serve.await.unwrap() <= 3);
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_is_replaced() {
    let (script, url) = Script::bind().await;
    let client = client(&url);
    for round in 0..5 {
        let serve = async {
            let mut stream = script.accept().await;
            read_request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            stream
        };
        let (outcome, stream) = tokio::join!(call(&client), serve);
        assert_eq!(outcome.unwrap().body, "ok", "round {round}");
        drop(stream);
        eventually("the end is noticed", || client.connections() == 0).await;
    }
}

#[tokio::test]
async fn calls_one_after_another_share_a_connection_whatever_their_bodies() {
    for query in ["", "?version=h2c"] {
        let fixture = fixture(rr_http::HttpServerConfig::default()).await;
        let client = client(&format!("{}{query}", fixture.server.url()));
        for length in [0, 1, 16, 8 * 1024, 64 * 1024, 700_000].repeat(5) {
            let body = "x".repeat(length);
            let echoed = client.request(&context(), request("echo", body)).await.unwrap();
            assert_eq!(echoed.body.len(), length);
            assert_eq!((client.connections(), fixture.stats.connections()), (1, 1));
        }
    }
}

#[test]
fn a_requester_goes_on_when_the_runtime_of_its_connections_has_ended() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().unwrap()
    };
    let (servers, first, second) = (runtime(), runtime(), runtime());
    for query in ["", "?version=h2c"] {
        let fixture = servers.block_on(fixture(rr_http::HttpServerConfig::default()));
        let config = HttpConfig::default().with_idle_timeout(Duration::from_millis(50));
        let url = format!("{}{query}", fixture.server.url());
        let client = HttpRequester::new(&url, config).unwrap();
        let once = async || client.request(&context(), request("echo", "hi")).await;
        let passing = runtime();
        passing.block_on(once()).unwrap();
        drop(passing);
        for runtime in [&first, &second, &first] {
            runtime.block_on(once()).unwrap();
        }
        // Whoever looks after unused ones has ended with its runtime as well.
        second.block_on(eventually("unused ones end", || client.connections() == 0));
        servers.block_on(fixture.quiet());
    }
}

#[tokio::test]
async fn a_server_that_closes_a_kept_connection_after_reading_is_unknown() {
    let (script, url) = Script::bind().await;
    let client = client(&url);
    let serve = async {
        let mut stream = script.accept().await;
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        read_request(&mut stream).await;
    };
    let calls = async { (call(&client).await, call(&client).await) };
    let ((first, second), ()) = tokio::join!(calls, serve);
    first.unwrap();
    let expected = (Code::Unavailable, Delivery::Unknown, Some("connection-lost"));
    assert_eq!(told(&second.unwrap_err()), expected);
}

#[tokio::test]
async fn unused_connections_end_after_their_time_or_the_servers() {
    let config = HttpConfig::default().with_idle_timeout(Duration::from_millis(30));
    for query in ["", "?version=h2c"] {
        let fixture = fixture(rr_http::HttpServerConfig::default()).await;
        let url = format!("{}{query}", fixture.server.url());
        let client = HttpRequester::new(&url, config.clone()).unwrap();
        client.request(&context(), request("echo", "hi")).await.unwrap();
        eventually("the connection ends", || client.connections() == 0).await;
        fixture.quiet().await;
        client.request(&context(), request("echo", "hi")).await.unwrap();
    }
    let (script, url) = Script::bind().await;
    let client = client(&url);
    let serve = async {
        let mut stream = script.accept().await;
        read_request(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\nkeep-alive: timeout=1, max=5\r\ncontent-length: 2\r\n\r\n";
        stream.write_all(format!("{head}ok").as_bytes()).await.unwrap();
        stream
    };
    let (outcome, _stream) = tokio::join!(call(&client), serve);
    outcome.unwrap();
    eventually("a second granted is none left", || client.connections() == 0).await;
}

#[tokio::test]
async fn dropping_the_requester_closes_its_connections() {
    for query in ["", "?version=h2c"] {
        let fixture = fixture(rr_http::HttpServerConfig::default()).await;
        let client = client(&format!("{}{query}", fixture.server.url()));
        client.request(&context(), request("echo", "hi")).await.unwrap();
        assert_eq!(fixture.stats.connections(), 1);
        drop(client);
        fixture.quiet().await;
    }
}

#[tokio::test]
async fn dropping_a_call_cancels_its_handler_and_frees_everything() {
    for (query, connections) in [("", 0), ("?version=h2c", 1)] {
        let mut fixture = fixture(rr_http::HttpServerConfig::default()).await;
        let client = client(&format!("{}{query}", fixture.server.url()));
        let ctx = context();
        let mut hang = Box::pin(client.request(&ctx, request("hang", "body")));
        tokio::select! {
            biased;
            seen = fixture.next() => assert_eq!(seen, Seen::Began),
            outcome = &mut hang => panic!("{outcome:?}"),
        }
        drop(hang);
        assert_eq!(fixture.next().await, Seen::Cancelled(rr_spi::Cause::PeerGone));
        assert_eq!(fixture.next().await, Seen::Dropped);
        assert_eq!(client.in_flight(), 0);
        eventually("HTTP/1 closes, HTTP/2 resets", || client.connections() == connections).await;
        eventually("the task ends", || fixture.stats.tasks() == connections).await;
        client.request(&context(), request("echo", "hi")).await.unwrap();
    }
}

#[tokio::test]
async fn a_deadline_and_a_cancellation_in_flight_are_unknown_and_end_the_handler() {
    for query in ["", "?version=h2c"] {
        let mut fixture = fixture(rr_http::HttpServerConfig::default()).await;
        let client = client(&format!("{}{query}", fixture.server.url()));
        let ctx = Context::background().with_timeout(Duration::from_millis(40));
        let error = client.request(&ctx, request("hang", "")).await.unwrap_err();
        assert_eq!(error.code(), Code::DeadlineExceeded);
        assert!(!error.delivery().is_unexecuted(), "{error:?}");
        assert_eq!(fixture.next().await, Seen::Began);
        let ended = fixture.next().await;
        let at_deadline = Seen::Cancelled(rr_spi::Cause::DeadlineExceeded);
        let first = [at_deadline, Seen::Cancelled(rr_spi::Cause::PeerGone)];
        assert!(first.contains(&ended), "{ended:?}");
        assert_eq!(fixture.next().await, Seen::Dropped);

        let (ctx, handle) = context().child();
        let call = client.request(&ctx, request("hang", ""));
        let cancel = async {
            assert_eq!(fixture.next().await, Seen::Began);
            handle.cancel();
        };
        let (outcome, ()) = tokio::join!(call, cancel);
        assert_eq!(told(&outcome.unwrap_err()), (Code::Canceled, Delivery::Unknown, None));
        assert_eq!(fixture.next().await, Seen::Cancelled(rr_spi::Cause::PeerGone));
    }
}

#[tokio::test]
async fn waiting_for_a_connection_ends_at_the_deadline_as_not_sent() {
    let mut fixture = fixture(rr_http::HttpServerConfig::default()).await;
    for (query, reason) in [
        ("connections_max=1", "expired-connecting"),
        ("version=h2c&h2_connections_max=1&h2_streams_max=1", "expired-waiting"),
    ] {
        let client = client(&format!("{}?{query}", fixture.server.url()));
        let ctx = context();
        let mut first = Box::pin(client.request(&ctx, request("hang", "")));
        tokio::select! {
            biased;
            seen = fixture.next() => assert_eq!(seen, Seen::Began),
            outcome = &mut first => panic!("{outcome:?}"),
        }
        let ctx = Context::background().with_timeout(Duration::from_millis(40));
        let error = client.request(&ctx, request("echo", "")).await.unwrap_err();
        assert_eq!(told(&error), (Code::DeadlineExceeded, Delivery::NotSent, Some(reason)));
        drop(first);
        client.request(&context(), request("echo", "")).await.unwrap();
        while fixture.next().await != Seen::Dropped {}
    }
}

#[tokio::test]
async fn an_early_answer_is_read_while_the_request_is_still_being_written() {
    let limit = IntakeConfig::from(Limits::default().with_request_bytes_max(10));
    let fixture = fixture(limit.into()).await;
    for query in ["", "?version=h2c"] {
        let client = client(&format!("{}{query}", fixture.server.url()));
        for _ in 0..3 {
            let outcome = client.request(&context(), request("echo", vec![0; 900_000])).await;
            let expected = (Code::ResourceExhausted, Delivery::Rejected, Some("request-too-large"));
            assert_eq!(told(&outcome.unwrap_err()), expected, "{query}");
        }
    }
    assert_eq!(fixture.runs(), 0);
}

#[tokio::test]
async fn bursts_share_the_configured_connections() {
    let fixture = fixture(rr_http::HttpServerConfig::default()).await;
    for (query, most) in [("connections_max=4", 4), ("version=h2c&h2_streams_max=8", 4)] {
        let client = client(&format!("{}?{query}", fixture.server.url()));
        let calls: Vec<_> = (0..32)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.request(&context(), request("slow", "5")).await })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap().body, "done");
        }
        assert!(client.connections() <= most, "{}", client.connections());
    }
}

#[test]
fn urls_that_cannot_work_are_refused_at_once() {
    for bad in [
        #[cfg(not(feature = "tls"))]
        "https://h",
        "https://h?version=h2c",
        "http://h?version=h2",
        "http://",
        "http://h?verison=h2c",
        "http://h?timeout=5",
        "h:80",
        "http://a%b",
        "http://[fe80::1%]?version=h2c",
    ] {
        let error = HttpRequester::new(bad, HttpConfig::default()).unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::NotSent));
    }
}

#[tokio::test]
async fn a_folded_line_of_a_reply_is_read_as_spaces() {
    let (script, url) = Script::bind().await;
    let client = client(&url);
    let serve = async {
        let mut stream = script.accept().await;
        read_request(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\nx-folded: a\r\n b\r\ncontent-length: 2\r\n\r\nok";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    let (response, _stream) = tokio::join!(call(&client), serve);
    let response = response.unwrap();
    let folded: Vec<_> = response.headers.get("x-folded").unwrap().split(' ').collect();
    assert_eq!((folded[0], folded[folded.len() - 1]), ("a", "b"));
}

#[tokio::test]
async fn trailing_metadata_of_replies_is_shown_and_requests_have_none() {
    for status in ["200 OK", "404 Not Found"] {
        let (script, url) = Script::bind().await;
        let client = client(&url);
        let serve = async {
            let mut stream = script.accept().await;
            read_request(&mut stream).await;
            let head = format!("HTTP/1.1 {status}\r\ntrailer-x: 1\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            stream
        };
        let (outcome, _stream) = tokio::join!(call(&client), serve);
        let headers = match &outcome {
            Ok(response) => &response.headers,
            Err(error) => error.headers(),
        };
        assert_eq!(headers.get("trailer-x"), Some("1"), "{status}");
        let mut headers = Headers::new();
        headers.insert("trailer-x", "1").unwrap();
        let request = request("svc.m", "").with_headers(headers);
        let error = client.request(&context(), request).await.unwrap_err();
        assert_eq!(told(&error), (Code::InvalidArgument, Delivery::NotSent, None));
    }
}

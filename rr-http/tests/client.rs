//! What the requester says when a server, written by hand, misbehaves.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

mod support;

use std::error::Error as _;
use std::time::Duration;

use rr_http::{HttpConfig, HttpRequester, RawReply};
use rr_spi::{
    Code, Context, Delivery, Error, Headers, Idempotency, IdempotencyKey, Origin, Requester as _,
    Response, RetryHint,
};
use support::*;
use tokio::io::AsyncWriteExt as _;

fn client(url: &str) -> HttpRequester {
    HttpRequester::new(url, HttpConfig::default()).unwrap()
}

async fn call(client: &HttpRequester) -> Result<Response, Error> {
    within(client.request(&context(), request("svc.m", "body"))).await
}

/// Calls a server that answers one request with these bytes and closes.
async fn answered(reply: &str) -> Result<Response, Error> {
    answered_within(HttpConfig::default(), reply).await
}

async fn answered_within(config: HttpConfig, reply: &str) -> Result<Response, Error> {
    let (script, url) = Script::bind().await;
    let client = HttpRequester::new(&url, config).unwrap();
    let serve = async {
        let mut stream = script.accept().await;
        read_request(&mut stream).await;
        stream.write_all(reply.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        // Held until the client has what it wants, so that nothing resets.
        stream
    };
    let (outcome, _stream) = tokio::join!(call(&client), serve);
    outcome
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
async fn a_cut_connection_is_unknown_wherever_it_is_cut() {
    for reply in [
        "",
        "HTTP/1.1 200 O",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let error = answered(reply).await.unwrap_err();
        let expected = (Code::Unavailable, Delivery::Unknown, Some("connection-lost"));
        assert_eq!(told(&error), expected, "{reply:?}");
    }
    for reply in
        ["nonsense\r\n\r\n", "HTTP/1.1 abc OK\r\n\r\n", "HTTP/1.1 200 OK\r\nbad header\r\n\r\n"]
    {
        let error = answered(reply).await.unwrap_err();
        let expected = (Code::Internal, Delivery::Unknown, Some("bad-response"));
        assert_eq!(told(&error), expected, "{reply:?}");
    }
}

#[tokio::test]
async fn a_connection_closed_before_the_request_was_read_is_unknown_and_not_tried_again() {
    let (script, url) = Script::bind().await;
    let client = client(&url);
    let serve = async {
        drop(script.accept().await);
        script
    };
    let (outcome, script) = tokio::join!(call(&client), serve);
    let error = outcome.unwrap_err();
    assert_ne!(error.delivery(), Delivery::Processed, "{error:?}");
    assert_ne!(error.delivery(), Delivery::Rejected, "{error:?}");
    let again = tokio::time::timeout(Duration::from_millis(50), script.accept()).await;
    if error.delivery() == Delivery::Unknown {
        assert!(again.is_err(), "bytes may have left: nothing may be sent again");
    }
}

#[tokio::test]
async fn any_2xx_is_a_success() {
    for reply in ["HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.0 202 X\r\ncontent-length: 0\r\n\r\n"]
    {
        assert_eq!(answered(reply).await.unwrap().body, "");
    }
    let reply = "HTTP/1.1 200 OK\r\ncontent-type: Application/octet-stream\r\n\
                 trailer-x: shown\r\nrr-dedup: on\r\nx_y: 1\r\n\r\nuntil the end";
    let response = answered(reply).await.unwrap();
    assert_eq!(response.body, "until the end");
    assert_eq!(format!("{:?}", response.headers), r#"{"trailer-x": b"shown"}"#);
}

#[tokio::test]
async fn a_foreign_status_is_an_intermediarys_and_keeps_its_body() {
    for (status, code, delivery) in [
        (302, Code::Unknown, Delivery::Unknown),
        (404, Code::Unimplemented, Delivery::Unknown),
        (413, Code::ResourceExhausted, Delivery::Unknown),
        (421, Code::Unavailable, Delivery::Rejected),
        (431, Code::ResourceExhausted, Delivery::Rejected),
        (500, Code::Unknown, Delivery::Unknown),
        (501, Code::Unimplemented, Delivery::Unknown),
        (503, Code::Unavailable, Delivery::Unknown),
    ] {
        let reply = format!("HTTP/1.1 {status} X\r\ncontent-length: 6\r\n\r\n<html>");
        let error = answered(&reply).await.unwrap_err();
        assert_eq!((error.code(), error.delivery()), (code, delivery), "{status}");
        assert_eq!(error.origin(), Origin::Intermediary);
        let raw = error.source().unwrap().downcast_ref::<RawReply>().unwrap();
        assert_eq!((raw.status, &raw.body[..]), (status, &b"<html>"[..]));
    }
    let reply = "HTTP/1.1 503 X\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n";
    let error = answered(reply).await.unwrap_err();
    assert_eq!(error.retry(), RetryHint::After(Duration::from_secs(7)));
    let page = "x".repeat(100_000);
    let reply = format!("HTTP/1.1 502 X\r\ncontent-length: {}\r\n\r\n{page}", page.len());
    let error = answered(&reply).await.unwrap_err();
    let raw = error.source().unwrap().downcast_ref::<RawReply>().unwrap();
    assert_eq!((error.code(), raw.body.len()), (Code::Unavailable, 64 * 1024));
}

#[tokio::test]
async fn an_error_of_ours_and_of_connect_is_the_peers() {
    let body = r#"{"code":"not_found","message":"no order"}"#;
    let connect = format!("HTTP/1.1 404 X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let error = answered(&connect).await.unwrap_err();
    assert_eq!(told(&error), (Code::NotFound, Delivery::Unknown, None));
    assert_eq!((error.origin(), error.message()), (Origin::Peer, "no order"));
    let ours = "HTTP/1.1 503 X\r\nrr-code: unavailable\r\nrr-reason: draining\r\n\
                rr-delivery: rejected\r\nrr-retry-after-ms: 20\r\nx-app: 1\r\n\
                content-type: application/json\r\ncontent-length: 0\r\n\r\n";
    let error = answered(ours).await.unwrap_err();
    assert_eq!(told(&error), (Code::Unavailable, Delivery::Rejected, Some("draining")));
    assert_eq!(error.retry(), RetryHint::After(Duration::from_millis(20)));
    assert_eq!((error.headers().len(), error.headers().get("x-app")), (1, Some("1")));
}

#[tokio::test]
async fn a_compressed_or_oversize_reply_was_processed() {
    let reply = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nxx";
    let error = answered(reply).await.unwrap_err();
    assert_eq!(told(&error), (Code::Internal, Delivery::Processed, Some("bad-response")));
    let config = || HttpConfig::default().with_response_bytes_max(4);
    let too_large = (Code::ResourceExhausted, Delivery::Processed, Some("response-too-large"));
    for reply in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nhello",
    ] {
        let error = answered_within(config(), reply).await.unwrap_err();
        assert_eq!(told(&error), too_large, "{reply}");
    }
    let reply = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhell";
    assert_eq!(answered_within(config(), reply).await.unwrap().body, "hell");
    let client = HttpRequester::new("http://127.0.0.1:1", HttpConfig::default()).unwrap();
    let large = request("m", vec![0; 2_000_000]);
    let error = client.request(&context(), large).await.unwrap_err();
    let expected = (Code::ResourceExhausted, Delivery::NotSent, Some("request-too-large"));
    assert_eq!(told(&error), expected);
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
    for query in ["connections_max=1", "version=h2c&h2_connections_max=1&h2_streams_max=1"] {
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
        assert_eq!(told(&error), (Code::DeadlineExceeded, Delivery::NotSent, None));
        drop(first);
        client.request(&context(), request("echo", "")).await.unwrap();
        while fixture.next().await != Seen::Dropped {}
    }
}

#[tokio::test]
async fn an_early_answer_is_read_while_the_request_is_still_being_written() {
    let limit = rr_http::HttpServerConfig::default().with_request_bytes_max(10);
    let fixture = fixture(limit).await;
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
    for bad in ["https://h", "http://", "http://h?verison=h2c", "http://h?timeout=5", "h:80"] {
        let error = HttpRequester::new(bad, HttpConfig::default()).unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::NotSent));
    }
}

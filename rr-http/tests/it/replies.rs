//! What the requester makes of replies, written by hand.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::error::Error as _;
use std::time::Duration;

use crate::support::*;
use rr_http::{HttpConfig, HttpRequester, RawReply};
use rr_spi::{
    CallConfig, Code, Context, Dedup, Delivery, Error, Headers, Limits, Origin, Requester as _,
    Response, RetryHint,
};
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
async fn any_2xx_is_a_success() {
    for reply in ["HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.0 202 X\r\ncontent-length: 0\r\n\r\n"]
    {
        assert_eq!(answered(reply).await.unwrap().body, "");
    }
    let reply = "HTTP/1.1 200 OK\r\ncontent-type: Application/octet-stream\r\n\
                 trailer-x: shown\r\nrr-dedup: on\r\nx_y: 1\r\n\r\nuntil the end";
    let response = answered(reply).await.unwrap();
    assert_eq!((&*response.body, response.dedup()), (&b"until the end"[..], Some(Dedup::On)));
    assert_eq!(format!("{:?}", response.headers), r#"{"trailer-x": b"shown"}"#);
}

#[tokio::test]
async fn a_call_of_json_is_not_answered_by_an_empty_202() {
    for (status, json, accepted) in
        [(200, true, true), (202, true, false), (204, true, false), (202, false, true)]
    {
        let (script, url) = Script::bind().await;
        let client = client(&url);
        let mut headers = Headers::new();
        headers.insert("content-type", if json { "application/json" } else { "text/x" }).unwrap();
        let request = request("svc.m", "{}").with_headers(headers);
        let serve = async {
            let mut stream = script.accept().await;
            read_request(&mut stream).await;
            let length = if status == 204 { "" } else { "content-length: 0\r\n" };
            let reply = format!("HTTP/1.1 {status} X\r\n{length}\r\n");
            stream.write_all(reply.as_bytes()).await.unwrap();
            stream
        };
        let ctx = context();
        let (outcome, _stream) = tokio::join!(client.request(&ctx, request), serve);
        let told = outcome.as_ref().map_err(told);
        if accepted {
            assert_eq!(told.unwrap().body, "");
        } else {
            let expected = (Code::Internal, Delivery::Processed, Some("bad-response"));
            assert_eq!(told.unwrap_err(), expected, "{status}");
        }
    }
}

#[tokio::test]
async fn a_stalled_error_body_does_not_lose_what_the_head_says() {
    let head = "HTTP/1.1 503 X\r\nrr-code: unavailable\r\nrr-reason: draining\r\n\
                rr-delivery: rejected\r\ncontent-length: 100\r\n\r\n{\"code\":";
    // With time to spare, and with less than the wait for a body would take.
    for millis in [8000, 300] {
        let (script, url) = Script::bind().await;
        let client = client(&url);
        let ctx = Context::background().with_timeout(Duration::from_millis(millis));
        let serve = async {
            let mut stream = script.accept().await;
            read_request(&mut stream).await;
            stream.write_all(head.as_bytes()).await.unwrap();
            stream
        };
        let (outcome, _stalled) = tokio::join!(client.request(&ctx, request("svc.m", "")), serve);
        let error = outcome.unwrap_err();
        assert_eq!(told(&error), (Code::Unavailable, Delivery::Rejected, Some("draining")));
        let raw = error.source().unwrap().downcast_ref::<RawReply>().unwrap();
        assert_eq!(raw.body, r#"{"code":"#);
        eventually("half a reply is no connection", || client.connections() == 0).await;
    }
}

#[tokio::test]
async fn headers_that_contradict_themselves_never_say_rejected() {
    let body = r#"{"code":"unavailable","delivery":"rejected"}"#;
    for lines in [
        "rr-code: unavailable\r\nrr-delivery: rejected\r\nrr-delivery: processed\r\n",
        "rr-code: unavailable\r\nrr-delivery: rejected\r\nrr-delivery: rejected\r\n",
        "rr-code: unavailable\r\nrr-delivery: REJECTED!\r\n",
        "rr-code: unavailable\r\nrr-delivery: \r\n",
        "rr-delivery: \u{e9}\r\n",
        "rr-delivery: rejected\r\nrr-delivery: unknown\r\n",
    ] {
        let length = body.len();
        let reply = format!("HTTP/1.1 503 X\r\n{lines}content-length: {length}\r\n\r\n{body}");
        let error = answered(&reply).await.unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::Unknown));
    }
    let twice = "HTTP/1.1 404 X\r\nrr-code: aborted\r\nrr-code: not_found\r\n\
                 rr-reason: draining\r\nrr-reason: app\r\ncontent-length: 0\r\n\r\n";
    let error = answered(twice).await.unwrap_err();
    assert_eq!(told(&error), (Code::Unimplemented, Delivery::Unknown, None));
    let hints = "HTTP/1.1 503 X\r\nretry-after: 1\r\nretry-after: 2\r\n\
                 content-length: 0\r\n\r\n";
    assert_eq!(answered(hints).await.unwrap_err().retry(), RetryHint::Never);
}

#[tokio::test]
async fn a_foreign_status_is_an_intermediarys_and_keeps_its_body() {
    for (status, code, delivery) in [
        (302, Code::Unknown, Delivery::Unknown),
        (404, Code::Unimplemented, Delivery::Unknown),
        (413, Code::Unknown, Delivery::Unknown),
        (421, Code::Unknown, Delivery::Rejected),
        (431, Code::Unknown, Delivery::Rejected),
        (500, Code::Unknown, Delivery::Unknown),
        (501, Code::Unknown, Delivery::Unknown),
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
                rr-delivery: rejected\r\nrr-retry-after-ms: 20\r\nRr-Dedup: replayed\r\nx-app: 1\r\n\
                content-type: application/json\r\ncontent-length: 0\r\n\r\n";
    let error = answered(ours).await.unwrap_err();
    assert_eq!(told(&error), (Code::Unavailable, Delivery::Rejected, Some("draining")));
    assert_eq!(error.retry(), RetryHint::After(Duration::from_millis(20)));
    assert_eq!((error.headers().len(), error.headers().get("x-app")), (1, Some("1")));
    assert_eq!(error.dedup(), Some(Dedup::Replayed));
}

#[tokio::test]
async fn a_compressed_or_oversize_reply_was_processed() {
    for lines in [
        "content-encoding: gzip\r\ncontent-length: 2\r\n\r\nxx",
        "content-encoding: identity\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nxx",
        "content-encoding: identity, br\r\ncontent-length: 2\r\n\r\nxx",
        "transfer-encoding: gzip, chunked\r\n\r\n2\r\nxx\r\n0\r\n\r\n",
        "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n2\r\nxx\r\n0\r\n\r\n",
        "transfer-encoding: gzip\r\n\r\nxx",
    ] {
        let error = answered(&format!("HTTP/1.1 200 OK\r\n{lines}")).await.unwrap_err();
        let expected = (Code::Internal, Delivery::Processed, Some("bad-response"));
        assert_eq!(told(&error), expected, "{lines}");
    }
    for lines in [
        "content-encoding: \r\ncontent-length: 2\r\n\r\nxx",
        "content-encoding: Identity\r\ntransfer-encoding: Chunked\r\n\r\n2\r\nxx\r\n0\r\n\r\n",
    ] {
        let response = answered(&format!("HTTP/1.1 200 OK\r\n{lines}")).await.unwrap();
        assert_eq!(response.body, "xx", "{lines}");
    }
    let config =
        || HttpConfig::from(CallConfig::from(Limits::default().with_response_bytes_max(4)));
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

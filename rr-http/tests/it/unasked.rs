//! A reply that nothing asked for never answers the next call on its connection.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use crate::support::*;
use rr_http::{HttpConfig, HttpRequester};
use rr_spi::Requester as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

const RIGHT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nright";
const WRONG: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong";

async fn answer(stream: &mut TcpStream, replies: &str) {
    read_request(stream).await;
    stream.write_all(replies.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn a_second_reply_in_the_same_write_does_not_answer_the_next_call() {
    let (script, url) = Script::bind().await;
    let client = HttpRequester::new(&url, HttpConfig::default()).unwrap();
    let ctx = context();
    for _ in 0..20 {
        let call = || within(client.request(&ctx, request("svc.m", "body")));
        let serve = async {
            let mut stream = script.accept().await;
            answer(&mut stream, &[RIGHT, WRONG].concat()).await;
            stream
        };
        let (response, _kept) = tokio::join!(call(), serve);
        assert_eq!(response.unwrap().body, "right");
    }
}

#[tokio::test]
async fn a_second_reply_that_comes_just_before_the_next_call_does_not_answer_it() {
    let (script, url) = Script::bind().await;
    let client = HttpRequester::new(&url, HttpConfig::default()).unwrap();
    let ctx = context();
    for _ in 0..50 {
        let serve = async {
            let mut stream = script.accept().await;
            answer(&mut stream, RIGHT).await;
            stream
        };
        let call = within(client.request(&ctx, request("svc.m", "body")));
        let (response, mut stream) = tokio::join!(call, serve);
        assert_eq!(response.unwrap().body, "right");
        // The next call begins in the same poll: tokio's driver has not seen the bytes.
        stream.write_all(WRONG.as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_that_a_server_has_closed_just_before_costs_no_call() {
    let (script, url) = Script::bind().await;
    let client = HttpRequester::new(&url, HttpConfig::default()).unwrap();
    let ctx = context();
    for _ in 0..50 {
        let serve = async {
            let mut stream = script.accept().await;
            answer(&mut stream, RIGHT).await;
            stream
        };
        let call = within(client.request(&ctx, request("svc.m", "body")));
        let (response, stream) = tokio::join!(call, serve);
        assert_eq!(response.unwrap().body, "right");
        drop(stream);
    }
}

#[tokio::test]
async fn a_call_whose_connection_was_closed_keeps_its_place_before_waiting_calls() {
    let (script, url) = Script::bind().await;
    let ctx = context();
    let config = HttpConfig::default().with_connections_max(1);
    let client = HttpRequester::new(&url, config).unwrap();
    let call = |body| Box::pin(within(client.request(&ctx, request("svc.m", body))));
    let (mut first, mut second, mut third) = (call("first"), call("second"), call("third"));
    for waits in [&mut first, &mut second, &mut third] {
        assert!(poll_once(waits).await.is_pending());
    }
    let serve = async {
        let mut stream = script.accept().await;
        answer(&mut stream, RIGHT).await;
        stream
    };
    let (response, stream) = tokio::join!(first, serve);
    assert_eq!(response.unwrap().body, "right");
    // The second call takes the connection before tokio's driver has seen its end.
    drop(stream);
    assert!(poll_once(&mut second).await.is_pending());
    let serve = async {
        let mut stream = script.accept().await;
        let mut bodies = Vec::new();
        for _ in 0..2 {
            let seen = read_request(&mut stream).await;
            bodies.push(seen.rsplit("\r\n").next().unwrap().to_owned());
            stream.write_all(RIGHT.as_bytes()).await.unwrap();
        }
        (bodies, stream)
    };
    let (second, third, (bodies, _stream)) = tokio::join!(second, third, serve);
    assert!(second.is_ok() && third.is_ok());
    assert_eq!(bodies, ["second", "third"]);
}

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

#[tokio::test]
async fn a_connection_without_unread_bytes_is_used_again() {
    let (script, url) = Script::bind().await;
    let client = HttpRequester::new(&url, HttpConfig::default()).unwrap();
    let ctx = context();
    let serve = async {
        let mut stream = script.accept().await;
        for _ in 0..20 {
            answer(&mut stream, RIGHT).await;
        }
        stream
    };
    let calls = async {
        for _ in 0..20 {
            let call = within(client.request(&ctx, request("svc.m", "body")));
            assert_eq!(call.await.unwrap().body, "right");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let (_stream, ()) = tokio::join!(serve, calls);
    assert_eq!(client.connections(), 1);
}

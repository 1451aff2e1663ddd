//! What the requester says when an HTTP/2 server refuses, goes away or breaks off.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request as HttpRequest, Response as HttpResponse};
use rr_http::HttpRequester;
use rr_spi::{Code, Delivery, Error, Requester as _, Response};
use support::*;
use tokio::net::TcpStream;

type Server = Connection<TcpStream, Bytes>;

async fn client(url: &str) -> HttpRequester {
    HttpRequester::connect(&format!("{url}?version=h2c")).await.unwrap()
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
async fn a_refused_stream_was_rejected_and_any_other_reset_is_unknown() {
    for (reason, expected) in [
        (Reason::REFUSED_STREAM, (Code::Unavailable, Delivery::Rejected, None)),
        (Reason::CANCEL, (Code::Unavailable, Delivery::Unknown, Some("connection-lost"))),
        (Reason::INTERNAL_ERROR, (Code::Unavailable, Delivery::Unknown, Some("connection-lost"))),
    ] {
        let (script, url) = Script::bind().await;
        let client = client(&url).await;
        let task = tokio::spawn(async move {
            let mut server = accept(&script).await;
            let (_, mut respond) = next(&mut server).await;
            respond.send_reset(reason);
            finish(server).await;
        });
        let error = call(&client, "body").await.unwrap_err();
        assert_eq!(told(&error), expected, "{reason:?}");
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

#[tokio::test]
async fn the_servers_limit_of_streams_is_kept() {
    let (script, url) = Script::bind().await;
    let client = client(&url).await;
    let task = tokio::spawn(async move {
        let mut builder = h2::server::Builder::new();
        let mut server: Server =
            builder.max_concurrent_streams(2).handshake(script.accept().await).await.unwrap();
        while let Some(Ok((_, mut respond))) = server.accept().await {
            reply(&mut respond, "ok");
        }
        script
    });
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { call(&client, "").await })
        })
        .collect();
    let mut lost = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(response) => assert_eq!(response.body, "ok"),
            Err(error) => {
                lost += 1;
                eprintln!("{error:?}");
            }
        }
    }
    assert_eq!(lost, 0);
    drop(client);
    drop(within(task).await.unwrap());
}

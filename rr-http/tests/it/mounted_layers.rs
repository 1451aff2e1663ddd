//! Layers of tower-http around the mounted service.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::io::Read as _;
use std::sync::mpsc;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response};
use rr_http::HttpServerConfig;
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::trace::TraceLayer;
use tracing::Span;

use crate::mounted::mounted_with;

const PREFLIGHT: &str = "OPTIONS /rr/echo HTTP/1.1\r\nhost: h\r\norigin: https://a.example\r\n\
                         access-control-request-method: POST\r\n\r\n";

#[tokio::test]
async fn trace_sees_the_status_of_every_call() {
    let (sender, seen) = mpsc::channel();
    let began = sender.clone();
    let layer = TraceLayer::new_for_http()
        .on_request(move |request: &Request<_>, _: &Span| {
            began.send(request.uri().path().to_owned()).unwrap();
        })
        .on_response(move |reply: &Response<_>, _: Duration, _: &Span| {
            sender.send(reply.status().to_string()).unwrap();
        });
    let mounted = mounted_with(HttpServerConfig::default(), |app| app.layer(layer)).await;
    let mut raw = mounted.raw().await;
    raw.post("/rr/echo", "", "hi").await;
    assert_eq!(raw.answer().await.unwrap().text(), "hi");
    raw.post("/rr/fail", "", "").await;
    raw.answer().await.unwrap().assert_error(404, "not_found", "processed");
    let seen: Vec<_> = seen.try_iter().collect();
    assert_eq!(seen, ["/rr/echo", "200 OK", "/rr/fail", "404 Not Found"]);
}

#[tokio::test]
async fn cors_of_a_layer_and_cors_of_the_service_both_work() {
    let layer = CorsLayer::new()
        .allow_origin(HeaderValue::from_static("https://a.example"))
        .allow_methods([Method::POST]);
    let of_layer = mounted_with(HttpServerConfig::default(), |app| app.layer(layer)).await;
    let origins = "https://a.example".parse().unwrap();
    let config = HttpServerConfig::default().with_cors_origins(origins);
    let of_service = mounted_with(config, |app| app).await;
    for mounted in [of_layer, of_service] {
        let mut raw = mounted.raw().await;
        raw.send(PREFLIGHT).await;
        let answer = raw.answer().await.unwrap();
        let granted = answer.header("access-control-allow-origin");
        assert_eq!(granted, Some("https://a.example"), "{answer:?}");
        raw.post("/rr/echo", "origin: https://a.example\r\n", "hi").await;
        let answer = raw.answer().await.unwrap();
        assert_eq!((answer.status, answer.text()), (200, "hi"));
        let granted = answer.header("access-control-allow-origin");
        assert_eq!(granted, Some("https://a.example"), "{answer:?}");
    }
}

#[tokio::test]
async fn compression_shrinks_replies_for_those_that_ask_and_frees_the_budget() {
    let layer = CompressionLayer::new();
    let mounted = mounted_with(HttpServerConfig::default(), |app| app.layer(layer)).await;
    let mut raw = mounted.raw().await;
    let text = "a".repeat(10_000);
    let headers =
        "accept-encoding: gzip\r\ncontent-type: application/json\r\nconnection: close\r\n";
    raw.post("/rr/echo", headers, &text).await;
    let reply = raw.rest().await;
    let head_end = reply.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(reply[..head_end].to_vec()).unwrap();
    assert!(head.contains("content-encoding: gzip"), "{head}");
    let body = chunks(&reply[head_end..]);
    assert!(body.len() < 1_000, "{}", body.len());
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, text);
    assert_eq!(mounted.service.bodies_bytes(), 0);

    let mut raw = mounted.raw().await;
    raw.post("/rr/echo", "", &text).await;
    assert_eq!(raw.answer().await.unwrap().text(), text);
}

/// Joins the chunks of a body.
fn chunks(mut coded: &[u8]) -> Vec<u8> {
    let mut joined = Vec::new();
    loop {
        let end = coded.windows(2).position(|two| two == b"\r\n").unwrap();
        let length =
            usize::from_str_radix(std::str::from_utf8(&coded[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            return joined;
        }
        joined.extend_from_slice(&coded[end + 2..][..length]);
        coded = &coded[end + 2 + length + 2..];
    }
}

#[tokio::test]
async fn a_body_that_a_layer_cuts_is_refused_before_the_handler_runs() {
    let layer = RequestBodyLimitLayer::new(5);
    let mut mounted = mounted_with(HttpServerConfig::default(), |app| app.layer(layer)).await;
    let mut raw = mounted.raw().await;
    let head = "POST /rr/echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    raw.send(&format!("{head}6\r\n123456\r\n0\r\n\r\n")).await;
    raw.answer().await.unwrap().assert_error(400, "invalid_argument", "rejected");
    assert!(mounted.seen.try_recv().is_err());
    assert_eq!(mounted.runs.load(std::sync::atomic::Ordering::SeqCst), 0);
}

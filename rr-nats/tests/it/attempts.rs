//! Each attempt over NATS is reported once.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;

use crate::support::*;
use async_nats::Subscriber;
use rr_core::many::{ManyConfig, request_many};
use rr_nats::{NatsConfig, NatsRequester, NatsServerConfig, serve, serve_with};
use rr_spi::{CallConfig, Code, Context, Error, IntakeConfig, Requester as _, Response};
use rr_testkit::{NatsServer, Reports, TcpProxy};
use tokio::sync::Notify;

async fn observed(url: &str) -> (NatsRequester, Reports) {
    let reports = Reports::default();
    let calls = CallConfig::default().with_observers(reports.observers());
    let config = NatsConfig::default().with_calls(calls);
    (NatsRequester::connect_with(url, config).await.unwrap(), reports)
}

#[tokio::test]
async fn each_attempt_is_reported_once_whatever_became_of_it() {
    let (nats, entered) = (nats().await, Arc::new(Notify::new()));
    let began = Arc::clone(&entered);
    let routes = route("svc.echo", echo);
    let fail = |_: Context, _| async { Err(Error::new(Code::NotFound, "no such order")) };
    let routes = with(routes, "svc.fail", fail);
    let routes = with(routes, "svc.hang", move |_, _| {
        began.notify_one();
        std::future::pending()
    });
    let _server = serve(&nats.url(), routes).await.unwrap();
    let (client, reports) = observed(&nats.url()).await;
    let ctx = within(10_000);
    call(&client, &ctx, "svc.echo").await.unwrap();
    assert_eq!(reports.take_lines(), ["ClientAttempt svc.echo: ok"]);
    call(&client, &ctx, "svc.fail").await.unwrap_err();
    assert_eq!(reports.take_lines(), ["ClientAttempt svc.fail: not_found (processed)"]);
    call(&client, &ctx, "svc.nobody").await.unwrap_err();
    assert_eq!(
        reports.take_lines(),
        ["ClientAttempt svc.nobody: unavailable/no-responder (not_sent)"]
    );

    call(&client, &within(100), "svc.hang").await.unwrap_err();
    let line = "ClientAttempt svc.hang: deadline_exceeded/expired-awaiting-reply (unknown)";
    assert_eq!(reports.take_lines(), [line]);

    entered.notified().await;
    let mut dropped = Box::pin(client.request(&ctx, request("svc.hang", "x")));
    tokio::select! {
        biased;
        outcome = &mut dropped => panic!("{outcome:?}"),
        () = entered.notified() => {}
    }
    // The server's own error of the call before may have come late.
    assert!(reports.take_lines().iter().all(|line| line == "late reply"), "it has not ended");
    drop(dropped);
    assert_eq!(reports.take_lines(), ["ClientAttempt svc.hang: canceled (unknown)"]);
}

#[tokio::test]
async fn an_attempt_without_a_connection_is_reported_once() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (client, reports) = observed(&format!("nats://{gone}?connection_wait=0ms")).await;
    call(&client, &within(10_000), "svc.echo").await.unwrap_err();
    let reported = reports.take_lines();
    assert_eq!(reported.len(), 1, "{reported:?}");
    assert!(reported[0].starts_with("ClientAttempt svc.echo: unavailable/"), "{reported:?}");
    assert!(reported[0].ends_with(" (not_sent)"), "{reported:?}");
}

#[tokio::test]
async fn a_request_with_several_replies_is_one_attempt() {
    let nats = nats().await;
    let answer = || route("svc.work", |_, _| async { Ok(Response::new("done")) });
    let _servers = (
        serve(&format!("{}?queue=a", nats.url()), answer()).await.unwrap(),
        serve(&format!("{}?queue=b", nats.url()), answer()).await.unwrap(),
    );
    let ((client, reports), ctx) = (observed(&nats.url()).await, within(10_000));
    // The collection ends by its count: the future of the transport is dropped.
    let config = ManyConfig::default().with_replies_max(2);
    let mut replies = request_many(&client, &ctx, request("svc.work", "x"), config);
    while let Some(reply) = replies.next().await {
        reply.unwrap();
    }
    drop(replies);
    assert_eq!(reports.take_lines(), ["ClientAttempt svc.work: 2 replies"]);
    // The collection ends by its deadline.
    let brief = within(500);
    let mut replies =
        request_many(&client, &brief, request("svc.work", "x"), ManyConfig::default());
    while let Some(reply) = replies.next().await {
        reply.unwrap();
    }
    drop(replies);
    assert_eq!(reports.take_lines(), ["ClientAttempt svc.work: 2 replies"]);
    let mut replies = request_many(&client, &ctx, request("svc.nobody", "x"), config);
    assert!(replies.next().await.unwrap().is_err());
    drop(replies);
    assert_eq!(
        reports.take_lines(),
        ["ClientAttempt svc.nobody: unavailable/no-responder (not_sent)"]
    );
}

#[tokio::test]
async fn a_reply_to_a_call_that_has_ended_is_an_event() {
    let nats = nats().await;
    let (service, mut requests) = foreign(&nats, "svc.work").await;
    let (client, reports) = observed(&nats.url()).await;
    client.ready(&within(10_000)).await.unwrap();
    let ctx = within(10_000);
    let mut dropped = Box::pin(client.request(&ctx, request("svc.work", "x")));
    let message = tokio::select! {
        biased;
        outcome = &mut dropped => panic!("{outcome:?}"),
        message = next(&mut requests) => message,
    };
    drop(dropped);
    assert_eq!(reports.take_lines(), ["ClientAttempt svc.work: canceled (unknown)"]);
    service.publish(message.reply.unwrap(), "late".into()).await.unwrap();
    assert_eq!(line(&reports).await, "late reply");
    assert_eq!(client.nats_stats().late_replies, 1);
}

/// Returns the next line of the reports.
async fn line(reports: &Reports) -> String {
    let line = async {
        loop {
            if let Some(line) = reports.take_lines().pop() {
                return line;
            }
            tokio::task::yield_now().await;
        }
    };
    within(10_000).race(line).await.unwrap()
}

/// A service of another library.
async fn foreign(nats: &NatsServer, subject: &'static str) -> (async_nats::Client, Subscriber) {
    let client = async_nats::connect(nats.url()).await.unwrap();
    let requests = client.subscribe(subject).await.unwrap();
    client.flush().await.unwrap();
    (client, requests)
}

async fn next(requests: &mut Subscriber) -> async_nats::Message {
    let next = std::future::poll_fn(|cx| {
        futures_core::Stream::poll_next(std::pin::Pin::new(&mut *requests), cx)
    });
    within(10_000).race(next).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_lost_connection_and_its_return_are_events_at_both_ends() {
    let nats = nats().await;
    let proxy = TcpProxy::start(nats.address()).await.unwrap();
    let url = format!("nats://user:secret@{}", proxy.address());
    let server = Reports::default();
    let config = NatsServerConfig::default()
        .with_intake(IntakeConfig::default().with_observers(server.observers()));
    let _server = serve_with(&url, route("svc.echo", echo), config).await.unwrap();
    let (client, reports) = observed(&url).await;
    client.ready(&within(10_000)).await.unwrap();
    assert_eq!((reports.take_lines(), server.take_lines()), (vec![], vec![]));
    proxy.cut();
    let lost = format!("disconnected from {}", proxy.address());
    assert_eq!((line(&reports).await, line(&server).await), (lost.clone(), lost));
    proxy.restore();
    let back = format!("reconnected to {}", proxy.address());
    assert_eq!((line(&reports).await, line(&server).await), (back.clone(), back));
}

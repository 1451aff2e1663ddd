//! How a server ends.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::time::Duration;

use crate::support::*;
use rr_http::{HttpRequester, HttpServerConfig, HttpVersion};
use rr_spi::{Cause, Code, Context, Delivery, Requester as _};

async fn served() -> Fixture {
    fixture(HttpServerConfig::default()).await
}

async fn client(fixture: &Fixture, version: HttpVersion) -> HttpRequester {
    let config = rr_http::HttpConfig::default().with_version(version);
    HttpRequester::new(fixture.server.url(), config).unwrap()
}

#[tokio::test]
async fn a_request_in_flight_is_answered_and_newcomers_are_told() {
    for version in [HttpVersion::H1, HttpVersion::H2c] {
        let mut fixture = served().await;
        let client = client(&fixture, version).await;
        let slow = {
            let client = client.clone();
            tokio::spawn(async move { client.request(&context(), request("slow", "400")).await })
        };
        assert_eq!(fixture.next().await, Seen::Began);
        let drain = fixture.server.shutdown(Duration::from_secs(5));
        let newcomers = async {
            tokio::task::yield_now().await;
            let error = client.request(&context(), request("echo", "")).await.unwrap_err();
            assert_eq!(told(&error), (Code::Unavailable, Delivery::Rejected, Some("draining")));
            let mut raw = fixture.raw().await;
            raw.send("GET /.well-known/rr/health HTTP/1.1\r\nhost: h\r\n\r\n").await;
            let health = raw.answer().await.unwrap();
            assert_eq!((health.status, health.text()), (503, r#"{"status":"draining"}"#));
            let mut raw = fixture.raw().await;
            raw.post("/echo", "", "").await;
            let answer = raw.answer().await.unwrap();
            answer.assert_error(503, "unavailable", "rejected");
            assert_eq!(answer.header("connection"), Some("close"));
        };
        let (report, ()) = within(async { tokio::join!(drain, newcomers) }).await;
        assert_eq!(slow.await.unwrap().unwrap().body, "done");
        assert_eq!((report.completed, report.aborted, report.refused), (1, 0, 2), "{version:?}");
        fixture.quiet().await;
    }
}

#[tokio::test]
async fn idle_connections_half_a_head_and_half_a_body_do_not_hold_a_drain_up() {
    let fixture = served().await;
    let mut idle = fixture.raw().await;
    idle.post("/echo", "", "hi").await;
    idle.answer().await.unwrap();
    let silent = fixture.raw().await;
    let mut half = fixture.raw().await;
    half.send("POST /echo HTTP/1.1\r\nho").await;
    let mut body = fixture.raw().await;
    body.send("POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhe").await;
    let h2 = client(&fixture, HttpVersion::H2c).await;
    h2.request(&context(), request("echo", "hi")).await.unwrap();
    eventually("all are connected", || fixture.stats.connections() == 5).await;

    let before = tokio::time::Instant::now();
    let report = fixture.server.shutdown(Duration::from_secs(30)).await;
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    assert_eq!((report.completed, report.aborted), (0, 0));
    let answer = body.answer().await.expect("half a body is told");
    answer.assert_error(503, "unavailable", "rejected");
    assert!(idle.rest().await.is_empty());
    drop(silent);
    fixture.quiet().await;
    assert_eq!(fixture.runs(), 2);
}

#[tokio::test]
async fn a_request_racing_the_drain_on_a_kept_connection_is_answered() {
    let fixture = served().await;
    let mut raw = fixture.raw().await;
    raw.post("/echo", "", "hi").await;
    raw.answer().await.unwrap();
    let drain = fixture.server.shutdown(Duration::from_secs(5));
    let racing = async {
        tokio::task::yield_now().await;
        raw.post("/echo", "", "hi").await;
        raw.answer().await.expect("an answer rather than a closed connection")
    };
    let (_, answer) = tokio::join!(drain, racing);
    answer.assert_error(503, "unavailable", "rejected");
}

#[tokio::test]
async fn what_is_left_at_the_end_of_the_grace_is_cancelled_for_the_shutdown() {
    for version in [HttpVersion::H1, HttpVersion::H2c] {
        let mut fixture = served().await;
        let client = client(&fixture, version).await;
        let hang =
            tokio::spawn(async move { client.request(&context(), request("hang", "")).await });
        assert_eq!(fixture.next().await, Seen::Began);
        let report = within(fixture.server.shutdown(Duration::from_millis(50))).await;
        assert_eq!((report.completed, report.aborted), (0, 1));
        assert_eq!(fixture.next().await, Seen::Cancelled(Cause::Shutdown));
        let error = within(hang).await.unwrap().unwrap_err();
        let expected = (Code::Unavailable, Delivery::Processed, Some("draining"));
        assert_eq!(told(&error), expected, "{version:?}");
        fixture.quiet().await;
    }
}

#[tokio::test]
async fn dropping_the_server_ends_everything() {
    for version in [HttpVersion::H1, HttpVersion::H2c] {
        let Fixture { server, stats, mut seen, .. } = served().await;
        let url = server.url().to_owned();
        let config = rr_http::HttpConfig::default().with_version(version);
        let client = HttpRequester::new(&url, config).unwrap();
        let hang = {
            let client = client.clone();
            tokio::spawn(async move { client.request(&context(), request("hang", "")).await })
        };
        assert_eq!(within(seen.recv()).await, Some(Seen::Began));
        drop(server);
        assert_eq!(within(seen.recv()).await, Some(Seen::Cancelled(Cause::Shutdown)));
        let error = within(hang).await.unwrap().unwrap_err();
        assert!(!error.delivery().is_unexecuted(), "{error:?}");
        eventually("all ends", || stats.connections() == 0 && stats.tasks() == 0).await;
        let error = client.request(&context(), request("echo", "")).await.unwrap_err();
        assert_eq!(told(&error), (Code::Unavailable, Delivery::NotSent, Some("connect-failed")));
    }
}

#[tokio::test]
async fn a_large_reply_is_delivered_whole_through_a_drain() {
    let mut fixture = served().await;
    let client = client(&fixture, HttpVersion::H1).await;
    let slow = {
        let client = client.clone();
        tokio::spawn(async move { client.request(&context(), request("slow", "100")).await })
    };
    assert_eq!(fixture.next().await, Seen::Began);
    let mut raw = fixture.raw().await;
    raw.post("/big", "", "").await;
    // Not read until the server is draining and has nothing else to do.
    eventually("the handler ran", || fixture.runs() == 2).await;
    let drain = fixture.server.shutdown(Duration::from_secs(5));
    let late = async {
        slow.await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
        raw.answer().await.unwrap()
    };
    let (report, answer) = tokio::join!(drain, late);
    assert_eq!(answer.body.len(), 100_000);
    assert_eq!(report.aborted, 0);
}

#[tokio::test]
async fn a_context_that_ended_is_not_sent() {
    let fixture = served().await;
    let client = client(&fixture, HttpVersion::H1).await;
    let ctx = Context::background().with_timeout(Duration::ZERO);
    let error = client.request(&ctx, request("echo", "")).await.unwrap_err();
    assert_eq!(told(&error), (Code::DeadlineExceeded, Delivery::NotSent, None));
    assert_eq!(fixture.runs(), 0);
}

/// Calls as fast as it can until the server is gone, and counts what was answered and what was
/// lost: every other outcome must say that the handler did not run.
async fn hammer(client: HttpRequester) -> (usize, usize) {
    let (mut answered, mut lost) = (0, 0);
    loop {
        let Err(error) = client.request(&context(), request("echo", "hi")).await else {
            answered += 1;
            continue;
        };
        match told(&error) {
            (_, Delivery::NotSent, Some("connect-failed")) => return (answered, lost),
            (_, delivery, _) if delivery.is_unexecuted() => {}
            (_, Delivery::Unknown, Some("connection-lost")) => lost += 1,
            _ => panic!("{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_that_ran_is_lost_at_a_drain() {
    for version in [HttpVersion::H1, HttpVersion::H2c] {
        let fixture = served().await;
        let client = client(&fixture, version).await;
        let hammers: Vec<_> = (0..16).map(|_| tokio::spawn(hammer(client.clone()))).collect();
        eventually("calls are under way", || fixture.runs() > 200).await;
        within(fixture.server.shutdown(Duration::from_secs(5))).await;
        let (mut answered, mut lost) = (0, 0);
        for hammer in hammers {
            let (own_answered, own_lost) = within(hammer).await.unwrap();
            answered += own_answered;
            lost += own_lost;
        }
        eprintln!("{version:?}: {answered} answered, {lost} lost");
        assert_eq!(answered, fixture.runs(), "every run was answered ({version:?})");
        // What waits in the operating system's queue when the socket closes is reset.
        assert!(lost <= 16, "{lost} lost ({version:?})");
        fixture.quiet().await;
    }
}

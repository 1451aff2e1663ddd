//! Each request is reported to the observers of the server exactly once, with what its caller is
//! sent.

use std::time::Duration;

use http::Request;
use rr_http::{HttpServerConfig, service};
use rr_spi::{IntakeConfig, Limits};
use rr_testkit::Reports;
use tower_service::Service as _;

use crate::support::*;

fn observed(reports: &Reports) -> HttpServerConfig {
    let limits = Limits::default().with_request_bytes_max(1000);
    let intake = IntakeConfig::default().with_limits(limits).with_in_flight_max(1);
    HttpServerConfig::default().with_intake(intake.with_observers(reports.observers()))
}

/// Returns the next report, and checks that there is no other.
async fn only(reports: &Reports) -> String {
    let report = within(reports.next()).await.to_string();
    assert_eq!(reports.take(), [], "after {report}");
    report
}

#[tokio::test]
async fn refused_heads_are_reported_with_what_can_be_read_of_them() {
    let reports = Reports::new();
    let fixture = fixture(observed(&reports)).await;
    for (request, report) in [
        ("POST /e%2Fcho HTTP/1.1\r\nhost: h", "- - unimplemented no-such-target rejected"),
        ("POST /other HTTP/1.1\r\nhost: h", "other - unimplemented no-such-target rejected"),
        // Proxies repeat a GET: the report says what the caller is told.
        ("GET /other HTTP/1.1\r\nhost: h", "other - unimplemented no-such-target rejected"),
        ("PUT /echo HTTP/1.1\r\nhost: h", "echo echo unimplemented rejected"),
        ("POST /echo HTTP/1.1\r\nhost: a b", "echo echo invalid_argument rejected"),
        (
            "POST /echo HTTP/1.1\r\nhost: h\r\nconnect-timeout-ms: x",
            "echo echo invalid_argument rejected",
        ),
        (
            "POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 5000",
            "echo echo resource_exhausted request-too-large rejected",
        ),
    ] {
        let mut raw = fixture.raw().await;
        raw.send(&format!("{request}\r\n\r\n")).await;
        assert!(raw.answer().await.unwrap().status >= 400);
        assert_eq!(only(&reports).await, format!("{report} not entered"), "{request}");
    }
    for path in ["/.well-known/rr/health", "/.well-known/rr/health/live"] {
        let mut raw = fixture.raw().await;
        raw.send(&format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        raw.answer().await.unwrap();
    }
    assert_eq!(reports.take(), [], "the server answers these by itself");
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_reported_as_refused_or_dropped() {
    let reports = Reports::new();
    let config = observed(&reports).with_body_read_timeout(Duration::from_millis(50));
    let fixture = fixture(config).await;
    let mut raw = fixture.raw().await;
    raw.post("/echo", "content-encoding: gzip\r\n", "no gzip").await;
    assert_eq!(raw.answer().await.unwrap().status, 400);
    assert_eq!(only(&reports).await, "echo echo invalid_argument rejected not entered");

    let mut raw = fixture.raw().await;
    raw.send("POST /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n").await;
    raw.send(&"x".repeat(2000)).await;
    raw.answer().await.unwrap();
    let too_large = "echo echo resource_exhausted request-too-large rejected not entered";
    assert_eq!(only(&reports).await, too_large);

    let mut raw = fixture.raw().await;
    raw.send("POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nab").await;
    raw.answer().await.unwrap();
    assert_eq!(only(&reports).await, "echo echo deadline_exceeded rejected not entered");
}

#[tokio::test]
async fn a_peer_that_breaks_off_is_reported_as_canceled() {
    let reports = Reports::new();
    let mut fixture = fixture(observed(&reports)).await;
    let mut raw = fixture.raw().await;
    raw.send("POST /echo HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nab").await;
    drop(raw);
    let cut = only(&reports).await;
    let is_rejected = cut == "echo echo canceled rejected not entered"
        || cut == "echo echo invalid_argument rejected not entered";
    assert!(is_rejected, "{cut}");

    let mut raw = fixture.raw().await;
    raw.post("/hang", "", "abc").await;
    assert_eq!(fixture.next().await, Seen::Began);
    drop(raw);
    let report = within(reports.next()).await;
    assert_eq!(report.to_string(), "hang hang canceled processed entered");
    assert_eq!((report.request_bytes, reports.take()), (3, vec![]));
}

#[tokio::test]
async fn outcomes_of_handlers_are_reported_as_they_are_sent() {
    let reports = Reports::new();
    let mut config = observed(&reports);
    config.intake.bodies_bytes_max = 50_000;
    let mut fixture = fixture(config).await;
    let mut raw = fixture.raw().await;
    for (target, report) in [
        ("echo", "echo echo ok processed entered"),
        ("svc/fail", "svc.fail svc.* not_found processed entered"),
        ("panic", "panic panic internal panic processed entered"),
        // The handler has succeeded; its reply is over the budget of bodies.
        ("big", "big big resource_exhausted overloaded processed entered"),
    ] {
        raw.post(&format!("/{target}"), "", "body").await;
        raw.answer().await.unwrap();
        let end = within(reports.next()).await;
        assert_eq!((end.to_string().as_str(), end.request_bytes), (report, 4));
        assert_eq!(end.panic.as_deref(), (target == "panic").then_some("secret"));
    }
    raw.post("/hang", "connect-timeout-ms: 50\r\n", "").await;
    raw.answer().await.unwrap();
    assert_eq!(only(&reports).await, "hang hang deadline_exceeded processed entered");

    assert_eq!(fixture.next().await, Seen::Began);
    let mut waits = fixture.raw().await;
    waits.post("/hang", "", "").await;
    while fixture.next().await != Seen::Began {}
    raw.post("/echo", "", "").await;
    raw.answer().await.unwrap();
    let overloaded = "echo echo resource_exhausted overloaded rejected not entered";
    assert_eq!(only(&reports).await, overloaded);
}

#[tokio::test]
async fn requests_of_a_mounted_service_are_reported() {
    let reports = Reports::new();
    let (routes, mut seen, _) = probed();
    let mut mounted = rr_http::HttpService::new(routes, observed(&reports));
    let request = |path: &str| {
        let request = Request::post(path).header("host", "h");
        request.body("body".to_owned()).unwrap()
    };
    mounted.call(request("/echo")).await.unwrap();
    assert_eq!(only(&reports).await, "echo echo ok processed entered");
    mounted.call(request("/other")).await.unwrap();
    let unknown = "other - unimplemented no-such-target rejected not entered";
    assert_eq!(only(&reports).await, unknown);
    let call = tokio::spawn(mounted.call(request("/hang")));
    assert_eq!(within(seen.recv()).await, Some(Seen::Began));
    call.abort();
    assert_eq!(only(&reports).await, "hang hang canceled processed entered");
    // Without observers nothing is reported.
    let (routes, ..) = probed();
    service(routes).call(request("/echo")).await.unwrap();
    assert_eq!(reports.take(), []);
}

//! Each request is reported to the observers of the server exactly once, with what its caller is
//! sent.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;

use crate::support::*;
use async_nats::HeaderMap;
use rr_nats::{NatsServerConfig, serve_with_stats};
use rr_spi::{Code, Declared, Delivery, Error, Request, Requester as _, Response, Route, Routes};
use rr_testkit::{NatsServerSetup, Reports};

/// Routes of a service that is served as a whole: it knows `echo`, `long`, `wait` and nothing else.
fn routes(entered: &Arc<Count>) -> Routes {
    let entered = Arc::clone(entered);
    let handler = move |_, request: Request| {
        let entered = Arc::clone(&entered);
        async move {
            entered.up();
            match request.target.method() {
                "echo" => Ok(Response::new(request.body)),
                "long" => Ok(Response::new(vec![7; 5000])),
                "wait" => std::future::pending().await,
                other => Err(Error::new(Code::Unimplemented, other.to_owned())),
            }
        }
    };
    let mut routes = Routes::new();
    let route = Route::Service("svc".to_owned());
    routes.insert(route, Declared::Unspecified, Arc::new(Do(handler))).unwrap();
    routes
}

fn observed(reports: &Reports) -> NatsServerConfig {
    let mut config = NatsServerConfig::default();
    config.intake.observers = reports.observers();
    config
}

/// Returns the next report, and checks that there is no other.
async fn only(reports: &Reports) -> String {
    let report = within(10_000).race(reports.next()).await.unwrap().to_string();
    assert_eq!(reports.take(), [], "after {report}");
    report
}

#[tokio::test]
async fn what_is_sent_instead_of_an_outcome_is_what_is_reported() {
    let nats = nats_with(&NatsServerSetup::default().with_max_payload(4096)).await;
    let (reports, entered) = (Reports::new(), Count::new());
    let config = observed(&reports);
    let (_server, _) = serve_with_stats(&nats.url(), routes(&entered), config).await.unwrap();
    let client = client(&nats.url()).await;
    client.request(&within(5000), request("svc.echo", "body")).await.unwrap();
    assert_eq!(only(&reports).await, "svc.echo svc.* ok processed entered");
    client.request(&within(5000), request("svc.long", "")).await.unwrap_err();
    let too_long = "svc.long svc.* resource_exhausted response-too-large processed entered";
    assert_eq!(only(&reports).await, too_long);
}

#[tokio::test]
async fn refused_heads_are_reported_and_messages_without_a_caller_are_not() {
    let nats = nats().await;
    let (reports, entered) = (Reports::new(), Count::new());
    let config = observed(&reports);
    let (_server, stats) = serve_with_stats(&nats.url(), routes(&entered), config).await.unwrap();
    let foreign = async_nats::connect(nats.url()).await.unwrap();
    foreign.publish("svc.echo", "no caller".into()).await.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("rr", "t=soon");
    let reply = foreign.request_with_headers("svc.echo", headers, "body".into()).await.unwrap();
    assert!(reply.headers.is_some());
    let report = within(10_000).race(reports.next()).await.unwrap();
    assert_eq!(report.to_string(), "svc.echo svc.* invalid_argument rejected not entered");
    assert_eq!((report.request_bytes, reports.take().len()), (4, 0));
    assert_eq!((stats.without_reply(), entered.now()), (1, 0));
}

#[tokio::test]
async fn a_refusal_in_one_of_several_groups_is_reported_as_this_server_knows_it() {
    let nats = nats().await;
    let (reports, entered) = (Reports::new(), Count::new());
    let mut config = observed(&reports).with_queue(Some("other".to_owned()));
    config.intake.limits.request_bytes_max = 3;
    let (_server, _) = serve_with_stats(&nats.url(), routes(&entered), config).await.unwrap();
    let client = client(&nats.url()).await;
    let refused = client.request(&within(5000), request("svc.echo", "body")).await.unwrap_err();
    // A responder of another group may have run its handler; this server's own did not run.
    assert_eq!(refused.delivery(), Delivery::Unknown);
    let proved = "svc.echo svc.* resource_exhausted request-too-large rejected not entered";
    assert_eq!(only(&reports).await, proved);
}

#[tokio::test]
async fn calls_that_are_dropped_or_expire_are_reported() {
    let nats = nats().await;
    let (reports, entered) = (Reports::new(), Count::new());
    let config = observed(&reports);
    let (_server, _) = serve_with_stats(&nats.url(), routes(&entered), config).await.unwrap();
    let client = client(&nats.url()).await;
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.request(&within(60_000), request("svc.wait", "")).await }
    });
    entered.reaches(1).await;
    call.abort();
    assert_eq!(only(&reports).await, "svc.wait svc.* canceled processed entered");
    client.request(&within(50), request("svc.wait", "")).await.unwrap_err();
    assert_eq!(only(&reports).await, "svc.wait svc.* deadline_exceeded processed entered");
}

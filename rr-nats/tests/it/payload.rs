//! Users and accounts from which the NATS server takes shorter messages than it announces.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::time::Duration;

use crate::support::*;
use rr_nats::{NatsConfig, NatsConnectionConfig, NatsRequester, NatsServerConfig, NatsServerStats};
use rr_spi::{Code, Delivery, Detail, Error, Reason, Requester as _, Response, Server};
use rr_testkit::{NatsServer, NatsServerSetup};
use tokio::task::JoinSet;

/// The limit of the account where a test does not say another one.
const LIMIT: usize = 8192;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_over_the_limit_of_its_account_costs_one_connection_and_is_refused_from_then_on()
{
    let mut nats = nats_with(&taking(LIMIT)).await;
    let (_server, stats) = serve(&nats).await;
    let client = client(&nats.url()).await;
    let error = large(&client, 20_000).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::Unknown), "{error}");
    for round in 0..5 {
        let others = twenty(&client);
        let error = large(&client, 20_000).await.unwrap_err();
        assert_refused(&error);
        assert!(error.message().contains("takes 8192 at most"), "{error}");
        assert!(error.hint().contains("max_payload"), "{}", error.hint());
        assert_answered(others, round).await;
        // Neither is one that no connection was lost by, and what fits passes.
        assert_refused(&large(&client, LIMIT + 1).await.unwrap_err());
        large(&client, LIMIT - 100).await.unwrap();
    }
    assert_eq!((client.nats_stats().connects, stats.connects()), (2, 1));
    // The next connection knows it as well.
    nats.restart().await.unwrap();
    client.ready(&within(10_000)).await.unwrap();
    assert_refused(&large(&client, 20_000).await.unwrap_err());
    assert_eq!(client.nats_stats().connects, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_over_the_limit_of_its_account_costs_one_connection_and_is_an_error_from_then_on() {
    let mut nats = nats_with(&taking(LIMIT)).await;
    let (_server, stats) = serve(&nats).await;
    let client = client(&nats.url()).await;
    // The reply is lost with the connection, and its caller waits until the deadline.
    let error = reply_of(&client, 20_000, 300).await.unwrap_err();
    assert_eq!(error.delivery(), Delivery::Unknown, "{error}");
    serves_again(&stats, 2).await;
    for round in 0..5 {
        let others = twenty(&client);
        for bytes in [20_000, LIMIT + 1] {
            assert_reply_refused(&client, bytes).await;
        }
        assert_answered(others, round).await;
        reply_of(&client, LIMIT, 5_000).await.unwrap();
    }
    assert_eq!((client.nats_stats().connects, stats.connects()), (1, 2));
    nats.restart().await.unwrap();
    serves_again(&stats, 3).await;
    client.ready(&within(10_000)).await.unwrap();
    assert_reply_refused(&client, 20_000).await;
    assert_eq!(stats.connects(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_a_reload_lowers_costs_one_connection_and_one_that_it_raises_none() {
    let nats = nats_with(&taking(100_000)).await;
    let (_server, _stats) = serve(&nats).await;
    let mut config = NatsConfig::default();
    // The server is asked for the limit as often.
    config.connection =
        NatsConnectionConfig::default().with_members_interval(Duration::from_millis(100));
    let client = NatsRequester::connect_with(&nats.url(), config).await.unwrap();
    client.ready(&within(5_000)).await.unwrap();
    for (limit, connects) in [(LIMIT, 2), (3000, 3)] {
        let bytes = limit + 1000;
        large(&client, bytes).await.unwrap();
        nats.reload(&taking(limit)).unwrap();
        // Until the server has read its configuration, they pass.
        let lowered = async { while large(&client, bytes).await.is_ok() {} };
        within(10_000).race(lowered).await.unwrap();
        client.ready(&within(5_000)).await.unwrap();
        assert_refused(&large(&client, bytes).await.unwrap_err());
        assert_answered(twenty(&client), limit).await;
        assert!(
            client.nats_stats().connects <= connects,
            "{} connections",
            client.nats_stats().connects
        );
    }
    let before = client.nats_stats().connects;
    nats.reload(&taking(100_000)).unwrap();
    let raised = async {
        while let Err(error) = large(&client, 20_000).await {
            assert_refused(&error);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(10_000).race(raised).await.unwrap();
    assert_eq!(client.nats_stats().connects, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_beside_one_that_is_over_the_limit_are_never_told_that_they_did_not_run_when_they_did()
 {
    let nats = nats_with(&taking(LIMIT)).await;
    for _ in 0..3 {
        let counted = Counted::default();
        let _server = rr_nats::serve(&nats.url(), counted.routes()).await.unwrap();
        let client = client(&nats.url()).await;
        // One call in eight is over the limit.
        let outcomes = counted.drive(&client, 40).join_all().await;
        assert_eq!(client.nats_stats().connects, 2);
        let _ = counted.check(outcomes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_error_that_fits_without_its_readable_form_keeps_its_value() {
    let nats = nats_with(&NatsServerSetup::default().with_max_payload(4096)).await;
    let value = format!("\"{}\"", "x".repeat(1900));
    let sent = value.clone();
    let routes = route("svc.app", move |_, _| {
        let detail = Detail::new("svc.Refusal", sent.clone());
        let error = Error::new(Code::FailedPrecondition, "refused").with_reason(Reason::APP);
        async move { Err(error.with_detail(detail)) }
    });
    let _server = rr_nats::serve(&nats.url(), routes).await.unwrap();
    let client = client(&nats.url()).await;
    let error = client.request(&within(5_000), request("svc.app", "")).await.unwrap_err();
    assert_eq!((error.message(), error.reason()), ("refused", Some(&Reason::APP)), "{error}");
    assert_eq!(error.details(), [Detail::new("svc.Refusal", value)]);
}

/// A server whose account takes messages of so many bytes, while the server announces 1 MiB.
fn taking(bytes: usize) -> NatsServerSetup {
    let limits = format!("limits {{ max_payload: {bytes} }}");
    NatsServerSetup::default().with_lines(&format!(
        "accounts {{ A {{ users: [{{user: a, password: a}}], {limits} }} }}\nno_auth_user: a"
    ))
}

/// Serves `svc.bytes`, which answers with as many bytes as the request says.
async fn serve(nats: &NatsServer) -> (Server, NatsServerStats) {
    let routes = route("svc.bytes", |_, request| async move {
        let text = String::from_utf8_lossy(&request.body);
        let bytes = text.trim_end_matches('x').parse().unwrap();
        Ok(Response::new(vec![b'x'; bytes]))
    });
    rr_nats::serve_with_stats(&nats.url(), routes, NatsServerConfig::default()).await.unwrap()
}

/// Sends a request of so many bytes.
async fn large(client: &NatsRequester, bytes: usize) -> Result<Response, Error> {
    let mut body = b"1".to_vec();
    body.resize(bytes, b'x');
    client.request(&within(5_000), request("svc.bytes", body)).await
}

/// Asks for a reply of so many bytes.
async fn reply_of(client: &NatsRequester, bytes: usize, millis: u64) -> Result<Response, Error> {
    client.request(&within(millis), request("svc.bytes", bytes.to_string())).await
}

/// Starts 20 calls that are short both ways.
fn twenty(client: &NatsRequester) -> JoinSet<Result<Response, Error>> {
    let one = || {
        let client = client.clone();
        async move { reply_of(&client, 10, 5_000).await }
    };
    (0..20).map(|_| one()).collect()
}

async fn assert_answered(calls: JoinSet<Result<Response, Error>>, round: usize) {
    let outcomes = calls.join_all().await;
    let failed: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "in round {round}: {failed:?}");
}

#[track_caller]
fn assert_refused(error: &Error) {
    let told = (error.code(), error.delivery(), error.reason());
    let expected = (Code::ResourceExhausted, Delivery::NotSent, Some(&Reason::REQUEST_TOO_LARGE));
    assert_eq!(told, expected, "{error}");
}

async fn assert_reply_refused(client: &NatsRequester, bytes: usize) {
    let error = reply_of(client, bytes, 5_000).await.unwrap_err();
    let told = (error.code(), error.delivery(), error.reason());
    let expected =
        (Code::ResourceExhausted, Delivery::Processed, Some(&Reason::RESPONSE_TOO_LARGE));
    assert_eq!(told, expected, "{error}");
    assert!(error.message().contains("8192 bytes"), "{error}");
}

/// Waits until the server has made so many connections.
async fn serves_again(stats: &NatsServerStats, connects: u64) {
    let again = async {
        while stats.connects() < connects {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within(10_000).race(again).await.unwrap();
}

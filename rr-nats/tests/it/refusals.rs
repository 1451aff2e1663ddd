//! Credentials that the server refuses: said at once, and tried again for when they are put right.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::time::Duration;

use crate::support::*;
use rr_nats::{NatsConfig, NatsRequester, NatsState};
use rr_spi::{Code, Delivery, Error};
use rr_testkit::{NatsServer, NatsServerSetup};

fn setup(password: &str) -> NatsServerSetup {
    NatsServerSetup::default().with_user("caller", password, "").with_user("service", "s", "")
}

fn url(nats: &NatsServer, user: &str) -> String {
    format!("nats://{user}@{}", nats.address())
}

/// A requester that may wait: for a refusal it must not.
async fn patient(url: &str) -> NatsRequester {
    let mut config = NatsConfig::default().with_connection_wait(Duration::from_secs(60));
    config.connection.reconnect_delay_max = Duration::from_millis(200);
    NatsRequester::connect_with(url, config).await.unwrap()
}

async fn reaches(client: &NatsRequester, wanted: NatsState) {
    let reached = async {
        let mut state = client.state();
        while state != wanted {
            state = client.state_changed(state).await;
        }
    };
    within(10_000).race(reached).await.unwrap();
}

fn is_refusal(error: &Error) {
    let told = (error.code(), error.delivery());
    assert_eq!(told, (Code::Unauthenticated, Delivery::NotSent), "{error:?}");
    assert!(error.hint().contains("nats://user:password@host"), "{}", error.hint());
}

#[tokio::test]
async fn a_refusal_is_said_at_once_and_forgotten_when_the_server_takes_the_credentials() {
    let nats = nats_with(&setup("other")).await;
    let _server = rr_nats::serve(&url(&nats, "service:s"), route("svc.echo", echo)).await.unwrap();
    let client = patient(&url(&nats, "caller:right")).await;
    // Each of them may wait for a minute or more: that they end at once is the test.
    is_refusal(&client.ready(&within(60_000)).await.unwrap_err());
    for _ in 0..3 {
        is_refusal(&call(&client, &within(600_000), "svc.echo").await.unwrap_err());
    }
    assert_eq!((client.state(), client.nats_stats().connects), (NatsState::Refused, 0));

    nats.reload(&setup("right")).unwrap();
    reaches(&client, NatsState::Connected).await;
    call(&client, &within(5000), "svc.echo").await.unwrap();
    client.ready(&within(5000)).await.unwrap();
}

#[tokio::test]
async fn credentials_that_are_taken_back_are_a_refusal_from_then_on() {
    let nats = nats_with(&setup("right")).await;
    let client = patient(&url(&nats, "caller:right")).await;
    client.ready(&within(5000)).await.unwrap();
    nats.reload(&setup("other")).unwrap();
    reaches(&client, NatsState::Refused).await;
    is_refusal(&client.ready(&within(60_000)).await.unwrap_err());
    nats.reload(&setup("right")).unwrap();
    reaches(&client, NatsState::Connected).await;
    assert_eq!(client.nats_stats().connects, 2);
}

#[tokio::test]
async fn a_host_that_refuses_is_no_refusal_while_another_takes_the_credentials() {
    let (refusing, mut taking) =
        (nats_with(&setup("other")).await, nats_with(&setup("right")).await);
    let hosts = format!("caller:right@{},{}", refusing.address(), taking.address());
    let client = patient(&format!("nats://{hosts}")).await;
    client.ready(&within(5000)).await.unwrap();
    assert_eq!(client.state(), NatsState::Connected);
    // Of a host that refuses and one that is gone, the refusal is what somebody can act on.
    taking.kill().unwrap();
    reaches(&client, NatsState::Refused).await;
    is_refusal(&call(&client, &within(5000), "svc.echo").await.unwrap_err());
    let served = rr_nats::serve(&format!("nats://{hosts}"), route("svc.echo", echo)).await;
    is_refusal(&served.unwrap_err());
    taking.restart().await.unwrap();
    reaches(&client, NatsState::Connected).await;
}

#[tokio::test]
async fn a_refusing_server_that_is_gone_is_only_gone() {
    let mut nats = nats_with(&setup("other")).await;
    let client = patient(&url(&nats, "caller:right")).await;
    reaches(&client, NatsState::Refused).await;
    nats.kill().unwrap();
    reaches(&client, NatsState::Disconnected).await;
    let told = told(call(&client, &within(100), "svc.echo").await);
    assert_eq!(told, (Code::DeadlineExceeded, Delivery::NotSent, reason("expired-connecting")));
}

#[tokio::test]
async fn a_denied_inbox_is_a_refusal_too_and_over_when_it_is_allowed() {
    let setup = |inbox: &str| {
        let permissions = format!(r#"publish: ["svc.>"], subscribe: ["{inbox}.>"]"#);
        NatsServerSetup::default().with_user("caller", "c", &permissions)
    };
    let nats = nats_with(&setup("_INBOX_me")).await;
    let client = patient(&url(&nats, "caller:c")).await;
    let error = client.ready(&within(60_000)).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::PermissionDenied, Delivery::NotSent));
    assert!(error.hint().contains("inbox_prefix"), "{}", error.hint());
    assert_eq!(client.state(), NatsState::Refused);
    nats.reload(&setup("_INBOX")).unwrap();
    reaches(&client, NatsState::Connected).await;
}

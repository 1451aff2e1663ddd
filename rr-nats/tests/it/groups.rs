//! Several queue groups, or accounts, that serve one target: each receives every request, so that
//! a refusal by one of them proves nothing.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;

use crate::support::*;
use rr_nats::{NatsRequester, NatsServerConfig, serve_with};
use rr_spi::{Context, Delivery, IntakeConfig, Response, Server};
use rr_testkit::{NatsServer, NatsServerSetup};
use tokio::sync::Notify;

/// A server of `svc.work` in a queue group, or none, whose handlers count.
async fn serves(url: &str, config: NatsServerConfig, runs: &Arc<Count>) -> Server {
    let runs = Arc::clone(runs);
    let routes = route("svc.work", move |_, _| {
        runs.up();
        async { Ok(Response::new("")) }
    });
    serve_with(url, routes, config).await.unwrap()
}

fn group(queue: Option<&str>) -> NatsServerConfig {
    NatsServerConfig::default().with_queue(queue.map(str::to_owned))
}

/// As `config`; it refuses every request.
fn refusing(config: NatsServerConfig) -> NatsServerConfig {
    config.with_intake(IntakeConfig::default().with_in_flight_max(0))
}

/// Delivery that the error of one call of `svc.work` states.
async fn refused(client: &NatsRequester) -> Delivery {
    call(client, &within(5000), "svc.work").await.unwrap_err().delivery()
}

/// Calls until the second reply to some call was seen.
async fn until_repeated(client: &NatsRequester) {
    let calls = async {
        while client.nats_stats().duplicate_replies == 0 {
            let _ = call(client, &within(5000), "svc.work").await;
        }
    };
    within(10_000).race(calls).await.unwrap();
}

#[tokio::test]
async fn a_refusal_by_one_of_two_groups_never_says_rejected() {
    for refuses in [Some("blue"), None] {
        let nats = nats().await;
        let (runs, answer) = (Count::new(), Arc::new(Notify::new()));
        let _refusing = serves(&nats.url(), refusing(group(refuses)), &Count::new()).await;
        let (seen, wait) = (Arc::clone(&runs), Arc::clone(&answer));
        let slow = route("svc.work", move |_, _| {
            seen.up();
            let wait = Arc::clone(&wait);
            async move {
                wait.notified().await;
                Ok(Response::new(""))
            }
        });
        let _running = serve_with(&nats.url(), slow, group(Some("green"))).await.unwrap();
        let client = client(&nats.url()).await;
        // The refusal is the first reply, as the handler waits.
        assert_eq!(refused(&client).await, Delivery::Unknown, "{refuses:?}");
        runs.reaches(1).await;
        answer.notify_one();
    }
}

#[tokio::test]
async fn the_default_group_and_one_that_is_declared_the_only_one_say_rejected() {
    let nats = nats().await;
    let client = client(&nats.url()).await;
    for (config, said) in [
        (group(Some("q")), Delivery::Rejected),
        (group(Some("blue")).with_sole_group(true), Delivery::Rejected),
        (group(Some("blue")), Delivery::Unknown),
        (group(None).with_sole_group(true), Delivery::Unknown),
    ] {
        let server = serves(&nats.url(), refusing(config.clone()), &Count::new()).await;
        assert_eq!(refused(&client).await, said, "{config:?}");
        server.shutdown(std::time::Duration::from_secs(5)).await;
    }
    let url = format!("{}?queue=blue&sole_group=true", nats.url());
    let _server = serves(&url, refusing(NatsServerConfig::default()), &Count::new()).await;
    assert_eq!(refused(&client).await, Delivery::Rejected);
}

#[tokio::test]
async fn after_a_second_reply_refusals_of_the_target_are_unknown_also_on_the_next_connection() {
    let mut nats = nats().await;
    let runs = Count::new();
    let (url, blue) = (&nats.url(), group(Some("blue")));
    let mut servers = vec![serves(url, refusing(group(Some("q"))), &Count::new()).await];
    let client = client(url).await;
    assert_eq!(refused(&client).await, Delivery::Rejected);
    servers.push(serves(url, blue, &runs).await);
    until_repeated(&client).await;
    servers.truncate(1);
    assert_eq!(refused(&client).await, Delivery::Unknown);

    nats.kill().unwrap();
    nats.restart().await.unwrap();
    let again = async {
        loop {
            let _ = client.ready(&within(5000)).await;
            let error = call(&client, &within(5000), "svc.work").await.unwrap_err();
            if error.reason().is_some_and(|reason| reason.as_str() == "overloaded") {
                return error.delivery();
            }
        }
    };
    assert_eq!(within(20_000).race(again).await.unwrap(), Delivery::Unknown);
    // What the NATS server says by itself stays true: nothing is subscribed to the subject.
    drop(servers);
    let gone = async {
        while call(&client, &within(200), "svc.work").await.unwrap_err().delivery()
            != Delivery::NotSent
        {}
    };
    within(10_000).race(gone).await.unwrap();
}

/// Two accounts: `hub` exports `svc.>`, and `leaf` imports it.
fn accounts() -> NatsServerSetup {
    NatsServerSetup::default().with_lines(
        r#"accounts {
            HUB: { users: [{user: hub, password: p}], exports: [{service: "svc.>"}] }
            LEAF: {
                users: [{user: leaf, password: p}]
                imports: [{service: {account: HUB, subject: "svc.>"}}]
            }
        }"#,
    )
}

fn of(nats: &NatsServer, user: &str) -> String {
    format!("nats://{user}:p@{}", nats.address())
}

#[tokio::test]
async fn a_refusal_of_a_request_from_another_account_says_unknown() {
    let nats = nats_with(&accounts()).await;
    let _hub = serves(&of(&nats, "hub"), refusing(group(Some("q"))), &Count::new()).await;
    let runs = Count::new();
    let client = client(&of(&nats, "leaf")).await;
    assert_eq!(refused(&client).await, Delivery::Unknown);
    let _leaf = serves(&of(&nats, "leaf"), group(Some("q")), &runs).await;
    until_repeated(&client).await;
    assert!(runs.now() > 0);
}

#[tokio::test]
async fn a_target_that_is_served_in_two_accounts_is_known_by_its_second_reply() {
    let nats = nats_with(&accounts()).await;
    let runs = Count::new();
    let _leaf = serves(&of(&nats, "leaf"), refusing(group(Some("q"))), &Count::new()).await;
    let _hub = serves(&of(&nats, "hub"), group(Some("q")), &runs).await;
    let client = client(&of(&nats, "leaf")).await;
    until_repeated(&client).await;
    for _ in 0..20 {
        if let Err(error) = call(&client, &within(5000), "svc.work").await {
            assert_eq!(error.delivery(), Delivery::Unknown, "{error:?}");
        }
    }
    assert!(runs.now() > 0);
}

#[tokio::test]
async fn an_account_without_responders_sends_no_second_reply() {
    let nats = nats_with(&accounts()).await;
    let runs = Count::new();
    let _leaf = serves(&of(&nats, "leaf"), group(Some("q")), &runs).await;
    let client = client(&of(&nats, "leaf")).await;
    for _ in 0..20 {
        call(&client, &Context::background(), "svc.work").await.unwrap();
    }
    client.ready(&within(5000)).await.unwrap();
    assert_eq!((runs.now(), client.nats_stats().duplicate_replies), (20, 0));
}

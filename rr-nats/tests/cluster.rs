//! More than one server: the hosts of a URL, and a cluster whose members announce each other.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use rr_nats::{NatsRequester, NatsState};
use rr_spi::{Code, Delivery, Requester as _};
use rr_testkit::{NatsServer, NatsServerSetup};
use support::*;

/// Calls until it is answered; every failure on the way must say that nothing was sent, or that
/// the connection was lost.
async fn answered(client: &NatsRequester) {
    let answered = async {
        loop {
            match call(client, &within(2000), "svc.echo").await {
                Ok(_) => return,
                Err(error) => assert_eq!(error.code(), Code::Unavailable, "{error:?}"),
            }
            client.ready(&within(10_000)).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    within(10_000).race(answered).await.unwrap();
}

#[tokio::test]
async fn the_next_host_of_the_url_takes_over() {
    let (mut first, second) = (nats().await, nats().await);
    let url = format!("nats://{},{}", first.address(), second.address());
    let _server = rr_nats::serve(&url, route("svc.echo", echo)).await.unwrap();
    let client = client(&url).await;
    answered(&client).await;
    first.kill().unwrap();
    answered(&client).await;
    assert_eq!(client.stats().connects, 2);
    // A server that starts now finds the one that is there.
    let _late = rr_nats::serve(&url, route("svc.late", echo)).await.unwrap();
    call(&client, &within(5000), "svc.late").await.unwrap();
}

#[tokio::test]
async fn the_first_call_waits_until_every_host_was_tried() {
    let (mut dead, alive) = (nats().await, nats().await);
    dead.kill().unwrap();
    let _server = rr_nats::serve(&alive.url(), route("svc.echo", echo)).await.unwrap();
    let url = format!("nats://{},{}", dead.address(), alive.address());
    let client = NatsRequester::connect(&url).await.unwrap();
    call(&client, &within(5000), "svc.echo").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_dies_is_replaced_by_one_that_it_announced() {
    let mut cluster = NatsServer::start_cluster(3).await.unwrap();
    // Only the first is in the URL: the others are known from it.
    let url = cluster[0].url();
    let stays = cluster[1].url();
    let _server = rr_nats::serve(&stays, route("svc.echo", echo)).await.unwrap();
    let client = client(&url).await;
    answered(&client).await;
    let announced = async {
        // What a member announces is read at connect: before it knew the others, there was none.
        loop {
            let probe = async_nats::connect(&url).await.unwrap();
            if probe.server_info().connect_urls.len() == 3 {
                return;
            }
        }
    };
    within(10_000).race(announced).await.unwrap();
    let client = self::client(&url).await;
    answered(&client).await;
    cluster[0].kill().unwrap();
    answered(&client).await;
    assert_eq!(client.stats().connects, 2);
    assert_eq!(client.state(), NatsState::Connected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_recover_on_another_member_when_theirs_is_killed_under_load() {
    let mut cluster = NatsServer::start_cluster(3).await.unwrap();
    let counted = Counted::default();
    let _server = rr_nats::serve(&cluster[1].url(), counted.routes()).await.unwrap();
    let hosts = [cluster[0].address().to_string(), cluster[2].address().to_string()].join(",");
    let client = client(&format!("nats://{hosts}")).await;
    let warm = async {
        // Interest in the target spreads over the routes.
        let warm = async || client.request(&within(2_000), request("svc.count", "warm-up ")).await;
        while warm().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within(10_000).race(warm).await.unwrap();
    let workers = counted.drive(&client, 300);
    while counted.ran() < 200 {
        tokio::task::yield_now().await;
    }
    cluster[0].kill().unwrap();
    let tally = counted.check(workers.join_all().await);
    assert!(tally.answered > 1000, "callers did not recover: {tally:?}");
    assert_eq!(client.state(), NatsState::Connected);
    assert_eq!(client.stats().in_flight, 0);
}

#[tokio::test]
async fn a_server_that_takes_too_few_subscriptions_fails_serve() {
    let setup = NatsServerSetup::default().with_lines("max_subscriptions: 3");
    let nats = nats_with(&setup).await;
    let error = rr_nats::serve(&nats.url(), route("svc.echo", echo)).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::NotSent), "{error}");
}

#[tokio::test]
async fn without_the_permission_to_cancel_calls_work_and_handlers_end_by_themselves() {
    let setup = NatsServerSetup::default()
        .with_user("caller", "c", r#"publish: ["svc.>"], subscribe: ["_INBOX.>"]"#)
        .with_user("service", "s", "");
    let nats = nats_with(&setup).await;
    let url = |user: &str| format!("nats://{user}@{}", nats.address());
    let (entered, dropped) = (Count::new(), Count::new());
    let (inside, out) = (entered.clone(), dropped.clone());
    let routes = route("svc.hang", move |_, _| {
        let (inside, out) = (inside.clone(), OnDrop(out.clone()));
        async move {
            let _out = out;
            inside.up();
            std::future::pending().await
        }
    });
    let routes = with(routes, "svc.echo", echo);
    let _server = rr_nats::serve(&url("service:s"), routes).await.unwrap();
    let client = client(&url("caller:c")).await;
    for at in 1..=2 {
        let calling = client.clone();
        let task = tokio::spawn(async move { call(&calling, &within(500), "svc.hang").await });
        entered.reaches(at).await;
        task.abort();
        let _ = task.await;
        call(&client, &within(5000), "svc.echo").await.unwrap();
    }
    dropped.reaches(2).await;
    assert_eq!(client.stats().connects, 1);
}

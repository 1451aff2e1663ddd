//! More than one server: the hosts of a URL, and a cluster whose members announce each other.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::net::SocketAddr;
use std::sync::Arc;

use crate::support::*;
use rr_nats::{NatsRequester, NatsState};
use rr_spi::{Code, Delivery, Requester as _};
use rr_testkit::{NatsServer, NatsServerSetup};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

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
    let (mut first, mut second) = (nats().await, nats().await);
    let url = format!("nats://{},{}", first.address(), second.address());
    // A busy machine could connect to the second at once.
    second.kill().unwrap();
    let _server = rr_nats::serve(&url, route("svc.echo", echo)).await.unwrap();
    let client = client(&url).await;
    answered(&client).await;
    second.restart().await.unwrap();
    first.kill().unwrap();
    answered(&client).await;
    assert_eq!(client.nats_stats().connects, 2);
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
    announced(&url, 3).await;
    let client = self::client(&url).await;
    answered(&client).await;
    cluster[0].kill().unwrap();
    answered(&client).await;
    assert_eq!(client.nats_stats().connects, 2);
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
    assert_eq!(client.nats_stats().in_flight, 0);
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
    assert_eq!(client.nats_stats().connects, 1);
}

/// Counts connections and passes them on.
async fn counting_proxy(upstream: SocketAddr, accepted: Arc<Count>) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, mut tasks) = (listener.local_addr().unwrap(), JoinSet::new());
    tasks.spawn(async move {
        let mut pipes = JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            accepted.up();
            pipes.spawn(async move {
                let mut server = TcpStream::connect(upstream).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, tasks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_joins_after_the_connect_is_learned_and_takes_over() {
    let routes = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let cluster = |listen: &str, known: &str| {
        let lines = format!("cluster {{ name: rr, listen: \"{listen}\", routes: [{known}] }}");
        NatsServerSetup::default().with_lines(&lines)
    };
    let mut first = nats_with(&cluster(&routes.to_string(), "")).await;
    let accepted = Count::new();
    let (address, _proxy) = counting_proxy(first.address(), accepted.clone()).await;
    let client = client(&format!("nats://{address}?members_interval=100ms")).await;

    let second = nats_with(&cluster("127.0.0.1:-1", &format!("\"nats://{routes}\""))).await;
    let _server = rr_nats::serve(&second.url(), route("svc.echo", echo)).await.unwrap();
    let announced = async {
        while async_nats::connect(first.url()).await.unwrap().server_info().connect_urls.len() < 2 {
        }
    };
    within(10_000).race(announced).await.unwrap();
    // The question after the next begins after the next was answered.
    accepted.reaches(accepted.now() + 2).await;
    first.kill().unwrap();
    answered(&client).await;
    assert_eq!((client.state(), client.nats_stats().connects), (NatsState::Connected, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_expired_call_on_a_silent_connection_moves_all_later_ones_to_another_server() {
    let cluster = NatsServer::start_cluster(2).await.unwrap();
    let _server = rr_nats::serve(&cluster[1].url(), route("svc.echo", echo)).await.unwrap();
    let url = cluster[0].url();
    announced(&url, 2).await;
    let client = client(&url).await;
    answered(&client).await;
    cluster[0].pause().await.unwrap();
    let expired = call(&client, &within(300), "svc.echo").await;
    assert_eq!(
        told(expired),
        (Code::DeadlineExceeded, Delivery::Unknown, reason("expired-awaiting-reply"))
    );
    // Three tests of an idle connection without an answer would take a minute.
    let later = async { while call(&client, &within(2_000), "svc.echo").await.is_err() {} };
    within(10_000).race(later).await.unwrap();
    assert_eq!(client.nats_stats().connects, 2);
}

//! What ends a call early, and what is said of it.

use std::sync::Arc;
use std::time::Duration;

use crate::support::*;
use rr_nats::{NatsConfig, NatsRequester, NatsState};
use rr_spi::{Cause, Code, Context, Delivery, Requester, Response, Routes};
use rr_testkit::{NatsServer, NatsServerSetup, TcpProxy};

/// A handler that tells when it is entered and when it is dropped, and waits for ever.
fn hang(entered: &Arc<Count>, dropped: &Arc<Count>) -> Routes {
    let (entered, dropped) = (entered.clone(), dropped.clone());
    route("svc.hang", move |_, _| {
        let (entered, dropped) = (entered.clone(), OnDrop(dropped.clone()));
        async move {
            let _dropped = dropped;
            entered.up();
            std::future::pending().await
        }
    })
}

#[tokio::test]
async fn a_deadline_ends_the_call_as_unknown_and_the_handler_too() {
    let nats = nats().await;
    let (entered, dropped) = (Count::new(), Count::new());
    let routes = hang(&entered, &dropped);
    let _server = rr_nats::serve(&nats.url(), routes).await.unwrap();
    let client = client(&nats.url()).await;
    let outcome = call(&client, &within(100), "svc.hang").await;
    assert_eq!(
        told(outcome),
        (Code::DeadlineExceeded, Delivery::Unknown, reason("expired-awaiting-reply"))
    );
    assert_eq!(client.nats_stats().in_flight, 0);
    dropped.reaches(1).await;
    // One reply always, also at the deadline, although nobody waits for it any more.
    let answered = async {
        while client.nats_stats().late_replies < 1 {
            tokio::task::yield_now().await;
        }
    };
    within(5000).race(answered).await.unwrap();
    let outcome = call(&client, &within(0), "svc.hang").await;
    assert_eq!(told(outcome), (Code::DeadlineExceeded, Delivery::NotSent, None));
    assert_eq!(entered.now(), 1);
}

#[tokio::test]
async fn dropping_and_cancelling_a_call_frees_its_slot_and_drops_its_handler() {
    let nats = nats().await;
    let (entered, dropped) = (Count::new(), Count::new());
    let url = format!("{}/team", nats.url());
    let routes = hang(&entered, &dropped);
    let config = rr_nats::NatsServerConfig::default();
    let (_server, stats) = rr_nats::serve_with_stats(&url, routes, config).await.unwrap();
    let client = client(&url).await;
    let dropping = {
        let client = client.clone();
        tokio::spawn(async move { call(&client, &within(60_000), "svc.hang").await })
    };
    entered.reaches(1).await;
    dropping.abort();
    assert!(dropping.await.unwrap_err().is_cancelled());
    assert_eq!(client.nats_stats().in_flight, 0);
    dropped.reaches(1).await;

    let (ctx, handle) = within(60_000).child();
    let cancelled = {
        let client = client.clone();
        tokio::spawn(async move { call(&client, &ctx, "svc.hang").await })
    };
    entered.reaches(2).await;
    handle.cancel_with(Cause::Cancelled);
    let outcome = cancelled.await.unwrap();
    assert_eq!(told(outcome), (Code::Canceled, Delivery::Unknown, None));
    dropped.reaches(2).await;
    assert_eq!(stats.cancelled(), 2);
}

#[tokio::test]
async fn a_fallback_hears_of_cancelled_calls_of_any_service() {
    let nats = nats().await;
    let (entered, dropped) = (Count::new(), Count::new());
    let url = format!("{}/team", nats.url());
    let mut routes = Routes::new();
    let (inside, out) = (entered.clone(), dropped.clone());
    let any = Do(move |_: Context, _: rr_spi::Request| {
        let (inside, out) = (inside.clone(), OnDrop(out.clone()));
        async move {
            let _out = out;
            inside.up();
            std::future::pending().await
        }
    });
    let declared = rr_spi::Declared::Unspecified;
    routes.insert(rr_spi::Route::Fallback, declared, Arc::new(any)).unwrap();
    let _server = rr_nats::serve(&url, routes).await.unwrap();
    let client = client(&url).await;
    for (at, target) in ["one", "a.two", "a.b.three"].into_iter().enumerate() {
        let calling = client.clone();
        let task = tokio::spawn(async move { call(&calling, &within(60_000), target).await });
        entered.reaches(at + 1).await;
        task.abort();
        dropped.reaches(at + 1).await;
    }
}

#[tokio::test]
async fn a_server_that_dies_under_calls_leaves_them_unknown_and_its_successor_serves_the_same_client()
 {
    let mut nats = nats().await;
    let (entered, dropped) = (Count::new(), Count::new());
    let routes = with(hang(&entered, &dropped), "svc.echo", echo);
    let _server = rr_nats::serve(&nats.url(), routes).await.unwrap();
    let client = client(&nats.url()).await;
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { call(&client, &within(60_000), "svc.hang").await })
        })
        .collect();
    entered.reaches(8).await;
    nats.kill().unwrap();
    let expected = (Code::Unavailable, Delivery::Unknown, Some("connection-lost".to_owned()));
    for call in calls {
        assert_eq!(told(call.await.unwrap()), expected);
    }
    assert_eq!(client.state_changed(NatsState::Connected).await, NatsState::Disconnected);
    let (_, delivery, _) = told(call(&client, &within(5000), "svc.echo").await);
    assert_eq!(delivery, Delivery::NotSent);
    nats.restart().await.unwrap();
    let again = async {
        // The requester may be back before the server has subscribed again.
        while call(&client, &within(5000), "svc.echo").await.is_err() {
            client.ready(&within(10_000)).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    within(10_000).race(again).await.unwrap();
    assert_eq!(client.nats_stats().connects, 2);
}

#[tokio::test]
async fn a_call_waits_for_the_connection_when_it_may() {
    let mut nats = nats().await;
    nats.kill().unwrap();
    let config = NatsConfig::default().with_connection_wait(Duration::from_secs(10));
    let client = NatsRequester::connect_with(&nats.url(), config).await.unwrap();
    let outcome = call(&client, &within(100), "svc.echo").await;
    assert_eq!(
        told(outcome),
        (Code::DeadlineExceeded, Delivery::NotSent, reason("expired-connecting"))
    );
    let waiting = {
        let client = client.clone();
        tokio::spawn(async move { call(&client, &within(10_000), "svc.echo").await })
    };
    nats.restart().await.unwrap();
    let expected = (Code::Unavailable, Delivery::NotSent, Some("no-responder".to_owned()));
    assert_eq!(told(waiting.await.unwrap()), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_agree_with_the_handler_under_cuts_and_crashes() {
    let mut nats = nats().await;
    let proxy = TcpProxy::start(nats.address()).await.unwrap();
    let counted = Counted::default();
    let _server = rr_nats::serve(&nats.url(), counted.routes()).await.unwrap();
    // Twenty connections in a row that live for milliseconds: the pauses would grow.
    let mut config = NatsConfig::default();
    config.connection.reconnect_delay_max = Duration::from_millis(20);
    let url = format!("nats://{}", proxy.address());
    let client = NatsRequester::connect_with(&url, config).await.unwrap();
    client.ready(&within(10_000)).await.unwrap();
    let workers = counted.drive(&client, 400);
    for round in 0..20 {
        while client.state() != NatsState::Connected && !workers.is_empty() {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(5 + round % 7)).await;
        if round == 10 {
            nats.restart().await.unwrap();
        } else {
            proxy.cut();
        }
    }
    let tally = counted.check(workers.join_all().await);
    assert!(tally.answered > 100 && tally.unknown > 10, "{tally:?}");
    assert_eq!(client.nats_stats().in_flight, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_server_keeps_no_call_beyond_its_deadline_and_runs_none_after_its_death() {
    let mut nats = nats().await;
    let entered = Count::new();
    let inside = entered.clone();
    let routes = route("svc.count", move |_, _| {
        inside.up();
        async { Ok(Response::new("")) }
    });
    let _server = rr_nats::serve(&nats.url(), routes).await.unwrap();
    let client = client(&nats.url()).await;
    nats.pause().await.unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..1500 {
        let client = client.clone();
        calls.spawn(async move {
            let start = tokio::time::Instant::now();
            let outcome = client.request(&within(500), request("svc.count", vec![0; 65536])).await;
            (told(outcome), start.elapsed())
        });
    }
    let (mut unknown, mut not_sent) = (0, 0);
    for ((code, delivery, _), took) in calls.join_all().await {
        assert_eq!(code, Code::DeadlineExceeded);
        assert!(took < Duration::from_secs(5), "{took:?}");
        *(if delivery == Delivery::Unknown { &mut unknown } else { &mut not_sent }) += 1;
    }
    println!("{unknown} unknown, {not_sent} not sent");
    assert!(unknown > 0 && not_sent > 0, "{unknown} {not_sent}");
    assert_eq!(entered.now(), 0);
    nats.kill().unwrap();
    nats.restart().await.unwrap();
    let again = async {
        while call(&client, &within(5000), "svc.count").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within(10_000).race(again).await.unwrap();
    assert_eq!(entered.now(), 1);
    assert_eq!(client.nats_stats().in_flight, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_a_stalled_server_has_not_taken_when_it_dies_wait_for_the_next_connection() {
    let mut nats = nats().await;
    let config = NatsConfig::default().with_connection_wait(Duration::from_secs(60));
    let client = NatsRequester::connect_with(&nats.url(), config).await.unwrap();
    client.ready(&within(10_000)).await.unwrap();
    nats.pause().await.unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..600 {
        let client = client.clone();
        let request = request("svc.none", vec![0; 65536]);
        calls.spawn(async move { told(client.request(&within(60_000), request).await) });
    }
    let all_wait = async {
        while client.nats_stats().in_flight < 600 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within(10_000).race(all_wait).await.unwrap();
    nats.kill().unwrap();
    nats.restart().await.unwrap();
    let (mut lost, mut sent_again) = (0, 0);
    for outcome in calls.join_all().await {
        match outcome {
            (Code::Unavailable, Delivery::Unknown, Some(why)) if why == "connection-lost" => {
                lost += 1;
            }
            (Code::Unavailable, Delivery::NotSent, Some(why)) if why == "no-responder" => {
                sent_again += 1;
            }
            outcome => panic!("{outcome:?}"),
        }
    }
    println!("{lost} lost, {sent_again} sent on the next connection");
    assert!(lost > 0 && sent_again > 0, "{lost} {sent_again}");
    assert_eq!((client.nats_stats().in_flight, client.nats_stats().connects), (0, 2));
}

const REQUESTER: &str = r#"publish: ["svc.ok", "_RR.cancel.>"], subscribe: ["_INBOX_me.>"]"#;
const RESPONDER: &str = r#"publish: [], subscribe: ["svc.>", "_RR.cancel.>", "$SRV.>"],
    allow_responses: {max: 1, expires: "5m"}"#;

async fn guarded() -> NatsServer {
    let setup = NatsServerSetup::default()
        .with_user("caller", "p@ss", REQUESTER)
        .with_user("service", "secret", RESPONDER);
    nats_with(&setup).await
}

fn as_user(nats: &NatsServer, user: &str, rest: &str) -> String {
    format!("nats://{user}@{}{rest}", nats.address())
}

#[tokio::test]
async fn least_privilege_suffices_and_a_denied_subject_is_said_at_once() {
    let nats = guarded().await;
    let routes = with(route("svc.ok", echo), "svc.denied", echo);
    let server = rr_nats::serve(&as_user(&nats, "service:secret", ""), routes).await.unwrap();
    assert!(!server.url().to_string().contains("secret"), "{}", server.url());
    let client = client(&as_user(&nats, "caller:p%40ss", "?inbox_prefix=_INBOX_me")).await;
    call(&client, &within(5000), "svc.ok").await.unwrap();
    for _ in 0..2 {
        let outcome = call(&client, &within(5000), "svc.denied").await;
        assert_eq!(told(outcome), (Code::PermissionDenied, Delivery::NotSent, None));
    }
    call(&client, &within(5000), "svc.ok").await.unwrap();
    assert_eq!(client.nats_stats().connects, 1);
}

#[tokio::test]
async fn a_denied_inbox_is_said_with_what_to_do() {
    let nats = guarded().await;
    let url = as_user(&nats, "caller:p%40ss", "");
    let client = NatsRequester::connect(&url).await.unwrap();
    let error = call(&client, &within(5000), "svc.ok").await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::PermissionDenied, Delivery::NotSent));
    assert!(error.hint().contains("inbox_prefix"), "{}", error.hint());
}

#[tokio::test]
async fn a_denied_subscription_fails_serve() {
    let nats = guarded().await;
    let url = as_user(&nats, "service:secret", "");
    let error = rr_nats::serve(&url, route("other.x", echo)).await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::PermissionDenied, Delivery::NotSent));
    assert!(error.message().contains("other.x"), "{error}");
}

#[tokio::test]
async fn wrong_credentials_are_unauthenticated_at_both_ends() {
    let nats = guarded().await;
    let url = as_user(&nats, "caller:wrong", "");
    let client = NatsRequester::connect(&url).await.unwrap();
    let error = call(&client, &within(5000), "svc.ok").await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Unauthenticated, Delivery::NotSent));
    assert!(!format!("{error:?} {client:?}").contains("wrong"));
    let error = rr_nats::serve(&url, route("svc.ok", echo)).await.unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_calls_of_every_end_leave_no_slot() {
    let nats = nats().await;
    let (entered, dropped) = (Count::new(), Count::new());
    let routes = with(hang(&entered, &dropped), "svc.echo", echo);
    let server = rr_nats::serve(&nats.url(), routes).await.unwrap();
    let client = client(&nats.url()).await;
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..50 {
        let client = client.clone();
        workers.spawn(async move {
            for number in 0..200 {
                match (worker + number) % 4 {
                    0 => drop(call(&client, &within(5000), "svc.echo").await.unwrap()),
                    1 => drop(call(&client, &within(1), "svc.hang").await),
                    2 => drop(call(&client, &within(5000), "svc.none").await.unwrap_err()),
                    _ => {
                        let ctx = Context::background();
                        let call = call(&client, &ctx, "svc.hang");
                        let mut call = std::pin::pin!(call);
                        let once = std::future::poll_fn(|cx| {
                            std::task::Poll::Ready(call.as_mut().poll(cx).is_pending())
                        });
                        assert!(once.await);
                    }
                }
            }
        });
    }
    workers.join_all().await;
    assert_eq!(client.nats_stats().in_flight, 0);
    let idle = async {
        while server.in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    // Long before the handlers' own deadline of 10 s: the cancels have arrived.
    within(5000).race(idle).await.unwrap();
    assert_eq!(dropped.now(), entered.now());
}

#[tokio::test]
async fn a_permission_taken_away_while_a_handler_runs_makes_no_liar_of_its_call() {
    let setup = |subjects: &str| {
        let permissions =
            format!(r#"publish: [{subjects}, "_RR.cancel.>"], subscribe: ["_INBOX.>"]"#);
        NatsServerSetup::default()
            .with_user("caller", "c", &permissions)
            .with_user("service", "s", "")
    };
    let nats = nats_with(&setup(r#""svc.>""#)).await;
    let (entered, dropped) = (Count::new(), Count::new());
    let url = as_user(&nats, "service:s", "");
    let _server = rr_nats::serve(&url, hang(&entered, &dropped)).await.unwrap();
    let client = client(&as_user(&nats, "caller:c", "")).await;
    let calling = client.clone();
    let running = tokio::spawn(async move { call(&calling, &within(1500), "svc.hang").await });
    entered.reaches(1).await;
    nats.reload(&setup(r#""other""#)).unwrap();
    let denied = async {
        // Until the server has read its configuration, calls get through.
        loop {
            let ran = entered.now();
            let (code, delivery, _) = told(call(&client, &within(50), "svc.hang").await);
            if delivery.is_unexecuted() {
                assert_eq!(entered.now(), ran, "a lie");
            }
            if code == Code::PermissionDenied {
                return;
            }
            let _ = client.ready(&within(5000)).await;
        }
    };
    within(10_000).race(denied).await.unwrap();
    let (code, delivery, _) = told(running.await.unwrap());
    assert_eq!(delivery, Delivery::Unknown, "{code}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_waited_for_a_stalled_server_are_answered_with_the_time_that_is_left() {
    let nats = nats().await;
    let routes = route("svc.left", |ctx, _| async move {
        Ok(Response::new(ctx.remaining().unwrap().as_millis().to_string()))
    });
    let _server = rr_nats::serve(&nats.url(), routes).await.unwrap();
    let client = client(&nats.url()).await;
    nats.pause().await.unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..600 {
        let client = client.clone();
        calls.spawn(async move {
            let ctx = within(20_000);
            let request = request("svc.left", vec![0; 65536]);
            let response = client.request(&ctx, request).await.unwrap();
            let granted: u64 = std::str::from_utf8(&response.body).unwrap().parse().unwrap();
            granted
        });
    }
    // What had to wait for the connection is written with what was left after the wait.
    let all_wait = async {
        while client.nats_stats().in_flight < 600 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waiting = tokio::time::timeout(Duration::from_secs(10), all_wait).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    nats.resume().unwrap();
    assert!(waiting.is_ok(), "only {} calls wait", client.nats_stats().in_flight);
    let granted = calls.join_all().await;
    assert!(granted.iter().any(|&millis| millis < 19_750), "all were written before they waited");
    assert_eq!(client.nats_stats().in_flight, 0);
}

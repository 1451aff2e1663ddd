//! What a responder does when its connection, its permissions or its own loop are in trouble.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::support::*;
use rr_nats::{NatsRequester, NatsServerConfig, NatsServerStats, NatsState, serve_with_stats};
use rr_spi::{Code, Delivery, Error, Reason, Requester as _, Response, Routes};
use rr_testkit::{NatsServer, NatsServerSetup, Report, Reports, TcpProxy};
use tokio::task::JoinSet;

/// A door that a handler waits at without yielding, as code does that computes for long.
#[derive(Clone, Default)]
struct Door(Arc<(Mutex<bool>, Condvar)>);

impl Door {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn block(&self) {
        // The thread's other tasks go on elsewhere: that of the connection is one of them.
        tokio::task::block_in_place(|| {
            let open = self.0.0.lock().unwrap();
            drop(self.0.1.wait_while(open, |open| !*open).unwrap());
        });
    }
}

fn setup(subjects: &str) -> NatsServerSetup {
    let permissions =
        format!(r#"publish: [">"], subscribe: [{subjects}, "_INBOX.>", "_RR.cancel.>", "$SRV.>"]"#);
    NatsServerSetup::default().with_user("caller", "c", "").with_user("service", "s", &permissions)
}

fn as_user(nats: &NatsServer, user: &str) -> String {
    format!("nats://{user}@{}", nats.address())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_subscription_never_goes_unnoticed_by_serve() {
    let nats = nats_with(&setup(r#""svc.>""#)).await;
    let url = as_user(&nats, "service:s");
    for _ in 0..40 {
        let routes = with(route("other.x", echo), "svc.ok", echo);
        let error = match serve_with_stats(&url, routes, NatsServerConfig::default()).await {
            Err(error) => error,
            // On a busy machine the news may come later.
            Ok((_server, stats)) => denied(&stats).await,
        };
        assert_eq!((error.code(), error.delivery()), (Code::PermissionDenied, Delivery::NotSent));
    }
}

/// Waits until a responder knows that it was denied something.
async fn denied(stats: &NatsServerStats) -> Error {
    let seen = async {
        loop {
            let error = stats.last_error();
            match error.filter(|error| error.code() == Code::PermissionDenied) {
                Some(error) => return error,
                None => tokio::task::yield_now().await,
            }
        }
    };
    within(5000).race(seen).await.unwrap()
}

/// Calls targets until each is answered, or fails, as wanted.
async fn until_each(client: &NatsRequester, targets: &[String], wanted: Result<(), Code>) {
    let work = async {
        for target in targets {
            while call(client, &within(1000), target).await.map(drop).map_err(|e| e.code())
                != wanted
            {
                let _ = client.ready(&within(5000)).await;
            }
        }
    };
    within(30_000).race(work).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_subscriptions_that_are_taken_away_come_back() {
    let nats = nats_with(&setup(r#""svc.>", "more.>""#)).await;
    let targets: Vec<_> = (0..300).map(|at| format!("more.t{at}")).collect();
    let routes = targets.iter().fold(route("svc.a", echo), |routes, name| with(routes, name, echo));
    let url = as_user(&nats, "service:s");
    let (_server, stats) =
        serve_with_stats(&url, routes, NatsServerConfig::default()).await.unwrap();
    let client = client(&as_user(&nats, "caller:c")).await;
    until_each(&client, &targets, Ok(())).await;
    nats.reload(&setup(r#""svc.>""#)).unwrap();
    until_each(&client, &targets, Err(Code::Unavailable)).await;
    denied(&stats).await;
    until_each(&client, &["svc.a".to_owned()], Ok(())).await;
    nats.reload(&setup(r#""svc.>", "more.>""#)).unwrap();
    until_each(&client, &targets, Ok(())).await;
}

#[tokio::test]
async fn an_inbox_that_is_taken_away_is_said_and_comes_back() {
    let setup = |inbox: &str| {
        let permissions = format!(r#"publish: [">"], subscribe: ["{inbox}"]"#);
        NatsServerSetup::default()
            .with_user("caller", "c", &permissions)
            .with_user("service", "s", "")
    };
    let nats = nats_with(&setup("_INBOX.>")).await;
    let _server = rr_nats::serve(&as_user(&nats, "service:s"), route("svc.a", echo)).await.unwrap();
    let client = client(&as_user(&nats, "caller:c")).await;
    let target = ["svc.a".to_owned()];
    until_each(&client, &target, Ok(())).await;
    nats.reload(&setup("_OTHER.>")).unwrap();
    until_each(&client, &target, Err(Code::PermissionDenied)).await;
    nats.reload(&setup("_INBOX.>")).unwrap();
    until_each(&client, &target, Ok(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_that_were_not_handed_over_leave_by_the_next_connection() {
    let nats = nats().await;
    let ran = Count::new();
    let counted = ran.clone();
    let routes = route("svc.large", move |_, _| {
        counted.up();
        async { Ok(Response::new(vec![7; 900_000])) }
    });
    let mut config = NatsServerConfig::default();
    config.connection.outgoing_max = 1;
    let stalled = Stall::before(nats.address()).await;
    let url = format!("nats://{}", stalled.address());
    let (_server, stats) = serve_with_stats(&url, routes, config).await.unwrap();
    let client = client(&nats.url()).await;
    stalled.stop_reading();
    let mut calls = JoinSet::new();
    for _ in 0..60 {
        let client = client.clone();
        calls.spawn(async move { call(&client, &within(8000), "svc.large").await });
    }
    ran.reaches(60).await;
    let waiting = stats.tasks();
    assert!(waiting > 20, "{waiting} replies wait");
    stalled.cut();
    let mut answered = 0;
    while let Some(outcome) = calls.join_next().await {
        answered += usize::from(outcome.unwrap().is_ok());
    }
    // What was handed over is lost with its connection.
    assert!(answered >= waiting, "{answered} of {waiting}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_for_which_there_is_no_room_are_refused_and_do_not_wait() {
    let nats = nats().await;
    let (door, entered) = (Door::default(), Count::new());
    let (shut, inside) = (door.clone(), entered.clone());
    let routes = route("svc.compute", move |_, request| {
        inside.up();
        if request.body.starts_with(b"block") {
            shut.block();
        }
        async { Ok(Response::new("")) }
    });
    let mut config = NatsServerConfig::default().with_waiting_max(4).with_waiting_bytes_max(50_000);
    let reports = Reports::new();
    config.intake.observers = reports.observers();
    let (_server, _) = serve_with_stats(&nats.url(), routes, config).await.unwrap();
    let client = client(&nats.url()).await;
    let mut calls = JoinSet::new();
    let mut start = |bytes: usize| {
        let client = client.clone();
        let body = if bytes == 0 { b"block".to_vec() } else { vec![b'x'; bytes] };
        let request = request("svc.compute", body);
        calls.spawn(async move { client.request(&within(20_000), request).await });
    };
    start(0);
    entered.reaches(1).await;
    for _ in 0..3 {
        start(40_000);
    }
    for _ in 0..20 {
        start(10);
    }
    let held = Duration::from_millis(200);
    within(200).cancelled().await;
    door.open();
    let (mut answered, mut refused) = (0, 0);
    while let Some(outcome) = calls.join_next().await {
        match outcome.unwrap() {
            Ok(_) => answered += 1,
            outcome => {
                refused += 1;
                let expected = (Code::ResourceExhausted, Delivery::Rejected);
                assert_eq!(told(outcome), (expected.0, expected.1, Some("overloaded".to_owned())));
            }
        }
    }
    assert_eq!(entered.now(), answered);
    assert!(answered >= 2 && refused >= 2, "{answered} answered, {refused} refused");
    let reports = reports.take();
    let is_refused = |report: &&Report| report.reason == Some(Reason::OVERLOADED);
    let count = reports.iter().filter(is_refused).count();
    assert_eq!((reports.len(), count), (answered + refused, refused), "{reports:?}");
    // The time in the queue counts.
    let queued = |report: &Report| report.entered.is_some_and(|at| at - report.began >= held / 2);
    assert!(reports.iter().any(queued), "no request has waited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_that_are_not_even_refused_are_reported() {
    // What a server keeps of the messages that arrive while a handler computes.
    const BACKLOG_MAX: usize = 16 * 1024;
    let nats = nats().await;
    let (door, entered) = (Door::default(), Count::new());
    let (shut, inside) = (door.clone(), entered.clone());
    let routes = route("svc.compute", move |_, _| {
        inside.up();
        shut.block();
        async { Ok(Response::new("")) }
    });
    let (mut config, reports) = (NatsServerConfig::default(), Reports::new());
    config.intake.observers = reports.observers();
    let (_server, stats) = serve_with_stats(&nats.url(), routes, config).await.unwrap();
    let foreign = async_nats::connect(nats.url()).await.unwrap();
    let publish = async || {
        foreign.publish_with_reply("svc.compute", "reply", "body".into()).await.unwrap();
    };
    publish().await;
    entered.reaches(1).await;
    for _ in 0..BACKLOG_MAX + 20 {
        publish().await;
    }
    let ended = async {
        for _ in 0..20 {
            let report = reports.next().await.to_string();
            let refused = "svc.compute svc.compute resource_exhausted overloaded rejected";
            assert_eq!(report, format!("{refused} not entered"));
        }
    };
    within(20_000).race(ended).await.unwrap();
    foreign.flush().await.unwrap();
    assert_eq!((stats.given_up(), reports.take().len()), (20, 0));
    door.open();
}

#[tokio::test]
async fn a_server_without_routes_is_there_until_it_is_drained() {
    let mut nats = nats().await;
    let (server, stats) =
        serve_with_stats(&nats.url(), Routes::new(), NatsServerConfig::default()).await.unwrap();
    nats.kill().unwrap();
    nats.restart().await.unwrap();
    within(10_000).race(stats.changed(NatsState::Connected)).await.unwrap();
    within(10_000).race(stats.changed(NatsState::Disconnected)).await.unwrap();
    assert!(within(100).race(server.wait()).await.is_err());
    within(5000).race(server.shutdown(Duration::from_secs(5))).await.unwrap();
}

#[tokio::test]
async fn a_subscription_that_is_taken_away_is_made_again_when_it_is_allowed() {
    let nats = nats_with(&setup(r#""svc.>", "more.>""#)).await;
    let url = as_user(&nats, "service:s");
    let routes = with(route("svc.a", echo), "more.b", echo);
    let (_server, stats) =
        serve_with_stats(&url, routes, NatsServerConfig::default()).await.unwrap();
    let client = client(&as_user(&nats, "caller:c")).await;
    call(&client, &within(5000), "more.b").await.unwrap();

    nats.reload(&setup(r#""svc.>""#)).unwrap();
    let (kept, taken) = (["svc.a".to_owned()], ["more.b".to_owned()]);
    until_each(&client, &taken, Err(Code::Unavailable)).await;
    until_each(&client, &kept, Ok(())).await;
    denied(&stats).await;

    nats.reload(&setup(r#""svc.>", "more.>""#)).unwrap();
    until_each(&client, &taken, Ok(())).await;
}

#[tokio::test]
async fn a_node_that_stops_answering_does_not_hold_its_responder() {
    let nodes = NatsServer::start_cluster(2).await.unwrap();
    let mut config = NatsServerConfig::default();
    config.connection.ping_interval = Duration::from_millis(100);
    // What the client library takes to give up on a node that accepts and says nothing.
    config.connection.connect_timeout = Duration::from_secs(60);
    let url = nodes[0].url();
    announced(&url, 2).await;
    let (_server, stats) = serve_with_stats(&url, route("svc.echo", echo), config).await.unwrap();
    assert_eq!(stats.state(), NatsState::Connected);
    let client = client(&nodes[1].url()).await;
    nodes[0].pause().await.unwrap();
    let moved = within(20_000);
    let lost = moved.race(stats.changed(NatsState::Connected)).await.unwrap();
    assert_eq!(lost, NatsState::Disconnected);
    moved.race(stats.changed(NatsState::Disconnected)).await.unwrap();
    assert!(stats.last_error().is_some());
    let answered = async {
        while call(&client, &within(500), "svc.echo").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    moved.race(answered).await.unwrap();
    nodes[0].resume().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_that_cannot_leave_stop_new_work_and_not_the_loop() {
    const IN_FLIGHT_MAX: usize = 8;
    let nats = nats().await;
    let ran = Count::new();
    let counted = ran.clone();
    let routes = route("svc.large", move |ctx, _| {
        counted.up();
        assert!(ctx.cause().is_none(), "entered after its time");
        async { Ok(Response::new(vec![7; 900_000])) }
    });
    let mut config = NatsServerConfig::default();
    config.intake.in_flight_max = IN_FLIGHT_MAX;
    config.connection.outgoing_max = 1;
    // The responder's own way to the NATS server stalls; the callers' does not.
    let stalled = Stall::before(nats.address()).await;
    let url = format!("nats://{}", stalled.address());
    let (_server, stats) = serve_with_stats(&url, routes, config).await.unwrap();
    let client = client(&nats.url()).await;
    stalled.stop_reading();
    let mut calls = JoinSet::new();
    for _ in 0..1500 {
        let client = client.clone();
        calls.spawn(async move { call(&client, &within(4000), "svc.large").await });
    }
    let mut outcomes = Vec::new();
    while let Some(outcome) = calls.join_next().await {
        outcomes.push(outcome.unwrap());
    }
    // Refusals have 256 places beside those of requests in flight.
    assert!(stats.tasks() <= IN_FLIGHT_MAX + 256, "{}", stats.tasks());
    assert!(ran.now() < 1500, "everything ran although nothing could be answered");
    let unanswered = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    assert!(unanswered > 0);
    let unexecuted = outcomes
        .iter()
        .filter(|outcome| outcome.as_ref().is_err_and(|error| error.delivery().is_unexecuted()));
    assert!(ran.now() + unexecuted.count() <= 1500, "a call that ran says that it did not");
    stalled.read_on();
    let answered = async {
        while call(&client, &within(2000), "svc.large").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within(30_000).race(answered).await.unwrap();
}

fn done() -> Result<Response, Error> {
    Ok(Response::new("done"))
}

#[tokio::test]
async fn a_reply_that_waits_for_a_connection_gets_one_in_the_middle_of_a_drain() {
    let nats = nats().await;
    let proxy = TcpProxy::start(nats.address()).await.unwrap();
    let (entered, release) = (Count::new(), Count::new());
    let (inside, wait) = (entered.clone(), release.clone());
    let routes: Routes = route("svc.wait", move |_, _| {
        let (inside, wait) = (inside.clone(), wait.clone());
        async move {
            inside.up();
            wait.reaches(1).await;
            done()
        }
    });
    let url = format!("nats://{}", proxy.address());
    let (server, stats) =
        serve_with_stats(&url, routes, NatsServerConfig::default()).await.unwrap();
    let client = client(&nats.url()).await;
    let calling = client.clone();
    let running = tokio::spawn(async move { call(&calling, &within(20_000), "svc.wait").await });
    entered.reaches(1).await;
    let drain = tokio::spawn(async move { server.shutdown(Duration::from_secs(20)).await });
    let gone = async {
        let nobody = (Code::Unavailable, Delivery::NotSent, Some("no-responder".to_owned()));
        while told(call(&client, &within(100), "svc.wait").await) != nobody {}
    };
    within(10_000).race(gone).await.unwrap();
    proxy.cut_and_refuse();
    within(10_000).race(stats.changed(NatsState::Connected)).await.unwrap();
    release.up();
    proxy.restore();
    assert_eq!(running.await.unwrap().unwrap().body, "done");
    let report = within(10_000).race(drain).await.unwrap().unwrap();
    assert_eq!(report.aborted, 0, "{report:?}");
}

#[tokio::test]
async fn the_state_of_a_responder_and_its_last_error_are_seen() {
    let mut nats = nats().await;
    let routes = route("svc.echo", echo);
    let (server, stats) =
        serve_with_stats(&nats.url(), routes, NatsServerConfig::default()).await.unwrap();
    assert_eq!(stats.state(), NatsState::Connected);
    assert!(stats.last_error().is_none());
    nats.kill().unwrap();
    let time = within(10_000);
    assert_eq!(
        time.race(stats.changed(NatsState::Connected)).await.unwrap(),
        NatsState::Disconnected
    );
    nats.restart().await.unwrap();
    time.race(stats.changed(NatsState::Disconnected)).await.unwrap();
    assert_eq!(stats.connects(), 2);
    assert!(stats.last_error().is_some());
    drop(server);
    time.race(stats.changed(NatsState::Connected)).await.unwrap();
}

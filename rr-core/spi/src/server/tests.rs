//! How a server ends.

use std::future::pending;

use tokio::time::Instant;

use super::*;
use crate::inbound::Inbound;
use crate::intake::IntakeConfig;
use crate::observe::{Event, Observer, Observers};
use crate::request::Request;
use crate::routes::{Declared, Route, Routes};
use crate::{Responder, Target};

struct Hang;

impl Responder for Hang {
    crate::boxed! {
        fn respond(&self, _ctx: &Context, _request: Request) -> Result<Response, Error> {
            Box::pin(pending())
        }
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn server() -> (Server, Intake) {
    server_with(IntakeConfig::default())
}

fn server_with(config: IntakeConfig) -> (Server, Intake) {
    let mut routes = Routes::new();
    routes.insert(Route::Fallback, Declared::Unspecified, Arc::new(Hang)).unwrap();
    let intake = Intake::new(routes, config);
    let server = Server::spawn("test://".into(), intake.clone(), |shutdown| async move {
        shutdown.draining().await;
    });
    (server, intake)
}

fn hang(intake: Intake) {
    tokio::spawn(async move {
        let (ctx, _handle) = intake.context(Inbound::default());
        let target = Target::try_from("t").unwrap();
        let _ = intake.handle(&ctx, Request::new(target, "")).await;
    });
}

/// Records events.
#[derive(Default)]
struct Events(Mutex<Vec<String>>);

impl Observer for Events {
    fn event(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_is_reported_once_also_when_the_server_is_stopped_twice_or_dropped() {
    let events = Arc::new(Events::default());
    let observers = Observers::default().and_shared(Arc::clone(&events) as Arc<dyn Observer>);
    let config = IntakeConfig::default().with_observers(observers);
    let (server, intake) = server_with(config.clone());
    hang(intake);
    tokio::task::yield_now().await;
    tokio::join!(server.shutdown(ms(100)), server.shutdown(ms(50)));
    let report = "DrainReport { completed: 0, aborted: 1, refused: 0 }";
    let expected =
        ["DrainStarted { in_flight: 1 }".to_owned(), format!("DrainEnded {{ report: {report} }}")];
    assert_eq!(*events.0.lock().unwrap(), expected);
    drop(server);
    assert_eq!(events.0.lock().unwrap().len(), 2);

    events.0.lock().unwrap().clear();
    drop(server_with(config));
    while events.0.lock().unwrap().len() < 2 {
        tokio::time::sleep(ms(1)).await;
    }
    assert!(events.0.lock().unwrap()[0].starts_with("DrainStarted"));
}

#[tokio::test(start_paused = true)]
async fn the_grace_bounds_a_drain_and_a_shorter_one_holds() {
    let (server, intake) = server();
    hang(intake);
    tokio::task::yield_now().await;
    let start = Instant::now();
    let (long, short) = tokio::join!(server.shutdown(ms(60_000)), async {
        tokio::time::sleep(ms(100)).await;
        server.shutdown(ms(200)).await
    });
    assert!(start.elapsed() >= ms(300) && start.elapsed() < ms(400), "{:?}", start.elapsed());
    assert_eq!((long, short.aborted), (short, 1));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_shutdown_continues_and_a_second_one_reports_the_same() {
    let (server, intake) = server();
    hang(intake);
    tokio::task::yield_now().await;
    assert!(tokio::time::timeout(ms(10), server.shutdown(ms(100))).await.is_err());
    tokio::time::timeout(ms(1_000), server.wait()).await.unwrap();
    assert_eq!(server.shutdown(ms(0)).await.aborted, 1);
}

#[test]
fn a_drain_ends_with_its_grace_when_the_servers_runtime_is_not_driven() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    };
    let (servers, others) = (runtime(), runtime());
    let (server, intake) = servers.block_on(async { server() });
    servers.block_on(async {
        hang(intake.clone());
        tokio::task::yield_now().await;
    });
    others.block_on(async {
        let start = Instant::now();
        server.shutdown(ms(2_000)).await;
        assert!(start.elapsed() < ms(2_300), "{:?}", start.elapsed());
    });
    // The request was cancelled, and ends as soon as its runtime is driven.
    servers.block_on(intake.idle());
    assert_eq!(intake.report().aborted, 1);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handle_ends_everything() {
    let (server, intake) = server();
    hang(intake.clone());
    tokio::task::yield_now().await;
    assert_eq!(intake.in_flight(), 1);
    drop(server);
    intake.idle().await;
    assert!(intake.is_draining());
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_panics_leaves_nothing_running() {
    let mut routes = Routes::new();
    routes.insert(Route::Fallback, Declared::Unspecified, Arc::new(Hang)).unwrap();
    let intake = Intake::new(routes, IntakeConfig::default());
    let server = Server::spawn("test://".into(), intake.clone(), |_| async {
        tokio::time::sleep(ms(10)).await;
        panic!("the transport is broken");
    });
    hang(intake.clone());
    tokio::time::timeout(ms(20), server.wait()).await.unwrap();
    tokio::time::timeout(ms(20), intake.idle()).await.unwrap();
    assert!(intake.is_draining());
}

#[tokio::test(start_paused = true)]
async fn shielded_work_is_waited_for_within_the_grace_only() {
    let (server, intake) = server();
    let (ctx, _handle) = intake.context(Inbound::default());
    let shielded = ctx.shield(tokio::time::sleep(ms(5_000)));
    let start = Instant::now();
    server.shutdown(ms(100)).await;
    assert!(start.elapsed() < ms(300), "{:?}", start.elapsed());
    shielded.await;
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_ends_on_its_own_ends_the_server() {
    let intake = Intake::new(Routes::new(), IntakeConfig::default());
    let server = Server::spawn("test://".into(), intake, |_| async {});
    tokio::time::timeout(ms(10), server.wait()).await.unwrap();
    assert_eq!(server.shutdown(ms(10)).await, DrainReport::default());
}

fn lame_duck(time: Duration) -> (Server, Intake) {
    server_with(IntakeConfig::default().with_lame_duck(time))
}

#[tokio::test(start_paused = true)]
async fn a_lame_duck_is_announced_and_the_grace_starts_after_it() {
    let (server, intake) = lame_duck(ms(3_000));
    hang(intake.clone());
    // The lame duck counts from the shutdown.
    tokio::time::sleep(ms(5_000)).await;
    let start = Instant::now();
    let watched = async {
        tokio::time::sleep(ms(2_900)).await;
        assert!(intake.is_drain_announced() && !intake.is_draining());
        // Requests are admitted meanwhile.
        hang(intake.clone());
        tokio::time::sleep(ms(200)).await;
        assert!(intake.is_draining());
        assert_eq!(intake.in_flight(), 2);
    };
    let (report, ()) = tokio::join!(server.shutdown(ms(500)), watched);
    assert!(start.elapsed() >= ms(3_500) && start.elapsed() < ms(3_600), "{:?}", start.elapsed());
    assert_eq!((report.aborted, report.refused), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_second_shutdown_ends_the_lame_duck_and_the_shortest_grace_applies() {
    let (server, intake) = lame_duck(Duration::MAX);
    hang(intake.clone());
    tokio::task::yield_now().await;
    let start = Instant::now();
    let (first, second) = tokio::join!(server.shutdown(ms(300)), async {
        tokio::time::sleep(ms(1_000)).await;
        assert!(!intake.is_draining());
        server.shutdown(ms(60_000)).await
    });
    assert!(start.elapsed() >= ms(1_300) && start.elapsed() < ms(1_400), "{:?}", start.elapsed());
    assert_eq!((first, first.aborted), (second, 1));
}

#[tokio::test(start_paused = true)]
async fn a_lame_duck_whose_shutdown_was_dropped_still_ends_in_a_drain() {
    let (server, intake) = lame_duck(ms(1_000));
    assert!(tokio::time::timeout(ms(10), server.shutdown(ms(100))).await.is_err());
    assert!(intake.is_drain_announced() && !intake.is_draining());
    tokio::time::timeout(ms(1_100), server.wait()).await.unwrap();
    assert!(intake.is_draining());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handle_during_a_lame_duck_ends_everything() {
    let (server, intake) = lame_duck(ms(60_000));
    hang(intake.clone());
    assert!(tokio::time::timeout(ms(10), server.shutdown(ms(60_000))).await.is_err());
    drop(server);
    tokio::time::timeout(ms(10), intake.idle()).await.unwrap();
}

#[test]
fn a_lame_duck_ends_when_the_servers_runtime_is_not_driven() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    };
    let (servers, others) = (runtime(), runtime());
    let (server, intake) = servers.block_on(async { lame_duck(ms(1_000)) });
    others.block_on(async {
        let start = Instant::now();
        server.shutdown(ms(500)).await;
        assert!(start.elapsed() < ms(1_800), "{:?}", start.elapsed());
    });
    assert!(intake.is_draining());
}

#[tokio::test(start_paused = true)]
async fn a_weak_server_reads_the_server_until_it_is_gone() {
    let (server, intake) = server();
    let server = server.with_figures(|| vec![("connections", 3)]);
    let weak = server.downgrade();
    let stats = weak.stats().unwrap();
    assert_eq!(stats, server.stats());
    assert_eq!(stats.figure("connections"), Some(3));
    assert_eq!(weak.is_draining(), Some(false));
    server.shutdown(ms(10)).await;
    assert_eq!(weak.is_draining(), Some(true));
    drop((server, intake));
    // The server's own task ends.
    tokio::time::sleep(ms(10)).await;
    assert_eq!((weak.stats(), weak.is_draining()), (None, None));
}

//! What an exploration says of scenarios that it cannot explore, and of faults one by one.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rr_core::context::Cause;
use rr_core::{Code, Context, Delivery, Error, RequesterExt, Router};
use rr_testkit::worlds::{Fault, Network, Script, Worlds, WorldsReport};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

/// Serves `svc.work`, which waits for 10 ms and counts its runs when it has ended.
pub(crate) fn serve(network: &Network) -> Arc<AtomicUsize> {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    network.serve("svc", move || {
        let runs = Arc::clone(&counted);
        Router::new().route("svc.work", move |(): ()| {
            let runs = Arc::clone(&runs);
            async move {
                sleep(Duration::from_millis(10)).await;
                Ok::<_, Error>(runs.fetch_add(1, Ordering::SeqCst))
            }
        })
    });
    runs
}

pub(crate) async fn work(network: &Network) -> Result<usize, Error> {
    let ctx = Context::background().with_timeout(Duration::from_secs(2));
    Ok(network.client("test", "svc").call(&ctx, "svc.work", &()).await?)
}

/// What the caller learns, how many runs ended, and how many milliseconds it took.
async fn struck(fault: Fault) -> (Option<(Code, Delivery)>, usize, u128) {
    let network = Network::with(Script::new().at("test", "svc", "svc.work", 1, fault));
    let (runs, began) = (serve(&network), Instant::now());
    let outcome = work(&network).await;
    let told = outcome.err().map(|error| (error.code(), error.delivery()));
    let took = began.elapsed().as_millis();
    assert!(network.settle(Duration::from_secs(10)).await, "{}", network.trace());
    (told, runs.load(Ordering::SeqCst), took)
}

#[tokio::test(start_paused = true)]
async fn each_fault_tells_the_caller_what_a_network_would() {
    use Code::{DeadlineExceeded, ResourceExhausted, Unavailable};
    use Delivery::{NotSent, Processed, Rejected, Unknown};
    for (fault, told, runs) in [
        (Fault::ConnectFails, Some((Unavailable, NotSent)), 0),
        (Fault::Draining, Some((Unavailable, Rejected)), 0),
        (Fault::Overloaded, Some((ResourceExhausted, Rejected)), 0),
        (Fault::RequestLost, Some((DeadlineExceeded, Unknown)), 0),
        (Fault::ReplyLost, Some((DeadlineExceeded, Unknown)), 1),
        (Fault::BrokenAfter, Some((Unavailable, Unknown)), 1),
        (Fault::BrokenWithin, Some((Unavailable, Unknown)), 0),
        (Fault::Duplicated, None, 2),
        (Fault::Delayed, None, 1),
        (Fault::Late, Some((DeadlineExceeded, Unknown)), 1),
        (Fault::Reset, Some((Unavailable, Unknown)), 0),
        (Fault::Crashed, Some((Unavailable, Unknown)), 0),
        (Fault::CallerCrashed, Some((Unavailable, Unknown)), 1),
        (Fault::Partitioned, Some((DeadlineExceeded, Unknown)), 0),
        (Fault::Repeated, None, 2),
        (Fault::ClockJumped, Some((DeadlineExceeded, Processed)), 0),
        (Fault::ReplyDelayed, None, 1),
        (Fault::CrashedOnReply, Some((Unavailable, Unknown)), 1),
        (Fault::Overtaken, None, 1),
        (Fault::ReplyOvertaken, None, 1),
    ] {
        let found = struck(fault).await;
        assert_eq!((found.0, found.1), (told, runs), "{fault}");
        assert_eq!(
            found.2 >= 1000,
            matches!(fault, Fault::Delayed | Fault::ReplyDelayed)
                || told == Some((DeadlineExceeded, Unknown)),
            "{fault}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_ends_every_call_of_the_link_and_a_partition_heals() {
    let network = Network::with(Script::new().at("test", "svc", "svc.work", 2, Fault::Reset));
    serve(&network);
    let (first, second) = tokio::join!(work(&network), work(&network));
    assert_eq!(first.unwrap_err().code(), Code::Unavailable);
    assert_eq!(second.unwrap_err().code(), Code::Unavailable);
    assert!(work(&network).await.is_ok());

    let network = Network::with(Script::new().at("test", "svc", "svc.work", 1, Fault::Partitioned));
    serve(&network);
    assert_eq!(work(&network).await.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(work(&network).await.unwrap_err().code(), Code::DeadlineExceeded);
    sleep(Duration::from_secs(2)).await;
    assert!(work(&network).await.is_ok(), "{}", network.trace());
}

#[tokio::test(start_paused = true)]
async fn a_repeated_request_runs_again_1_s_after_the_caller_has_its_reply() {
    let script = Script::new().at("test", "svc", "svc.work", 1, Fault::Repeated);
    let (network, began) = (Network::with(script), Instant::now());
    let runs = serve(&network);
    assert_eq!(work(&network).await.unwrap(), 0);
    assert_eq!((began.elapsed().as_millis(), runs.load(Ordering::SeqCst)), (12, 1));
    sleep(Duration::from_millis(1009)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    sleep(Duration::from_millis(2)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 2, "{}", network.trace());
}

#[tokio::test(start_paused = true)]
async fn a_crash_loses_what_the_factory_makes_anew() {
    let network = Network::with(Script::new().at("test", "svc", "svc.add", 2, Fault::Crashed));
    network.serve("svc", || {
        let sum = Arc::new(AtomicUsize::new(0));
        Router::new().route("svc.add", move |n: usize| {
            let sum = Arc::clone(&sum);
            async move {
                sleep(Duration::from_millis(1)).await;
                Ok::<_, Error>(sum.fetch_add(n, Ordering::SeqCst) + n)
            }
        })
    });
    let (client, ctx) = (network.client("test", "svc"), Context::background());
    let add = async |n: usize| client.call::<usize>(&ctx, "svc.add", &n).await;
    assert_eq!(add(3).await.unwrap(), 3);
    add(4).await.unwrap_err();
    assert_eq!(add(5).await.unwrap(), 5);
}

/// Serves `front.work`, which counts its calls of `svc.work` in memory, and again in a shielded task.
fn serve_front(network: &Network) -> Arc<AtomicUsize> {
    let shielded = Arc::new(AtomicUsize::new(0));
    let (below, counted) = (network.client("front", "svc"), Arc::clone(&shielded));
    network.serve("front", move || {
        let (below, counted) = (below.clone(), Arc::clone(&counted));
        let served = Arc::new(AtomicUsize::new(0));
        Router::new().route("front.work", move |ctx: Context, (): ()| {
            let (below, counted, served) = (below.clone(), counted.clone(), Arc::clone(&served));
            async move {
                let inside = ctx.clone();
                let work = ctx.shield(async move {
                    let outcome = below.call::<usize>(&inside, "svc.work", &()).await;
                    counted.fetch_add(1, Ordering::SeqCst);
                    outcome
                });
                work.await?;
                Ok::<_, Error>(served.fetch_add(1, Ordering::SeqCst))
            }
        })
    });
    shielded
}

#[tokio::test(start_paused = true)]
async fn a_crash_of_the_caller_ends_its_handler_and_its_shielded_work() {
    let script = Script::new().at("front", "svc", "svc.work", 2, Fault::CallerCrashed);
    let network = Network::with(script);
    let (runs, shielded) = (serve(&network), serve_front(&network));
    let (client, ctx) = (network.client("test", "front"), Context::background());
    let work = async || client.call::<usize>(&ctx, "front.work", &()).await.map_err(Error::from);
    assert_eq!(work().await.unwrap(), 0);
    let error = work().await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::Unknown));
    assert_eq!(work().await.unwrap(), 0, "{}", network.trace());
    assert!(network.settle(Duration::from_secs(10)).await, "{}", network.trace());
    assert_eq!((runs.load(Ordering::SeqCst), shielded.load(Ordering::SeqCst)), (3, 2));
}

pub(crate) fn refused(report: &WorldsReport, text: &str) {
    assert!(!report.has_passed() && report.to_string().contains(text), "{report}");
}

#[test]
fn a_scenario_that_nothing_can_wake_is_told_at_once_with_who_waits_for_what() {
    let report = Worlds::up_to(1).run(|network| async move {
        network.serve("svc", || {
            Router::new().route("svc.hang", |(): ()| pending::<Result<(), Error>>())
        });
        let ctx = Context::background().unbounded();
        let _ = network.client("test", "svc").call::<()>(&ctx, "svc.hang", &()).await;
        pending::<()>().await;
    });
    refused(&report, "stuck");
}

#[test]
fn a_scenario_that_differs_from_run_to_run_is_refused_with_the_first_difference() {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let report = Worlds::up_to(1).run(|network| async move {
        serve(&network);
        if RUNS.fetch_add(1, Ordering::SeqCst) % 2 == 0 {
            sleep(Duration::from_millis(7)).await;
        }
        let _ = work(&network).await;
    });
    refused(&report, "not deterministic");
    refused(&report, "first:         7 ms  test>svc/svc.work#1");
}

#[test]
fn a_scenario_that_blocks_its_thread_is_given_up() {
    let worlds = Worlds::up_to(1).with_world_time_max(Duration::from_millis(200));
    let report = worlds.run(|network| async move {
        serve(&network);
        if work(&network).await.is_err() {
            loop {
                std::thread::yield_now();
                if std::env::var_os("RR_NEVER").is_some() {
                    break;
                }
            }
        }
    });
    refused(&report, "has not ended");
    refused(&report, "RR_WORLD='test>svc/svc.work#1=");
}

#[test]
fn a_scenario_that_loops_in_the_world_without_faults_is_given_up() {
    static IS_OVER: AtomicBool = AtomicBool::new(false);
    let worlds = Worlds::up_to(1).with_world_time_max(Duration::from_millis(200));
    let report = worlds.run(|_| async {
        while !IS_OVER.load(Ordering::SeqCst) {
            yield_now().await;
        }
    });
    IS_OVER.store(true, Ordering::SeqCst);
    refused(&report, "a world has not ended after 0.2 s of real time");
    assert_eq!(report.explored(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_trace_tells_that_no_service_has_a_name() {
    let (network, ctx) = (Network::new(), Context::background());
    let _ = network.client("test", "svcc").call::<()>(&ctx, "svc.work", &()).await;
    let trace = network.trace().to_string();
    assert!(trace.contains("the caller got unavailable (not_sent) no-responder"), "{trace}");
}

#[test]
fn a_scenario_without_messages_proves_nothing() {
    let report = Worlds::up_to(2).run(|_| async {});
    refused(&report, "sent no message");
}

#[test]
fn a_limit_of_worlds_is_told() {
    let report = Worlds::up_to(2).with_worlds_max(5).run(|network| async move {
        serve(&network);
        let _ = work(&network).await;
        let _ = work(&network).await;
    });
    assert!(report.has_passed() && !report.is_complete(), "{report}");
    assert_eq!(report.to_string(), "1 of 1 world without faults, 4 of 32 worlds of 1 fault");
}

#[test]
fn a_scenario_of_many_calls_is_explored_as_far_as_the_limit() {
    let report = Worlds::up_to(1).with_messages_max(3).run(|network| async move {
        serve(&network);
        for _ in 0..200 {
            let _ = work(&network).await;
        }
    });
    assert!(report.has_passed() && !report.is_complete(), "{report}");
    let covered = "1 of 1 world without faults, 48 of 48 worlds of 1 fault; faults were tried at \
                   the first 3 of 200 messages";
    assert_eq!(report.to_string(), covered);
}

#[test]
fn a_world_that_is_equal_to_another_gets_no_further_faults() {
    let worlds = Worlds::up_to(2).with_faults([Fault::BrokenAfter, Fault::BrokenWithin]);
    let run = |worlds: Worlds| {
        worlds.run(|network| async move {
            network.serve("svc", || {
                Router::new().route("svc.work", |(): ()| async { Ok::<_, Error>(7) })
            });
            let _ = work(&network).await;
            let _ = work(&network).await;
        })
    };
    // A handler that never waits has run when the connection breaks within it.
    let report = run(worlds.clone());
    let covered = "1 of 1 world without faults, 4 of 4 worlds of 1 fault, 4 of 4 worlds of 2 faults \
                   (2 of them equal to another and not run)";
    assert_eq!(report.to_string(), covered);
    assert!(report.is_complete());
    assert_eq!((report.explored(), report.equal()), (7, 2));
    assert_eq!(run(worlds.with_equal_worlds()).explored(), 9);
}

#[test]
fn a_crash_is_not_taken_for_a_connection_that_broke() {
    // Fails only if the service has lost its memory, at which it is only asked after a refusal.
    let report = Worlds::up_to(2).run(|network| async move {
        network.serve("svc", || {
            let calls = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&calls);
            let work = move |(): ()| {
                let calls = Arc::clone(&calls);
                async move {
                    sleep(Duration::from_millis(1)).await;
                    calls.fetch_add(1, Ordering::SeqCst);
                    Ok::<_, Error>(0)
                }
            };
            let count = move |(): ()| {
                let calls = counted.load(Ordering::SeqCst);
                async move { Ok::<_, Error>(calls) }
            };
            Router::new().route("svc.work", work).route("svc.count", count)
        });
        let (first, _) = (work(&network).await, work(&network).await);
        let third = work(&network).await;
        if first.is_ok() && third.is_err_and(|error| error.code() == Code::ResourceExhausted) {
            let ctx = Context::background().with_timeout(Duration::from_secs(2));
            let counted = network.client("test", "svc").call(&ctx, "svc.count", &()).await;
            assert_ne!(counted.ok(), Some(0));
        }
    });
    let found = report.counterexample().expect("it is found").script().to_string();
    assert_eq!(found, "test>svc/svc.work#2=crashed,test>svc/svc.work#3=overloaded");
}

#[test]
fn a_clock_that_jumped_is_not_taken_for_one_that_did_not() {
    // Fails only if the deadline has passed for a task that outlives its handler, at which the
    // scenario only looks after a refusal.
    let report = Worlds::up_to(2).run(|network| async move {
        let expired = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&expired);
        network.serve("svc", move || {
            let expired = Arc::clone(&counted);
            Router::new().route("svc.work", move |ctx: Context, (): ()| {
                let expired = Arc::clone(&expired);
                tokio::spawn(async move {
                    ctx.cancelled().await;
                    let has_expired = ctx.cause() == Some(Cause::DeadlineExceeded);
                    expired.fetch_add(usize::from(has_expired), Ordering::SeqCst);
                });
                async { Ok::<_, Error>(0) }
            })
        });
        let (first, second) = (work(&network).await, work(&network).await);
        if first.is_ok() && second.is_err_and(|error| error.code() == Code::ResourceExhausted) {
            assert_eq!(expired.load(Ordering::SeqCst), 0);
        }
    });
    let found = report.counterexample().expect("it is found").script().to_string();
    assert_eq!(found, "test>svc/svc.work#1=clock-jumped,test>svc/svc.work#2=overloaded");
}

#[test]
fn a_service_that_cannot_start_again_is_a_counterexample() {
    let report = Worlds::up_to(1).run(|network| async move {
        let starts = AtomicUsize::new(0);
        network.serve("svc", move || {
            assert_eq!(starts.fetch_add(1, Ordering::SeqCst), 0, "the lock file is left");
            Router::new().route("svc.work", |(): ()| async {
                sleep(Duration::from_millis(1)).await;
                Ok::<_, Error>(0)
            })
        });
        let _ = work(&network).await;
    });
    refused(&report, "`svc` cannot start again after a crash: what makes it panics");
    refused(&report, "RR_WORLD='test>svc/svc.work#1=crashed'");
}

#[test]
fn the_longest_times_are_no_overflow() {
    let report = Worlds::up_to(1).with_time_max(Duration::MAX).run(|network| async move {
        serve(&network);
        let _ = work(&network).await;
        assert!(network.settle(Duration::MAX).await);
    });
    assert!(report.is_complete(), "{report}");
}

#[test]
fn a_script_runs_one_world_and_a_fault_that_never_strikes_is_counted() {
    let script: Script = "test>svc/svc.work#9=reset".parse().unwrap();
    let report = Worlds::replay(&script, |network| async move {
        serve(&network);
        assert_eq!(work(&network).await.unwrap(), 0);
    });
    assert_eq!(report.unfired(), 1, "{report}");
}

#[test]
fn a_random_world_loses_the_faults_that_it_does_not_need() {
    // Fails only if the first and the third call fail: worlds of one fault do not show it.
    let worlds = Worlds::up_to(1).with_faults([Fault::ConnectFails, Fault::ReplyLost]);
    let report = worlds.with_random(7, 2000, 4).run(|network| async move {
        serve(&network);
        let mut failed = Vec::new();
        for _ in 0..4 {
            failed.push(work(&network).await.is_err());
        }
        assert!(!(failed[0] && failed[2]), "the first and the third call failed");
    });
    let counterexample = report.counterexample().expect("it is found");
    assert_eq!(counterexample.script().len(), 2, "{report}");
}

#[test]
fn a_call_that_does_not_pass_its_deadline_on_is_found_without_any_fault() {
    let run = |passes_on: bool| {
        Worlds::up_to(0).run(move |network| async move {
            serve(&network);
            let below = network.client("front", "svc");
            network.serve("front", move || {
                let below = below.clone();
                Router::new().route("front.ask", move |ctx: Context, (): ()| {
                    let below = below.clone();
                    async move {
                        let ctx = if passes_on { ctx } else { Context::background() };
                        below.call::<usize>(&ctx, "svc.work", &()).await.map_err(Error::from)
                    }
                })
            });
            let ctx = Context::background().with_timeout(Duration::from_secs(1));
            network.client("test", "front").call::<usize>(&ctx, "front.ask", &()).await.unwrap();
        })
    };
    assert!(run(true).is_complete(), "{}", run(true));
    refused(&run(false), "front>svc/svc.work does not carry the context");
}

#[test]
fn a_call_that_leads_to_too_many_messages_is_a_counterexample() {
    let run = |calls: usize, max: Option<usize>| {
        Worlds::up_to(0).run(move |network| async move {
            serve(&network);
            if let Some(max) = max {
                network.set_amplification_max(max);
            }
            let below = network.client("front", "svc");
            network.serve("front", move || {
                let below = below.clone();
                Router::new().route("front.ask", move |ctx: Context, (): ()| {
                    let below = below.clone();
                    async move {
                        for _ in 0..calls {
                            below.call::<usize>(&ctx, "svc.work", &()).await?;
                        }
                        Ok::<_, Error>(())
                    }
                })
            });
            let client = network.client("test", "front");
            for _ in 0..2 {
                client.call::<()>(&Context::background(), "front.ask", &()).await.unwrap();
            }
        })
    };
    assert!(run(99, None).is_complete(), "{}", run(99, None));
    refused(&run(100, None), "test>front/front.ask#1 led to more than 100 messages");
    assert!(run(3, Some(4)).is_complete());
    refused(&run(4, Some(4)), "test>front/front.ask#1 led to more than 4 messages");
}

//! A call ends by its deadline on every hop.

use std::sync::Arc;
use std::time::Duration;

use rr_spi::{
    CallConfig, Cause, Code, Context, Deadline, Delivery, IntakeConfig, Reason, defaults,
};
use tokio::time::{Instant, sleep};

use super::{assert_error, assert_expired, error_of};
use crate::conformance::lab::{RunEnd, pattern};
use crate::conformance::stage::Stage;
use crate::conformance::{RawReply, StartOptions, Timing};

/// Time that rounding up to whole milliseconds on the wire may add.
const ROUNDING: Duration = Duration::from_millis(1);

/// Causes that a handler may see at the deadline, since either end may see the deadline first.
const AT_THE_DEADLINE: [Cause; 3] =
    [Cause::DeadlineExceeded, Cause::CallerDropped, Cause::PeerGone];

pub(crate) async fn expires_when_handler_hangs(stage: &Stage) {
    let scene = stage.open().await;
    let time = stage.units(5);
    // For requests of all sizes.
    for bytes in [0, 100_000, defaults::BODY_BYTES_MAX] {
        let ask = scene.ask().body(pattern(bytes)).hang();
        let watch = scene.watch();
        let outcome = scene.call(&Context::background().with_timeout(time), &ask).await;
        watch.assert_about(time);
        assert_expired(&error_of(outcome));
        assert_eq!(scene.lab.count(ask.key()), 1, "with {bytes} bytes");
    }
}

/// Number of calls whose lateness is measured.
const TIMED_CALLS: u32 = 24;

pub(crate) async fn errors_come_on_time(stage: &Stage) {
    let scene = stage.open().await;
    let calls: Vec<_> = (0..TIMED_CALLS)
        .map(|at| {
            let scene = Arc::clone(&scene);
            let time = stage.units(4) + stage.timing().unit() * at / 4;
            tokio::spawn(async move {
                let start = Instant::now();
                let (ctx, ask) = (Context::background().with_timeout(time), scene.ask().hang());
                let call = async { (scene.call(&ctx, &ask).await, start.elapsed()) };
                // A loaded machine delays the call and this bare timer alike.
                let timer = async { (sleep(time).await, start.elapsed()).1 };
                let ((outcome, called), slept) = tokio::join!(call, timer);
                assert_eq!(error_of(outcome).code(), Code::DeadlineExceeded);
                assert!(called >= time, "{called:?} of {time:?}");
                called.saturating_sub(slept)
            })
        })
        .collect();
    let mut lateness = Vec::new();
    for call in calls {
        lateness.push(call.await.expect("the call ends as it should"));
    }
    stage.assert_prompt(lateness, "errors come");
}

pub(crate) async fn long_calls_are_answered(stage: &Stage) {
    let scene = stage.open().await;
    // In virtual time up to nearly the maximum timeout that servers grant.
    let times: &[Duration] = match stage.timing() {
        Timing::Virtual => &[4, 9, 29, 61, 299].map(Duration::from_secs),
        Timing::Real { unit } => &[unit * 20],
    };
    for &time in times {
        let ask = scene.ask().sleep(time).body("long");
        let ctx = Context::background().with_timeout(time + stage.units(40));
        let watch = scene.watch();
        assert_eq!(scene.call(&ctx, &ask).await.expect("an answer").body, "long");
        watch.assert_about(time);
        assert_eq!(scene.run(&ask).end(), Some(RunEnd::Finished));
    }
}

pub(crate) async fn already_expired_never_sent(stage: &Stage) {
    let scene = stage.open().await;
    let now = Context::background().with_timeout(Duration::ZERO);
    let past = Context::background().with_deadline(Deadline::at(Instant::now()));
    sleep(stage.units(1)).await;
    for ctx in [now, past.clone(), past.with_timeout(Duration::from_secs(1))] {
        let ask = scene.ask();
        let watch = scene.watch();
        let error = error_of(scene.call(&ctx, &ask).await);
        watch.assert_at_once();
        assert_error(&error, Code::DeadlineExceeded, &[Delivery::NotSent], None);
        sleep(stage.units(2)).await;
        assert_eq!(scene.lab.count(ask.key()), 0);
    }
}

pub(crate) async fn visible_to_handler(stage: &Stage) {
    let scene = stage.open().await;
    let time = stage.units(200);
    let ask = scene.ask();
    scene.call(&Context::background().with_timeout(time), &ask).await.expect("an answer");
    let seen = scene.run(&ask).remaining.expect("the handler has a deadline");
    assert!(seen <= time, "{seen:?} of {time:?}");
    assert!(seen > time - stage.timing().margin(), "{seen:?} of {time:?}");
}

pub(crate) async fn shrinks_over_three_hops(stage: &Stage) {
    let scene = stage.open().await;
    let (time, step) = (stage.units(200), stage.units(2));
    let ask = scene.ask().sleep(step).onward(2);
    scene.call(&Context::background().with_timeout(time), &ask).await.expect("an answer");
    let seen: Vec<_> =
        scene.lab.runs(ask.key()).iter().map(|run| run.remaining.expect("a deadline")).collect();
    assert_eq!(seen.len(), 3);
    assert!(seen[0] <= time && seen[2] > Duration::ZERO, "{seen:?}");
    for hop in seen.windows(2) {
        assert!(hop[1] + step <= hop[0] + ROUNDING, "{seen:?}");
        assert!(hop[0] - hop[1] < step + stage.timing().margin(), "{seen:?}");
    }
}

pub(crate) async fn child_cannot_extend(stage: &Stage) {
    let scene = stage.open().await;
    let (time, longer) = (stage.units(10), Duration::from_secs(3600));
    let ctx = Context::background().with_timeout(time).with_timeout(longer);
    let (ctx, _handle) = ctx.child();
    // A longer timeout has no effect, neither here nor one hop further.
    let ask = scene.ask().onward(1).onward_timeout(longer).hang();
    let watch = scene.watch();
    let outcome = scene.call(&ctx.with_timeout(longer), &ask).await;
    watch.assert_about(time - stage.units(1));
    assert_expired(&error_of(outcome));
    let runs = scene.ended(&ask).await;
    assert_eq!(runs.len(), 2);
    for run in runs {
        assert!(run.remaining.is_some_and(|seen| seen <= time + ROUNDING), "{:?}", run.remaining);
    }
}

pub(crate) async fn default_applies(stage: &Stage) {
    let own = stage.capabilities().client_config;
    let client = if own { stage.units(5) } else { defaults::CLIENT_TIMEOUT };
    let server = client * 3;
    let config = IntakeConfig::default().with_timeout_default(server);
    let calls = CallConfig::default().with_timeout(client);
    let options = StartOptions::default().with_server(config).with_calls(calls);
    let scene = stage.open_with(options).await;

    let ask = scene.ask().hang();
    let watch = scene.watch();
    let error = scene.err(&ask).await;
    watch.assert_about(client);
    assert_expired(&error);
    assert!(scene.run(&ask).remaining.is_some_and(|seen| seen <= client));

    // An unbounded context waits longer than the client's default.
    let unbounded = Context::background().unbounded();
    let ask = scene.ask().sleep(client + stage.units(5));
    scene.call(&unbounded, &ask).await.expect("an answer");
    let seen = scene.run(&ask).remaining.expect("the server gives a deadline of its own");
    assert!(seen <= server && seen > client, "{seen:?}");

    // Then the server's default ends the handler.
    let ask = scene.ask().hang();
    let watch = scene.watch();
    let error = error_of(scene.call(&unbounded, &ask).await);
    watch.assert_about(server);
    assert_error(&error, Code::DeadlineExceeded, &[Delivery::Processed], None);
    assert_eq!(scene.run(&ask).end(), Some(RunEnd::Dropped(Some(Cause::DeadlineExceeded))));
}

pub(crate) async fn far_future_no_overflow(stage: &Stage) {
    let scene = stage.open().await;
    let century = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    let ten_digits = Duration::from_millis(9_999_999_999);
    let far = [Duration::MAX, century, ten_digits, ten_digits + ROUNDING, Duration::from_secs(301)];
    for time in far {
        let ask = scene.ask();
        let ctx = Context::background().with_timeout(time);
        scene.call(&ctx, &ask).await.unwrap_or_else(|error| panic!("{time:?}: {error:?}"));
        let seen = scene.run(&ask).remaining.expect("the server bounds it");
        assert!(seen <= defaults::SERVER_TIMEOUT_MAX, "{seen:?} of {time:?}");
        // A timeout of more than 10 digits is not sent: then the server's default applies.
        let travels = time <= ten_digits;
        let granted = if travels { defaults::SERVER_TIMEOUT_MAX } else { defaults::SERVER_TIMEOUT };
        assert!(seen > granted - stage.timing().margin(), "{seen:?} of {time:?}");
    }
}

/// Maximum number of calls of less than a millisecond until one is sent in time.
const HASTY_CALLS_MAX: usize = 200;

pub(crate) async fn sub_millisecond_rounds_up(stage: &Stage) {
    let micros = [1, 100, 500, 900, 999];
    let scene = stage.open().await;
    for time in micros.map(Duration::from_micros) {
        let ask = scene.ask();
        let outcome = scene.call(&Context::background().with_timeout(time), &ask).await;
        for run in scene.lab.runs(ask.key()) {
            assert!(run.remaining.is_some_and(|seen| seen <= ROUNDING), "{:?}", run.remaining);
        }
        if let Err(error) = outcome {
            // In virtual time a call takes no time, so that every timeout suffices.
            assert_ne!(stage.timing(), Timing::Virtual, "{error:?}");
            assert_eq!(error.code(), Code::DeadlineExceeded, "{error:?}");
        }
    }
    // A server with a minimum timeout grants it to every request with a remaining time above 0:
    // such a request runs, however late it arrives. A request with a remaining time of 0 never
    // runs.
    let server = IntakeConfig::default().with_timeout_min(stage.units(1000));
    let scene = stage.open_server(server).await;
    let before = scene.lab.total();
    for at in 0.. {
        assert!(at < HASTY_CALLS_MAX, "what has less than a millisecond left arrives with none");
        let time = Duration::from_micros(micros[at % micros.len()]);
        // The call may expire before anything is sent, and its end may end the handler.
        drop(scene.call(&Context::background().with_timeout(time), &scene.ask()).await);
        sleep(stage.units(1) / 10).await;
        if scene.lab.total() > before {
            return;
        }
    }
}

pub(crate) async fn malformed_is_invalid_argument(stage: &Stage) {
    let scene = stage.open().await;
    let raw = scene.raw();
    let ask = scene.ask().body("control");
    let reply = raw.send(ask.raw().with_timeout("5000")).await.expect("a reply");
    assert_eq!((reply.code, &reply.body[..]), (None, &b"control"[..]));
    assert!(scene.run(&ask).remaining.is_some_and(|seen| seen <= Duration::from_secs(5)));
    for malformed in ["soon", "-1", "1.5", "12345678901", "1s", "0x10", "+5", "1 2"] {
        let ask = scene.ask();
        let reply = raw.send(ask.raw().with_timeout(malformed)).await.expect("a reply");
        assert_refused(&reply, Code::InvalidArgument, None);
        sleep(stage.units(1)).await;
        assert_eq!(scene.lab.count(ask.key()), 0, "`{malformed}` ran");
    }
}

pub(crate) async fn expired_on_arrival_does_not_run(stage: &Stage) {
    let scene = stage.open().await;
    for _ in 0..3 {
        let ask = scene.ask();
        let reply = scene.raw().send(ask.raw().with_timeout("0")).await.expect("a reply");
        assert_refused(&reply, Code::DeadlineExceeded, Some(&Reason::EXPIRED_ON_ARRIVAL));
        sleep(stage.units(1)).await;
        assert_eq!(scene.lab.count(ask.key()), 0);
    }
    scene.ok(&scene.ask()).await;
}

/// Asserts that a foreign peer got a rejection with the given code and reason.
#[track_caller]
fn assert_refused(reply: &RawReply, code: Code, reason: Option<&Reason>) {
    assert_eq!(reply.code.as_deref(), Some(code.as_str()), "{reply:?}");
    assert_eq!(reply.delivery.as_deref(), Some(Delivery::Rejected.as_str()), "{reply:?}");
    assert_eq!(reply.reason.as_deref(), reason.map(Reason::as_str), "{reply:?}");
}

pub(crate) async fn handler_dropped_after(stage: &Stage) {
    let scene = stage.open().await;
    let time = stage.units(5);
    let ask = scene.ask().hang();
    let watch = scene.watch();
    let call = scene.spawn(&Context::background().with_timeout(time), &ask);
    scene.entered(&ask).await;
    let run = scene.ended(&ask).await.remove(0);
    watch.assert_about(time);
    let Some(RunEnd::Dropped(Some(cause))) = run.end() else {
        panic!("it ended by {:?}", run.end())
    };
    assert!(AT_THE_DEADLINE.contains(&cause), "{cause:?}");
    let error = error_of(call.await.expect("the task ends"));
    assert_expired(&error);
    scene.idle().await;
}

pub(crate) async fn code_is_deadline_exceeded_never_canceled(stage: &Stage) {
    let scene = stage.open().await;
    let calls: Vec<_> = (1..=50_u32)
        .map(|at| {
            let time = stage.units(4) + stage.timing().unit() * at / 10;
            scene.spawn(&Context::background().with_timeout(time), &scene.ask().hang())
        })
        .collect();
    for call in calls {
        let error = error_of(call.await.expect("the task ends"));
        assert_eq!(error.code(), Code::DeadlineExceeded, "{error:?}");
    }
}

pub(crate) async fn _1000_simultaneous_leak_nothing(stage: &Stage) {
    let scene = stage.open().await;
    let time = stage.units(10);
    let ctx = Context::background().with_timeout(time);
    let watch = scene.watch();
    let asks = (0..stage.capabilities().parallel_max.min(1000)).map(|_| scene.ask().hang());
    let calls: Vec<_> = asks.map(|ask| scene.spawn(&ctx, &ask)).collect();
    for call in calls {
        let error = error_of(call.await.expect("the task ends"));
        assert_eq!(error.code(), Code::DeadlineExceeded, "{error:?}");
    }
    watch.assert_about(time);
    scene.idle().await;
    let left = scene.lab.timeline().iter().filter(|(_, run)| run.ended.is_none()).count();
    assert_eq!(left, 0, "handlers still run");
    scene.ok(&scene.ask()).await;
}

pub(crate) async fn server_clamp(stage: &Stage) {
    let longest = stage.units(5);
    let config = IntakeConfig::default().with_timeout_max(longest);
    let scene = stage.open_server(config).await;
    let ask = scene.ask().hang();
    let watch = scene.watch();
    let ctx = Context::background().with_timeout(stage.units(1000));
    let error = error_of(scene.call(&ctx, &ask).await);
    watch.assert_about(longest);
    assert_error(&error, Code::DeadlineExceeded, &[Delivery::Processed], None);
    assert!(scene.run(&ask).remaining.is_some_and(|seen| seen <= longest));

    // A minimum timeout gives the handler more time; the caller still ends at its deadline.
    let (shortest, asked) = (stage.units(1000), stage.units(5));
    let config = IntakeConfig::default().with_timeout_min(shortest);
    let scene = stage.open_server(config).await;
    let ask = scene.ask().hang();
    let watch = scene.watch();
    let error = error_of(scene.call(&Context::background().with_timeout(asked), &ask).await);
    watch.assert_about(asked);
    assert_expired(&error);
    assert!(scene.run(&ask).remaining.is_some_and(|seen| seen > asked + stage.timing().margin()));
}

//! Bodies of every size up to the limit pass; one byte more is refused by the first end that knows.

use std::time::Duration;

use rr_spi::{
    CallConfig, Code, Context, Delivery, IntakeConfig, Limits, Reason, Requester, RetryHint,
    defaults,
};
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, sleep, timeout};

use super::assert_error;
use crate::conformance::lab::pattern;
use crate::conformance::stage::{Scene, Stage, assert_echoed};
use crate::conformance::{RawUnread, StartOptions, Timing};

const MAX: usize = defaults::BODY_BYTES_MAX;

/// Asserts that a body of a size arrives at the responder and comes back.
async fn assert_echo(scene: &Scene, bytes: usize) {
    let body = pattern(bytes);
    let ask = scene.ask().body(body.clone());
    let echoed = scene.ok(&ask).await.body;
    assert!(scene.run(&ask).body == body, "{bytes} bytes did not arrive as they were sent");
    assert!(echoed == body, "{bytes} bytes did not come back as they were sent");
}

pub(crate) async fn empty_request(stage: &Stage) {
    let scene = stage.open().await;
    let ask = scene.ask().reply_bytes(3000);
    assert!(scene.ok(&ask).await.body == pattern(3000));
    assert!(scene.run(&ask).body.is_empty());
}

pub(crate) async fn empty_response(stage: &Stage) {
    let scene = stage.open().await;
    let ask = scene.ask().body(pattern(3000)).reply_bytes(0).header("x-kept", "1").echo();
    let response = scene.ok(&ask).await;
    assert!(response.body.is_empty());
    assert_eq!(response.headers.get("x-kept"), Some("1"));
    // A reply without body and headers is still an answer.
    let nothing = scene.ok(&scene.ask().reply_bytes(0)).await;
    assert!(nothing.body.is_empty());
    assert_echo(&scene, 10).await;
}

pub(crate) async fn one_byte(stage: &Stage) {
    let scene = stage.open().await;
    for byte in [0, b'\n', b'a', 0xff] {
        let ask = scene.ask().body(vec![byte]);
        assert_eq!(scene.ok(&ask).await.body[..], [byte]);
        assert_eq!(scene.run(&ask).body[..], [byte]);
    }
}

pub(crate) async fn _65535_65536_65537(stage: &Stage) {
    let scene = stage.open().await;
    for bytes in [4095, 4096, 4097, 16_384, 65_535, 65_536, 65_537, 131_073] {
        assert_echo(&scene, bytes).await;
    }
}

pub(crate) async fn every_power_of_two(stage: &Stage) {
    let scene = stage.open().await;
    let around = (1..=MAX.ilog2()).map(|power| 1_usize << power);
    let around = around.flat_map(|power| [power - 1, power, power + 1]);
    // Also sizes between the powers, around a change in the number of decimal digits.
    for bytes in around.chain([99_999, 100_000, 300_001, 700_001, 999_999, MAX - 1, MAX]) {
        assert_echo(&scene, bytes.min(MAX)).await;
    }
}

/// Number of concurrent calls; two of them already exceed a carrier's buffers for a connection.
const LARGE_CALLS: usize = 8;

pub(crate) async fn large_bodies_in_parallel(stage: &Stage) {
    let scene = stage.open().await;
    let asks: Vec<_> = (0..LARGE_CALLS)
        .map(|at| scene.ask().gate("all").body(pattern(MAX - at * 50_000)))
        .collect();
    let calls = scene.start(&Context::background(), &asks).await;
    scene.lab.open_gate("all");
    assert_echoed(calls, &asks).await;
    for ask in &asks {
        assert!(scene.run(ask).body == ask.request().body, "it did not arrive as it was sent");
    }
}

pub(crate) async fn exactly_max_request(stage: &Stage) {
    let scene = stage.open().await;
    let body = pattern(MAX);
    let ask = scene.ask().body(body.clone()).reply_bytes(1);
    assert_eq!(scene.ok(&ask).await.body.len(), 1);
    assert!(scene.run(&ask).body == body);
}

/// Asserts that a request body of a size is refused as too large, with the given delivery.
async fn assert_request_too_large(scene: &Scene, bytes: usize, delivery: Delivery) {
    let ask = scene.ask().body(pattern(bytes)).reply_bytes(1);
    let error = scene.err_at_once(&ask).await;
    let reason = Some(&Reason::REQUEST_TOO_LARGE);
    assert_error(&error, Code::ResourceExhausted, &[delivery], reason);
    assert_eq!(error.retry(), RetryHint::Never);
    assert_eq!(scene.lab.count(ask.key()), 0);
}

pub(crate) async fn max_request_plus_one_not_sent(stage: &Stage) {
    let scene = stage.open().await;
    assert_request_too_large(&scene, MAX + 1, Delivery::NotSent).await;
}

pub(crate) async fn over_the_servers_limit_is_rejected(stage: &Stage) {
    let limits = Limits::default().with_request_bytes_max(10_000);
    let scene = stage.open_server(IntakeConfig::default().with_limits(limits)).await;
    assert_echo(&scene, 10_000).await;
    for bytes in [10_001, 300_000] {
        assert_request_too_large(&scene, bytes, Delivery::Rejected).await;
    }
    assert_echo(&scene, 10_000).await;
}

pub(crate) async fn over_the_clients_request_limit_not_sent(stage: &Stage) {
    let limits = Limits::default().with_request_bytes_max(10_000);
    let calls = CallConfig::default().with_limits(limits);
    let scene = stage.open_with(StartOptions::default().with_calls(calls)).await;
    assert_echo(&scene, 10_000).await;
    for bytes in [10_001, 300_000] {
        assert_request_too_large(&scene, bytes, Delivery::NotSent).await;
    }
    // The response limit is separate.
    assert!(scene.ok(&scene.ask().reply_bytes(300_000)).await.body == pattern(300_000));
}

pub(crate) async fn exactly_max_response(stage: &Stage) {
    let scene = stage.open().await;
    let ask = scene.ask().reply_bytes(MAX);
    assert!(scene.ok(&ask).await.body == pattern(MAX));
    // The handler ran once, also after some time.
    sleep(stage.late()).await;
    assert_eq!(scene.lab.count(ask.key()), 1);
}

/// Asserts that a response body of a size is refused as too large.
async fn assert_response_too_large(scene: &Scene, bytes: usize) {
    let ask = scene.ask().reply_bytes(bytes);
    let error = scene.err_at_once(&ask).await;
    let reason = Some(&Reason::RESPONSE_TOO_LARGE);
    assert_error(&error, Code::ResourceExhausted, &[Delivery::Processed], reason);
    assert_eq!(error.retry(), RetryHint::Never);
    assert_eq!(scene.lab.count(ask.key()), 1);
}

pub(crate) async fn max_response_plus_one_is_processed(stage: &Stage) {
    let scene = stage.open().await;
    assert_response_too_large(&scene, MAX + 1).await;
}

pub(crate) async fn over_the_servers_response_limit_is_processed(stage: &Stage) {
    let limits = Limits::default().with_response_bytes_max(10_000);
    let scene = stage.open_server(IntakeConfig::default().with_limits(limits)).await;
    assert!(scene.ok(&scene.ask().reply_bytes(10_000)).await.body == pattern(10_000));
    assert_response_too_large(&scene, 10_001).await;
    assert_response_too_large(&scene, 300_000).await;
    // The request limit is separate.
    let ask = scene.ask().body(pattern(300_000)).reply_bytes(1);
    assert_eq!(scene.ok(&ask).await.body.len(), 1);
}

pub(crate) async fn over_the_clients_limit_is_processed(stage: &Stage) {
    let limits = Limits::default().with_response_bytes_max(10_000);
    let calls = CallConfig::default().with_limits(limits);
    let scene = stage.open_with(StartOptions::default().with_calls(calls)).await;
    assert!(scene.ok(&scene.ask().reply_bytes(10_000)).await.body == pattern(10_000));
    assert_response_too_large(&scene, 10_001).await;
    assert_response_too_large(&scene, 300_000).await;
}

pub(crate) async fn client_usable_after(stage: &Stage) {
    let limits = Limits::default().with_request_bytes_max(1000);
    let scene = stage.open_server(IntakeConfig::default().with_limits(limits)).await;
    let ctx = Context::background();
    for _ in 0..5 {
        let too_large_here = scene.ask().body(pattern(MAX + 1));
        let too_large_there = scene.ask().body(pattern(1001));
        let too_large_back = scene.ask().reply_bytes(MAX + 1);
        for ask in [too_large_here, too_large_there, too_large_back] {
            // Concurrently with a valid call.
            let beside = scene.ask().body(pattern(900));
            let call = scene.spawn(&ctx, &beside);
            scene.err(&ask).await;
            assert_eq!(call.await.expect("the task ends").expect("an answer").body.len(), 900);
            assert_echo(&scene, 1000).await;
        }
    }
    scene.idle().await;
}

/// Replies that a foreign peer requests and does not read: together more than all buffers hold.
const UNREAD_CALLS: usize = 120;
const UNREAD_BYTES: usize = 990_000;

/// Budget of the server for bodies in memory.
const HELD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Buffers between a server and its peer: of the system, of proxies, and of a broker, which may
/// hold 64 MiB for a client.
const BETWEEN_BYTES_MAX: usize = 80 * 1024 * 1024;

/// Time for an action of the server that a timeout triggers, in real time: less than the timeout of
/// a case.
const ENDS_WITHIN: Duration = Duration::from_secs(50);

/// Returns options with a small body budget.
fn holding_little() -> StartOptions {
    let server = IntakeConfig::default().with_bodies_bytes_max(HELD_BYTES_MAX);
    StartOptions::default().with_server(server)
}

/// Calls until a call is answered: the requests of others may fill the server briefly.
async fn assert_served(scene: &Scene, client: &dyn Requester) {
    let end = Instant::now() + ENDS_WITHIN;
    loop {
        let ask = scene.ask().body("beside them");
        match scene.call_by(client, &Context::background(), &ask).await {
            Ok(answer) => return assert_eq!(answer.body, "beside them"),
            Err(error) => assert_eq!(error.reason(), Some(&Reason::OVERLOADED), "{error:?}"),
        }
        assert!(Instant::now() < end, "nobody else is served");
        sleep(Duration::from_millis(1)).await;
    }
}

/// Reads the connections of a foreign peer until each ends or is silent for `quiet`. Returns the
/// number of bytes read and whether all connections ended.
async fn read_until_quiet(peer: &mut [RawUnread], quiet: Duration) -> (usize, bool) {
    let (mut taken, mut ended) = (0, true);
    let mut buffer = vec![0; 64 * 1024];
    for connection in peer {
        loop {
            match timeout(quiet, connection.read(&mut buffer)).await {
                Ok(Ok(bytes)) if bytes > 0 => taken += bytes,
                end => break ended &= end.is_ok(),
            }
        }
    }
    (taken, ended)
}

pub(crate) async fn replies_not_taken_are_bounded(stage: &Stage) {
    let scene = stage.open_with(holding_little()).await;
    let newcomer = scene.rig.connect_again().await.expect("a second client");
    let ask = scene.ask().reply_bytes(UNREAD_BYTES);
    let mut peer = scene.raw().unread(ask.raw(), UNREAD_CALLS).await.expect("they can be sent");
    scene.entered(&ask).await;
    let ran = || scene.lab.count(ask.key());
    // Other calls are served while the server works for this peer, and afterwards.
    let mut before = 0;
    while before < ran() {
        before = ran();
        assert_served(&scene, &*scene.client).await;
        assert_served(&scene, &*newcomer).await;
        sleep(stage.units(1)).await;
    }
    let (taken, _) = read_until_quiet(&mut peer, stage.timing().patience()).await;
    // Replies of handlers that ran only after the peer began to read were not held.
    let held = taken.saturating_sub((ran() - before) * UNREAD_BYTES);
    let most = HELD_BYTES_MAX + BETWEEN_BYTES_MAX;
    assert!(held <= most, "{held} bytes were held for one peer, where {most} are enough");
    drop((peer, newcomer));
    scene.idle().await;
}

pub(crate) async fn peers_that_take_nothing_are_ended(stage: &Stage) {
    let write_timeout = stage.units(20);
    let scene = stage.open_with(holding_little().with_write_timeout(write_timeout)).await;
    let connections = || scene.rig.live().connections;
    let before = connections();
    let ask = scene.ask().reply_bytes(UNREAD_BYTES);
    let mut peer = scene.raw().unread(ask.raw(), UNREAD_CALLS).await.expect("they can be sent");
    scene.entered(&ask).await;
    assert_served(&scene, &*scene.client).await;
    match (stage.timing(), before) {
        // An intermediary may keep the peer's connection open for the bytes that it still holds.
        (Timing::Virtual, _) => sleep(stage.late()).await,
        (Timing::Real { .. }, None) => sleep(write_timeout * 2 + stage.timing().margin()).await,
        (Timing::Real { .. }, Some(_)) => {
            let end = Instant::now() + ENDS_WITHIN;
            while connections() > before {
                let live = scene.rig.live();
                assert!(Instant::now() < end, "the peer is still connected: {live:?}");
                sleep(stage.units(1) / 10).await;
            }
        }
    }
    // The peer is not served again when it starts to read.
    let (taken, ended) = read_until_quiet(&mut peer, ENDS_WITHIN).await;
    assert!(ended, "its connection is still open after {taken} bytes");
    // With a connection per request, a reply may be in the system's buffers, where neither end can
    // drop it. On one connection, most replies must be lost.
    let is_whole = taken >= UNREAD_CALLS * UNREAD_BYTES;
    assert!(!is_whole || peer.len() > 1, "it was given everything");
    scene.idle().await;
    assert_served(&scene, &*scene.client).await;
}

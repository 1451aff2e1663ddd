//! curl: bodies over the limit and timeouts.

use std::time::Duration;

use crate::answers::{H2, pattern};
use crate::check::{Outcome, ensure};
use crate::curl::{Curl, Expected};
use crate::lives::{Stats, dropped};

/// The default limit of a body: 1 MiB less 32 KiB.
const BODY_BYTES_MAX: usize = 1_015_808;

const OVER: usize = BODY_BYTES_MAX + 1;

/// Keeps curl from waiting for 100 Continue, so that it sends the body immediately.
const IMMEDIATELY: [&str; 2] = ["--header", "expect:"];

const CHUNKED: [&str; 2] = ["--header", "transfer-encoding: chunked"];

checks! {
    body_of_the_limit_is_echoed: at_limit(&IMMEDIATELY);
    body_of_the_limit_is_echoed_chunked: at_limit(&[CHUNKED, IMMEDIATELY].concat());
    body_over_the_limit_is_rejected: too_large(OVER, &IMMEDIATELY);
    body_over_the_limit_is_rejected_chunked: too_large(OVER, &[CHUNKED, IMMEDIATELY].concat());
    body_over_the_limit_is_rejected_over_http_2: too_large(OVER, &[H2]);
    body_of_8_mib_is_refused_instead_of_100_continue:
        too_large(8 << 20, &["--header", "expect: 100-continue"]);
    body_of_8_mib_is_rejected_over_http_2: too_large(8 << 20, &[H2]);
    malformed_timeout_is_rejected: timeout("abc", 400, "invalid_argument");
    negative_timeout_is_rejected: timeout("-1", 400, "invalid_argument");
    timeout_of_11_digits_is_rejected: timeout("10000000000", 400, "invalid_argument");
    timeout_of_0_has_expired: timeout("0", 504, "deadline_exceeded");
    timeout_of_100_ms_drops_a_handler_of_1_s: deadline("--http1.1");
    timeout_of_100_ms_drops_a_handler_of_1_s_over_http_2: deadline(H2);
}

fn at_limit(options: &[&str]) -> Outcome {
    let curl = Curl::start()?;
    let body = pattern(BODY_BYTES_MAX);
    curl.post("/echo", &body, options)?.is_ok(&body)
}

fn too_large(bytes: usize, options: &[&str]) -> Outcome {
    let curl = Curl::start()?;
    curl.post("/echo", &pattern(bytes), options)?.is_error(&Expected {
        status: 413,
        code: "resource_exhausted",
        reason: Some("request-too-large"),
        delivery: "rejected",
    })
}

/// Sends a timeout that must keep the handler from running.
fn timeout(value: &str, status: u16, code: &str) -> Outcome {
    let curl = Curl::start()?;
    let before = Stats::read(&curl)?;
    let header = format!("connect-timeout-ms: {value}");
    let reply = curl.json("/demo/Sleep", r#"{"millis":1}"#, &["--header", &header])?;
    reply.is_error(&Expected { status, code, reason: None, delivery: "rejected" })?;
    let after = Stats::read(&curl)?;
    ensure(after.started == before.started, || "the handler ran".to_owned())
}

fn deadline(version: &str) -> Outcome {
    let curl = Curl::start()?;
    let before = Stats::read(&curl)?;
    let options = ["--header", "connect-timeout-ms: 100", version];
    let reply = curl.json("/demo/Sleep", r#"{"millis":1000}"#, &options)?;
    reply.is_error(&Expected {
        status: 504,
        code: "deadline_exceeded",
        reason: None,
        delivery: "processed",
    })?;
    let quick = Duration::from_millis(90)..Duration::from_millis(800);
    ensure(quick.contains(&reply.took), || format!("answered after {:?}", reply.took))?;
    dropped(&curl, &before)
}

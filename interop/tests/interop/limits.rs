//! curl: bodies over the limit and timeouts.

use std::time::Duration;

use super::answers::pattern;
use super::curl::{Curl, Expected, Reply};
use super::lives::{Stats, dropped};
use super::{Report, ensure};
use crate::command::Outcome;

/// The default limit of a body: 1 MiB less 32 KiB.
const BODY_BYTES_MAX: usize = 1_015_808;

const H2: &str = "--http2-prior-knowledge";

/// Keeps curl from waiting for 100 Continue, so that the body is on its way at once.
const AT_ONCE: [&str; 2] = ["--header", "expect:"];

const CHUNKED: [&str; 2] = ["--header", "transfer-encoding: chunked"];

/// Runs all checks of this file.
pub(super) fn check(curl: &Curl, report: &mut Report) {
    let over = BODY_BYTES_MAX + 1;
    report.check("curl: a body of the limit", at_limit(curl, &AT_ONCE));
    report.check("curl: a body of the limit, chunked", {
        at_limit(curl, &[CHUNKED, AT_ONCE].concat())
    });
    report.check("curl: a body over the limit", too_large(curl, over, &AT_ONCE));
    report.check("curl: a body over the limit, chunked", {
        too_large(curl, over, &[CHUNKED, AT_ONCE].concat())
    });
    report.check("curl: a body over the limit, HTTP/2", too_large(curl, over, &[H2]));
    report.check("curl: 8 MiB, refused instead of 100 Continue", refused_early(curl));
    report.check("curl: 8 MiB, HTTP/2", too_large(curl, 8 << 20, &[H2]));
    report.check("curl: malformed timeout", timeout(curl, "abc", 400, "invalid_argument"));
    report.check("curl: negative timeout", timeout(curl, "-1", 400, "invalid_argument"));
    report.check("curl: timeout of 11 digits", {
        timeout(curl, "10000000000", 400, "invalid_argument")
    });
    report.check("curl: timeout 0 has expired", timeout(curl, "0", 504, "deadline_exceeded"));
    for (name, option) in [("HTTP/1.1", "--http1.1"), ("HTTP/2", H2)] {
        let name = format!("curl: timeout of 100 ms on a handler of 1 s, {name}");
        report.check(&name, deadline(curl, option));
    }
}

fn at_limit(curl: &Curl, options: &[&str]) -> Outcome {
    let body = pattern(BODY_BYTES_MAX);
    curl.post("/echo", &body, options)?.is_ok(&body)
}

fn too_large(curl: &Curl, bytes: usize, options: &[&str]) -> Outcome {
    is_too_large(&curl.post("/echo", &pattern(bytes), options)?)
}

fn refused_early(curl: &Curl) -> Outcome {
    let reply = curl.post("/echo", &pattern(8 << 20), &["--header", "expect: 100-continue"])?;
    is_too_large(&reply)
}

fn is_too_large(reply: &Reply) -> Outcome {
    reply.is_error(&Expected {
        status: 413,
        code: "resource_exhausted",
        reason: Some("request-too-large"),
        delivery: "rejected",
    })
}

/// Sends a timeout that must keep the handler from running.
fn timeout(curl: &Curl, value: &str, status: u16, code: &str) -> Outcome {
    let before = Stats::read(curl)?;
    let header = format!("connect-timeout-ms: {value}");
    let reply = curl.json("/demo/Sleep", r#"{"millis":1}"#, &["--header", &header])?;
    reply.is_error(&Expected { status, code, reason: None, delivery: "rejected" })?;
    let after = Stats::read(curl)?;
    ensure(after.started == before.started, || "the handler ran".to_owned())
}

fn deadline(curl: &Curl, version: &str) -> Outcome {
    let before = Stats::read(curl)?;
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
    dropped(curl, &before)
}

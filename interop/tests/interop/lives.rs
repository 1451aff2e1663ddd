//! curl: what becomes of handlers when clients leave, handlers panic or the server drains.

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use super::curl::{Curl, Expected};
use super::server::Server;
use super::{Report, ensure};
use crate::command::Outcome;
use crate::steps::Stopwatch;

/// How long the server's counters may take to show what happened.
const SEEN_WITHIN: Duration = Duration::from_secs(3);

/// The counters of the server's Sleep method.
pub(super) struct Stats {
    pub(super) started: u64,
    finished: u64,
    dropped: u64,
}

impl Stats {
    pub(super) fn read(curl: &Curl) -> Outcome<Self> {
        let reply = curl.json("/demo/Stats", "{}", &[])?;
        let document = reply.document();
        let number = |member: &str| {
            document[member].as_u64().ok_or_else(|| format!("no {member}: {}", reply.seen()))
        };
        Ok(Self {
            started: number("started")?,
            finished: number("finished")?,
            dropped: number("dropped")?,
        })
    }

    fn shown(&self) -> String {
        let Self { started, finished, dropped } = self;
        format!("started {started}, finished {finished}, dropped {dropped}")
    }
}

/// Waits until one more Sleep than `before` was dropped, and fails if one finished instead.
pub(super) fn dropped(curl: &Curl, before: &Stats) -> Outcome {
    let now = until(curl, |now| now.dropped == before.dropped + 1)?;
    ensure(now.finished == before.finished && now.started == before.started + 1, || {
        format!("before: {}, after: {}", before.shown(), now.shown())
    })
}

fn until(curl: &Curl, condition: impl Fn(&Stats) -> bool) -> Outcome<Stats> {
    let watch = Stopwatch::start();
    loop {
        let now = Stats::read(curl)?;
        if condition(&now) {
            return Ok(now);
        }
        if watch.elapsed() > SEEN_WITHIN {
            return Err(format!("not seen within {SEEN_WITHIN:?}: {}", now.shown()));
        }
        thread::park_timeout(Duration::from_millis(20));
    }
}

/// Runs the checks that leave the server running.
pub(super) fn check(curl: &Curl, server: &Server, report: &mut Report) {
    for (name, option) in [("HTTP/1.1", "--http1.1"), ("HTTP/2", "--http2-prior-knowledge")] {
        report.check(&format!("curl: a panicking handler, {name}"), panic(curl, server, option));
        let name = format!("curl: a client that leaves drops the handler, {name}");
        report.check(&name, leave(curl, option));
    }
    report.check("curl: GET /ping after all that", {
        curl.call("/ping", &[]).and_then(|reply| ensure(reply.status == 200, || reply.seen()))
    });
}

fn panic(curl: &Curl, server: &Server, version: &str) -> Outcome {
    let reply = curl.json("/demo/Panic", "{}", &[version])?;
    reply.is_error(&Expected {
        status: 500,
        code: "internal",
        reason: Some("panic"),
        delivery: "processed",
    })?;
    let body = String::from_utf8_lossy(&reply.body).into_owned();
    ensure(!body.contains(".rs"), || format!("a source file in the answer: {body}"))?;
    // The panic's own text is what the standard hook logs on the line after the place.
    let log = server.log();
    let mut texts = log.lines().skip_while(|line| !line.contains("panicked at")).skip(1);
    let text = texts.next().ok_or("the server logged no panic")?;
    ensure(!text.is_empty() && !body.contains(text), || {
        format!("the panic's text {text:?} in the answer {body}")
    })
}

fn leave(curl: &Curl, version: &str) -> Outcome {
    let before = Stats::read(curl)?;
    let left = curl.json("/demo/Sleep", r#"{"millis":20000}"#, &[version, "--max-time", "0.5"]);
    if let Ok(reply) = left {
        return Err(format!("an answer in place of a timeout: {}", reply.seen()));
    }
    dropped(curl, &before)
}

/// Ends the server as a process manager does: a call in flight is answered, and then it is gone.
pub(super) fn check_drain(curl: &Curl, server: Server, report: &mut Report) {
    report.check("SIGTERM: the call in flight is answered, then the server ends", {
        drain(curl, server)
    });
}

fn drain(curl: &Curl, mut server: Server) -> Outcome {
    let before = Stats::read(curl)?;
    let options = ["--data", r#"{"millis":1500}"#, "--write-out", " %{http_code}"];
    let header = ["--header", "content-type: application/json"];
    let call = curl
        .command("/demo/Sleep", &[&options[..], &header].concat())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start curl: {error}"))?;
    until(curl, |now| now.started == before.started + 1)?;
    server.terminate()?;
    let output = call.wait_with_output().map_err(|error| error.to_string())?;
    let answer = String::from_utf8_lossy(&output.stdout);
    ensure(answer.ends_with(" 200"), || format!("the call in flight ended with {answer:?}"))?;
    let status = server.wait(Duration::from_secs(10))?;
    ensure(status.success(), || format!("the server ended with {status}"))
}

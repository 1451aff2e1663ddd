//! curl: what becomes of handlers when clients leave, handlers panic or the server drains.

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::answers::H2;
use crate::check::{Outcome, ensure};
use crate::curl::{Curl, Expected};
use crate::scripts::{node, python};

/// How long the server's counters may take to show what happened.
const SEEN_WITHIN: Duration = Duration::from_secs(3);

/// The counters of the server's Sleep method.
pub(crate) struct Stats {
    pub(crate) started: u64,
    finished: u64,
    dropped: u64,
}

impl Stats {
    pub(crate) fn read(curl: &Curl) -> Outcome<Self> {
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
pub(crate) fn dropped(curl: &Curl, before: &Stats) -> Outcome {
    let now = until(curl, |now| now.dropped == before.dropped + 1)?;
    ensure(now.finished == before.finished && now.started == before.started + 1, || {
        format!("before: {}, after: {}", before.shown(), now.shown())
    })
}

fn until(curl: &Curl, condition: impl Fn(&Stats) -> bool) -> Outcome<Stats> {
    let begin = Instant::now();
    loop {
        let now = Stats::read(curl)?;
        if condition(&now) {
            return Ok(now);
        }
        if begin.elapsed() > SEEN_WITHIN {
            return Err(format!("not seen within {SEEN_WITHIN:?}: {}", now.shown()));
        }
        thread::park_timeout(Duration::from_millis(20));
    }
}

checks! {
    panicking_handler_is_internal: panic(&Curl::start()?, "--http1.1");
    panicking_handler_is_internal_over_http_2: panic(&Curl::start()?, H2);
    client_that_leaves_drops_the_handler: leave(&Curl::start()?, "--http1.1");
    client_that_leaves_drops_the_handler_over_http_2: leave(&Curl::start()?, H2);
    panics_and_leaving_clients_leave_the_server_whole: still_serves();
    sigterm_answers_the_call_in_flight_and_ends_the_server: drain();
}

/// A server that had panics, and clients that left, serves others.
fn still_serves() -> Outcome {
    let curl = Curl::start()?;
    for version in ["--http1.1", H2] {
        panic(&curl, version)?;
        leave(&curl, version)?;
    }
    let reply = curl.call("/ping", &[])?;
    ensure(reply.status == 200, || reply.seen())
}

fn panic(curl: &Curl, version: &str) -> Outcome {
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
    let log = curl.server.log();
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

fn drain() -> Outcome {
    let mut curl = Curl::start()?;
    // The server has had clients of several kinds before, and their connections.
    for mut client in [python("httpx_client.py"), node("node_fetch.mjs")] {
        let client = client.arg(curl.server.url()).stdout(Stdio::null());
        let status =
            client.status().map_err(|error| format!("cannot start {client:?}: {error}"))?;
        ensure(status.success(), || format!("{client:?}: {status}"))?;
    }
    let reply = curl.call("/ping", &[])?;
    ensure(reply.status == 200, || reply.seen())?;
    let before = Stats::read(&curl)?;
    let options = ["--data", r#"{"millis":1500}"#, "--write-out", " %{http_code}"];
    let header = ["--header", "content-type: application/json"];
    let call = curl
        .command("/demo/Sleep", &[&options[..], &header].concat())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start curl: {error}"))?;
    until(&curl, |now| now.started == before.started + 1)?;
    curl.server.terminate()?;
    let output = call.wait_with_output().map_err(|error| error.to_string())?;
    let answer = String::from_utf8_lossy(&output.stdout);
    ensure(answer.ends_with(" 200"), || format!("the call in flight ended with {answer:?}"))?;
    curl.server.ends()
}

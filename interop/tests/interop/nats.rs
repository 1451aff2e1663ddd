//! NATS: `ping_nats` and foreign peers over a real nats-server.

use std::process::Command;
use std::time::Duration;

use rr_testkit::NatsServer;
use tokio::runtime::Builder;

use crate::check::{Outcome, ensure, passed, printed};
use crate::example::{PING_NATS, Told};
use crate::go::{prints, program};
use crate::openapi::described;
use crate::scripts::{holds, node, python};
use crate::secured::Secured;
use crate::server::Server;

/// Longest time until a call learns that there is no responder, without the start and the connection.
const NO_RESPONDERS_MAX: Duration = Duration::from_millis(50);

/// What the wire format makes of an error header of a foreign service.
const fn processed(code: &'static str) -> Told {
    (code, "Processed", "Peer")
}

const SILENT: Told = ("DeadlineExceeded", "Unknown", "Local");

const NO_RESPONDER: Told = ("Unavailable", "NotSent", "Intermediary");

checks! {
    go_requester_of_ping_nats: go_requester();
    go_no_responders_once_ping_nats_has_ended: go_no_responder();
    go_responder_for_ping_nats: go_responder();

    python_answer: answer(Peer::PYTHON, "pong from python");
    python_400: fails(Peer::PYTHON, "400", processed("InvalidArgument"));
    python_404: fails(Peer::PYTHON, "404", processed("NotFound"));
    python_409: fails(Peer::PYTHON, "409", processed("Aborted"));
    python_429: fails(Peer::PYTHON, "429", processed("ResourceExhausted"));
    python_500: fails(Peer::PYTHON, "500", processed("Internal"));
    python_503: fails(Peer::PYTHON, "503", processed("Unavailable"));
    python_silent: fails(Peer::PYTHON, "silent", SILENT);
    python_message_of_an_error: message(Peer::PYTHON);
    python_other_subject_has_no_responder: no_responder(Peer::PYTHON);

    node_answer: answer(Peer::NODE, "pong from node");
    node_400: fails(Peer::NODE, "400", processed("InvalidArgument"));
    node_404: fails(Peer::NODE, "404", processed("NotFound"));
    node_409: fails(Peer::NODE, "409", processed("Aborted"));
    node_429: fails(Peer::NODE, "429", processed("ResourceExhausted"));
    node_500: fails(Peer::NODE, "500", processed("Internal"));
    node_503: fails(Peer::NODE, "503", processed("Unavailable"));
    node_silent: fails(Peer::NODE, "silent", SILENT);
    node_message_of_an_error: message(Peer::NODE);
    node_other_subject_has_no_responder: no_responder(Peer::NODE);
}

#[test]
fn python_client() -> Outcome {
    let (_broker, url, _server) = served()?;
    holds(20, python("nats_client.py").arg(url))
}

#[test]
fn python_client_over_tls_with_an_nkey() -> Outcome {
    let secured = Secured::start()?;
    let server = PING_NATS.serve(Some(&secured.url("")))?;
    holds(20, &mut secured.peer(python("nats_client.py")))?;
    drop(server);
    Ok(())
}

#[test]
fn python_answer_over_tls_with_an_nkey() -> Outcome {
    let secured = Secured::start()?;
    let _server = Server::start("secured-python", &mut secured.peer(python("nats_responder.py")))?;
    PING_NATS.is_answered(&secured.url("/ok"), "pong from python")?;
    passed("nats-py over TLS with an nkey answers")
}

#[test]
fn node_client() -> Outcome {
    let (_broker, url, _server) = served()?;
    holds(13, node("nats_client.mjs").arg(url))
}

#[test]
fn python_description_of_a_service() -> Outcome {
    let (_broker, url, _server) = described_service()?;
    holds(3, python("nats_described.py").arg(url))
}

#[test]
fn node_description_of_a_service() -> Outcome {
    let (_broker, url, _server) = described_service()?;
    holds(1, node("nats_described.mjs").arg(url))
}

/// Starts a nats-server, and the described service on it.
fn described_service() -> Outcome<(NatsServer, String, Server)> {
    let (broker, url) = broker()?;
    let server = Server::start("described-nats", described().args(["serve", &url]))?;
    Ok((broker, url, server))
}

/// Two checks: the call in flight is answered, and then the server ends.
#[test]
fn python_call_in_flight_at_sigterm() -> Outcome {
    let (_broker, url, mut server) = served()?;
    holds(1, python("nats_drain.py").args([&url, &server.process().to_string()]))?;
    server.ends()?;
    passed("nats: SIGTERM: ping_nats ends")
}

/// Starts a nats-server, and `ping_nats` on it.
fn served() -> Outcome<(NatsServer, String, Server)> {
    let (broker, url) = broker()?;
    let server = PING_NATS.serve(Some(&url))?;
    Ok((broker, url, server))
}

pub(crate) fn broker() -> Outcome<(NatsServer, String)> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let broker = runtime.block_on(NatsServer::start()).map_err(|error| error.to_string())?;
    let url = broker.url();
    Ok((broker, url))
}

fn go_requester() -> Outcome {
    let (_broker, url, _server) = served()?;
    prints(program("nats_requester").arg(url), "pong\n")
}

fn go_no_responder() -> Outcome {
    let (_broker, url, mut server) = served()?;
    server.terminate()?;
    server.ends()?;
    match printed(program("nats_requester").arg(url)) {
        Ok(printed) => Err(format!("it printed {printed:?}")),
        Err(error) => ensure(error.contains("no responders available"), || error),
    }
}

fn go_responder() -> Outcome {
    let (_broker, url) = broker()?;
    let server = Server::start("go-nats", program("nats_responder").arg(url))?;
    PING_NATS.is_answered(server.url(), "pong")
}

/// A foreign service with a script for each outcome.
#[derive(Clone, Copy)]
struct Peer(fn(&str) -> Command, &'static str);

impl Peer {
    const PYTHON: Self = Self(python, "nats_responder.py");
    const NODE: Self = Self(node, "nats_responder.mjs");

    fn start(self) -> Outcome<(NatsServer, Server)> {
        let (broker, url) = broker()?;
        let Self(command, script) = self;
        let server = Server::start(script, command(script).arg(url))?;
        Ok((broker, server))
    }
}

fn scripted(server: &Server, script: &str) -> String {
    format!("{}/{script}", server.url())
}

fn answer(peer: Peer, answer: &str) -> Outcome {
    let (_broker, server) = peer.start()?;
    PING_NATS.is_answered(&scripted(&server, "ok"), answer)
}

fn fails(peer: Peer, script: &str, told: Told) -> Outcome {
    let (_broker, server) = peer.start()?;
    PING_NATS.fails(&scripted(&server, script), told).map(drop)
}

fn message(peer: Peer) -> Outcome {
    let (_broker, server) = peer.start()?;
    let called = PING_NATS.fails(&scripted(&server, "404"), processed("NotFound"))?;
    ensure(called.complained.contains("scripted 404"), || called.seen())
}

/// Compares whole runs of the client, the fastest of five each: the difference is what it takes
/// to learn that there is no responder, and this machine may be busy with other things.
fn no_responder(peer: Peer) -> Outcome {
    let (_broker, server) = peer.start()?;
    let (mut with, mut without) = (Duration::MAX, Duration::MAX);
    for _ in 0..5 {
        with = with.min(PING_NATS.call(&scripted(&server, "ok"))?.took);
        let called = PING_NATS.fails(&scripted(&server, "nobody"), NO_RESPONDER)?;
        ensure(called.complained.contains("no-responder"), || called.seen())?;
        without = without.min(called.took);
    }
    ensure(without < with + NO_RESPONDERS_MAX, || {
        format!("{without:?} until it failed, {with:?} when there is an answer")
    })
}

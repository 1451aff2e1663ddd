//! NATS: `ping_nats` and peers that never heard of us, over a real nats-server.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::broker::Broker;
use super::example::{Example, Told};
use super::server::Server;
use super::{Report, ensure, go, peers};
use crate::command::{Outcome, command};

/// The example that serves and calls over NATS.
pub(super) const EXAMPLE: &str = "ping_nats";

/// How long it may take to learn that nobody answers, besides starting and connecting.
const NO_RESPONDERS_MAX: Duration = Duration::from_millis(50);

/// Scripts of the foreign responders, and what the wire format makes of what they answer.
const SCRIPTS: [(&str, Told); 7] = [
    ("400", ("InvalidArgument", "Processed", "Peer")),
    ("404", ("NotFound", "Processed", "Peer")),
    ("409", ("Aborted", "Processed", "Peer")),
    ("429", ("ResourceExhausted", "Processed", "Peer")),
    ("500", ("Internal", "Processed", "Peer")),
    ("503", ("Unavailable", "Processed", "Peer")),
    ("silent", ("DeadlineExceeded", "Unknown", "Local")),
];

const NOBODY: Told = ("Unavailable", "NotSent", "Intermediary");

/// Runs every check; those of Go when its programs are there.
pub(super) fn check(folder: &Path, example: &Example, go: bool, report: &mut Report) -> Outcome {
    let broker = Broker::start(folder)?;
    let url = broker.url();
    println!("nats-server at {url}");
    let server = example.serve(Some(url))?;
    if go {
        go::check_requester(folder, url, report);
    }
    peers::python_script(folder, "nats_client.py", &[url], report);
    peers::node(folder, "nats_client.mjs", url, report);
    check_drain(folder, server, url, report);
    if go {
        go::check_nobody(folder, url, report);
        go::check_responder(folder, example, url, report);
    }
    let mut python = command(peers::python(folder), [peers::scripts().join("nats_responder.py")]);
    check_responder("nats-py", "pong from python", &mut python, example, url, report);
    let mut node = command("node", [folder.join("node/nats_responder.mjs")]);
    check_responder("nats.js", "pong from node", &mut node, example, url, report);
    Ok(())
}

/// Ends the server as a process manager does: a call in flight is answered, and then it is gone.
fn check_drain(folder: &Path, mut server: Server, url: &str, report: &mut Report) {
    let process = server.process().to_string();
    peers::python_script(folder, "nats_drain.py", &[url, &process], report);
    report.check("SIGTERM: ping_nats ends", {
        let status = server.wait(Duration::from_secs(10));
        status.and_then(|status| ensure(status.success(), || format!("it ended with {status}")))
    });
}

/// Our client and one foreign service with a script for each outcome.
fn check_responder(
    name: &str,
    answer: &str,
    responder: &mut Command,
    example: &Example,
    url: &str,
    report: &mut Report,
) {
    let responder = match Server::start(name, responder.arg(url)) {
        Ok(responder) => responder,
        Err(error) => return report.check(&format!("{name}: a responder starts"), Err(error)),
    };
    let scripted = |script: &str| format!("{}/{script}", responder.url());
    report.check(&format!("our client: an answer of {name}"), {
        example.is_answered(&scripted("ok"), answer)
    });
    for (script, told) in SCRIPTS {
        let check = format!("our client: {script} of {name}");
        report.check(&check, example.fails(&scripted(script), told).map(drop));
    }
    report.check(&format!("our client: the message of {name}'s error"), {
        example
            .fails(&scripted("404"), SCRIPTS[1].1)
            .and_then(|called| ensure(called.complained.contains("scripted 404"), || called.seen()))
    });
    report.check(&format!("our client: nobody beside {name}"), {
        nobody(example, &scripted("ok"), &scripted("nobody"))
    });
}

/// Compares whole runs of the client, the fastest of five each: the difference is what it takes
/// to learn that nobody answers, and this machine may be busy with other things.
fn nobody(example: &Example, answered: &str, unanswered: &str) -> Outcome {
    let (mut with, mut without) = (Duration::MAX, Duration::MAX);
    for _ in 0..5 {
        with = with.min(example.call(answered)?.took);
        let called = example.fails(unanswered, NOBODY)?;
        ensure(called.complained.contains("no-responder"), || called.seen())?;
        without = without.min(called.took);
    }
    ensure(without < with + NO_RESPONDERS_MAX, || {
        format!("{without:?} until it failed, {with:?} when there is an answer")
    })
}

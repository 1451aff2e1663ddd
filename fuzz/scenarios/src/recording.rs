//! Recordings of calls: arbitrary files, and what is recorded of their replay.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use rr_core::record::{Recorder, RecorderConfig, Redaction, Replay};
use rr_core::{Code, Context, Delivery, Error, Request, Requester, Response, Stack, Target};

use crate::world;

/// Most calls of a recording that are made.
const CALLS_MAX: usize = 4;

/// File in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no holder panics").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads bytes as a recording, makes some of its calls, and records them again.
///
/// # Panics
///
/// When a refused recording names no line, a call is lost, or an outcome changes.
pub fn recording(bytes: &[u8]) {
    let replay = match Replay::best_match(bytes) {
        Ok(replay) => replay,
        Err(error) => {
            let (code, delivery) = (error.code(), error.delivery());
            assert_eq!((code, delivery), (Code::InvalidArgument, Delivery::NotSent));
            return assert!(error.message().starts_with("line "), "{error}");
        }
    };
    let targets: Vec<_> = replay.remaining().iter().map(|line| target(line)).collect();
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    assert_eq!(targets.len(), lines.count());
    world::run(async {
        let (file, redaction) = (Memory::default(), Redaction::default().with_every_header());
        let config =
            RecorderConfig::default().with_redaction(redaction.with_body_bytes_max(bytes.len()));
        let recorder = Recorder::new(file.clone(), config).expect("a thread starts");
        let first = outcomes(&Stack::new(replay).with(recorder.clone()), &targets).await;
        recorder.flush().await.expect("memory is written");
        let again = file.0.lock().expect("no holder panics").clone();
        let again = Replay::strict(&*again).expect("what was written is read");
        assert_eq!(outcomes(&again, &targets).await, first);
    });
}

/// Returns the target of a described call, such as `line 3: orders.place (safe) ..`.
fn target(line: &str) -> Target {
    let target = line.split(' ').nth(2).expect("the target is the third word");
    target.try_into().expect("a recorded target is a target")
}

/// Calls the targets, and describes what became of the calls.
async fn outcomes(client: &impl Requester, targets: &[Target]) -> Vec<String> {
    let mut outcomes = Vec::new();
    for target in targets.iter().take(CALLS_MAX) {
        let request = Request::new(target.clone(), "");
        let outcome = client.request(&Context::background(), request).await;
        outcomes.push(describe(&outcome));
    }
    outcomes
}

fn describe(outcome: &Result<Response, Error>) -> String {
    match outcome {
        Ok(response) => format!("{response:?} {:?}", response.dedup()),
        Err(error) => format!("{error:?} {:?} {}", error.attempts(), error.account()),
    }
}

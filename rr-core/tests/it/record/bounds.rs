//! Full disks, blocked writers and limits: calls are lost, counted and told of, and not harmed.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rr_core::call::Detail;
use rr_core::observe::{Stage, Timeline};
use rr_core::record::{Recorder, RecorderConfig, Replay};
use rr_core::retry::AttemptRecord;
use rr_core::{Code, Context, Error, Headers, Requester, Stack};
use rr_testkit::Reports;
use serde_json::Value;

use super::support::{Echo, Memory, Prepared, request};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Makes so many calls, of which none may fail.
async fn calls(client: &impl Requester, count: usize) {
    for _ in 0..count {
        let reply = client.request(&Context::background(), request("t", "body")).await;
        assert_eq!(reply.unwrap().body, "body");
    }
}

fn observed() -> (Reports, RecorderConfig) {
    let reports = Reports::new();
    let config = RecorderConfig::default().with_observers(reports.observers());
    (reports, config)
}

fn told(reports: &Reports) -> Vec<String> {
    reports.take_events()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_line_of_a_thousand_simultaneous_calls_is_whole() {
    let path = path("thousand.jsonl");
    let recorder = Recorder::create(&path, RecorderConfig::default()).unwrap();
    let client = std::sync::Arc::new(Stack::new(Echo).with(recorder.clone()));
    let calls: Vec<_> = (0..1000)
        .map(|number: u32| {
            let client = std::sync::Arc::clone(&client);
            tokio::spawn(async move {
                let body = number.to_string().repeat(100);
                client.request(&Context::background(), request("t", body)).await.unwrap()
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    recorder.flush().await.unwrap();
    assert_eq!((recorder.written(), recorder.lost()), (1000, 0));
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: BTreeSet<_> = lines.iter().map(|line| line["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=1000).collect());
    for line in lines {
        assert_eq!(line["request"]["body"], line["reply"]["body"]);
    }
    assert_eq!(Replay::strict(File::open(&path).unwrap()).unwrap().remaining().len(), 1000);
}

#[cfg(unix)]
#[test]
fn a_recording_is_created_for_its_owner_and_replaces_an_earlier_one() {
    use std::os::unix::fs::PermissionsExt;

    let path = path("owner.jsonl");
    let _ = fs::remove_file(&path);
    drop(Recorder::create(&path, RecorderConfig::default()).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::write(&path, "earlier").unwrap();
    drop(Recorder::create(&path, RecorderConfig::default()).unwrap());
    assert_eq!(fs::read(&path).unwrap(), b"");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_is_told_once_and_harms_no_call() {
    let (reports, config) = observed();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let recorder = Recorder::new(full, config).unwrap();
    let client = Stack::new(Echo).with(recorder.clone());
    calls(&client, 10).await;
    let error = recorder.flush().await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("No space left on device"), "{error}");
    calls(&client, 10).await;
    assert_eq!((recorder.written(), recorder.lost()), (0, 20));
    let [told] = told(&reports).try_into().unwrap();
    assert!(told.contains("RecordingIncomplete") && told.contains("No space left"), "{told}");
    assert_eq!(recorder.failure().unwrap().message(), error.message());
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_an_error() {
    let missing = path("missing").join("calls.jsonl");
    let error = Recorder::create(&missing, RecorderConfig::default()).unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("calls.jsonl"), "{error}");
}

/// Writer that waits for a message before each write.
struct Blocked {
    gate: Receiver<()>,
    file: Memory,
}

impl Blocked {
    fn new() -> (Self, Sender<()>, Memory) {
        let (open, gate) = channel();
        let file = Memory::default();
        (Self { gate, file: file.clone() }, open, file)
    }
}

impl Write for Blocked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Without a sender, it writes without waiting.
        let _ = self.gate.recv();
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_blocked_writer_blocks_no_call_and_what_does_not_fit_is_counted() {
    let (reports, config) = observed();
    let (out, gate, file) = Blocked::new();
    let recorder = Recorder::new(out, config.with_queued_calls_max(3)).unwrap();
    let client = Stack::new(Echo).with(recorder.clone());
    calls(&client, 20).await;
    // The writer holds one call or none, and the queue three.
    let lost = recorder.lost();
    assert!((16..=17).contains(&lost), "{lost}");
    assert_eq!(told(&reports).len(), 1);
    drop(gate);
    recorder.flush().await.unwrap();
    assert_eq!(recorder.written(), 20 - lost);
    calls(&client, 1).await;
    recorder.flush().await.unwrap();
    assert_eq!(file.text().lines().count() as u64, 21 - lost, "it goes on when it can");
    let last: Value = serde_json::from_str(file.text().lines().last().unwrap()).unwrap();
    assert_eq!(last["n"], 21, "the gap shows the loss");
    assert_eq!(told(&reports).len(), 0);
}

#[tokio::test]
async fn a_writer_that_hangs_does_not_hang_the_drop_of_its_recorder() {
    let (out, gate, file) = Blocked::new();
    let client = Stack::new(Echo).with(Recorder::new(out, RecorderConfig::default()).unwrap());
    calls(&client, 2).await;
    drop(client);
    assert_eq!(file.text(), "");
    drop(gate);
}

#[tokio::test]
async fn the_bodies_that_wait_are_bounded() {
    let (reports, config) = observed();
    let (out, gate, file) = Blocked::new();
    // Each of the long calls holds a request and a reply of 60 kB.
    let recorder = Recorder::new(out, config.with_queued_bytes_max(100_000)).unwrap();
    let client = Stack::new(Echo).with(recorder.clone());
    drop(gate);
    for _ in 0..2 {
        let long = request("t", "b".repeat(60_000));
        client.request(&Context::background(), long).await.unwrap();
    }
    calls(&client, 1).await;
    recorder.flush().await.unwrap();
    assert_eq!((recorder.written(), recorder.lost()), (1, 2));
    assert_eq!(file.text().lines().count(), 1);
    assert_eq!(told(&reports).len(), 1);
}

/// Returns failures that each hold 12 kB, each in another part.
fn long_failures() -> Vec<(&'static str, Error)> {
    let long = || "x".repeat(12_000);
    let failure = || Error::new(Code::NotFound, "no tea");
    let with_note =
        || failure().with_timeline(Timeline::new(Stage::ReadingReply).with_note(long()));
    let attempt = |error: &Error| AttemptRecord::of(error, Duration::ZERO);
    let mut headers = Headers::new();
    headers.insert("x-long", long()).unwrap();
    let detail = Detail::new("a.B", "x".repeat(1000));
    vec![
        ("message", Error::new(Code::NotFound, long())),
        ("hint", failure().with_hint(long())),
        ("headers", failure().with_headers(headers)),
        ("details", (0..12).fold(failure(), |error, _| error.with_detail(detail.clone()))),
        ("note", with_note()),
        ("note of an attempt", failure().with_attempts(vec![attempt(&with_note())])),
        (
            "endpoint",
            failure().with_attempts(vec![attempt(&failure()).with_endpoint(long().into())]),
        ),
        ("attempts", failure().with_attempts(vec![attempt(&failure()); 100])),
    ]
}

#[tokio::test]
async fn whatever_a_call_that_waits_holds_is_bounded() {
    for (part, failure) in long_failures() {
        let (out, gate, _) = Blocked::new();
        let config = RecorderConfig::default().with_queued_bytes_max(20_000);
        let recorder = Recorder::new(out, config).unwrap();
        let failures = vec![Err(failure); 10];
        let client = Stack::new(Prepared::new(failures)).with(recorder.clone());
        for _ in 0..10 {
            client.request(&Context::background(), request("t", "")).await.unwrap_err();
        }
        // The writer holds one call or none, and the queue one.
        let lost = recorder.lost();
        assert!((8..=9).contains(&lost), "{part}: {lost}");
        drop(gate);
        recorder.flush().await.unwrap();
        assert_eq!(recorder.written(), 10 - lost, "{part}");
    }
}

#[tokio::test]
async fn the_headers_of_requests_that_wait_are_bounded() {
    let (out, gate, _) = Blocked::new();
    let config = RecorderConfig::default().with_queued_bytes_max(20_000);
    let recorder = Recorder::new(out, config).unwrap();
    let client = Stack::new(Echo).with(recorder.clone());
    let mut headers = Headers::new();
    headers.insert("x-long", "x".repeat(12_000)).unwrap();
    for _ in 0..10 {
        let call = request("t", "").with_headers(headers.clone());
        client.request(&Context::background(), call).await.unwrap();
    }
    let lost = recorder.lost();
    assert!((8..=9).contains(&lost), "{lost}");
    drop(gate);
}

#[tokio::test]
async fn a_file_stays_within_its_limit_and_ends_with_a_whole_line() {
    let (reports, config) = observed();
    let file = Memory::default();
    let recorder = Recorder::new(file.clone(), config.with_file_bytes_max(1000)).unwrap();
    let client = Stack::new(Echo).with(recorder.clone());
    calls(&client, 50).await;
    let error = recorder.flush().await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert!(error.hint().contains("file_bytes_max"));
    assert!((500..=1000).contains(&file.bytes().len()), "{}", file.text());
    assert!(file.text().ends_with('\n'));
    assert_eq!(recorder.written() + recorder.lost(), 50);
    assert_eq!(file.text().lines().count() as u64, recorder.written());
    assert_eq!(told(&reports).len(), 1);
}

#[tokio::test]
async fn a_writer_that_panics_ends_the_recording_only() {
    struct Panics;

    impl Write for Panics {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            panic!("in a writer")
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let (reports, config) = observed();
    let recorder = Recorder::new(Panics, config).unwrap();
    let client = Stack::new(Echo).with(recorder.clone());
    calls(&client, 5).await;
    let error = recorder.flush().await.unwrap_err();
    assert!(error.message().contains("the writer panicked"), "{error}");
    assert_eq!((recorder.lost(), told(&reports).len()), (5, 1));
}

#[tokio::test]
async fn nothing_follows_a_line_that_was_written_in_part() {
    /// Writes one byte, fails once, and writes all again.
    #[derive(Default)]
    struct Torn {
        file: Memory,
        writes: usize,
    }

    impl Write for Torn {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.writes += 1;
            match self.writes {
                1 => self.file.write(&bytes[..1]),
                2 => Err(io::Error::other("torn off")),
                _ => self.file.write(bytes),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            self.file.write_all(b"flushed")
        }
    }

    let out = Torn::default();
    let file = out.file.clone();
    let recorder = Recorder::new(out, RecorderConfig::default()).unwrap();
    let client = Stack::new(Echo).with(recorder.clone());
    for _ in 0..3 {
        calls(&client, 1).await;
        recorder.flush().await.unwrap_err();
    }
    assert_eq!((file.text().as_str(), recorder.written(), recorder.lost()), ("{", 0, 3));
}

#[tokio::test]
async fn a_line_that_no_replay_reads_is_not_written() {
    let (reports, config) = observed();
    let redaction = rr_core::record::Redaction::default().with_body_bytes_max(usize::MAX);
    let file = Memory::default();
    let recorder = Recorder::new(file.clone(), config.with_redaction(redaction)).unwrap();
    let client = Stack::new(Echo).with(recorder.clone());
    let long = request("t", "\"".repeat(5 * 1024 * 1024));
    client.request(&Context::background(), long).await.unwrap();
    calls(&client, 1).await;
    recorder.flush().await.unwrap();
    assert_eq!((recorder.written(), recorder.lost()), (1, 1));
    let [told] = told(&reports).try_into().unwrap();
    assert!(told.contains("16 MiB"), "{told}");
}

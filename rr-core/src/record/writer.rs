//! Writer of a recording: a bounded queue, and the thread that writes the lines.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use rr_spi::observe::{Event, Observers};
use rr_spi::{Code, Delivery, Error, Reason};
use tokio::sync::Notify;

use super::call::Ended;
use super::config::RecorderConfig;
use super::line::LINE_BYTES_MAX;
use super::redaction::Redaction;

/// Longest time for which the drop of a recorder waits for its writer: no disk takes longer, and a
/// writer that hangs must not hang the process.
const DROP_WAIT: Duration = Duration::from_secs(2);

/// Maximum number of lines between two flushes of the writer.
const BATCH_LINES_MAX: u64 = 64;

/// Queue of calls that have ended, and the end of the thread that writes them.
pub(super) struct Queue {
    /// Taken on drop, which ends the thread.
    calls: Option<SyncSender<Box<Ended>>>,
    /// Disconnected when the thread has ended.
    thread: Mutex<Receiver<()>>,
    queued: AtomicU64,
    bytes_max: usize,
    shared: Arc<Shared>,
}

/// State that the calls and the thread share.
struct Shared {
    /// Number of calls that the thread has written or discarded, after a flush of the writer.
    done: AtomicU64,
    done_changed: Notify,
    held_bytes: AtomicUsize,
    written: AtomicU64,
    lost: AtomicU64,
    failure: OnceLock<Error>,
    observers: Observers,
    told_full: AtomicBool,
    told_long: AtomicBool,
}

impl Queue {
    /// Starts the thread that writes.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        config: RecorderConfig,
    ) -> io::Result<Self> {
        let (calls, queue) = mpsc::sync_channel(config.queued_calls_max.max(1));
        let (ends, thread) = mpsc::channel();
        let shared = Arc::new(Shared {
            done: AtomicU64::new(0),
            done_changed: Notify::new(),
            held_bytes: AtomicUsize::new(0),
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            failure: OnceLock::new(),
            observers: crate::observe::with_features(config.observers),
            told_full: AtomicBool::new(false),
            told_long: AtomicBool::new(false),
        });
        let writer = Writer {
            out,
            redaction: config.redaction,
            bytes_left: config.file_bytes_max,
            shared: Arc::clone(&shared),
            _ends: ends,
        };
        let run = move || writer.run(&queue);
        thread::Builder::new().name("rr-record".to_owned()).spawn(run)?;
        Ok(Self {
            calls: Some(calls),
            thread: Mutex::new(thread),
            queued: AtomicU64::new(0),
            bytes_max: config.queued_bytes_max,
            shared,
        })
    }

    /// Hands a call to the thread without waiting. A call that does not fit is lost.
    pub(super) fn push(&self, call: Ended) {
        let shared = &self.shared;
        if shared.failure.get().is_some() {
            shared.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let bytes = call.held_bytes();
        let held = shared.held_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let fits = held <= self.bytes_max;
        let calls = self.calls.as_ref().filter(|_| fits);
        if calls.is_some_and(|calls| calls.try_send(Box::new(call)).is_ok()) {
            self.queued.fetch_add(1, Ordering::Release);
            return;
        }
        shared.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
        let reason = "calls end faster than the recorder writes them";
        shared.lose(&shared.told_full, reason);
    }

    /// Waits until the calls that were pushed before are written.
    pub(super) async fn flush(&self) -> Result<(), Error> {
        let queued = self.queued.load(Ordering::Acquire);
        loop {
            // Made before the check, so that no change is missed.
            let changed = self.shared.done_changed.notified();
            if self.shared.done.load(Ordering::Acquire) >= queued {
                break;
            }
            changed.await;
        }
        self.failure().map_or(Ok(()), Err)
    }

    pub(super) fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    pub(super) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    pub(super) fn failure(&self) -> Option<Error> {
        self.shared.failure.get().cloned()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.calls = None;
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner);
        // The thread sends nothing: this waits until it has ended.
        let _ = thread.recv_timeout(DROP_WAIT);
    }
}

impl Shared {
    /// Counts a lost call, and reports the reason if this is the first call lost for it.
    fn lose(&self, told: &AtomicBool, reason: &str) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        if !told.swap(true, Ordering::Relaxed) {
            self.observers.event(&Event::recording_incomplete(reason));
        }
    }

    /// Ends the recording, and reports why.
    fn fail(&self, error: Error) {
        let reason = error.message().to_owned();
        if self.failure.set(error).is_ok() {
            self.observers.event(&Event::recording_incomplete(&reason));
        }
    }
}

/// State of the thread that writes.
struct Writer<W> {
    out: W,
    redaction: Redaction,
    bytes_left: u64,
    shared: Arc<Shared>,
    /// Dropped with the writer, which tells the queue.
    _ends: Sender<()>,
}

impl<W: Write> Writer<W> {
    fn run(mut self, calls: &Receiver<Box<Ended>>) {
        while let Ok(first) = calls.recv() {
            self.add(&first);
            drop(first);
            let mut lines = 1;
            while lines < BATCH_LINES_MAX {
                let Ok(next) = calls.try_recv() else { break };
                self.add(&next);
                lines += 1;
            }
            self.contained(|out| out.flush());
            self.shared.done.fetch_add(lines, Ordering::Release);
            self.shared.done_changed.notify_waiters();
        }
    }

    /// Writes the line of a call, or counts the call as lost.
    fn add(&mut self, call: &Ended) {
        self.shared.held_bytes.fetch_sub(call.held_bytes(), Ordering::Relaxed);
        if self.shared.failure.get().is_none() {
            let mut line = call.line(&self.redaction);
            line.push(b'\n');
            if line.len() > LINE_BYTES_MAX {
                let reason = "the line of a call is longer than 16 MiB";
                return self.shared.lose(&self.shared.told_long, reason);
            }
            self.write(&line);
        }
        match self.shared.failure.get() {
            Some(_) => self.shared.lost.fetch_add(1, Ordering::Relaxed),
            None => self.shared.written.fetch_add(1, Ordering::Relaxed),
        };
    }

    fn write(&mut self, line: &[u8]) {
        match self.bytes_left.checked_sub(line.len() as u64) {
            Some(left) => {
                self.bytes_left = left;
                self.contained(|out| out.write_all(line));
            }
            None => self.shared.fail(full()),
        }
    }

    /// Writes, unless the recording has failed. A failure or a panic ends the recording: a part of a
    /// line may have been written, so that nothing may follow.
    fn contained(&mut self, write: impl FnOnce(&mut W) -> io::Result<()>) {
        if self.shared.failure.get().is_some() {
            return;
        }
        let written = catch_unwind(AssertUnwindSafe(|| write(&mut self.out)));
        // A payload that panics when it is dropped must not end the thread.
        let panicked = |payload| {
            std::mem::forget(payload);
            Err(io::Error::other("the writer panicked"))
        };
        if let Err(error) = written.unwrap_or_else(panicked) {
            self.shared.fail(failed(error));
        }
    }
}

/// A flush that waits for the thread must not outlast it.
impl<W> Drop for Writer<W> {
    fn drop(&mut self) {
        self.shared.done.store(u64::MAX, Ordering::Release);
        self.shared.done_changed.notify_waiters();
    }
}

fn failed(error: io::Error) -> Error {
    let text = format!("the recording cannot be written: {error}");
    Error::failure(Code::Unavailable, Delivery::NotSent, None, text)
        .with_source(error)
        .with_hint("make the file writable, then start another recording")
}

fn full() -> Error {
    let text = "the recording has reached its limit of bytes";
    Error::failure(Code::ResourceExhausted, Delivery::NotSent, None::<Reason>, text)
        .with_hint("raise `file_bytes_max`, or record fewer calls")
}

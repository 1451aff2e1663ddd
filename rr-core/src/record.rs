//! Record and replay: calls are written to a file, and a requester answers from it.
//!
//! A [`Recorder`] is middleware that writes one line for each call: for a client in a
//! [`Stack`](crate::Stack), for a server with [`Router::with`](crate::Router::with).
//!
//! # Lines
//!
//! Each line is a JSON object that ends with a line feed, at most 16 MiB long. The form has the
//! version 1 and is an interface: a reader ignores members that it does not know, and a change of a
//! member's meaning is another version. Lines are in the order in which calls end.
//!
//! | member | value |
//! |---|---|
//! | `v` | the version of the form: 1 |
//! | `n` | the number of the call in the order of starts, from 1; a number that is missing is a call that was lost, or had not ended |
//! | `at` | the start on the wall clock: RFC 3339 in UTC, with milliseconds |
//! | `elapsed_us` | the duration in microseconds |
//! | `target` | the target |
//! | `idempotency` | `unspecified`, `safe`, `idempotent` or `keyed`; the key is the header `idempotency-key` |
//! | `timeout_us` | the time to the deadline at the start, in microseconds; missing without a deadline |
//! | `retries` | the number of earlier attempts; missing if it is 0 |
//! | `inbound_retries` | at a server: the number of earlier attempts that the caller states; in a call that a handler makes, that of the handled request; missing if it is 0 |
//! | `request` | `headers` and `body` |
//! | `reply` | `headers`, `body`, and `dedup` as in `rr-dedup`; of a success |
//! | `error` | the error, see below; of a failure |
//! | `dropped` | `true` if the call was dropped before it ended |
//!
//! One of `reply`, `error` and `dropped` is present.
//!
//! `headers` is a list of `[name, value]`, in order. The value is text as on the wire: base64 if the
//! name ends with `-bin`. It is `null` if the [`Redaction`] hides it. The request's headers include
//! `x-request-id`, `traceparent`, `tracestate`, `baggage` and `idempotency-key`.
//!
//! `body` has one of the members `json` (the body itself, byte for byte), `text` and `base64`
//! (without padding). An empty body is left out. `bytes`, the length of the whole body, is present
//! only if the content is cut, or missing because a rule removed it. `rewritten` is `true` if a rule
//! replaced the content.
//!
//! | member of `error` | value |
//! |---|---|
//! | `code`, `reason`, `delivery` | as in `rr-code`, `rr-reason` and `rr-delivery`; `delivery` may also be `not_sent` |
//! | `origin` | `local`, `peer` or `intermediary` |
//! | `message`, `hint` | text |
//! | `retry_after_ms` | as in `rr-retry-after-ms`: milliseconds, or -1 for never; missing without a hint |
//! | `dedup` | as in `rr-dedup` |
//! | `headers` | as above |
//! | `details` | a list of `type` and `value`, whose form is that of a body |
//! | `timeline` | the last attempt: `last`, the stage in which it ended; `stages_us`, a list of stages and their microseconds; `note`; `spent`, as in `rr-spent` |
//! | `attempts` | a list of `code`, `reason`, `delivery`, `elapsed_ns`, `decision`, `pause_ns`, `endpoint` and `timeline`; times in nanoseconds |
//!
//! A stage is named as by [`Stage::as_str`](crate::observe::Stage::as_str). A `decision` is `resend`,
//! `moved`, `again`, `final`, `never`, `not-idempotent`, `attempts-spent`, `budget-spent`,
//! `no-time-left` or `call-ended`; `pause_ns` is the pause after `again`.
//!
//! Members without a value are left out. The sources of an error are not recorded.

mod body;
mod call;
mod config;
mod failure;
mod headers;
mod held;
mod json_hash;
mod line;
mod reader;
mod recorded;
mod redaction;
mod replay;
mod running;
mod writer;

use std::fmt;
use std::fs::File;
use std::future::poll_fn;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rr_spi::{
    Code, Context, Delivery, Error, Middleware, Next, Reason, Request, Response, async_trait,
};

use call::Started;
use running::Running;
use writer::Queue;

pub use config::RecorderConfig;
pub use redaction::{Part, Redaction};
pub use replay::Replay;

/// Middleware that records each call as one line of JSON.
///
/// The [module](self) describes the lines. Around a requester, the recorder sees calls as the
/// application makes them if it is outside of [`Retry`](crate::retry::Retry), and attempts if it is
/// inside. On a router, it sees the requests for which a route was found. A request that expires
/// there is dropped, and the panic of a handler is `Internal`, unknown, `panic`.
///
/// # Effect on calls
///
/// None: a call that ends is handed to a thread, which applies the redaction and writes. If the
/// queue is full, if the file fails, or if it reaches its limit, calls are not recorded and their
/// outcomes stay as they are. The first loss for each of these reasons is reported to
/// [`RecorderConfig::observers`]; [`Recorder::lost`] counts all. After a failure of the file nothing
/// more is written, since a part of a line may be in it.
///
/// # Drop
///
/// Clones share one recording. Dropping the last of them writes the remaining lines and blocks for
/// at most 2 s. In async code, [`Recorder::flush`] before avoids the wait.
///
/// # Examples
///
/// ```no_run
/// use rr_core::record::{Recorder, RecorderConfig};
/// use rr_core::{Error, Requester, Stack};
///
/// fn recorded(client: impl Requester) -> Result<impl Requester, Error> {
///     let recorder = Recorder::create("calls.jsonl", RecorderConfig::default())?;
///     Ok(Stack::new(client).with(recorder))
/// }
/// ```
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

struct Shared {
    started: AtomicU64,
    queue: Queue,
}

impl Recorder {
    /// Records to a file, which is created or emptied. On Unix, a file that is created can be read by
    /// its owner only.
    ///
    /// # Errors
    ///
    /// `Unavailable`, not sent, when the file cannot be opened or the thread cannot be started.
    pub fn create(path: impl AsRef<Path>, config: RecorderConfig) -> Result<Self, Error> {
        let path = path.as_ref();
        let file = create(path)
            .map_err(|error| unavailable(&format!("cannot open `{}`", path.display()), error))?;
        Self::new(file, config)
    }

    /// Records to a writer, such as a pipe, or a buffer in a test.
    ///
    /// The writer gets each line in one piece and is flushed when no other line waits. It may block:
    /// further calls are then queued, and lost if the queue is full. A recording should not be
    /// appended to another one, since a replay takes both for one recording.
    ///
    /// # Errors
    ///
    /// `Unavailable`, not sent, when the thread cannot be started.
    pub fn new(out: impl Write + Send + 'static, config: RecorderConfig) -> Result<Self, Error> {
        let queue = Queue::start(out, config)
            .map_err(|error| unavailable("cannot start the thread of a recorder", error))?;
        Ok(Self { shared: Arc::new(Shared { started: AtomicU64::new(0), queue }) })
    }

    /// Waits until every call that has ended is written. The wait has no limit if the writer blocks.
    ///
    /// # Errors
    ///
    /// The failure that ended the recording; see [`Recorder::failure`].
    ///
    /// # Cancel safety
    ///
    /// Can be dropped and called again at any time.
    pub async fn flush(&self) -> Result<(), Error> {
        self.shared.queue.flush().await
    }

    /// Returns the number of calls that were written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.shared.queue.written()
    }

    /// Returns the number of calls that have ended and are not recorded, for whatever reason.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.queue.lost()
    }

    /// Returns the failure that ended the recording: `Unavailable` if the file could not be written,
    /// `ResourceExhausted` if it has reached its limit.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        self.shared.queue.failure()
    }
}

#[async_trait]
impl Middleware for Recorder {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        let n = self.shared.started.fetch_add(1, Ordering::Relaxed) + 1;
        let mut running = Running::new(&self.shared.queue, Started::new(n, ctx, &request));
        let mut run = next.run(ctx, request);
        let outcome = poll_fn(|cx| {
            let polled = catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(cx)));
            polled.unwrap_or_else(|panic| {
                running.end(&Err(panicked()));
                resume_unwind(panic)
            })
        })
        .await;
        running.end(&outcome);
        outcome
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("written", &self.written())
            .field("lost", &self.lost())
            .field("failure", &self.failure())
            .finish_non_exhaustive()
    }
}

fn create(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes the error of a call whose handler panicked. The recorder may be at either end, so that it
/// does not know whether the handler was entered.
fn panicked() -> Error {
    let (code, delivery) = (Code::Internal, Delivery::Unknown);
    Error::failure(code, delivery, Reason::PANIC, "the handler panicked")
}

fn unavailable(what: &str, error: std::io::Error) -> Error {
    let text = format!("{what}: {error}");
    Error::failure(Code::Unavailable, Delivery::NotSent, None, text).with_source(error)
}

//! Recorder of what the observers of an end are told, for tests.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};

use rr_spi::observe::{End, Event, Kind, Observer, Observers, Outcome};
use rr_spi::{Code, Delivery, Error, Reason};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::sync::{lock, until};

/// Recorder of the operations that an end reports to its observers.
///
/// Clones share one record.
///
/// # Examples
///
/// ```
/// use rr_spi::{IntakeConfig, Routes};
/// use rr_testkit::Reports;
///
/// let reports = Reports::new();
/// let config = IntakeConfig::default().with_observers(reports.observers());
/// // Serve with this configuration, and call. Then:
/// assert!(reports.take().is_empty());
/// # let _ = (config, Routes::new());
/// ```
#[derive(Clone, Default)]
pub struct Reports(Arc<Shared>);

#[derive(Default)]
struct Shared {
    record: Mutex<Record>,
    changed: Notify,
}

#[derive(Default)]
struct Record {
    ends: VecDeque<Report>,
    events: Vec<String>,
    lines: Vec<String>,
}

/// Report of one operation that has ended.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The kind of the operation.
    pub kind: Kind,
    /// The target; `None` if the request named none.
    pub target: Option<String>,
    /// The route; `None` if the server has no such target.
    pub route: Option<String>,
    /// The code; `None` for a success, [`Code::Canceled`] for a dropped future.
    pub code: Option<Code>,
    /// The reason of the error.
    pub reason: Option<Reason>,
    /// Whether the handler may have run.
    pub delivery: Delivery,
    /// The number of replies, if the request may have had several.
    pub replies: Option<usize>,
    /// The length of the request's body in bytes.
    pub request_bytes: usize,
    /// The length of the response's body in bytes.
    pub response_bytes: usize,
    /// The instant of the start.
    pub began: Instant,
    /// The instant at which the handler was entered.
    pub entered: Option<Instant>,
    /// The message of the handler's panic.
    pub panic: Option<String>,
}

impl Reports {
    /// Makes an empty record.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns observers that write into this record, for the configuration of an end.
    #[must_use]
    pub fn observers(&self) -> Observers {
        Observers::new(self.clone())
    }

    /// Takes all operations that have ended since the last call, in order.
    #[must_use]
    pub fn take(&self) -> Vec<Report> {
        lock(&self.0.record).ends.drain(..).collect()
    }

    /// Takes all operations that have ended and all events since the last call, in order, as lines.
    #[must_use]
    pub fn take_lines(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.0.record).lines)
    }

    /// Waits for the next operation that ends, and takes it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no report.
    pub async fn next(&self) -> Report {
        let mut next = None;
        until(&self.0.changed, || {
            next = lock(&self.0.record).ends.pop_front();
            next.is_some()
        })
        .await;
        next.unwrap_or_else(|| unreachable!("the wait ends with a report"))
    }

    /// Takes all events since the last call, as they are printed for debugging.
    #[must_use]
    pub fn take_events(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.0.record).events)
    }
}

impl Observer for Reports {
    fn ended(&self, end: &End<'_>) {
        let outcome = end.outcome;
        let report = Report {
            kind: end.start.kind,
            target: end.start.target.map(ToString::to_string),
            route: end.start.route.map(str::to_owned),
            code: outcome.code(),
            reason: outcome.error().and_then(Error::reason).cloned(),
            delivery: outcome.delivery(),
            replies: match outcome {
                Outcome::Replies(count) => Some(count),
                _ => None,
            },
            request_bytes: end.request_bytes,
            response_bytes: outcome.response_bytes(),
            began: end.began,
            entered: end.entered,
            panic: end.panic.map(str::to_owned),
        };
        let mut record = lock(&self.0.record);
        record.lines.push(report.to_string());
        record.ends.push_back(report);
        drop(record);
        self.0.changed.notify_waiters();
    }

    fn event(&self, event: &Event<'_>) {
        let line = match event {
            Event::LateReply => "late reply".to_owned(),
            Event::Disconnected { peer, .. } => format!("disconnected from {peer}"),
            Event::Reconnected { peer, .. } => format!("reconnected to {peer}"),
            _ => format!("{event:?}"),
        };
        let mut record = lock(&self.0.record);
        record.lines.push(line);
        record.events.push(format!("{event:?}"));
        drop(record);
        self.0.changed.notify_waiters();
    }
}

impl fmt::Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&lock(&self.0.record).ends).finish()
    }
}

/// Prints a report in one line: target, route, outcome, and whether the handler was entered; for a
/// call or an attempt its kind, target and outcome.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let (target, code) = (or_none(&self.target), self.code.map_or("ok", Code::as_str));
        if let Some(count) = self.replies {
            return write!(f, "{:?} {target}: {count} replies", self.kind);
        }
        if self.kind != Kind::ServerRequest {
            write!(f, "{:?} {target}: {code}", self.kind)?;
            if let Some(reason) = &self.reason {
                write!(f, "/{reason}")?;
            }
            return match self.code {
                Some(_) => write!(f, " ({})", self.delivery.as_str()),
                None => Ok(()),
            };
        }
        write!(f, "{target} {} {code}", or_none(&self.route))?;
        if let Some(reason) = &self.reason {
            write!(f, " {reason}")?;
        }
        let entered = if self.entered.is_some() { "entered" } else { "not entered" };
        write!(f, " {} {entered}", self.delivery.as_str())
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Report({self})")
    }
}

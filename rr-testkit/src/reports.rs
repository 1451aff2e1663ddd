//! Recorder of what observers are told.

use std::sync::{Arc, Mutex};

use rr_spi::observe::{End, Event, Observer, Observers, Outcome};

use crate::sync::lock;

/// Observer for tests: keeps a line for each operation that has ended, and for each event. Clones
/// share the lines.
///
/// # Examples
///
/// ```
/// use rr_spi::{CallConfig, Context, IntakeConfig, Request, Requester, Routes};
/// use rr_testkit::{Reports, loopback_with};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rr_spi::Error> {
/// let reports = Reports::default();
/// let calls = CallConfig::default().with_observers(reports.observers());
/// let client = loopback_with(Routes::new(), IntakeConfig::default(), calls);
/// let request = Request::new("orders.place".try_into()?, "");
/// let _ = client.request(&Context::background(), request).await;
/// assert_eq!(reports.take(), ["Attempt orders.place: unimplemented/no-such-target (rejected)"]);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Reports(Arc<Mutex<Vec<String>>>);

impl Reports {
    /// Returns a list of observers with this one.
    #[must_use]
    pub fn observers(&self) -> Observers {
        Observers::new(self.clone())
    }

    /// Returns the lines since the last call of this method, in the order in which they came.
    ///
    /// A line names the kind, the target and the outcome of an operation, such as `Attempt
    /// orders.place: ok`, or shows an event.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.0))
    }
}

impl Observer for Reports {
    fn ended(&self, end: &End<'_>) {
        let target = end.start.target.map_or("-", |target| target.as_str());
        let outcome = match end.outcome {
            Outcome::Success(_) => "ok".to_owned(),
            Outcome::Replies(count) => format!("{count} replies"),
            Outcome::Dropped(delivery) => format!("dropped ({})", delivery.as_str()),
            Outcome::Failure(error) => {
                let reason = error.reason().map(|reason| format!("/{reason}"));
                let (code, delivery) = (error.code(), error.delivery().as_str());
                format!("{code}{} ({delivery})", reason.unwrap_or_default())
            }
            _ => "another outcome".to_owned(),
        };
        lock(&self.0).push(format!("{:?} {target}: {outcome}", end.start.kind));
    }

    fn event(&self, event: &Event<'_>) {
        let line = match event {
            Event::LateReply => "late reply".to_owned(),
            Event::Disconnected { peer, .. } => format!("disconnected from {peer}"),
            Event::Reconnected { peer, .. } => format!("reconnected to {peer}"),
            _ => format!("{event:?}"),
        };
        lock(&self.0).push(line);
    }
}

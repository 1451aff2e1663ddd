//! Observation: one hook that sees the outcome of every request, attempt and call.

mod attempt;
mod event;
pub mod measurements;
mod monitor;
pub mod names;
mod operation;
mod request;
mod span;
mod stats;

use std::any::TypeId;
use std::fmt;
use std::sync::Arc;

use serde::de::value::Error as Unfit;

use crate::contained::contained;
use crate::options::Options;

pub use attempt::{Observed, WatchedAttempt};
pub use event::{EjectionCause, Event};
pub use monitor::{Counted, Monitor};
pub use operation::{End, Kind, Outcome, Start};
pub use request::WatchedRequest;
pub use span::Span;
pub use stats::Stats;

pub(crate) use request::Watched;
pub(crate) use span::within;

/// Observer of requests, attempts and calls: the base of logs, spans, metrics and records.
///
/// Each operation is reported exactly once, when it ends: with a success, with an error, with a
/// refusal before any handler was found, or because its future was dropped. The methods run in the task
/// of the operation and must not block. A panic of an observer is contained.
///
/// Observers are set in the configuration of both ends:
/// [`CallConfig::observers`](crate::CallConfig::observers) and
/// [`IntakeConfig::observers`](crate::IntakeConfig::observers).
///
/// # Examples
///
/// ```
/// # mod rr_core { pub use rr_spi::*; }
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use rr_core::observe::{End, Kind, Observer};
///
/// /// Counts the requests that this process has failed.
/// #[derive(Default)]
/// struct Failures(AtomicU64);
///
/// impl Observer for Failures {
///     fn ended(&self, end: &End<'_>) {
///         if end.start.kind == Kind::ServerRequest && end.outcome.error().is_some() {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
/// ```
pub trait Observer: Send + Sync + 'static {
    /// Returns whether the observer observes operations of this kind at the moment.
    ///
    /// An operation that no observer observes when it starts is not measured and not reported. If
    /// one observer does, the operation is reported to all of them. Called for each operation, so
    /// it must take nanoseconds.
    fn observes(&self, _kind: Kind) -> bool {
        true
    }

    /// Returns whether the observer shows the stages of calls and attempts while they are in flight.
    ///
    /// If one observer does, [`Start::progress`] is set. The progress costs an allocation for each
    /// operation.
    fn shows_progress(&self) -> bool {
        false
    }

    /// Called when an operation starts; returns its span if the observer keeps one.
    fn started(&self, _start: &Start<'_>) -> Option<Box<dyn Span>> {
        None
    }

    /// Called when an operation has ended, after [`Span::ended`].
    fn ended(&self, _end: &End<'_>) {}

    /// Called when an event happens, such as a reconnect.
    fn event(&self, _event: &Event<'_>) {}

    #[doc(hidden)]
    fn observer_type(&self) -> TypeId {
        TypeId::of::<Self>()
    }
}

/// Observers of one end; empty by default.
///
/// Cloning is cheap. Without observers an operation is not measured, and nothing is called.
#[derive(Clone, Default)]
pub struct Observers(Option<Arc<[Arc<dyn Observer>]>>);

impl Observers {
    /// Makes a list of one observer.
    pub fn new(observer: impl Observer) -> Self {
        Self::default().and(observer)
    }

    /// Adds an observer. All observers see everything, in the order in which they were added.
    #[must_use]
    pub fn and(self, observer: impl Observer) -> Self {
        self.and_shared(Arc::new(observer))
    }

    /// Adds an observer that the application shares.
    #[must_use]
    pub fn and_shared(self, observer: Arc<dyn Observer>) -> Self {
        Self(Some(self.iter().cloned().chain([observer]).collect()))
    }

    /// Returns whether the list is empty.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns whether one of the observers observes operations of this kind at the moment.
    #[must_use]
    #[inline]
    pub fn observes(&self, kind: Kind) -> bool {
        self.iter().any(|observer| contained(|| observer.observes(kind)).unwrap_or(false))
    }

    /// Returns whether one of the observers shows stages while operations are in flight.
    pub(crate) fn shows_progress(&self) -> bool {
        self.iter().any(|observer| contained(|| observer.shows_progress()).unwrap_or(false))
    }

    /// Returns whether one of the observers is of this type.
    #[must_use]
    pub fn has<T: Observer>(&self) -> bool {
        self.iter().any(|observer| observer.observer_type() == TypeId::of::<T>())
    }

    /// Reports an event.
    pub fn event(&self, event: &Event<'_>) {
        self.each(|observer| observer.event(event));
    }

    /// Reports the start of an operation; returns the spans that the observers keep.
    #[must_use]
    pub fn started(&self, start: &Start<'_>) -> Option<Box<dyn Span>> {
        let mut spans = Vec::new();
        self.each(|observer| spans.extend(observer.started(start)));
        span::nested(spans)
    }

    /// Reports the end of an operation.
    pub fn ended(&self, span: Option<Box<dyn Span>>, end: &End<'_>) {
        if let Some(span) = span {
            // An observer that panics must not end the operation.
            let _ = contained(|| span.ended(end));
        }
        self.each(|observer| observer.ended(end));
    }

    fn iter(&self) -> impl Iterator<Item = &Arc<dyn Observer>> {
        self.0.iter().flat_map(|observers| observers.iter())
    }

    fn each(&self, mut call: impl FnMut(&dyn Observer)) {
        for observer in self.iter() {
            let _ = contained(|| call(&**observer));
        }
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observers({})", self.iter().count())
    }
}

/// Lists are equal if they have the same observers, not equal ones.
impl PartialEq for Observers {
    fn eq(&self, other: &Self) -> bool {
        let is_same = |(a, b): (&Arc<dyn Observer>, _)| Arc::ptr_eq(a, b);
        self.iter().count() == other.iter().count() && self.iter().zip(other.iter()).all(is_same)
    }
}

impl Eq for Observers {}

/// Observers are set in code only: no file, variable or URL names them.
impl Options for Observers {
    fn names(_: &mut dyn FnMut(&'static str)) {}

    fn set(&mut self, _: &str, _: &str) -> Result<bool, Unfit> {
        Ok(false)
    }
}

#[cfg(test)]
mod tests;

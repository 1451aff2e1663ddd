//! Span of one operation, which an observer keeps from its start to its end.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::End;

/// Span of one operation, kept from [`Observer::started`](super::Observer::started) to its end.
///
/// A span that is dropped without [`Span::ended`] belongs to an operation whose task was destroyed.
pub trait Span: Send + Sync + 'static {
    /// Runs one poll of the operation inside of the span.
    ///
    /// An implementation calls `poll` exactly once.
    fn within(&self, poll: &mut dyn FnMut()) {
        poll();
    }

    /// Returns the trace context that replaces that of the operation: `traceparent` and
    /// `tracestate`.
    fn trace(&self) -> Option<(String, Option<String>)> {
        None
    }

    /// Ends the span.
    fn ended(self: Box<Self>, _end: &End<'_>) {}
}

/// Combines the spans of several observers. The first span is the outermost.
pub(super) fn nested(mut spans: Vec<Box<dyn Span>>) -> Option<Box<dyn Span>> {
    match spans.len() {
        0 | 1 => spans.pop(),
        _ => Some(Box::new(Nested(spans))),
    }
}

struct Nested(Vec<Box<dyn Span>>);

impl Span for Nested {
    fn within(&self, poll: &mut dyn FnMut()) {
        each_within(&self.0, poll);
    }

    /// The last span that has a trace context decides: it is the innermost.
    fn trace(&self) -> Option<(String, Option<String>)> {
        self.0.iter().rev().find_map(|span| span.trace())
    }

    fn ended(self: Box<Self>, end: &End<'_>) {
        // The innermost span ends first.
        for span in self.0.into_iter().rev() {
            let _ = crate::contained::contained(|| span.ended(end));
        }
    }
}

fn each_within(spans: &[Box<dyn Span>], poll: &mut dyn FnMut()) {
    match spans.split_first() {
        Some((outer, inner)) => outer.within(&mut || each_within(inner, poll)),
        None => poll(),
    }
}

/// Polls inside of a span, if there is one. A span that panics or does not call `poll` is ignored; a
/// panic of `poll` itself is passed on.
pub(crate) fn within<T>(span: Option<&dyn Span>, poll: impl FnOnce() -> T) -> T {
    let Some(span) = span else { return poll() };
    let (mut poll, mut polled) = (Some(poll), None);
    let inside = catch_unwind(AssertUnwindSafe(|| {
        span.within(&mut || {
            if let Some(poll) = poll.take() {
                polled = Some(catch_unwind(AssertUnwindSafe(poll)));
            }
        });
    }));
    // Nothing of a span that panicked is kept, and it must not panic again when it is dropped.
    let _ = inside.map_err(std::mem::forget);
    match (polled, poll) {
        (Some(Ok(polled)), _) => polled,
        (Some(Err(panic)), _) => resume_unwind(panic),
        (None, Some(poll)) => poll(),
        (None, None) => unreachable!("a poll that was taken has an outcome"),
    }
}

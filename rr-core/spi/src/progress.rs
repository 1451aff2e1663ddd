//! Stage of a call or an attempt in flight, for observers that show it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::timeline::Stage;

/// Stage of a call or an attempt in flight: what it waits for at the moment.
///
/// A call is in the stage of its current attempt. Clones share the stage.
#[derive(Clone)]
pub struct Progress(Arc<Shared>);

struct Shared {
    stage: AtomicU8,
    /// The progress of the call around this attempt.
    outer: Option<Progress>,
}

impl Progress {
    /// Makes the progress of an operation inside of another.
    pub(crate) fn within(outer: Option<&Self>) -> Self {
        let stage = AtomicU8::new(Stage::Place as u8);
        Self(Arc::new(Shared { stage, outer: outer.cloned() }))
    }

    /// Returns the current stage.
    #[must_use]
    pub fn stage(&self) -> Stage {
        Stage::of_number(self.0.stage.load(Ordering::Relaxed))
    }

    pub(crate) fn enter(&self, stage: Stage) {
        self.0.stage.store(stage as u8, Ordering::Relaxed);
        if let Some(outer) = &self.0.outer {
            outer.enter(stage);
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Progress").field(&self.stage()).finish()
    }
}

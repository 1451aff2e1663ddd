//! Wall time of child processes.

use std::time::Duration;

/// Measures from its construction on.
#[expect(clippy::disallowed_types, reason = "wall time of child processes; no runtime here")]
pub(crate) struct Stopwatch(std::time::Instant);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "wall time of child processes; no runtime here"
    )]
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

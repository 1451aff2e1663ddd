//! Measures how long something took.

use std::time::Duration;

use tokio::time::Instant;

/// Measures how long something took, on tokio's clock.
#[derive(Clone, Copy)]
pub(super) struct Stopwatch {
    start: Instant,
    margin: Duration,
}

impl Stopwatch {
    /// Starts it; `margin` is how much later than asked for something may happen.
    pub(super) fn start(margin: Duration) -> Self {
        Self { start: Instant::now(), margin }
    }

    /// Asserts that at least this long has passed, and not much more.
    #[track_caller]
    pub(super) fn assert_about(self, expected: Duration) {
        let elapsed = self.start.elapsed();
        assert!(elapsed >= expected, "took {elapsed:?}, less than {expected:?}");
        let limit = expected + self.margin;
        assert!(elapsed <= limit, "took {elapsed:?}, not about {expected:?}");
    }

    /// Asserts that no more than this has passed, give or take the margin.
    #[track_caller]
    pub(super) fn assert_by(self, latest: Duration) {
        let elapsed = self.start.elapsed();
        assert!(elapsed <= latest + self.margin, "took {elapsed:?}, longer than {latest:?}");
    }

    /// Asserts that hardly any time has passed.
    #[track_caller]
    pub(super) fn assert_at_once(self) {
        self.assert_about(Duration::ZERO);
    }
}

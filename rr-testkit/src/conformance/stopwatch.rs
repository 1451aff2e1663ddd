//! A stopwatch with assertions on the elapsed time.

use std::time::Duration;

use tokio::time::Instant;

/// Stopwatch on tokio's clock.
#[derive(Clone, Copy)]
pub(super) struct Stopwatch {
    start: Instant,
    margin: Duration,
}

impl Stopwatch {
    /// Starts a stopwatch whose upper bounds are extended by `margin`.
    pub(super) fn start(margin: Duration) -> Self {
        Self { start: Instant::now(), margin }
    }

    /// Asserts that at least `expected` has passed, and at most the margin more.
    #[track_caller]
    pub(super) fn assert_about(self, expected: Duration) {
        let elapsed = self.start.elapsed();
        assert!(elapsed >= expected, "took {elapsed:?}, less than {expected:?}");
        let limit = expected + self.margin;
        assert!(elapsed <= limit, "took {elapsed:?}, not about {expected:?}");
    }

    /// Asserts that at most `latest` plus the margin has passed.
    #[track_caller]
    pub(super) fn assert_by(self, latest: Duration) {
        let elapsed = self.start.elapsed();
        assert!(elapsed <= latest + self.margin, "took {elapsed:?}, longer than {latest:?}");
    }

    /// Asserts that at most the margin has passed.
    #[track_caller]
    pub(super) fn assert_at_once(self) {
        self.assert_about(Duration::ZERO);
    }
}

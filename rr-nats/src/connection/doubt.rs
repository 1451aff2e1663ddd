//! Resolves the doubt about a connection: pure, over futures.

use std::time::Duration;

use tokio::time::sleep;

use crate::sync::{First, first};

/// Longest wait for the answer to a probe; a connection without one counts as lost.
pub(super) const PROBE_MAX: Duration = Duration::from_secs(5);

/// Head start of the probe over dialling. A peer that answers within it costs no second connection;
/// nearly all peers whose handler was merely slow do.
pub(super) const DIAL_AFTER: Duration = Duration::from_millis(50);

/// Outcome for a connection in doubt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resolution<L> {
    /// The connection answered first.
    Proven,
    /// Another connection was made first.
    Elsewhere(L),
    /// The connection was lost, or neither happened in time.
    Lost,
}

/// Waits for the answer to a probe (`false` if the connection was lost), and dials in parallel; the
/// first proven connection wins.
pub(super) async fn resolve<L>(
    probe: impl Future<Output = bool>,
    dial: impl Future<Output = L>,
) -> Resolution<L> {
    let dial = async {
        sleep(DIAL_AFTER).await;
        dial.await
    };
    match first(first(probe, dial), sleep(PROBE_MAX)).await {
        First::One(First::One(true)) => Resolution::Proven,
        First::One(First::Other(link)) => Resolution::Elsewhere(link),
        First::One(First::One(false)) | First::Other(()) => Resolution::Lost,
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::Instant;

    use super::*;

    async fn after<T>(millis: u64, value: T) -> T {
        sleep(Duration::from_millis(millis)).await;
        value
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_answers_stays_in_use_and_nothing_is_dialled() {
        let dial = async { panic!("the probe has an advance") };
        assert_eq!(resolve::<()>(after(49, true), dial).await, Resolution::Proven);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_replaced_by_the_first_that_is_made() {
        let begin = Instant::now();
        assert_eq!(resolve(pending(), ready("b")).await, Resolution::Elsewhere("b"));
        assert_eq!(begin.elapsed(), DIAL_AFTER);
        assert_eq!(resolve(after(80, true), after(20, "b")).await, Resolution::Elsewhere("b"));
        assert_eq!(resolve(after(60, true), after(20, "b")).await, Resolution::Proven);
    }

    #[tokio::test(start_paused = true)]
    async fn without_another_server_a_silent_connection_is_lost_after_a_named_time() {
        let begin = Instant::now();
        assert_eq!(resolve(pending(), pending::<()>()).await, Resolution::Lost);
        assert_eq!(begin.elapsed(), PROBE_MAX);
        assert_eq!(resolve(ready(false), pending::<()>()).await, Resolution::Lost);
    }
}

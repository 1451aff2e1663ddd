//! Giving way to others before a write.

use std::task::{Context, Poll};

/// So many calls on one connection are worth waiting for: with fewer, giving way costs more than
/// the writes that it saves.
const BATCH_STREAMS_MIN: usize = 4;

/// Whose turn it is: that of a connection, or of those that have something for it to write.
///
/// The scheduler runs a connection right after whoever gave it a message, and it writes what it
/// has. Many calls at a time would so be a write each, and a read each for the peer. When the
/// connection goes to the end of the queue first, whoever is ready gives it what it has, and all of
/// it leaves at once.
#[derive(Debug, Default)]
pub(crate) struct YieldBeforeWrite {
    gave_way: bool,
}

impl YieldBeforeWrite {
    /// Is pending once before each turn if `calls` are a crowd.
    pub(crate) fn poll(&mut self, calls: usize, cx: &mut Context<'_>) -> Poll<()> {
        self.gave_way = !self.gave_way && calls >= BATCH_STREAMS_MIN;
        if !self.gave_way {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn whoever_is_ready_runs_before_a_crowded_connections_turn() {
        let ran = Arc::new(AtomicUsize::new(0));
        let seen = |calls| {
            let (mut turn, seen) = (YieldBeforeWrite::default(), Arc::clone(&ran));
            let seen = tokio::spawn(async move {
                poll_fn(|cx| turn.poll(calls, cx)).await;
                seen.swap(0, Ordering::Relaxed)
            });
            // They come after it in the queue.
            for _ in 0..3 {
                let ran = Arc::clone(&ran);
                tokio::spawn(async move { ran.fetch_add(1, Ordering::Relaxed) });
            }
            seen
        };
        assert_eq!(seen(1).await.unwrap(), 0);
        tokio::task::yield_now().await;
        assert_eq!(ran.swap(0, Ordering::Relaxed), 3);
        assert_eq!(seen(BATCH_STREAMS_MIN).await.unwrap(), 3);
        // One call alone does not wait, and each turn of a crowd begins anew.
        let mut turn = YieldBeforeWrite::default();
        let waker = std::task::Waker::noop();
        let mut cx = Context::from_waker(waker);
        let turns = [1, BATCH_STREAMS_MIN, BATCH_STREAMS_MIN, BATCH_STREAMS_MIN, 1].map(|calls| turn.poll(calls, &mut cx).is_ready());
        assert_eq!(turns, [true, false, true, false, true]);
    }
}

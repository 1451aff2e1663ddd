//! Write batching on connections that many calls share.

use std::task::{Context, Poll};

/// Fewest calls on one connection for which a write is delayed: with fewer, yielding costs more
/// than the writes that it saves.
const BATCH_STREAMS_MIN: usize = 4;

/// Delays a write by one scheduler pass so that ready callers can add their frames to it.
///
/// The scheduler runs a connection task right after the task that handed it a message, and the
/// connection writes that message. With many concurrent calls, each message would cost a write, and
/// a read at the peer. A connection that first moves to the end of the queue collects the messages
/// of all ready tasks, and sends them in one write.
#[derive(Debug, Default)]
pub(crate) struct YieldBeforeWrite {
    gave_way: bool,
}

impl YieldBeforeWrite {
    /// Returns `Pending` once before each turn of the connection, if it has enough `calls`.
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
    async fn ready_callers_run_before_a_busy_connection_writes() {
        let ran = Arc::new(AtomicUsize::new(0));
        let seen = |calls| {
            let (mut turn, seen) = (YieldBeforeWrite::default(), Arc::clone(&ran));
            let seen = tokio::spawn(async move {
                poll_fn(|cx| turn.poll(calls, cx)).await;
                seen.swap(0, Ordering::Relaxed)
            });
            // These tasks come after the connection in the queue.
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
        // One call alone does not wait; with enough calls, each turn waits anew.
        let mut turn = YieldBeforeWrite::default();
        let waker = std::task::Waker::noop();
        let mut cx = Context::from_waker(waker);
        let turns = [1, BATCH_STREAMS_MIN, BATCH_STREAMS_MIN, BATCH_STREAMS_MIN, 1]
            .map(|calls| turn.poll(calls, &mut cx).is_ready());
        assert_eq!(turns, [true, false, true, false, true]);
    }
}

//! Messages of one subscription, charged in bytes even while the loop that reads them is blocked.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::task::{Context, Poll, Wake, Waker};

use async_nats::{Message, Subscriber};
use futures_core::Stream;
use rr_spi::{BodyAccount, BodyShare, Bytes, Error};
use tokio::task::coop::unconstrained;
use tokio::time::Instant;

use crate::sync::lock;

/// Message with its share of the server's byte budget.
pub(super) struct Received {
    pub(super) message: Message,
    /// The share, or the refusal if the bytes exceed the budget; the message is then emptied.
    pub(super) share: Result<BodyShare, Error>,
    /// The instant of the arrival: a message may wait in the backlog.
    pub(super) arrived: Instant,
}

/// Source of the messages of one subscription.
///
/// The client library limits waiting messages only by count. While a handler computes in the loop,
/// the library's connection task therefore takes the messages out: it calls a waker for each
/// message, and this waker moves the message to the backlog instead of waking the loop.
pub(super) struct Inbox<S = Subscriber>(Arc<Shared<S>>);

struct Shared<S> {
    account: Arc<BodyAccount>,
    /// Maximum number of messages kept while the loop is blocked.
    backlog_max: usize,
    state: Mutex<State<S>>,
    /// Whether the loop is blocked in a handler.
    guarding: AtomicBool,
    /// Whether a call of the waker has not been handled yet.
    wake_pending: AtomicBool,
    /// Called with each message that is dropped because the backlog is full.
    give_up: GiveUp,
}

/// Function that is told of a message that is dropped. It runs under the lock of the inbox.
pub(super) type GiveUp = Box<dyn Fn(Message) + Send + Sync>;

struct State<S> {
    source: Option<S>,
    backlog: VecDeque<Received>,
}

/// Guard of a blocked loop; dropping it lets the loop read again.
pub(super) struct Guard<'a>(&'a AtomicBool);

impl<S: Stream<Item = Message> + Unpin + Send + 'static> Inbox<S> {
    pub(super) fn new(
        source: S,
        account: Arc<BodyAccount>,
        backlog_max: usize,
        give_up: GiveUp,
    ) -> Self {
        Self(Arc::new(Shared {
            account,
            backlog_max,
            state: Mutex::new(State { source: Some(source), backlog: VecDeque::new() }),
            guarding: AtomicBool::new(false),
            wake_pending: AtomicBool::new(false),
            give_up,
        }))
    }

    /// Returns the next message; `None` when there are no more.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Received>> {
        let mut state = lock(&self.0.state);
        let next = match state.backlog.pop_front() {
            Some(next) => Poll::Ready(Some(next)),
            None => match &mut state.source {
                None => Poll::Ready(None),
                Some(source) => Pin::new(source).poll_next(cx).map(|next| {
                    let message = next?;
                    Some(self.0.charge(message))
                }),
            },
        };
        drop(state);
        self.0.run_missed_wakes();
        next
    }

    /// Has messages taken out and charged without the loop until the guard is dropped.
    pub(super) fn guard(&self) -> Guard<'_> {
        self.0.guarding.store(true, Ordering::SeqCst);
        // Same as a call of the waker, which registers itself.
        self.0.wake_pending.store(true, Ordering::SeqCst);
        self.0.run_missed_wakes();
        Guard(&self.0.guarding)
    }

    /// Takes the source out, to end it. Until it is put back there are no more messages.
    pub(super) fn take_source(&self) -> Option<S> {
        lock(&self.0.state).source.take()
    }

    pub(super) fn put_source_back(&self, source: S) {
        lock(&self.0.state).source = Some(source);
    }

    /// Applies `read` to the source, if there is one.
    pub(super) fn with_source<T>(&self, read: impl FnOnce(&S) -> Option<T>) -> Option<T> {
        lock(&self.0.state).source.as_ref().and_then(read)
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl<S: Stream<Item = Message> + Unpin + Send + 'static> Shared<S> {
    fn charge(&self, mut message: Message) -> Received {
        // Headers count too: the library's `length` is that of the whole message.
        let names = message.subject.len() + message.reply.as_ref().map_or(0, |reply| reply.len());
        let bytes = message.length.saturating_sub(names).max(message.payload.len());
        let share = self.account.request(bytes);
        if share.is_err() {
            (message.payload, message.headers) = (Bytes::new(), None);
        }
        Received { message, share, arrived: Instant::now() }
    }

    /// Handles calls of the waker: if the loop is blocked, moves the arrived messages to the
    /// backlog. If another thread holds the state lock, that thread does so after it unlocks.
    fn run_missed_wakes(self: &Arc<Self>) {
        while self.wake_pending.load(Ordering::SeqCst) {
            let mut state = match self.state.try_lock() {
                Ok(state) => state,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            self.wake_pending.store(false, Ordering::SeqCst);
            // Without a guard the loop reads, or will read: its waker must not be replaced.
            if self.guarding.load(Ordering::SeqCst) {
                self.drain(&mut state);
            }
        }
    }

    fn drain(self: &Arc<Self>, state: &mut State<S>) {
        let waker = Waker::from(Arc::clone(self));
        let mut cx = Context::from_waker(&waker);
        while let Some(source) = &mut state.source {
            // Unconstrained, since this runs in the task that delivers the message, on that task's
            // budget.
            let next = pin!(unconstrained(poll_fn(|cx| Pin::new(&mut *source).poll_next(cx))));
            match next.poll(&mut cx) {
                Poll::Pending => return,
                Poll::Ready(None) => state.source = None,
                Poll::Ready(Some(message)) if state.backlog.len() >= self.backlog_max => {
                    (self.give_up)(message);
                }
                Poll::Ready(Some(message)) => state.backlog.push_back(self.charge(message)),
            }
        }
    }
}

impl<S: Stream<Item = Message> + Unpin + Send + 'static> Wake for Shared<S> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_pending.store(true, Ordering::SeqCst);
        self.run_missed_wakes();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use rr_spi::{BodyBudget, Delivery, Reason};
    use tokio::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    struct Source(Receiver<Message>);

    impl Stream for Source {
        type Item = Message;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
            self.0.poll_recv(cx)
        }
    }

    fn inbox(budget: &BodyBudget, backlog_max: usize) -> (Sender<Message>, Inbox<Source>) {
        let (sender, inbox, _) = counting_inbox(budget, backlog_max);
        (sender, inbox)
    }

    /// Makes an inbox and the count of the messages that it gives up.
    fn counting_inbox(
        budget: &BodyBudget,
        backlog_max: usize,
    ) -> (Sender<Message>, Inbox<Source>, Arc<AtomicUsize>) {
        let (sender, source) = channel(1024);
        let given_up = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&given_up);
        let give_up = Box::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        });
        (sender, Inbox::new(Source(source), budget.whole(), backlog_max, give_up), given_up)
    }

    fn message(bytes: usize) -> Message {
        Message {
            subject: "s".into(),
            reply: None,
            payload: vec![0; bytes].into(),
            headers: None,
            status: None,
            description: None,
            length: bytes + 1,
        }
    }

    async fn next(inbox: &Inbox<Source>) -> Option<Received> {
        poll_fn(|cx| inbox.poll_next(cx)).await
    }

    #[tokio::test]
    async fn what_comes_while_the_loop_is_held_up_is_bounded_in_bytes_and_the_rest_refused() {
        let budget = BodyBudget::new(100);
        let (sender, inbox) = inbox(&budget, 1000);
        let guard = inbox.guard();
        // More messages than a task may receive without yielding.
        for _ in 0..600 {
            sender.try_send(message(10)).unwrap();
        }
        assert_eq!((sender.capacity(), budget.held()), (1024, 100));
        drop(guard);
        sender.try_send(message(0)).unwrap();
        let mut refused = 0;
        for _ in 0..600 {
            let received = next(&inbox).await.unwrap();
            if let Err(error) = received.share {
                assert_eq!(error.delivery(), Delivery::Rejected);
                assert_eq!(error.reason(), Some(&Reason::OVERLOADED));
                assert!(received.message.payload.is_empty());
                refused += 1;
            }
        }
        assert_eq!((refused, budget.held()), (590, 0));
        // In order: the message sent after the guard arrives last.
        drop(sender);
        assert!(next(&inbox).await.unwrap().share.is_ok());
        assert!(next(&inbox).await.is_none());
    }

    #[tokio::test]
    async fn a_loop_that_waits_is_woken_after_a_guard_as_before() {
        let budget = BodyBudget::new(100);
        let (sender, inbox, given_up) = counting_inbox(&budget, 2);
        for _ in 0..3 {
            drop(inbox.guard());
            let (received, ()) = tokio::join!(next(&inbox), async {
                tokio::task::yield_now().await;
                sender.send(message(1)).await.unwrap();
            });
            assert!(received.unwrap().share.is_ok());
        }
        let guard = inbox.guard();
        for _ in 0..5 {
            sender.send(message(1)).await.unwrap();
        }
        drop((guard, sender));
        assert_eq!(given_up.load(Ordering::SeqCst), 3);
        assert!(next(&inbox).await.is_some() && next(&inbox).await.is_some());
        assert!(next(&inbox).await.is_none());
    }
}

//! Queue in front of the client library, which hands messages over in batches.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::task::{self, Poll, Waker};

use async_nats::Client;
use async_nats::message::OutboundMessage;
use futures_sink::Sink as _;
use rr_spi::Context;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::coop::unconstrained;

use crate::sync::{First, first, lock};

/// Number of queued messages that are handed over without waiting for more: larger batches save
/// next to nothing.
const BATCH: usize = 32;

/// Payload length in bytes from which a message is handed over without waiting for more: waiting
/// wakes other workers, which costs some 5 % of the throughput at 64 KiB. Smaller payloads were not
/// measured.
const BATCH_BYTES: usize = 16 * 1024;

/// Sending end of the queue in front of the client library.
///
/// The library writes to its socket as soon as it receives one message, and the scheduler runs the
/// library right after the sending task. Callers woken by a batch of replies would thus cause one
/// write each, and one read each at the server: these system calls are most of the cost of a call.
/// If one task hands the messages over after all callers have run, they are one write.
#[derive(Debug)]
pub(crate) struct Outbox {
    items: mpsc::Sender<Item>,
    cancels: mpsc::Sender<Cancel>,
}

/// Receiving end of the queue.
#[derive(Debug)]
pub(super) struct OutboxTask {
    items: mpsc::Receiver<Item>,
    cancels: mpsc::Receiver<Cancel>,
}

/// Waiting cancel message, with the permit of its call: calls in flight and cancels of ended calls
/// are together at most `in_flight_max`.
#[derive(Debug)]
pub(super) struct Cancel {
    pub(super) message: OutboundMessage,
    pub(super) _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all are messages; a box costs more")]
enum Item {
    Message(OutboundMessage),
    /// Events that all items before it were handed over.
    Mark(oneshot::Sender<()>),
}

impl Item {
    fn is_large(&self) -> bool {
        matches!(self, Self::Message(message) if message.payload.len() >= BATCH_BYTES)
    }
}

impl Outbox {
    /// Makes a queue for at most `messages` messages and, separately, at most `cancels` cancels.
    pub(super) fn new(messages: usize, cancels: usize) -> (Self, OutboxTask) {
        let (items, items_out) = mpsc::channel(messages);
        let (cancels, cancels_out) = mpsc::channel(cancels.clamp(1, Semaphore::MAX_PERMITS));
        (Self { items, cancels }, OutboxTask { items: items_out, cancels: cancels_out })
    }

    /// Waits for a place in the queue; `None` if the connection is lost.
    ///
    /// A message that was sent with the permit may have left; before that, it was not sent and will
    /// not be.
    pub(crate) async fn reserve(&self) -> Option<SendPermit<'_>> {
        self.items.reserve().await.ok().map(SendPermit)
    }

    /// Returns a place in the queue if one is free now.
    pub(crate) fn try_reserve(&self) -> Option<SendPermit<'_>> {
        self.items.try_reserve().ok().map(SendPermit)
    }

    /// Queues a cancel. It leaves after its request and within one round of the queue, even while
    /// the queue for messages is full.
    pub(super) fn cancel(&self, cancel: Cancel) {
        // There is a place for each permit, so that this fails only if the connection is lost.
        let _ = self.cancels.try_send(cancel);
    }

    /// Waits until all items that are in the queue now were handed over or dropped.
    pub(super) async fn flushed(&self) {
        let (mark, flushed) = oneshot::channel();
        if self.items.send(Item::Mark(mark)).await.is_ok() {
            let _ = flushed.await;
        }
    }
}

/// Place in the queue for one message.
#[derive(Debug)]
#[must_use = "dropping it gives the place to another message"]
pub(crate) struct SendPermit<'a>(mpsc::Permit<'a, Item>);

impl SendPermit<'_> {
    /// Hands a message over: from now on it may be sent.
    pub(crate) fn send(self, message: OutboundMessage) {
        self.0.send(Item::Message(message));
    }
}

impl OutboxTask {
    /// Hands over queued messages until the connection ends.
    ///
    /// Messages still queued then are dropped: the loss of the connection has ended its calls, and
    /// no message may leave late.
    pub(super) async fn run(mut self, mut client: Client, alive: Context) {
        let _ = alive.race(self.forward(&mut client)).await;
    }

    async fn forward(&mut self, client: &mut Client) {
        loop {
            let (item, cancel) = match first(self.items.recv(), self.cancels.recv()).await {
                First::One(Some(item)) => (Some(item), None),
                First::Other(Some(cancel)) => (None, Some(cancel)),
                // Both senders are dropped together.
                First::One(None) | First::Other(None) => return,
            };
            let is_large = item.as_ref().is_some_and(Item::is_large);
            if self.items.len() < BATCH && !is_large {
                // Meanwhile, callers that are ready to run queue their messages.
                step_back().await;
            }
            self.hand_over(client, item, cancel).await;
        }
    }

    /// Hands over the items that were taken out and all queued ones, in rounds.
    ///
    /// Cancels leave last: a responder would have to remember a cancel that overtook its request.
    /// They are counted first, since each is queued after its request. Marks signal after the
    /// cancels before them.
    async fn hand_over(
        &mut self,
        client: &mut Client,
        mut item: Option<Item>,
        mut cancel: Option<Cancel>,
    ) {
        let mut marks = Vec::new();
        loop {
            let passed = std::mem::take(&mut marks);
            let cancels = self.cancels.len() + usize::from(cancel.is_some());
            let items = self.items.len() + usize::from(item.is_some());
            if passed.is_empty() && cancels + items == 0 {
                return;
            }
            for _ in 0..items {
                match item.take().or_else(|| self.items.try_recv().ok()) {
                    Some(Item::Message(message)) => send(client, message).await,
                    Some(Item::Mark(mark)) => marks.push(mark),
                    None => {}
                }
            }
            for _ in 0..cancels {
                if let Some(cancel) = cancel.take().or_else(|| self.cancels.try_recv().ok()) {
                    send(client, cancel.message).await;
                }
            }
            for mark in passed {
                let _ = mark.send(());
            }
        }
    }
}

/// Hands a message over once the client library has a place for it.
async fn send(client: &mut Client, message: OutboundMessage) {
    // Both steps fail only if the connection is lost, which ends all waiting calls.
    if poll_fn(|cx| Pin::new(&mut *client).poll_ready(cx)).await.is_ok() {
        let _ = Pin::new(client).start_send(message);
    }
}

/// Moves the task to the end of the scheduler's queue, from which another thread may take it.
/// Tokio's `yield_now` resumes the task on this thread, which may be about to run a handler that
/// computes for long.
async fn step_back() {
    let mut stepped = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut stepped, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The client library's own queue, for messages that [`Outbox`] would only delay.
pub(super) struct DirectSender(Mutex<Client>);

impl DirectSender {
    pub(super) fn new(client: Client) -> Self {
        Self(Mutex::new(client))
    }

    /// Hands a message over if the library has a free place, and returns it otherwise.
    #[allow(clippy::result_large_err, reason = "it is moved on at once; a box costs more")]
    pub(super) fn try_send(&self, message: OutboundMessage) -> Result<(), OutboundMessage> {
        // A panic cannot leave the client half-changed: at worst a place stays reserved.
        let mut client = lock(&self.0);
        let mut cx = task::Context::from_waker(Waker::noop());
        let ready = pin!(unconstrained(poll_fn(|cx| Pin::new(&mut *client).poll_ready(cx))));
        match ready.poll(&mut cx) {
            Poll::Ready(Ok(())) => {
                // This fails only if the connection is lost, which might also happen a moment
                // later.
                let _ = Pin::new(&mut *client).start_send(message);
                Ok(())
            }
            Poll::Ready(Err(_)) => Err(message),
            Poll::Pending => {
                // Replaced by a clone, so that this client gives up its place in the library's wait
                // queue.
                *client = client.clone();
                Err(message)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reserving_in_a_dead_queue_reports_the_loss() {
        let (outbox, task) = Outbox::new(1, 1);
        let permit = outbox.try_reserve().unwrap();
        assert!(outbox.try_reserve().is_none());
        drop(permit);
        drop(task);
        assert!(outbox.reserve().await.is_none());
        outbox.flushed().await;
    }
}

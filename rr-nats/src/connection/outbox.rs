//! Queue in front of the client library, which hands messages over in batches.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::task::{self, Poll, Waker};

use async_nats::Client;
use async_nats::message::OutboundMessage;
use futures_sink::Sink as _;
use rr_spi::Context;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::coop::unconstrained;

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
pub(super) struct Outgoing {
    items: mpsc::Sender<Item>,
    cancels: mpsc::Sender<Cancel>,
}

/// Receiving end of the queue.
#[derive(Debug)]
pub(super) struct Outlet {
    items: mpsc::Receiver<Item>,
    cancels: mpsc::Receiver<Cancel>,
    /// An item that was taken out and waits for others to batch with.
    first: Option<Item>,
    /// A cancel that was taken out and waits for the items before it.
    cancel: Option<Cancel>,
    /// Marks that were taken out. They signal after the cancels before them.
    marks: Vec<oneshot::Sender<()>>,
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
    /// Signals that all items before it were handed over.
    Mark(oneshot::Sender<()>),
}

impl Item {
    fn is_large(&self) -> bool {
        matches!(self, Self::Message(message) if message.payload.len() >= BATCH_BYTES)
    }
}

/// Error of a lost connection: the message was not sent and will not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost;

impl Outgoing {
    /// Makes a queue for at most `messages` messages and, separately, at most `cancels` cancels.
    pub(super) fn new(messages: usize, cancels: usize) -> (Self, Outlet) {
        let (items, items_out) = mpsc::channel(messages);
        let (cancels, cancels_out) = mpsc::channel(cancels.clamp(1, Semaphore::MAX_PERMITS));
        let outlet = Outlet {
            items: items_out,
            cancels: cancels_out,
            first: None,
            cancel: None,
            marks: Vec::new(),
        };
        (Self { items, cancels }, outlet)
    }

    /// Waits for a free place.
    pub(super) async fn room(&self) -> Result<Room<'_>, Lost> {
        self.items.reserve().await.map(Room).map_err(|_| Lost)
    }

    /// Returns a place if one is free now.
    pub(super) fn room_now(&self) -> Option<Room<'_>> {
        self.items.try_reserve().ok().map(Room)
    }

    /// Queues a cancel. It leaves after its request and within one round of the queue, even while
    /// the queue for messages is full.
    pub(super) fn cancel(&self, cancel: Cancel) {
        // There is a place for each permit, so that this fails only if the connection is lost.
        let _ = self.cancels.try_send(cancel);
    }

    /// Waits until all items that are in the queue now were handed over or dropped.
    pub(super) async fn passed(&self) {
        let (mark, passed) = oneshot::channel();
        if self.items.send(Item::Mark(mark)).await.is_ok() {
            let _ = passed.await;
        }
    }
}

/// Place in the queue for one message.
#[derive(Debug)]
#[must_use = "dropping it gives the place to somebody else"]
pub(crate) struct Room<'a>(mpsc::Permit<'a, Item>);

impl Room<'_> {
    /// Hands a message over: from now on it may be sent.
    pub(crate) fn put(self, message: OutboundMessage) {
        self.0.send(Item::Message(message));
    }
}

impl Outlet {
    /// Hands over queued messages until the connection ends.
    ///
    /// Messages that wait then are dropped: their callers have been told, and no message may leave
    /// late.
    pub(super) async fn run(mut self, mut client: Client, alive: Context) {
        let _ = alive.race(self.pass_on(&mut client)).await;
    }

    async fn pass_on(&mut self, client: &mut Client) {
        while poll_fn(|cx| self.poll_any(cx)).await {
            let is_large = self.first.as_ref().is_some_and(Item::is_large);
            if self.items.len() < BATCH && !is_large {
                // Meanwhile, callers that are ready to run queue their messages.
                step_back().await;
            }
            self.hand_over(client).await;
        }
    }

    /// Takes out an item or a cancel; `false` when no more come.
    fn poll_any(&mut self, cx: &mut task::Context<'_>) -> Poll<bool> {
        if let Poll::Ready(item) = self.items.poll_recv(cx) {
            self.first = item;
            return Poll::Ready(self.first.is_some());
        }
        // Both senders are dropped together, so that the end is reported above.
        let cancel = task::ready!(self.cancels.poll_recv(cx));
        self.cancel = cancel;
        Poll::Ready(self.cancel.is_some())
    }

    /// Hands over all queued items, in rounds. A message is kept until the library has a place for
    /// it, so that dropping the future loses none.
    ///
    /// Cancels leave last: a responder would have to remember a cancel that overtook its request.
    /// They are counted first, since each is queued after its request.
    async fn hand_over(&mut self, client: &mut Client) {
        loop {
            let marks = std::mem::take(&mut self.marks);
            let cancels = self.cancels.len() + usize::from(self.cancel.is_some());
            let items = self.items.len() + usize::from(self.first.is_some());
            if marks.is_empty() && cancels + items == 0 {
                return;
            }
            for _ in 0..items {
                self.first = self.first.take().or_else(|| self.items.try_recv().ok());
                self.pass_item(client).await;
            }
            for _ in 0..cancels {
                self.cancel = self.cancel.take().or_else(|| self.cancels.try_recv().ok());
                self.pass_cancel(client).await;
            }
            for mark in marks {
                let _ = mark.send(());
            }
        }
    }

    async fn pass_item(&mut self, client: &mut Client) {
        if let Some(Item::Message(_)) = self.first {
            let is_open = place(client).await;
            let Some(Item::Message(message)) = self.first.take() else { return };
            put(client, is_open, message);
        } else if let Some(Item::Mark(mark)) = self.first.take() {
            self.marks.push(mark);
        }
    }

    async fn pass_cancel(&mut self, client: &mut Client) {
        if self.cancel.is_some() {
            let is_open = place(client).await;
            let Some(cancel) = self.cancel.take() else { return };
            put(client, is_open, cancel.message);
        }
    }
}

/// Waits for a place in the client library; `false` when the connection is lost.
async fn place(client: &mut Client) -> bool {
    poll_fn(|cx| Pin::new(&mut *client).poll_ready(cx)).await.is_ok()
}

fn put(client: &mut Client, is_open: bool, message: OutboundMessage) {
    if is_open {
        // This fails only if the connection is lost, which ends all waiting calls.
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

/// The client library's own queue, for messages that [`Outgoing`] would only delay.
pub(super) struct Direct(Mutex<Client>);

impl Direct {
    pub(super) fn new(client: Client) -> Self {
        Self(Mutex::new(client))
    }

    /// Hands a message over if the library has a free place, and returns it otherwise.
    #[allow(clippy::result_large_err, reason = "it is moved on at once; a box costs more")]
    pub(super) fn put(&self, message: OutboundMessage) -> Result<(), OutboundMessage> {
        // A panic cannot leave the client half-changed: at worst a place stays reserved.
        let mut client = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
    async fn a_queue_that_nobody_empties_any_more_says_lost_and_passes() {
        let (outgoing, outlet) = Outgoing::new(1, 1);
        let room = outgoing.room_now().unwrap();
        assert!(outgoing.room_now().is_none());
        drop(room);
        drop(outlet);
        assert_eq!(outgoing.room().await.unwrap_err(), Lost);
        outgoing.passed().await;
    }
}

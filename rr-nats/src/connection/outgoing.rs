//! What waits to be handed over to the client library, so that it leaves in batches.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};

use async_nats::Client;
use async_nats::client::traits::Publisher as _;
use async_nats::message::OutboundMessage;
use futures_sink::Sink as _;
use rr_spi::Context;
use tokio::sync::{mpsc, oneshot};
use tokio::task::coop::unconstrained;

/// So many messages are worth a write of their own: more of them at once save next to nothing.
const BATCH: usize = 32;

/// A queue in front of the client library.
///
/// The library writes to its socket as soon as it is given one message, and the scheduler runs it
/// right after whoever gave it. Callers that a batch of replies has woken would so write one
/// request each, and the server read one each: these system calls are most of what a call costs.
/// Given by one task, after all of them have run, they are one write.
#[derive(Debug)]
pub(super) struct Outgoing(mpsc::Sender<Item>);

/// The other end of the queue.
#[derive(Debug)]
pub(super) struct Outlet {
    items: mpsc::Receiver<Item>,
    /// What was taken out and waits for others.
    first: Option<Item>,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all are messages; a box costs more")]
enum Item {
    Message(OutboundMessage),
    /// Tells when all before it was handed over.
    Mark(oneshot::Sender<()>),
}

/// The connection is lost: nothing was or will be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost;

impl Outgoing {
    /// Makes a queue of at most `messages` that wait.
    pub(super) fn new(messages: usize) -> (Self, Outlet) {
        let (sender, receiver) = mpsc::channel(messages);
        (Self(sender), Outlet { items: receiver, first: None })
    }

    /// Waits for room.
    pub(super) async fn room(&self) -> Result<Room<'_>, Lost> {
        self.0.reserve().await.map(Room).map_err(|_| Lost)
    }

    /// Returns room if there is any now.
    pub(super) fn room_now(&self) -> Option<Room<'_>> {
        self.0.try_reserve().ok().map(Room)
    }

    /// Waits until all that is in the queue now was handed over, or never will be.
    pub(super) async fn passed(&self) {
        let (mark, passed) = oneshot::channel();
        if self.0.send(Item::Mark(mark)).await.is_ok() {
            let _ = passed.await;
        }
    }
}

/// A place in the queue for one message.
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
    /// Hands over what comes, as long as the connection lives, and then what has come by then:
    /// when it was not lost but let go of, that still leaves.
    pub(super) async fn run(mut self, client: Client, alive: Context) {
        let _ = alive.race(self.pass_on(&client)).await;
        self.items.close();
        while let Some(item) = self.next().await {
            if let Item::Message(message) = item {
                let mut publish = pin!(unconstrained(client.publish_message(message)));
                let _ = poll_fn(|cx| Poll::Ready(publish.as_mut().poll(cx))).await;
            }
        }
    }

    async fn pass_on(&mut self, client: &Client) {
        loop {
            self.first = self.next().await;
            if self.first.is_none() {
                return;
            }
            if self.items.len() < BATCH {
                // Whoever is ready to run puts its message here meanwhile.
                step_back().await;
            }
            while let Some(item) = self.first.take().or_else(|| self.items.try_recv().ok()) {
                match item {
                    // It fails when the connection is lost, which all hear of who wait for it.
                    Item::Message(message) => drop(client.publish_message(message).await),
                    Item::Mark(passed) => drop(passed.send(())),
                }
            }
        }
    }

    async fn next(&mut self) -> Option<Item> {
        match self.first.take() {
            Some(first) => Some(first),
            None => self.items.recv().await,
        }
    }
}

/// Goes to the end of the scheduler's queue, from where another thread may take it. Tokio's own
/// `yield_now` waits for this thread, which may be about to run a handler that computes for long.
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

/// The client library's own queue, for what would only take longer by way of [`Outgoing`].
pub(super) struct Direct(Mutex<Client>);

impl Direct {
    pub(super) fn new(client: Client) -> Self {
        Self(Mutex::new(client))
    }

    /// Hands a message over if there is room at once, and gives it back otherwise.
    #[allow(clippy::result_large_err, reason = "it is moved on at once; a box costs more")]
    pub(super) fn put(&self, message: OutboundMessage) -> Result<(), OutboundMessage> {
        // A panic cannot leave it half-changed: at worst a place is reserved.
        let mut client = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cx = std::task::Context::from_waker(Waker::noop());
        let ready = pin!(unconstrained(poll_fn(|cx| Pin::new(&mut *client).poll_ready(cx))));
        match ready.poll(&mut cx) {
            Poll::Ready(Ok(())) => {
                // It fails when the connection is lost, as it might a moment later.
                let _ = Pin::new(&mut *client).start_send(message);
                Ok(())
            }
            Poll::Ready(Err(_)) => Err(message),
            Poll::Pending => {
                // Another one, so that this one does not keep its place in line.
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
        let (outgoing, outlet) = Outgoing::new(1);
        let room = outgoing.room_now().unwrap();
        assert!(outgoing.room_now().is_none());
        drop(room);
        drop(outlet);
        assert_eq!(outgoing.room().await.unwrap_err(), Lost);
        outgoing.passed().await;
    }
}

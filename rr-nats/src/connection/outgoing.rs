//! What waits to be handed over to the client library, so that it leaves in batches.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use async_nats::Client;
use async_nats::message::OutboundMessage;
use futures_sink::Sink as _;
use rr_spi::{Cause, Context};
use tokio::sync::{mpsc, oneshot};
use tokio::task::coop::unconstrained;

/// So many messages are worth a write of their own: more of them at once save next to nothing.
const BATCH: usize = 32;

/// A payload of so many bytes is worth one as well: to wait for others wakes other workers, which
/// costs some 5 % of the throughput at 64 KiB. Less was not measured.
const BATCH_BYTES: usize = 16 * 1024;

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

impl Item {
    fn is_large(&self) -> bool {
        matches!(self, Self::Message(message) if message.payload.len() >= BATCH_BYTES)
    }
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
    /// Hands over what comes, as long as the connection lives.
    ///
    /// When it is lost, what waits is dropped: its callers have been told, and nothing may leave
    /// late. When it was let go of, what was put here still leaves, within `linger`.
    pub(super) async fn run(mut self, client: Client, alive: Context, linger: Duration) {
        let mut client = client;
        let ended = alive.race(self.pass_on(&mut client)).await;
        self.items.close();
        if ended != Err(Cause::PeerGone) {
            let limit = Context::background().with_timeout(linger);
            let _ = limit.race(self.hand_over(&mut client)).await;
        }
    }

    async fn pass_on(&mut self, client: &mut Client) {
        loop {
            self.first = self.items.recv().await;
            let Some(first) = &self.first else { return };
            if self.items.len() < BATCH && !first.is_large() {
                // Whoever is ready to run puts its message here meanwhile.
                step_back().await;
            }
            self.hand_over(client).await;
        }
    }

    /// Hands over what is there. A message is kept until there is a place for it, so that dropping
    /// this loses none.
    async fn hand_over(&mut self, client: &mut Client) {
        while let Some(item) = self.first.take().or_else(|| self.items.try_recv().ok()) {
            if let Item::Mark(passed) = item {
                let _ = passed.send(());
                continue;
            }
            self.first = Some(item);
            let place = poll_fn(|cx| Pin::new(&mut *client).poll_ready(cx)).await;
            if let (Ok(()), Some(Item::Message(message))) = (place, self.first.take()) {
                // It fails when the connection is lost, which all hear of who wait for it.
                let _ = Pin::new(&mut *client).start_send(message);
            }
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

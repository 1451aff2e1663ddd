//! Replies to one request that may have several, held until they are read.

use std::collections::VecDeque;
use std::task::{Poll, Waker};

use async_nats::Message;
use rr_spi::Delivery;

/// Limits on the replies that one request holds until they are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldMax {
    pub(crate) replies: usize,
    /// Headers included.
    pub(crate) bytes: usize,
}

/// Replies to one request, and the end of their collection.
#[derive(Debug)]
pub(super) struct Collected {
    max: HeldMax,
    held: VecDeque<Message>,
    held_bytes: usize,
    /// Whether a reply has arrived.
    is_answered: bool,
    end: Option<Ended>,
    waker: Option<Waker>,
}

/// Reason why no more replies arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The connection was lost.
    Lost,
    /// The server denied the subject.
    Denied(Delivery),
    /// More replies arrived than may be held.
    Overflowed,
}

/// Reception of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reception {
    First,
    Further,
    /// The collection has ended, and the message is dropped.
    Late,
}

impl Collected {
    pub(super) fn new(max: HeldMax) -> Self {
        Self {
            max,
            held: VecDeque::new(),
            held_bytes: 0,
            is_answered: false,
            end: None,
            waker: None,
        }
    }

    /// Holds a message. One that exceeds the limits ends the collection after those that are held.
    pub(super) fn push(&mut self, message: Message) -> Reception {
        if self.end.is_some() {
            return Reception::Late;
        }
        let bytes = self.held_bytes.saturating_add(length(&message));
        let fits = self.held.len() < self.max.replies && bytes <= self.max.bytes;
        if !fits && !self.held.is_empty() {
            self.end = Some(Ended::Overflowed);
            return Reception::Late;
        }
        self.held_bytes = bytes;
        self.held.push_back(message);
        match std::mem::replace(&mut self.is_answered, true) {
            true => Reception::Further,
            false => Reception::First,
        }
    }

    /// Ends the collection, if it has not ended. The replies that are held can still be read.
    ///
    /// A denial after a reply concerns another request of the subject, and ends nothing.
    pub(super) fn end_with(&mut self, end: Ended) {
        let concerns = !(self.is_answered && matches!(end, Ended::Denied(_)));
        if concerns {
            self.end.get_or_insert(end);
        }
    }

    /// Returns whether a reply has arrived.
    pub(super) fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Returns the number of replies that were not read.
    pub(super) fn unread(&self) -> u64 {
        self.held.len() as u64
    }

    /// Takes the waker of the code that waits.
    pub(super) fn take_waker(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    /// Polls for the next reply, or for the end after the last one.
    pub(super) fn poll(&mut self, waker: &Waker) -> Poll<Result<Message, Ended>> {
        if let Some(message) = self.held.pop_front() {
            self.held_bytes = self.held_bytes.saturating_sub(length(&message));
            return Poll::Ready(Ok(message));
        }
        if let Some(end) = self.end {
            return Poll::Ready(Err(end));
        }
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        Poll::Pending
    }
}

/// Returns the length of a message in memory.
fn length(message: &Message) -> usize {
    message.length.max(message.payload.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Message {
        Message {
            subject: "s".into(),
            reply: None,
            payload: vec![0; length].into(),
            headers: None,
            status: None,
            description: None,
            length,
        }
    }

    fn collected(replies: usize, bytes: usize) -> Collected {
        Collected::new(HeldMax { replies, bytes })
    }

    /// Reads what is held: lengths, and the end.
    fn read(collected: &mut Collected) -> (Vec<usize>, Option<Ended>) {
        let mut lengths = Vec::new();
        loop {
            match collected.poll(Waker::noop()) {
                Poll::Ready(Ok(message)) => lengths.push(message.length),
                Poll::Ready(Err(end)) => return (lengths, Some(end)),
                Poll::Pending => return (lengths, None),
            }
        }
    }

    #[test]
    fn replies_are_held_in_order_and_read_before_the_end() {
        let mut one = collected(9, 1000);
        assert_eq!(one.push(message(1)), Reception::First);
        assert_eq!(one.push(message(2)), Reception::Further);
        one.end_with(Ended::Lost);
        assert_eq!(one.push(message(3)), Reception::Late);
        assert_eq!(read(&mut one), (vec![1, 2], Some(Ended::Lost)));
        assert_eq!(read(&mut one), (vec![], Some(Ended::Lost)));
    }

    #[test]
    fn more_than_may_be_held_ends_the_collection_and_what_was_read_counts_no_longer() {
        for (mut one, fit) in [(collected(3, 1000), 3), (collected(9, 35), 3)] {
            for _ in 0..2 {
                for _ in 0..fit {
                    assert_ne!(one.push(message(10)), Reception::Late);
                }
                assert_eq!(read(&mut one), (vec![10; fit], None));
            }
            for _ in 0..fit {
                one.push(message(10));
            }
            assert_eq!(one.push(message(10)), Reception::Late);
            assert_eq!(read(&mut one), (vec![10; fit], Some(Ended::Overflowed)));
        }
    }

    #[test]
    fn one_reply_is_always_held() {
        let mut none = collected(0, 0);
        assert_eq!(none.push(message(10)), Reception::First);
        assert_eq!(read(&mut none), (vec![10], None));
        none.push(message(10));
        assert_eq!(none.push(message(10)), Reception::Late);
    }

    #[test]
    fn a_denial_after_a_reply_concerns_another_request() {
        let denied = Ended::Denied(Delivery::NotSent);
        let mut one = collected(9, 1000);
        one.end_with(denied);
        assert_eq!(read(&mut one), (vec![], Some(denied)));
        let mut one = collected(9, 1000);
        one.push(message(1));
        one.end_with(denied);
        assert_eq!(read(&mut one), (vec![1], None));
    }
}

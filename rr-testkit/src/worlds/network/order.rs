//! Order of the messages that are ready in the same instant.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::Network;
use crate::sync::lock;
use crate::worlds::fault::Fault;
use crate::worlds::trace::What;

/// Time after which a message that no other overtakes is delivered: the instant is over.
const INSTANT: Duration = Duration::from_millis(1);

/// Way of a message: to the handler, or back to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worlds) enum Leg {
    Request,
    Reply,
}

/// Messages of the present instant.
#[derive(Default)]
pub(super) struct Order {
    at: Option<Instant>,
    /// The message that was delivered last.
    last: Option<(usize, Leg)>,
    /// Messages that wait until another has overtaken them.
    held: Vec<oneshot::Sender<()>>,
}

impl Network {
    /// Waits until it is the turn of a message that is ready: immediately, or when another message of
    /// the instant has overtaken it. The message is then behind all that are ready already.
    pub(in crate::worlds) async fn take_turn(&self, call: usize, leg: Leg, fault: Option<Fault>) {
        if let Some(fault) = fault.filter(|fault| fault.leg() == Some(leg)) {
            let (sender, overtaken) = oneshot::channel();
            lock(&self.0.state).order.now().held.push(sender);
            if let Ok(Ok(())) = timeout(INSTANT, overtaken).await {
                lock(&self.0.state).fired += 1;
                self.record(call, What::Struck(fault));
            }
        }
        self.delivered(call, leg);
    }

    /// Notes that a message is delivered, after the one before it in the same instant.
    fn delivered(&self, call: usize, leg: Leg) {
        let mut state = lock(&self.0.state);
        let state = &mut *state;
        let order = state.order.now();
        let before = order.last.replace((call, leg));
        if let Some((before, leg)) = before.filter(|(before, _)| *before != call) {
            if let Some(rivals) = state.trace.rivals.get_mut(before) {
                rivals.add(leg);
            }
        }
        for held in order.held.drain(..) {
            // Fails when the call has ended.
            let _ = held.send(());
        }
    }
}

impl Order {
    /// Returns the messages of this instant; those of an earlier one are forgotten.
    fn now(&mut self) -> &mut Self {
        let now = Instant::now();
        if self.at != Some(now) {
            *self = Self { at: Some(now), ..Self::default() };
        }
        self
    }
}

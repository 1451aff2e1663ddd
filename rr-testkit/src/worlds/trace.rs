//! What happened in a world: its messages, runs and outcomes, in virtual time.

use std::fmt;
use std::time::Duration;

use rr_spi::{Code, Delivery, Error, Reason, Response};

use super::fault::{Fault, Place};
use super::network::Leg;
use super::profile::Profile;

/// Events of one world, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    pub(super) events: Vec<Event>,
    /// The message of each call, by the number of the call.
    pub(super) places: Vec<Place>,
    /// The carrier of each call.
    pub(super) profiles: Vec<Profile>,
    /// Which messages of each call another has followed in the same instant.
    pub(super) rivals: Vec<Rivals>,
}

/// Whether another message was ready in the same instant as a request and as its reply, and was
/// delivered next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Rivals {
    request: bool,
    reply: bool,
}

impl Rivals {
    pub(super) fn add(&mut self, leg: Leg) {
        match leg {
            Leg::Request => self.request = true,
            Leg::Reply => self.reply = true,
        }
    }

    /// Returns whether a fault can strike: an order needs another message in the instant.
    pub(super) fn has(self, fault: Fault) -> bool {
        match fault.leg() {
            None => true,
            Some(Leg::Request) => self.request,
            Some(Leg::Reply) => self.reply,
        }
    }
}

/// Event of a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// Virtual time since the start.
    pub(super) at: Duration,
    /// Number of the call, from 0.
    pub(super) call: usize,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum What {
    Sent {
        left: Option<Duration>,
    },
    Struck(Fault),
    /// A handler was entered: at the instance with this number, from 0.
    Entered {
        instance: usize,
    },
    /// A handler has answered.
    Answered(Summary),
    /// The call has ended for its caller.
    Returned(Summary),
    /// The caller dropped the call.
    GaveUp,
}

/// Outcome of a run or a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Summary {
    /// `None` for a success.
    pub(super) code: Option<Code>,
    pub(super) delivery: Delivery,
    pub(super) reason: Option<Reason>,
}

impl Summary {
    pub(super) fn of(outcome: &Result<Response, Error>) -> Self {
        match outcome {
            Ok(_) => Self { code: None, delivery: Delivery::Processed, reason: None },
            Err(error) => Self {
                code: Some(error.code()),
                delivery: error.delivery(),
                reason: error.reason().cloned(),
            },
        }
    }

    /// Returns the code and the delivery, for pictures.
    pub(super) fn short(&self) -> String {
        match self.code {
            None => "ok".to_owned(),
            Some(code) => format!("{} ({})", code.as_str(), self.delivery.as_str()),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())?;
        self.reason.as_ref().map_or(Ok(()), |reason| write!(f, " {}", reason.as_str()))
    }
}

impl Trace {
    /// Returns the fault that struck a call.
    pub(super) fn fault(&self, call: usize) -> Option<Fault> {
        self.events.iter().filter(|event| event.call == call).find_map(|event| match event.what {
            What::Struck(fault) => Some(fault),
            _ => None,
        })
    }

    /// Returns how many more handlers of a service were entered than messages were sent to it, for the
    /// messages that the network delivered several times.
    #[cfg(feature = "conformance")]
    pub(crate) fn repeated(&self, service: &str) -> usize {
        let mut entered = vec![0_usize; self.places.len()];
        for event in self.events.iter().filter(|event| matches!(event.what, What::Entered { .. })) {
            if let Some(entered) = entered.get_mut(event.call) {
                *entered += 1;
            }
        }
        let at_service = self.places.iter().zip(entered).filter(|(place, _)| place.to == service);
        at_service.map(|(_, entered)| entered.saturating_sub(1)).sum()
    }

    /// Returns whether the caller got what a server answered or refused.
    pub(super) fn is_answer(&self, call: usize, got: &Summary) -> bool {
        let answered = |event: &Event| match &event.what {
            What::Answered(one) => (one.code, one.delivery) == (got.code, got.delivery),
            _ => false,
        };
        let is_refused = got.delivery == Delivery::Rejected;
        is_refused || self.events.iter().any(|event| event.call == call && answered(event))
    }
}

/// Writes the events as a table of time, link and event.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.events {
            let Some(place) = self.places.get(event.call) else { continue };
            write!(f, "{:>8} ms  {place}  ", event.at.as_millis())?;
            match &event.what {
                What::Sent { left: Some(left) } => {
                    write!(f, "sent, {} ms left", left.as_millis())?;
                }
                What::Sent { left: None } => f.write_str("sent, without a deadline")?,
                What::Struck(fault) => write!(f, "FAULT {fault}")?,
                What::Entered { instance: 0 } => f.write_str("the handler runs")?,
                What::Entered { instance } => write!(f, "the handler runs at instance {instance}")?,
                What::Answered(summary) => write!(f, "the handler answered {summary}")?,
                What::Returned(summary) => write!(f, "the caller got {summary}")?,
                What::GaveUp => f.write_str("the caller dropped the call")?,
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}

//! Faults, the messages that they strike, and scripts of them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use rr_spi::{Code, Delivery, Error};

use super::network::Leg;

/// Fault of one message. Each variant states whether the handler runs, and what the caller gets.
///
/// The order is that in which faults are tried: the simplest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// No connection can be made. The handler does not run: `Unavailable`, not sent,
    /// `connect-failed`.
    ConnectFails,
    /// The server refuses the request because it drains. The handler does not run: `Unavailable`,
    /// rejected, `draining`.
    Draining,
    /// The server refuses the request because it has too many. The handler does not run:
    /// `ResourceExhausted`, rejected, `overloaded`.
    Overloaded,
    /// The request is lost. The handler does not run, and the caller waits until its deadline:
    /// `DeadlineExceeded`, unknown.
    RequestLost,
    /// The reply is lost. The handler has run, and the caller waits until its deadline:
    /// `DeadlineExceeded`, unknown.
    ReplyLost,
    /// The connection breaks after the handler has run, before its reply has arrived:
    /// `Unavailable`, unknown, `connection-lost`.
    BrokenAfter,
    /// The connection breaks while the handler waits for the first time, and the handler is dropped
    /// there: `Unavailable`, unknown, `connection-lost`. A handler that never waits has run.
    BrokenWithin,
    /// The request arrives twice, as over a NATS topology that repeats messages. Both runs are
    /// simultaneous; the caller gets the reply that comes first.
    Duplicated,
    /// The request takes half of the time that its deadline leaves, and other messages overtake it.
    Delayed,
    /// The request arrives 1 s after its deadline, when the caller has given up, and the handler runs
    /// with the time that the request grants: `DeadlineExceeded`, unknown.
    Late,
    /// The connection is reset while the handler waits for the first time: every call in flight over
    /// the link ends with `Unavailable`, unknown, `connection-lost`, and their handlers are dropped.
    Reset,
    /// The instance of the service crashes while the handler waits for the first time: every call in
    /// flight at the instance ends as with [`Reset`](Self::Reset). The instance starts again
    /// immediately, with what its factory makes. Work that its handlers have shielded ends at its next
    /// call.
    Crashed,
    /// The instance that sends the request crashes once the handler has answered, as with
    /// [`Crashed`](Self::Crashed). It strikes the calls that a handler makes with the context of its
    /// request; for any other call, such as the test's, it is [`BrokenAfter`](Self::BrokenAfter).
    CallerCrashed,
    /// The link loses every message for 5 s, beginning with the request.
    Partitioned,
    /// The request arrives again 1 s after the caller has its reply, as over a NATS topology that
    /// repeats messages. The second reply is lost.
    Repeated,
    /// The clock of the server jumps past the deadline while the handler waits for the first time: the
    /// context of the request ends there, and the handler is dropped: `DeadlineExceeded`, processed,
    /// long before the caller's deadline.
    ClockJumped,
    /// The reply takes half of the time that the deadline leaves, and other messages overtake it.
    ReplyDelayed,
    /// The calling instance crashes after its call has returned, with the reply or an error, when its
    /// handler waits again. A handler that does not wait again answers first. It strikes the calls
    /// that a handler makes with the context of its request; for any other call, it is
    /// [`BrokenAfter`](Self::BrokenAfter).
    CrashedOnReply,
    /// The request is delivered after the next messages that are ready in the same instant: at least
    /// one. One of [`ORDERS`](Self::ORDERS).
    Overtaken,
    /// The reply is delivered after the next messages that are ready in the same instant: at least
    /// one. One of [`ORDERS`](Self::ORDERS).
    ReplyOvertaken,
}

impl Fault {
    /// Every fault but [`ORDERS`](Self::ORDERS).
    pub const ALL: [Self; 18] = [
        Self::ConnectFails,
        Self::Draining,
        Self::Overloaded,
        Self::RequestLost,
        Self::ReplyLost,
        Self::BrokenAfter,
        Self::BrokenWithin,
        Self::Duplicated,
        Self::Delayed,
        Self::Late,
        Self::Reset,
        Self::Crashed,
        Self::CallerCrashed,
        Self::Partitioned,
        Self::Repeated,
        Self::ClockJumped,
        Self::ReplyDelayed,
        Self::CrashedOnReply,
    ];

    /// Orders of the messages that are ready in the same instant, which
    /// [`Worlds::with_orders`](super::Worlds::with_orders) tries. If no other message is ready in the
    /// instant, they deliver the message 1 ms later, and do not count as faults that have struck.
    pub const ORDERS: [Self; 2] = [Self::Overtaken, Self::ReplyOvertaken];

    /// Returns the way on which the fault lets another message overtake; `None` if it is no order.
    pub(super) const fn leg(self) -> Option<Leg> {
        match self {
            Self::Overtaken => Some(Leg::Request),
            Self::ReplyOvertaken => Some(Leg::Reply),
            _ => None,
        }
    }

    /// Returns the name of the fault in a script, such as `reply-lost`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnectFails => "connect-fails",
            Self::Draining => "draining",
            Self::Overloaded => "overloaded",
            Self::RequestLost => "request-lost",
            Self::ReplyLost => "reply-lost",
            Self::BrokenAfter => "broken-after",
            Self::BrokenWithin => "broken-within",
            Self::Duplicated => "duplicated",
            Self::Delayed => "delayed",
            Self::Late => "late",
            Self::Reset => "reset",
            Self::Crashed => "crashed",
            Self::CallerCrashed => "caller-crashed",
            Self::Partitioned => "partitioned",
            Self::Repeated => "repeated",
            Self::ClockJumped => "clock-jumped",
            Self::ReplyDelayed => "reply-delayed",
            Self::CrashedOnReply => "crashed-on-reply",
            Self::Overtaken => "overtaken",
            Self::ReplyOvertaken => "reply-overtaken",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Message of a run: the nth call of a method over a link.
///
/// Its name survives unrelated edits of the application, unlike a number over all messages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) target: String,
    /// Counts from 1.
    pub(super) nth: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}>{}/{}#{}", self.from, self.to, self.target, self.nth)
    }
}

/// Script of a world: its faults, each at a message.
///
/// As text, `shop>payments/payments.charge#1=reply-lost` is one fault; commas separate several.
///
/// # Examples
///
/// ```
/// use rr_testkit::worlds::{Fault, Script};
///
/// let script = Script::new().at("shop", "payments", "payments.charge", 1, Fault::ReplyLost);
/// assert_eq!(script.to_string(), "shop>payments/payments.charge#1=reply-lost");
/// assert_eq!(script, "shop>payments/payments.charge#1=reply-lost".parse()?);
/// # Ok::<(), rr_spi::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script(pub(super) Vec<(Place, Fault)>);

impl Script {
    /// Makes a script without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a fault to the nth call of a target over the link between a caller and a service. The
    /// first call is number 1. Of two faults of one call, only the first strikes.
    #[must_use]
    pub fn at(
        mut self,
        from: impl Into<String>,
        to: impl Into<String>,
        target: impl Into<String>,
        nth: usize,
        fault: Fault,
    ) -> Self {
        let place = Place { from: from.into(), to: to.into(), target: target.into(), nth };
        self.0.push((place, fault));
        self
    }

    /// Returns the number of faults.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no faults.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the script as an expression of Rust.
    #[must_use]
    pub fn rust(&self) -> String {
        let mut text = "Script::new()".to_owned();
        for (Place { from, to, target, nth }, fault) in &self.0 {
            text += &format!(".at({from:?}, {to:?}, {target:?}, {nth}, Fault::{fault:?})");
        }
        text
    }

    pub(super) fn fault(&self, place: &Place) -> Option<Fault> {
        self.0.iter().find(|(at, _)| at == place).map(|(_, fault)| *fault)
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (place, fault)) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "," };
            write!(f, "{separator}{place}={fault}")?;
        }
        Ok(())
    }
}

impl FromStr for Script {
    type Err = Error;

    /// Reads a script.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, if the text is malformed, or has two faults of one call; the hint
    /// shows a script.
    fn from_str(text: &str) -> Result<Self, Error> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let faults: Option<Vec<_>> = parts.map(parse).collect();
        let places = |faults: &[(Place, Fault)]| -> BTreeSet<Place> {
            faults.iter().map(|(place, _)| place.clone()).collect()
        };
        let faults = faults.filter(|faults| places(faults).len() == faults.len());
        faults.map(Self).ok_or_else(|| {
            let message = format!("`{}` is not a script of faults", rr_spi::excerpt(text, 200));
            let error = Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message);
            error.with_hint("a script looks like `shop>payments/payments.charge#1=reply-lost`")
        })
    }
}

fn parse(part: &str) -> Option<(Place, Fault)> {
    let (place, fault) = part.rsplit_once('=')?;
    let fault = Fault::ALL.into_iter().chain(Fault::ORDERS).find(|one| one.name() == fault)?;
    let (call, nth) = place.rsplit_once('#')?;
    let (link, target) = call.split_once('/')?;
    let (from, to) = link.split_once('>')?;
    let is_complete = [from, to, target].iter().all(|name| !name.is_empty());
    let is_number = nth.bytes().all(|byte| byte.is_ascii_digit());
    let nth = nth.parse().ok().filter(|nth| *nth > 0 && is_complete && is_number)?;
    let place = Place { from: from.into(), to: to.into(), target: target.into(), nth };
    Some((place, fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_read_by_its_name() {
        for fault in Fault::ALL.into_iter().chain(Fault::ORDERS) {
            let script = Script::new().at("a", "b", "b.x", 3, fault).at("b", "c", "c.y", 1, fault);
            assert_eq!(script.to_string().parse::<Script>().unwrap(), script);
        }
        assert!(Fault::ALL.is_sorted());
    }

    #[test]
    fn a_malformed_script_is_refused_with_a_hint() {
        for text in [
            "x",
            "a>b/c#0=reset",
            "a>b/c#+1=reset",
            "a>b/c#1=none",
            "a>b#1=reset",
            "a/c#1=reset",
            "a>b/c=reset",
            ">/#1=reset",
            "a>b/c#1=reset,a>b/c#1=late",
        ] {
            let error = text.parse::<Script>().unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument, "{text}");
            assert!(error.hint().contains("reply-lost"), "{text}");
        }
        assert!("".parse::<Script>().unwrap().is_empty());
    }
}

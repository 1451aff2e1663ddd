//! Rules of the carriers: which faults they have, and what becomes of a handler that lost its caller.

use std::time::Duration;

use rr_spi::{CancelHandle, Code, Delivery, Error, Idempotency, Reason, Request, Response};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::fault::Fault;
use super::life::Life;

/// Carrier of the calls of a service, by whose rules the faults work; see
/// [`Network::set_profile`](super::Network::set_profile).
///
/// # Examples
///
/// ```
/// use rr_testkit::worlds::{Fault, Profile};
///
/// assert!(Profile::Nats.has(Fault::Duplicated));
/// assert!(!Profile::Http1.has(Fault::Duplicated));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// No carrier in particular: every fault, and a handler is dropped in the instant in which its
    /// caller leaves, as over `memory://`.
    #[default]
    Memory,
    /// HTTP/1.1: each call has its own connection.
    Http1,
    /// HTTP/2: the calls of a client share a connection.
    Http2,
    /// NATS: caller and instance are connected to a NATS server, and not to each other.
    Nats,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 4] = [Self::Memory, Self::Http1, Self::Http2, Self::Nats];

    /// Returns whether the carrier has a fault, and the fault differs from its other faults.
    ///
    /// Another fault is not tried, and does not strike if a script has it.
    #[must_use]
    pub const fn has(self, fault: Fault) -> bool {
        match self {
            Self::Memory => true,
            // A reset strikes the connection of one call: it is `BrokenWithin`.
            Self::Http1 => !matches!(fault, Fault::Duplicated | Fault::Repeated | Fault::Reset),
            Self::Http2 => !matches!(fault, Fault::Duplicated | Fault::Repeated),
            // A server that drains unsubscribes, and answers what it got before. A lost connection is
            // that of all calls of the client: it is `Reset`.
            Self::Nats => !matches!(fault, Fault::Draining | Fault::BrokenWithin),
        }
    }

    pub(super) const fn is_http(self) -> bool {
        matches!(self, Self::Http1 | Self::Http2)
    }

    /// Returns whether the caller learns that the instance has gone.
    pub(super) const fn tells_of_crashes(self) -> bool {
        !matches!(self, Self::Nats)
    }

    /// Makes the error of a call that reaches no instance.
    pub(super) fn no_instance(self, text: String) -> Error {
        let reason = if self.is_http() { Reason::CONNECT_FAILED } else { Reason::NO_RESPONDER };
        Error::failure(Code::Unavailable, Delivery::NotSent, reason, text)
    }

    /// Returns what the refusal of a request proves: a proxy may have repeated a keyed request
    /// without a body, so that another server has run it.
    pub(super) fn refused(self, request: &Request) -> Delivery {
        let is_keyed = matches!(request.idempotency, Idempotency::Keyed(_));
        let may_be_repeated = self.is_http() && is_keyed && request.body.is_empty();
        if may_be_repeated { Delivery::Unknown } else { Delivery::Rejected }
    }
}

/// Handlers of a call that are in flight. Dropping it tells them that their caller has left, as fast
/// as the carrier does.
pub(super) struct Runs {
    pub(super) profile: Profile,
    /// Time until the instance learns that the caller has left.
    pub(super) latency: Duration,
    /// The connection, and the instance that calls, if there is one.
    pub(super) lives: [Option<Life>; 2],
    pub(super) handles: Vec<CancelHandle>,
    pub(super) answers: mpsc::Receiver<Result<Response, Error>>,
    pub(super) has_answered: bool,
}

impl Runs {
    /// Waits for the first answer; `None` if the runs were ended from outside.
    pub(super) async fn answer(&mut self) -> Option<Result<Response, Error>> {
        let answer = self.answers.recv().await;
        self.has_answered = answer.is_some();
        answer
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        let Ok(runtime) = Handle::try_current() else { return };
        let handles = std::mem::take(&mut self.handles);
        let is_lost = self.lives.iter().flatten().any(Life::has_ended);
        match self.profile {
            Profile::Memory => {}
            Profile::Http1 | Profile::Http2 if self.has_answered => {}
            // Nothing tells an instance that the caller has another answer, or was cut off.
            Profile::Nats if self.has_answered || is_lost => {
                let mut answers = std::mem::replace(&mut self.answers, mpsc::channel(1).1);
                runtime.spawn(async move {
                    while answers.recv().await.is_some() {}
                    drop(handles);
                });
            }
            Profile::Http1 | Profile::Http2 | Profile::Nats => {
                let latency = self.latency;
                runtime.spawn(async move {
                    sleep(latency).await;
                    drop(handles);
                });
            }
        }
    }
}

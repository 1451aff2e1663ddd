//! What observers learn about an operation.

use std::time::Duration;

use tokio::time::Instant;

use crate::context::Context;
use crate::error::{Code, Delivery, Error, Reason};
use crate::peer::Peer;
use crate::progress::Progress;
use crate::response::Response;
use crate::target::Target;
use crate::timeline::Timeline;

/// Kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A call of an application, with all of its attempts.
    ClientCall,
    /// One attempt of a call: one request of a transport.
    ClientAttempt,
    /// A request that a server received.
    ServerRequest,
}

/// Start of an operation.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Start<'a> {
    /// The kind of the operation.
    pub kind: Kind,
    /// The context of the operation: earlier attempts, request id, trace context. What arrived with
    /// a request is in [`Context::request`] once its handler is entered.
    pub context: &'a Context,
    /// The target; `None` if the request named none that can be read.
    pub target: Option<&'a Target>,
    /// The route that answers a request: `orders.place`, `orders.*` or `*`; the target of a call or
    /// an attempt. `None` if the server has no such target.
    ///
    /// A server has a bounded number of routes, so this is the name for metrics. A caller can send
    /// any number of targets.
    pub route: Option<&'a str>,
    /// The other end of the connection on which a request arrived, if the transport knows it.
    pub peer: Option<&'a Peer>,
    /// The stage of a call or an attempt while it is in flight; `None` for a request, and if no
    /// observer [shows](super::Observer::shows_progress) it.
    pub progress: Option<&'a Progress>,
}

/// End of an operation.
#[derive(Debug)]
#[non_exhaustive]
pub struct End<'a> {
    /// What was known at the start. The route and the target of a request may have been found later.
    pub start: Start<'a>,
    /// The outcome.
    pub outcome: Outcome<'a>,
    /// The length of the request's body in bytes; 0 if it was never received.
    pub request_bytes: usize,
    /// The instant of the start.
    pub began: Instant,
    /// The instant at which the handler of a request was entered; `None` if it did not run.
    pub entered: Option<Instant>,
    /// The message of the handler's panic. It stays in this process.
    pub panic: Option<&'a str>,
}

/// Outcome of an operation.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Outcome<'a> {
    /// A response.
    Success(&'a Response),
    /// An error.
    Failure(&'a Error),
    /// The future was dropped: the caller of a call went away, or the peer of a request.
    Dropped(Delivery),
    /// Several replies to one request: so many were handed out before the collection ended.
    ///
    /// A request that was to have several replies and has none is a failure, or dropped.
    Replies(usize),
}

impl<'a> Outcome<'a> {
    /// Makes the outcome of a future that completed with a response or an error.
    #[must_use]
    pub fn of(outcome: &'a Result<Response, Error>) -> Self {
        match outcome {
            Ok(response) => Self::Success(response),
            Err(error) => Self::Failure(error),
        }
    }

    /// Returns the code; `None` for a success, [`Code::Canceled`] for a dropped future.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Success(_) | Self::Replies(_) => None,
            Self::Failure(error) => Some(error.code()),
            Self::Dropped(_) => Some(Code::Canceled),
        }
    }

    /// Returns the code as text, `ok` for a success.
    #[must_use]
    pub fn status(&self) -> &'static str {
        self.code().map_or("ok", Code::as_str)
    }

    /// Returns the reason of a failure, or else its code; `None` for a success.
    ///
    /// It is one of a bounded number of texts, as metrics need: a reason that rr does not know counts
    /// as none, since peers may name any.
    #[must_use]
    pub fn error_type(&self) -> Option<&'static str> {
        let code = self.code()?;
        let reason = self.error().and_then(Error::reason).and_then(Reason::known);
        Some(reason.unwrap_or(code.as_str()))
    }

    /// Returns the error.
    #[must_use]
    pub fn error(&self) -> Option<&'a Error> {
        match self {
            Self::Failure(error) => Some(error),
            Self::Success(_) | Self::Dropped(_) | Self::Replies(_) => None,
        }
    }

    /// Returns whether the handler may have run; [`Delivery::Processed`] for a success.
    #[must_use]
    pub fn delivery(&self) -> Delivery {
        match self {
            Self::Success(_) | Self::Replies(_) => Delivery::Processed,
            Self::Failure(error) => error.delivery(),
            Self::Dropped(delivery) => *delivery,
        }
    }

    /// Returns the length of the response's body in bytes; 0 without a response, and for several
    /// replies.
    #[must_use]
    pub fn response_bytes(&self) -> usize {
        match self {
            Self::Success(response) => response.body.len(),
            Self::Failure(_) | Self::Dropped(_) | Self::Replies(_) => 0,
        }
    }
}

impl End<'_> {
    /// Returns the time since the start. Reads the clock.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Returns where the time of a failed attempt went.
    #[must_use]
    pub fn timeline(&self) -> Option<&Timeline> {
        self.outcome.error().and_then(Error::timeline)
    }
}

//! Conclusions from the outcome of a call: about its endpoint, and about another endpoint.

use std::time::Duration;

use rr_spi::{Code, Error, Origin, Reason, RetryHint};

/// Time for which an endpoint that refused a call is avoided while others are available.
const AVOIDED: Duration = Duration::from_secs(1);

/// Longest time for which an endpoint is avoided because it asked for a pause.
const AVOIDED_MAX: Duration = Duration::from_secs(10);

/// Conclusion about the endpoint of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The endpoint answered, if only with an application error.
    Success,
    /// The endpoint or the way to it failed.
    Failure,
    /// The time of the call ran out: a failure if the call had as much time as calls take at other
    /// endpoints.
    Late,
    /// The outcome tells nothing about the endpoint.
    Neutral,
}

impl Verdict {
    /// Returns whether the endpoint, or the way to it, has given a sign of itself.
    pub(super) fn is_answer(self) -> bool {
        matches!(self, Self::Success | Self::Failure)
    }
}

/// Returns the conclusion about the endpoint of a failed call.
pub(super) fn verdict(error: &Error) -> Verdict {
    match error.code() {
        Code::Unavailable => Verdict::Failure,
        Code::DeadlineExceeded => Verdict::Late,
        Code::Internal | Code::Unknown if is_of_transport(error) => Verdict::Failure,
        Code::Canceled => Verdict::Neutral,
        // A client-side limit, such as one on the size of a body, concerns no endpoint.
        _ if error.origin() == Origin::Local => Verdict::Neutral,
        // An overloaded endpoint is avoided, but not ejected: the others would get its calls too.
        Code::ResourceExhausted => Verdict::Neutral,
        _ => Verdict::Success,
    }
}

/// Returns whether a transport or a proxy made the error instead of the peer's handler.
fn is_of_transport(error: &Error) -> bool {
    let is_known = |reason| [&Reason::BAD_RESPONSE, &Reason::CONNECTION_LOST].contains(&reason);
    error.origin() == Origin::Intermediary || error.reason().is_some_and(is_known)
}

/// Returns the time for which the endpoint of a failed call is avoided; zero if it is not. It is
/// avoided only if it did not take the call, and not for a slow handler.
pub(super) fn avoidance(error: &Error) -> Duration {
    if !may_move(error) {
        return Duration::ZERO;
    }
    match error.retry() {
        RetryHint::After(asked) => asked.clamp(AVOIDED, AVOIDED_MAX),
        _ => AVOIDED,
    }
}

/// Returns whether a failed call may be sent to another endpoint: the handler provably did not run,
/// and another endpoint may do better.
pub(super) fn may_move(error: &Error) -> bool {
    error.delivery().is_unexecuted() && concerns_only_this_endpoint(error)
}

/// Returns whether a call that is refused because its endpoint goes away may move to an endpoint that
/// was ejected: during a rolling restart, that one may be back.
pub(super) fn may_rescue(error: &Error) -> bool {
    let gone = [Reason::CONNECT_FAILED, Reason::DRAINING];
    error.reason().is_some_and(|reason| gone.contains(reason))
}

/// Returns whether another endpoint may accept the call that this one did not.
fn concerns_only_this_endpoint(error: &Error) -> bool {
    let reason = error.reason();
    // Both reasons concern the requester of this endpoint alone, although `closed` forbids a retry.
    if [&Reason::CLOSED, &Reason::BREAKER_OPEN].map(Some).contains(&reason) {
        return true;
    }
    match error.code() {
        _ if error.retry() == RetryHint::Never => false,
        Code::Unavailable | Code::DeadlineExceeded => true,
        Code::ResourceExhausted => reason == Some(&Reason::OVERLOADED),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rr_spi::Delivery;

    use super::*;

    fn failure(code: Code, delivery: Delivery, reason: impl Into<Option<Reason>>) -> Error {
        Error::failure(code, delivery, reason, "")
    }

    #[test]
    fn transports_failures_count_and_application_errors_and_cancellation_do_not() {
        use Verdict::{Failure, Late, Neutral, Success};
        let peer = |code| Error::new(code, "").with_origin(Origin::Peer);
        let sent = |code, reason: Option<Reason>| failure(code, Delivery::Unknown, reason);
        for (error, expected) in [
            (sent(Code::Unavailable, Some(Reason::CONNECTION_LOST)), Failure),
            (peer(Code::Unavailable), Failure),
            (failure(Code::Unavailable, Delivery::Rejected, Reason::DRAINING), Failure),
            (sent(Code::DeadlineExceeded, None), Late),
            (sent(Code::Internal, Some(Reason::BAD_RESPONSE)), Failure),
            (peer(Code::Unknown).with_origin(Origin::Intermediary), Failure),
            (peer(Code::Internal).with_reason(Reason::PANIC), Success),
            (peer(Code::Unknown), Success),
            (peer(Code::FailedPrecondition).with_reason(Reason::APP), Success),
            (peer(Code::NotFound), Success),
            (sent(Code::Canceled, None), Neutral),
            (peer(Code::ResourceExhausted).with_reason(Reason::OVERLOADED), Neutral),
            (
                failure(Code::ResourceExhausted, Delivery::NotSent, Reason::REQUEST_TOO_LARGE),
                Neutral,
            ),
            (failure(Code::InvalidArgument, Delivery::NotSent, None), Neutral),
        ] {
            assert_eq!(verdict(&error), expected, "{error}");
        }
    }

    #[test]
    fn only_a_call_that_did_not_run_moves_and_only_where_another_endpoint_may_do_better() {
        use Delivery::{NotSent, Processed, Rejected, Unknown};
        for (code, delivery, reason, moves) in [
            (Code::Unavailable, NotSent, Reason::CONNECT_FAILED, true),
            (Code::Unavailable, NotSent, Reason::CONNECTION_LOST, true),
            (Code::Unavailable, NotSent, Reason::NO_RESPONDER, true),
            (Code::Unavailable, NotSent, Reason::CLOSED, true),
            (Code::Unavailable, NotSent, Reason::BREAKER_OPEN, true),
            (Code::Unavailable, Rejected, Reason::DRAINING, true),
            (Code::ResourceExhausted, Rejected, Reason::OVERLOADED, true),
            (Code::Unavailable, Unknown, Reason::CONNECTION_LOST, false),
            (Code::Unavailable, Processed, Reason::DRAINING, false),
            (Code::ResourceExhausted, Rejected, Reason::RATE_LIMITED, false),
            (Code::ResourceExhausted, NotSent, Reason::REQUEST_TOO_LARGE, false),
            (Code::Unimplemented, Rejected, Reason::NO_SUCH_TARGET, false),
        ] {
            assert_eq!(may_move(&failure(code, delivery, reason)), moves, "{code} {delivery:?}");
        }
        let asked_not_to = failure(Code::Unavailable, Rejected, None).with_retry(RetryHint::Never);
        assert!(!may_move(&asked_not_to));
    }

    #[test]
    fn an_endpoint_is_avoided_for_as_long_as_it_asks_within_bounds() {
        let full = failure(Code::ResourceExhausted, Delivery::Rejected, Reason::OVERLOADED);
        assert_eq!(avoidance(&full), AVOIDED);
        let after = |seconds| RetryHint::After(Duration::from_secs(seconds));
        assert_eq!(avoidance(&full.clone().with_retry(after(3))), Duration::from_secs(3));
        assert_eq!(avoidance(&full.with_retry(after(60))), AVOIDED_MAX);
        assert_eq!(avoidance(&Error::new(Code::NotFound, "")), Duration::ZERO);
        let slow = |delivery| avoidance(&failure(Code::DeadlineExceeded, delivery, None));
        assert_eq!(slow(Delivery::Unknown), Duration::ZERO, "the handler may run");
        assert_eq!(slow(Delivery::NotSent), AVOIDED);
    }
}

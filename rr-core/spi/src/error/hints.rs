//! Hint and stable identifier of every kind of error.

use super::{Code, Reason};

/// Hints by reason, for the reasons that rr gives: the token, its identifier and the hint.
///
/// Identifiers are never reused; new rows go at the end.
const REASONS: &[(Reason, &str, &str)] = &[
    (
        Reason::NO_RESPONDER,
        "RR0101",
        "start a responder for this target, or check the target's spelling",
    ),
    (
        Reason::NOT_CONNECTED,
        "RR0102",
        "wait for the connection with `ready`, or check the address in the URL",
    ),
    (
        Reason::CONNECT_FAILED,
        "RR0103",
        "check that the server runs and that the URL names its host and port",
    ),
    (Reason::CONNECTION_LOST, "RR0104", "the handler may have run: retry only what is idempotent"),
    (Reason::DRAINING, "RR0105", "retry on another instance: this one is shutting down"),
    (Reason::BREAKER_OPEN, "RR0106", "wait for the endpoint to recover, or use another one"),
    (Reason::CLOSED, "RR0107", "make a new requester: this one was closed"),
    (
        Reason::OVERLOADED,
        "RR0108",
        "retry with backoff, or raise the server's limit of requests in flight",
    ),
    (
        Reason::RATE_LIMITED,
        "RR0109",
        "retry after the time that the error names, or ask for a higher rate",
    ),
    (Reason::THROTTLED, "RR0110", "the destination is failing: find out why before sending more"),
    (
        Reason::REQUEST_TOO_LARGE,
        "RR0111",
        "send a smaller request, or raise the limit on both sides",
    ),
    (
        Reason::RESPONSE_TOO_LARGE,
        "RR0112",
        "ask for less in one call, or raise the limit on both sides",
    ),
    (
        Reason::EXPIRED_ON_ARRIVAL,
        "RR0113",
        "give the call more time: it expired on its way to the handler",
    ),
    (
        Reason::DECODE,
        "RR0114",
        "compare the types on both sides: the body does not fit the one expected here",
    ),
    (
        Reason::IDEMPOTENCY_KEY_REUSE,
        "RR0115",
        "use a new idempotency key for each different request",
    ),
    (Reason::PANIC, "RR0116", "look at the server's log: the handler panicked"),
    (
        Reason::BAD_RESPONSE,
        "RR0117",
        "check that the URL names an rr or Connect server and not something else",
    ),
    (
        Reason::NO_SUCH_TARGET,
        "RR0118",
        "check the target's spelling, and that the server routes it",
    ),
    (
        Reason::CODEC,
        "RR0119",
        "send a content type and an encoding that the server lists in the message",
    ),
    (Reason::DUPLICATE_IN_FLIGHT, "RR0120", "wait for the first call with this key to finish"),
    (Reason::APP, "RR0121", "read the error's detail: the service itself answered this"),
    (
        Reason::OUTCOME_LOST,
        "RR0122",
        "find out what the first call with this key did; only a new key runs it again",
    ),
    (
        Reason::EXPIRED_WAITING,
        "RR0123",
        "raise the requester's limit of calls in flight, or send fewer calls at once",
    ),
    (
        Reason::EXPIRED_CONNECTING,
        "RR0124",
        "check the server and the network, or allow more connections; `account` names the part",
    ),
    (
        Reason::EXPIRED_SENDING,
        "RR0125",
        "the peer reads too slowly: send less at once, or give the call more time",
    ),
    (
        Reason::EXPIRED_AWAITING_REPLY,
        "RR0126",
        "give the call more time, or find out what makes the handler slow",
    ),
    (Reason::EXPIRED_READING, "RR0127", "give the call more time, or ask for a shorter reply"),
];

/// Identifiers and hints by code, in the order of [`Code::ALL`].
const CODES: [(&str, &str); 16] = [
    ("RR0001", "the caller went away or cancelled: nothing to do unless that was not intended"),
    ("RR0002", "look at the raw status and body: the peer said nothing more"),
    ("RR0003", "correct the request: it is wrong whatever the state of the service"),
    ("RR0004", "give the call more time, or find out what makes it slow"),
    ("RR0005", "check the identifier: the service knows no such thing"),
    ("RR0006", "use the one that exists, or another name"),
    ("RR0007", "ask for the permission: the caller is known and may not do this"),
    ("RR0008", "retry with backoff, or send less"),
    ("RR0009", "bring the service into the state that this call needs, then call again"),
    ("RR0010", "read again and repeat the whole operation: another call was faster"),
    ("RR0011", "ask for a position inside the valid range"),
    ("RR0012", "check the target and the version of the service"),
    ("RR0013", "look at the server's log: this is a bug there"),
    ("RR0014", "retry with backoff if the request is idempotent"),
    ("RR0015", "restore from a copy: data is lost"),
    ("RR0016", "send valid credentials"),
];

fn row(reason: Option<&Reason>) -> Option<&'static (Reason, &'static str, &'static str)> {
    REASONS.iter().find(|(known, ..)| Some(known) == reason)
}

pub(super) fn hint(code: Code, reason: Option<&Reason>) -> &'static str {
    row(reason).map_or(CODES[code as usize - 1].1, |&(.., hint)| hint)
}

pub(super) fn id(code: Code, reason: Option<&Reason>) -> &'static str {
    row(reason).map_or(CODES[code as usize - 1].0, |&(_, id, _)| id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn identifiers_are_unique_and_every_known_reason_has_one() {
        let ids = REASONS.iter().map(|row| row.1).chain(CODES.iter().map(|row| row.0));
        let unique: BTreeSet<_> = ids.clone().collect();
        assert_eq!(unique.len(), ids.count());
        assert_eq!(REASONS.len(), Reason::KNOWN.len());
    }

    #[test]
    fn an_unknown_reason_falls_back_to_the_code() {
        let own = Reason::parse("own-reason");
        assert_eq!(id(Code::NotFound, own.as_ref()), "RR0005");
        assert_eq!(id(Code::Unavailable, Some(&Reason::DRAINING)), "RR0105");
    }
}

//! What no bridge can do, whatever its transports are.

use rr_testkit::conformance::Plan;

/// Returns the plan of a bridge that is itself what the suite drains.
pub(crate) fn front() -> Plan {
    any().known_failing(
        "drain/grace_exceeded_cancels",
        "a handler behind a bridge that gives its call up learns that the caller has gone, not why",
    )
}

/// Returns the plan of a bridge that stays while what is behind it is drained.
pub(crate) fn back() -> Plan {
    any().known_failing(
        "delivery/nobody_there_not_sent",
        "the bridge is there, and says `Rejected` of what never reached the server behind it",
    )
}

fn any() -> Plan {
    Plan::v1().known_failing(
        "deadline/default_applies",
        "a bridge gives a call without a deadline its own time, and the server behind it sees that",
    )
}

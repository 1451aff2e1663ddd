//! What a call that tries again does otherwise than one that does not, and what the recommended
//! layers do.

use rr_testkit::conformance::Plan;

/// Returns the plan of requesters that try again by default settings.
pub(crate) fn retrying() -> Plan {
    // Listed as failing is only what fails each time: the length of a pause is chance.
    let reason = "a refusal is tried again after a pause, and so is no answer at once";
    let refused = [
        "concurrency/limit_rejects_not_hangs",
        "concurrency/responder_calls_back_no_deadlock",
        "delivery/nobody_there_not_sent",
        "drain/newcomers_rejected_retryable",
        "leak/dropped_server_unsubscribes",
    ];
    let plan = refused.into_iter().fold(Plan::v1(), |plan, case| plan.skip(case, reason));
    plan.skip("delivery/refused_by_limit_rejected", "once there is room again, nobody is refused")
        .known_failing(
            "delivery/handler_runs_at_most_once_per_call",
            "what says that it is safe is run again after its reply was lost",
        )
        .known_failing("errors/every_code_round_trips", AFTER)
        .known_failing("errors/downstream_error_is_rescoped", AFTER)
        .known_failing(
            "errors/display_leaks_nothing",
            "an error tells of its attempts; they are empty without the layer",
        )
}

/// Returns the plan of the recommended layers around calls.
pub(crate) fn recommended() -> Plan {
    // Skipped instead of listed as failing: which calls are held back is chance.
    let reason = "after many calls without an answer, later calls are held back";
    let failing = [
        "deadline/1000_simultaneous_leak_nothing",
        "delivery/never_claims_unrun_when_counter_moved",
        "leak/10k_mixed_calls_flat",
    ];
    failing.into_iter().fold(retrying(), |plan, case| plan.skip(case, reason))
}

/// Returns the plan of the recommended layers around calls and around routes.
pub(crate) fn recommended_at_both_ends() -> Plan {
    let reason = "the limit on the routes admits 1024 calls, whatever the server is configured for";
    let many = ["cancel/many_together", "concurrency/more_than_1024_replies_at_once"];
    many.into_iter().fold(recommended(), |plan, case| plan.known_failing(case, reason))
}

/// The one kind of failure that is tried again though the handler ran, whatever the request says.
const AFTER: &str = "an exhausted resource that says when to come back is asked again then";

//! The list of cases, and the macro that expands it to a table.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use super::Capability;
use super::stage::Stage;

/// Severity of a failing case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Level {
    /// Required: a transport that fails the case is wrong.
    Must,
    /// Recommended: a failing case fails the run unless the plan lists the case as known to fail or
    /// is [lenient](super::Plan::lenient).
    Should,
    /// New: a failure is reported and does not fail the run. A later edition changes the level.
    Preview,
}

/// One case of the suite.
#[derive(Clone, Copy)]
pub struct Case {
    group: &'static str,
    function: &'static str,
    level: Level,
    needs: Option<Capability>,
    pub(super) run: for<'a> fn(&'a Stage) -> Pin<Box<dyn Future<Output = ()> + 'a>>,
}

impl Case {
    /// Returns the name of the case, `group/case`.
    #[must_use]
    pub fn name(&self) -> String {
        // The name of a case may start with a digit, that of a function may not.
        format!("{}/{}", self.group, self.function.trim_start_matches('_'))
    }

    /// Returns the group of the case, the first part of its name.
    #[must_use]
    pub fn group(&self) -> &'static str {
        self.group
    }

    /// Returns the level of the case.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// Returns the capability that the case needs, if any.
    #[must_use]
    pub fn needs(&self) -> Option<Capability> {
        self.needs
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Case({}, {:?})", self.name(), self.level)
    }
}

/// Returns every case, in the order in which they run.
#[must_use]
pub fn cases() -> &'static [Case] {
    CASES
}

/// The list of cases, expanded by the macro that the first word names: `level case` or `level case:
/// capability`. A leading `_` is not part of the name.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_list {
    ($expand:ident $($then:tt)*) => {
        $crate::$expand! {
            { $($then)* }
            round_trip {
                Must echo_bytes;
                Must typed_equals_raw: Typed;
                Must routing_never_crosses;
                Must unknown_method_of_a_service_is_unimplemented;
                Must unknown_target_fails_fast_and_unrun;
                Must sequential_1000;
                Must two_clients_isolated;
                Must as_dyn_object;
                Must targets_of_256_bytes;
            }
            headers {
                Must request_reaches_responder;
                Must response_reaches_requester;
                Must on_error_reply;
                Must repeated_names_keep_order;
                Must names_fold_case;
                Must empty_value;
                Must binary_names;
                Must non_ascii_refused;
                Must crlf_refused_locally;
                Must reserved_refused;
                Must reserved_never_seen;
                Must _64_entries_16_kib;
                Must too_many_refused;
                Must too_many_of_a_foreign_peer_refused: Raw;
                Must without_end_are_refused: Raw;
                Must trailers_of_replies_pass;
                Must trace_context_passes;
                Must trace_context_of_full_length;
                Must repeated_baggage_is_joined: Raw;
            }
            size {
                Must empty_request;
                Must empty_response;
                Must one_byte;
                Must _65535_65536_65537;
                Must every_power_of_two;
                Must large_bodies_in_parallel;
                Must exactly_max_request;
                Must max_request_plus_one_not_sent;
                Must over_the_servers_limit_is_rejected: ClientConfig;
                Must over_the_clients_request_limit_not_sent: ClientConfig;
                Must exactly_max_response;
                Must max_response_plus_one_is_processed;
                Must over_the_servers_response_limit_is_processed;
                Must over_the_clients_limit_is_processed: ClientConfig;
                Must client_usable_after;
                Must replies_not_taken_are_bounded: Raw;
                Must peers_that_take_nothing_are_ended: Raw;
            }
            concurrency {
                Must _1000_parallel_no_crosstalk;
                Must slow_does_not_block_fast;
                Must replies_out_of_order;
                Must more_than_1024_replies_at_once;
                Must limit_rejects_not_hangs;
                Must responder_calls_back_no_deadlock;
                Must late_reply_poisons_nothing;
            }
            deadline {
                Must expires_when_handler_hangs;
                Must errors_come_on_time;
                Must long_calls_are_answered;
                Must already_expired_never_sent;
                Must visible_to_handler;
                Must shrinks_over_three_hops;
                Must child_cannot_extend;
                Must default_applies;
                Must far_future_no_overflow;
                Must sub_millisecond_rounds_up;
                Must malformed_is_invalid_argument: Raw;
                Must expired_on_arrival_does_not_run: Raw;
                Must handler_dropped_after;
                Must code_is_deadline_exceeded_never_canceled;
                Must _1000_simultaneous_leak_nothing;
                Must server_clamp;
            }
            cancel {
                Must drop_frees_slot: Cancel;
                Must token_returns_canceled;
                Must reaches_responder: Cancel;
                Must before_send_not_sent;
                Must after_completion_noop;
                Must one_of_many;
                Must many_together: Cancel;
                Must crosses_two_hops: Cancel;
                Must cause_is_visible: Cancel;
                Must shielded_section_finishes: Cancel;
            }
            errors {
                Must every_code_round_trips;
                Must retry_hints_are_whole_milliseconds_up_to_300_s;
                Must messages_pass_as_they_are;
                Must reasons_of_64_bytes;
                Must details_of_8_kib;
                Must unicode_4k_message_is_cut;
                Must unknown_code_tolerated: Raw;
                Must app_error_round_trips;
                Must malformed_reply_is_bad_response: Raw;
                Must garbage_harms_nobody: Raw;
                Must display_leaks_nothing;
                Must downstream_error_is_rescoped;
                Must called_by_server_middleware_is_rescoped;
                Must expose_passes;
            }
            delivery {
                Must nobody_there_not_sent: Drain;
                Must killed_before_accept: Link;
                Must killed_after_accept_unknown: Link;
                Must cut_within_a_request: Cut;
                Must cut_within_a_reply: Cut;
                Must refused_by_limit_rejected;
                Must never_claims_unrun_when_counter_moved;
                Must handler_runs_at_most_once_per_call;
            }
            panic {
                Must becomes_internal;
                Must server_survives;
                Must others_unharmed;
                Must text_redacted;
            }
            drain {
                Must in_flight_finish: Drain;
                Must newcomers_rejected_retryable: Drain;
                Must grace_exceeded_cancels: Drain;
                Must the_whole_grace_is_granted: Drain;
                Must shorter_grace_holds: Drain;
                Must idle_clients_do_not_hold_it: Drain;
                Must stop_twice: Drain;
                Must under_load_loses_nothing: Drain;
                Must client_first: Drain;
                Must lame_duck_serves_until_the_drain: Drain;
                Must second_stop_ends_the_lame_duck: Drain;
            }
            observe {
                Must each_request_is_reported_once;
            }
            reconnect {
                Must outage_fails_within_deadline: Link;
                Must recovers_without_new_client: Link;
                Must idle_for_a_minute;
                Must pending_all_resolve: Link;
                Must server_restart_same_address: Restart;
                Must no_stale_send_after_reconnect: Link;
                Should no_double_run: Link;
            }
            idempotency {
                Must key_passes;
                Must replay: Dedup;
                Must join_in_flight: Dedup;
                Must other_body_refused: Dedup;
                Must ttl_expires: Dedup;
            }
            leak {
                Must _10k_mixed_calls_flat;
                Must dropped_client_closes;
                Must dropped_server_unsubscribes: Drain;
                Must panics_leave_no_task;
                Must large_replies_leave_no_task;
                Should no_task_outlives;
            }
        }
    };
}

/// Expands the list to a table; see [`cases`].
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_table {
    (
        {}
        $($group:ident { $($level:ident $case:ident $(: $needs:ident)?;)* })*
    ) => {
        const CASES: &[Case] = &[$($(Case {
            group: stringify!($group),
            function: stringify!($case),
            level: Level::$level,
            needs: $crate::__conformance_table!(@needs $($needs)?),
            run: |stage| Box::pin(super::cases::$group::$case(stage)),
        }),*),*];
    };
    (@needs) => { None };
    (@needs $needs:ident) => { Some(Capability::$needs) };
}

crate::__conformance_list! { __conformance_table }

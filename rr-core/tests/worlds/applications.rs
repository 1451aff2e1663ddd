//! The applications.

mod cached_default;
mod cached_failure;
mod concurrent_duplicates;
mod confirmed_before_stored;
mod counted_attempts;
mod deadline_not_passed_on;
mod deadline_taken_for_not_run;
mod double_charge;
mod key_from_a_counter;
mod lease_outlived;
mod lease_without_expiry;
mod lost_compensation;
mod lost_in_a_crash;
mod lost_update;
mod not_run_to_its_end;
mod outbox_after_call;
mod paid_before_reply;
mod partial_fan_out;
mod refund_without_charge;
mod reservation_left;
mod retry_beyond_deadline;
mod retry_by_hand;
mod stale_read;
mod store_per_instance;
mod support;
mod unknown_taken_for_failed;

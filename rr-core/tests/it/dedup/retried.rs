//! A retry layer in front of a responder that suppresses duplicates.

use rr_core::dedup::Deduplicate;
use rr_core::retry::{Retry, RetryConfig, RetryDecision};
use rr_core::transport::Dedup;
use rr_core::{Code, Delivery, Reason, Requester as _, Stack};
use rr_testkit::{MemoryFault, MemoryFaults};

use super::support::{Bench, keyed, long, ms, served};

#[tokio::test(start_paused = true)]
async fn a_keyed_run_that_an_attempt_timeout_cuts_off_is_not_started_anew() {
    let bench = Bench::default();
    let served = served(bench.router().with(Deduplicate::in_process()));
    let config = RetryConfig::default().with_attempt_timeout(ms(50)).with_deduplicates(true);
    let client = Stack::new(served.requester.clone()).with(Retry::with_config(config));
    let error = client.request(&long(), keyed("hang", "k", "")).await.unwrap_err();
    assert_eq!((error.reason(), bench.runs()), (Some(&Reason::OUTCOME_LOST), 1));
    let codes: Vec<_> = error.attempts().iter().map(|attempt| attempt.code).collect();
    assert_eq!(codes, [Code::DeadlineExceeded, Code::Aborted]);
    assert_eq!(error.attempts()[1].decision, Some(RetryDecision::Never));
    // One that was lost on its way runs in the second attempt.
    served.requester.link().set_faults(MemoryFaults::script([Some(MemoryFault::DropRequest)]));
    assert_eq!(client.request(&long(), keyed("count", "l", "")).await.unwrap().body, "2");
    // And one whose reply was lost is answered by it.
    served.requester.link().set_faults(MemoryFaults::script([Some(MemoryFault::DropReply)]));
    let answer = client.request(&long(), keyed("count", "m", "")).await.unwrap();
    assert_eq!((&*answer.body, answer.dedup()), (&b"3"[..], Some(Dedup::Replayed)));
}

#[tokio::test(start_paused = true)]
async fn what_was_learned_survives_a_panic_and_a_deadline_of_the_server() {
    let bench = Bench::default();
    let served = served(bench.router().with(Deduplicate::in_process()));
    let client = Stack::new(served.requester.clone()).with(Retry::new());
    let error = client.request(&long(), keyed("panic", "k", "")).await.unwrap_err();
    assert_eq!((error.reason(), error.delivery()), (Some(&Reason::PANIC), Delivery::Processed));
    // The reply is lost with the connection: known to deduplicate, it is asked for again.
    served.requester.link().set_faults(MemoryFaults::script([Some(MemoryFault::FailAfter)]));
    let error = client.request(&long(), keyed("panic", "l", "")).await.unwrap_err();
    assert_eq!((error.code(), error.attempts().len()), (Code::Aborted, 2));
    assert_eq!((error.reason(), bench.runs()), (Some(&Reason::OUTCOME_LOST), 2));
}

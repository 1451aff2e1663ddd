//! Calls over a link that is cut in the middle of a message, a few bytes later each time.

use rr_spi::{Code, Context, Delivery, Error, Reason};

use super::Timing;
use super::lab::{Ask, pattern};
use super::stage::{Scene, Stage};
use crate::stream_link::Direction;

/// Size of the request body and of the reply body.
const BODY_BYTES: usize = 500;

/// Largest request or reply on the wire with such a body.
const MESSAGE_BYTES_MAX: u64 = 8 * 1024;

/// Number of calls between two checks with a new requester.
const NEWCOMER_AFTER: u64 = 8;

/// Returns the distance in bytes between two cuts. On the real clock each cut costs a connection.
fn step(timing: Timing) -> usize {
    match timing {
        Timing::Virtual => 3,
        Timing::Real { .. } => 37,
    }
}

/// Counts of the cut calls whose handler ran and of those whose handler did not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cuts {
    pub(super) ran: usize,
    pub(super) unrun: usize,
}

/// Repeats a call with the cut moved back each time, until a call completes before the cut.
pub(super) async fn everywhere(stage: &Stage, direction: Direction) -> Cuts {
    let scene = stage.open().await;
    let mut cut = Vec::new();
    for (at, bytes) in (0..).zip((0..).step_by(step(stage.timing()))) {
        assert!(bytes < MESSAGE_BYTES_MAX, "no call is over within {bytes} bytes");
        let ask = scene.ask().body(pattern(BODY_BYTES));
        let is_answered = call_and_cut(stage, &scene, &ask, direction, bytes).await;
        scene.recovers(&*scene.client).await;
        if at % NEWCOMER_AFTER == 0 || is_answered {
            let newcomer = scene.rig.connect_again().await.expect("a client after the cut");
            let answer = scene.call_by(&*newcomer, &Context::background(), &scene.ask()).await;
            assert!(answer.is_ok(), "after a cut at {bytes}: {answer:?}");
        }
        if is_answered {
            break;
        }
        cut.push(ask);
    }
    // Requests whose callers have gone may still be in transit.
    scene.idle().await;
    let mut cuts = Cuts::default();
    for ask in cut {
        let runs = scene.lab.runs(ask.key());
        assert!(runs.iter().all(|run| run.body == ask.request().body), "half a request ran");
        *if runs.is_empty() { &mut cuts.unrun } else { &mut cuts.ran } += 1;
    }
    cuts
}

/// Calls with a cut armed, and returns whether the call was answered anyway. The delivery of an
/// error is compared with the lab at the end of the case.
async fn call_and_cut(
    stage: &Stage,
    scene: &Scene,
    ask: &Ask,
    direction: Direction,
    bytes: u64,
) -> bool {
    let time = stage.units(20);
    scene.rig.cut_after(direction, bytes).await;
    let watch = scene.watch();
    let outcome = scene.call(&Context::background().with_timeout(time), ask).await;
    watch.assert_by(time);
    scene.rig.restore_link().await;
    match outcome {
        Ok(response) => {
            assert!(ask.is_answered_by(&response), "cut at {bytes}: half a reply passes for one");
            true
        }
        Err(error) => {
            assert!(reads_as_a_cut(&error), "cut at {bytes}: {error:?}");
            false
        }
    }
}

/// Returns whether an error is one that a cut may cause: a lost connection, a malformed reply after
/// a cut within the reply, or the deadline. Its delivery must not be `Processed`, since no whole
/// reply arrived.
fn reads_as_a_cut(error: &Error) -> bool {
    let is_malformed = error.reason() == Some(&Reason::BAD_RESPONSE);
    let reads = match error.code() {
        Code::Unavailable | Code::DeadlineExceeded => true,
        code => code == Code::Internal && is_malformed,
    };
    reads && error.delivery() != Delivery::Processed
}

//! Items that the code of `#[handler]` is made of.

mod checks;

/// Items that the code of `#[handler]` names. They may change in any release.
pub mod generated {
    pub use super::checks::{
        BytesOrTyped, HandlerContext, HandlerFailure, HandlerInput, HandlerInputBy, HandlerOutcome,
        HandlerOutcomeBy, HandlerOutput, HandlerOutputBy, HandlerState, bytes_or_typed, context,
        error, failure, future, input, input_by, outcome, outcome_by, output, output_by, state,
    };
}

//! What a request to a mock gets.

use std::future::pending;
use std::sync::Arc;

use rr_spi::{Context, Delivery, Error, Reason, Request, Responder, Response};
use tokio::time::sleep;

use super::answers::{Answer, Step};
use super::expectation::{Claim, Rule};
use super::failure::Refusal;
use super::held::MockRequest;
use super::report;
use super::state::{Shared, Unmatched};

/// Responder of a mock.
pub(super) struct MockResponder(pub(super) Arc<Shared>);

impl Responder for MockResponder {
    rr_spi::boxed! {
        fn respond(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
            Box::pin(self.answer(ctx, request))
        }
    }
}

impl MockResponder {
    async fn answer(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        let rules = self.0.receive(&request);
        let mut differing = Vec::new();
        let mut matching = None;
        for rule in rules.iter().filter(|rule| *rule.target() == request.target) {
            let differences = rule.differences(&request);
            if differences.is_empty() {
                matching = Some(rule);
                break;
            }
            differing.push((rule, differences));
        }
        let Some(rule) = matching else {
            if self.0.unmatched() == Unmatched::Waits {
                return self.hold(ctx, request).await;
            }
            let text = report::nearest(&rules, differing, &request);
            return self.refuse(ctx, Refusal::NoMatch, &request, &text);
        };
        match rule.claim() {
            Claim::Answer(step) => self.give(ctx, &request, step).await,
            Claim::Unanswered if self.0.unmatched() == Unmatched::Waits => {
                self.hold(ctx, request).await
            }
            Claim::Unanswered => {
                let text =
                    format!("the expectation {rule} has no answer: add one, like `reply(..)`");
                self.refuse(ctx, Refusal::NoAnswer, &request, &text)
            }
            Claim::Misplaced => {
                let text =
                    format!("the delay at the end of {rule} delays no answer: write it before one");
                self.refuse(ctx, Refusal::NoAnswer, &request, &text)
            }
            Claim::TooMany(times) => {
                ctx.mark_ran();
                // The count of the expectation already fails the test.
                Err(Refusal::Exhausted.error(too_many(rule, &request, times)))
            }
            Claim::Over => {
                let text = format!("the expectation {rule} has given its last answer");
                self.refuse(ctx, Refusal::Exhausted, &request, &text)
            }
        }
    }

    async fn give(&self, ctx: &Context, request: &Request, step: Step) -> Result<Response, Error> {
        // The server reports the delivery of an error by this mark.
        let refuses = |error: &Error| error.delivery() <= Delivery::Rejected;
        if !matches!(&step.answer, Answer::Fail(error) if refuses(error)) {
            ctx.mark_ran();
        }
        if !step.delay.is_zero() {
            sleep(step.delay).await;
        }
        match step.answer {
            Answer::Reply(reply) => reply(request).inspect_err(|error| {
                if is_own(error) {
                    self.0.blame(format!("{}: {}", report::shown(request), error.message()));
                }
            }),
            Answer::Fail(error) => Err(error),
            Answer::Hang => pending().await,
        }
    }

    /// Lets a request wait until the test answers it.
    async fn hold(&self, ctx: &Context, request: Request) -> Result<Response, Error> {
        ctx.mark_ran();
        let (held, outcome) = MockRequest::new(request, ctx.clone());
        // Dropped here if the test has dropped the mock, which answers it.
        drop(self.0.hold(held));
        outcome.await.unwrap_or_else(|_| {
            Err(Refusal::NoAnswer.error("the test dropped the request without an answer".into()))
        })
    }

    /// Fails a request in a way that fails the test as well.
    fn refuse(
        &self,
        ctx: &Context,
        refusal: Refusal,
        request: &Request,
        text: &str,
    ) -> Result<Response, Error> {
        ctx.mark_ran();
        let text = format!("{}: {text}", report::shown(request));
        self.0.blame(text.clone());
        Err(refusal.error(text))
    }
}

fn too_many(rule: &Rule, request: &Request, times: impl std::fmt::Display) -> String {
    format!("{}: the expectation {rule} expects {times}", report::shown(request))
}

/// Makes the error for an input that a function of the test cannot take.
pub(super) fn undecodable(text: String) -> Error {
    Refusal::NoAnswer.error(text)
}

/// Returns whether the mock made an error, and not the function of the test.
fn is_own(error: &Error) -> bool {
    error.reason().map(Reason::as_str) == Some("mock-no-answer")
}

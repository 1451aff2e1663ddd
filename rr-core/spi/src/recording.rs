//! Recording of attempts on demand, and the times that servers state about them.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::context::Context;
use crate::spent::Spent;
use crate::timeline::Timeline;

/// Maximum number of attempts that a recording keeps; further attempts are not recorded.
const ATTEMPTS_MAX: usize = 64;

/// Record of the attempts of calls, successful ones included; see [`Context::recorded`].
///
/// Clones share one record.
#[derive(Clone, Default)]
pub struct Recording(Arc<Shared>);

#[derive(Default)]
struct Shared {
    timelines: Mutex<Vec<Timeline>>,
    /// The recording of the code around this one.
    outer: Option<Recording>,
    /// Set when the handler of the request that is recorded is entered.
    entered: OnceLock<Instant>,
}

impl Recording {
    /// Makes a recording inside of another.
    pub(crate) fn within(outer: Option<&Self>) -> Self {
        Self(Arc::new(Shared { outer: outer.cloned(), ..Shared::default() }))
    }

    /// Returns where the time of each attempt went, in the order in which the attempts ended; at
    /// most 64.
    #[must_use]
    pub fn timelines(&self) -> Vec<Timeline> {
        self.0.timelines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns where the time of the attempts went, in a sentence, the longest part first.
    ///
    /// Pauses between attempts belong to no attempt and are missing. For a failed call, see
    /// [`Error::account`](crate::Error::account).
    #[must_use]
    pub fn account(&self) -> impl fmt::Display {
        crate::error::account_of(&self.timelines())
    }

    pub(crate) fn add(&self, timeline: &Timeline) {
        let mut timelines = self.0.timelines.lock().unwrap_or_else(PoisonError::into_inner);
        if timelines.len() < ATTEMPTS_MAX {
            timelines.push(timeline.clone());
        }
        drop(timelines);
        if let Some(outer) = &self.0.outer {
            outer.add(timeline);
        }
    }

    /// Records that the handler of the request is entered.
    pub(crate) fn enter(&self) {
        let _ = self.0.entered.set(Instant::now());
    }

    /// Returns the times of the request whose handler has just ended; `None` if it never ran.
    pub(crate) fn spent(&self, arrived: Instant) -> Option<Spent> {
        let entered = *self.0.entered.get()?;
        let below = self.timelines().iter().map(below).collect();
        let (queue, handler) = (entered.duration_since(arrived), entered.elapsed());
        Some(Spent { queue, handler, below })
    }
}

/// Returns the times of a call that the handler made.
fn below(timeline: &Timeline) -> Spent {
    let stated = timeline.server();
    let handler = stated.map_or(Duration::ZERO, |spent| spent.handler);
    let queue = timeline.total().saturating_sub(handler);
    Spent { queue, handler, below: stated.map(|spent| spent.below.clone()).unwrap_or_default() }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").field("attempts", &self.timelines().len()).finish()
    }
}

impl Context {
    /// Returns a context whose attempts are recorded, successful ones included, and the record.
    ///
    /// Each attempt also asks the peer how long the request waited there, how long its handler
    /// took, and how long the calls took that the handler made; peers that are not rr servers do not
    /// answer. This costs an allocation for each attempt and a header in each direction.
    ///
    /// # Examples
    ///
    /// ```
    /// # use rr_spi as rr_core;
    /// # async fn call(_: &rr_core::Context) {}
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let (ctx, recording) = rr_core::Context::background().recorded();
    /// call(&ctx).await;
    /// println!("{}", recording.account());
    /// # }
    /// ```
    #[must_use]
    pub fn recorded(&self) -> (Self, Recording) {
        let recording = Recording::within(self.recording());
        (self.with_value(recording.clone()), recording)
    }

    /// Returns whether peers are asked for the times of their handlers. For transports.
    #[must_use]
    pub fn wants_spent(&self) -> bool {
        self.recording().is_some()
    }

    pub(crate) fn recording(&self) -> Option<&Recording> {
        self.value()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;
    use crate::attempt::Attempt;
    use crate::box_future::BoxFuture;
    use crate::error::{Code, Error};
    use crate::intake::{Intake, IntakeConfig};
    use crate::request::Request;
    use crate::responder::Responder;
    use crate::response::Response;
    use crate::routes::{Declared, Route, Routes};
    use crate::target::Target;
    use crate::timeline::Stage;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Runs for 30 ms; the first of `below` is another service that it then calls.
    struct Service {
        fails: bool,
        below: Option<Intake>,
    }

    impl Responder for Service {
        crate::boxed! {
            fn respond(&self, ctx: &Context, _request: Request) -> Result<Response, Error> {
                Box::pin(async move {
                    sleep(ms(30)).await;
                    if let Some(below) = &self.below {
                        call(ctx, below).await?;
                    }
                    if self.fails { Err(Error::new(Code::NotFound, "none")) } else { Ok(Response::new("")) }
                })
            }
        }
    }

    fn service(fails: bool, below: Option<Intake>) -> Intake {
        let mut routes = Routes::new();
        let service = Arc::new(Service { fails, below });
        routes.insert(Route::Fallback, Declared::Unspecified, service).unwrap();
        Intake::new(routes, IntakeConfig::default())
    }

    /// Calls a service by value, with a queue of 5 ms before its handler.
    fn call<'a>(ctx: &'a Context, intake: &'a Intake) -> BoxFuture<'a, Result<Response, Error>> {
        Box::pin(async move {
            let attempt = Attempt::start(ctx, Duration::MAX)?;
            let (inner, _handle) = intake.context(attempt.inbound());
            attempt.sent();
            let request = Request::new(Target::from_static("t").unwrap(), "");
            let outcome = attempt.run(async {
                sleep(ms(5)).await;
                Ok(intake.handle(&inner, request).await)
            });
            attempt.take_spent(outcome.await?.map_err(Error::into_received))
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_recorded_call_learns_the_times_of_three_levels_of_handlers() {
        let third = service(false, Some(service(false, None)));
        let first = service(false, Some(service(false, Some(third))));
        let (ctx, recording) = Context::background().recorded();
        let response = call(&ctx, &first).await.unwrap();
        assert!(response.headers.is_empty(), "the application does not see the header");
        let [timeline] = &recording.timelines()[..] else { panic!() };
        assert_eq!(timeline.spent(Stage::AwaitingReply), ms(140));
        // The fourth level is cut.
        assert_eq!(timeline.server().unwrap().encode(), "5,135;5,100;+5,65");
        assert_eq!(
            recording.account().to_string(),
            "140.00ms of 140.00ms waiting for the reply: the server queued the request for 5.00ms, \
             its handler took 135.00ms; its slowest call took 100.00ms in the handler and 5.00ms on \
             the way; its slowest call took 65.00ms in the handler and 5.00ms on the way"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_carries_the_times_of_the_handler_too_and_only_if_they_were_asked_for() {
        let fails = service(true, None);
        let error = call(&Context::background(), &fails).await.unwrap_err();
        assert!(error.headers().is_empty() && error.timeline().is_none());
        let (ctx, recording) = Context::background().recorded();
        let error = call(&ctx, &fails).await.unwrap_err();
        assert!(error.headers().is_empty());
        assert_eq!(error.timeline().unwrap().server().unwrap().encode(), "5,30");
        assert_eq!(recording.timelines().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn recordings_nest_and_see_attempts_that_are_dropped() {
        let slow = service(false, None);
        let (outer, all) = Context::background().recorded();
        let (inner, last) = outer.recorded();
        call(&outer, &slow).await.unwrap();
        assert!(tokio::time::timeout(ms(20), call(&inner, &slow)).await.is_err());
        assert_eq!((all.timelines().len(), last.timelines().len()), (2, 1));
        assert_eq!(last.timelines()[0].total(), ms(20));
        for _ in 0..100 {
            drop(Attempt::start(&inner, Duration::MAX).unwrap());
        }
        assert_eq!(all.timelines().len(), ATTEMPTS_MAX);
    }
}

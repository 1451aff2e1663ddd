//! Runs of a handler: what a fault does to a run, and what becomes of a run whose caller has left.

use std::pin::{Pin, pin};
use std::time::Duration;

use rr_spi::observe::{self, WatchedRequest};
use rr_spi::{CancelHandle, Cause, Context, Error, Request, Response};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::client::{Outcome, first_poll};
use super::fault::Fault;
use super::life::Life;
use super::network::{KeyedRun, Leg, Network, Reached, RunGuard};
use super::panics;
use super::profile::Profile;
use super::trace::{Summary, What};

/// One run of a handler, from its start to its answer.
pub(super) struct Run {
    pub(super) network: Network,
    /// Caller and service.
    pub(super) link: (String, String),
    pub(super) call: usize,
    pub(super) profile: Profile,
    pub(super) fault: Option<Fault>,
    /// Ends with the connection of the caller; over NATS, never.
    pub(super) link_life: Life,
    pub(super) reached: Reached,
    pub(super) ctx: Context,
}

impl Run {
    /// Runs the handler and records its start and its answer; `None` if a fault ended the run.
    ///
    /// `expected` counts the run until it starts.
    pub(super) async fn outcome(self, request: Request, expected: RunGuard) -> Option<Outcome> {
        let _counted = self.network.run(&self.link.1, self.call);
        drop(expected);
        self.network.take_turn(self.call, Leg::Request, self.fault).await;
        self.network.record(self.call, What::Entered { instance: self.reached.instance });
        let watched = self.reached.intake.watch(&self.ctx, Some(&request.target));
        let keyed = KeyedRun::of(&self.link, &request);
        let outcome = self.handle(request, &watched).await?;
        if let Some(keyed) = keyed {
            self.network.keyed_run_ended(self.call, keyed, &outcome);
        }
        watched.end(observe::Outcome::of(&outcome));
        let answered = What::Answered(Summary::of(&outcome));
        self.network.record_outcome(self.call, answered, &outcome);
        Some(outcome)
    }

    /// Calls the handler; `None` if the connection, the instance or the fault ended it.
    async fn handle(&self, request: Request, watched: &WatchedRequest) -> Option<Outcome> {
        let ctx = watched.context(&self.ctx);
        let clock = (self.fault == Some(Fault::ClockJumped)).then(|| ctx.child());
        let ctx = clock.as_ref().map_or(ctx, |(ctx, _)| ctx);
        let handling = self.reached.intake.handle(ctx, request).watched(watched);
        // Its panics are told to the caller.
        let handling = panics::contained(handling);
        let handling = pin!(self.link_life.race(self.reached.life.race(handling)));
        let strike = || match &clock {
            Some((_, clock)) => clock.cancel_with(Cause::DeadlineExceeded),
            None => self.strike(),
        };
        self.drive(handling, strike).await.flatten().flatten()
    }

    /// Ends what the fault breaks once the handler has been polled.
    fn strike(&self) {
        let (from, to) = &self.link;
        match self.fault {
            Some(Fault::Reset) => self.network.reset(from, to),
            Some(Fault::Crashed) => self.network.crash(to, self.reached.instance),
            _ => {}
        }
    }

    /// Polls a handler, and strikes after the first poll; `None` if the fault ended the handler.
    async fn drive<F: Future>(
        &self,
        mut handling: Pin<&mut F>,
        strike: impl FnOnce(),
    ) -> Option<F::Output> {
        use Fault::{BrokenWithin, ClockJumped, Crashed, Late, Reset};
        match self.fault {
            Some(BrokenWithin | Reset | Crashed | ClockJumped) => {
                let outcome = first_poll(handling.as_mut()).await;
                strike();
                let continues = self.fault == Some(ClockJumped) || self.profile == Profile::Nats;
                if outcome.is_none() && continues { Some(handling.await) } else { outcome }
            }
            // The connection is closed when the request arrives.
            Some(Late) if self.profile.is_http() => first_poll(handling).await,
            _ => Some(handling.await),
        }
    }
}

/// Runs of a call that are in flight. Dropping it tells them that their caller has left, as fast as
/// the transport does.
pub(super) struct Runs {
    pub(super) profile: Profile,
    /// Time until the instance learns that the caller has left.
    pub(super) latency: Duration,
    /// The connection, and the instance that calls, if there is one.
    pub(super) lives: [Option<Life>; 2],
    pub(super) handles: Vec<CancelHandle>,
    pub(super) answers: mpsc::Receiver<Result<Response, Error>>,
    pub(super) has_answered: bool,
}

impl Runs {
    /// Waits for the first answer; `None` if the runs were ended from outside.
    ///
    /// A refusal of one copy of a message does not prove that the other copy does not run: the answer
    /// to that one counts.
    pub(super) async fn answer(&mut self) -> Option<Result<Response, Error>> {
        let mut answer = self.answers.recv().await;
        if self.handles.len() > 1 && answer.as_ref().is_some_and(is_refusal) {
            answer = self.answers.recv().await.or(answer);
        }
        self.has_answered = answer.is_some();
        answer
    }
}

/// Returns whether an answer states that the handler did not run.
pub(super) fn is_refusal(answer: &Result<Response, Error>) -> bool {
    answer.as_ref().is_err_and(|error| error.delivery().is_unexecuted())
}

impl Drop for Runs {
    fn drop(&mut self) {
        let Ok(runtime) = Handle::try_current() else { return };
        let handles = std::mem::take(&mut self.handles);
        let is_lost = self.lives.iter().flatten().any(Life::has_ended);
        match self.profile {
            Profile::Memory => {}
            Profile::Http1 | Profile::Http2 if self.has_answered => {}
            // Nothing tells an instance that the caller has another answer, or was cut off.
            Profile::Nats if self.has_answered || is_lost => {
                let mut answers = std::mem::replace(&mut self.answers, mpsc::channel(1).1);
                runtime.spawn(async move {
                    while answers.recv().await.is_some() {}
                    drop(handles);
                });
            }
            Profile::Http1 | Profile::Http2 | Profile::Nats => {
                let latency = self.latency;
                runtime.spawn(async move {
                    sleep(latency).await;
                    drop(handles);
                });
            }
        }
    }
}

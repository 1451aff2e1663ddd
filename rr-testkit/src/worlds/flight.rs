//! One message on its way: what its fault does to it, and what its caller gets.

use std::future::pending;
use std::time::Duration;

use rr_spi::{Attempt, CancelHandle, Code, Delivery, Error, Reason, Request};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::client::{LATE, NetworkClient, Outcome, Within, failure};
use super::fault::Fault;
use super::life::Life;
use super::network::{Departure, Leg, Reached};
use super::profile::Profile;
use super::run::{Run, Runs, is_refusal};
use super::wire::{self, RequestMessage};

/// Message on its way.
pub(super) struct Flight<'a> {
    client: &'a NetworkClient,
    call: usize,
    latency: Duration,
    /// That of the link.
    life: Life,
    left: Option<Duration>,
    profile: Profile,
    fault: Option<Fault>,
    /// Number of the call that led to this one, or its own.
    root: usize,
}

impl<'a> Flight<'a> {
    pub(super) fn new(
        client: &'a NetworkClient,
        departure: Departure,
        left: Option<Duration>,
        root: usize,
    ) -> Self {
        let Departure { call, latency, life, profile, fault } = departure;
        Self { client, call, latency, life, left, profile, fault, root }
    }

    /// Returns the outcome of the call: what the server answered, or what the transport says itself.
    pub(super) async fn outcome(&self, attempt: &Attempt, request: Request) -> Outcome {
        // Over NATS the message reaches the NATS server.
        if self.fault == Some(Fault::ConnectFails) && self.profile != Profile::Nats {
            let text = "no connection could be made";
            return Err(failure(
                Code::Unavailable,
                Delivery::NotSent,
                Reason::CONNECT_FAILED,
                text,
            ));
        }
        let message = RequestMessage::write(attempt, &request);
        attempt.sent();
        let refused = self.profile.refused(&request);
        let exchanged = self.life.race(self.exchange(attempt, &message, refused)).await;
        wire::replied(attempt, &exchanged.unwrap_or_else(|| Err(lost()))?)
    }

    /// Carries a request to a handler and its answer back. A request that is refused has this
    /// delivery.
    async fn exchange(
        &self,
        attempt: &Attempt,
        message: &RequestMessage,
        refused: Delivery,
    ) -> Result<Outcome, Error> {
        sleep(self.latency).await;
        match self.fault {
            Some(Fault::RequestLost | Fault::Partitioned) => pending().await,
            Some(Fault::Draining) => return Ok(Err(draining(refused))),
            Some(Fault::Overloaded) => return Ok(Err(overloaded(refused))),
            Some(Fault::ConnectFails) => {
                sleep(self.latency).await;
                attempt.unsent();
                return Err(self.profile.no_instance("no instance has subscribed".to_owned()));
            }
            Some(Fault::Delayed) => sleep(self.left.unwrap_or_default() / 2).await,
            _ => {}
        }
        let Some(reached) = self.client.network.reach(&self.client.to) else {
            attempt.unsent();
            let text = format!("no service in this network is called `{}`", self.client.to);
            return Err(self.profile.no_instance(text));
        };
        if self.fault == Some(Fault::Late) {
            let after = self.left.unwrap_or_default() + LATE;
            self.arrive_later(message, &reached, after);
            return pending().await;
        }
        match self.run(attempt, message, &reached).await {
            Some(outcome) => {
                // A caller that was refused may rely on it.
                if self.fault == Some(Fault::Repeated) && !is_refusal(&outcome) {
                    self.arrive_again(message);
                }
                self.reply(attempt, outcome).await
            }
            None => self.instance_gone().await,
        }
    }

    /// Carries an answer back to the caller.
    async fn reply(&self, attempt: &Attempt, outcome: Outcome) -> Result<Outcome, Error> {
        match self.fault {
            Some(Fault::ReplyLost) => return pending().await,
            Some(Fault::CallerCrashed) => return self.crash_caller(attempt).await,
            Some(Fault::CrashedOnReply) if !Self::is_within(attempt) => return self.break_after(),
            Some(Fault::BrokenAfter) => return self.break_after(),
            Some(Fault::BrokenWithin | Fault::Reset) => return Err(lost()),
            Some(Fault::Crashed) => return self.instance_gone().await,
            Some(Fault::ReplyDelayed) => {
                let left = attempt.timeout_millis().unwrap_or_default();
                sleep(Duration::from_millis(left) / 2).await;
            }
            _ => {}
        }
        sleep(self.latency).await;
        self.client.network.take_turn(self.call, Leg::Reply, self.fault).await;
        Ok(outcome)
    }

    /// Breaks the connection; over NATS it is that of every call of the link.
    fn break_after(&self) -> Result<Outcome, Error> {
        if self.profile == Profile::Nats {
            self.client.network.reset(&self.client.from, &self.client.to);
        }
        Err(lost())
    }

    /// Returns whether a handler makes the call with the context of its request.
    fn is_within(attempt: &Attempt) -> bool {
        attempt.context().value::<Within>().is_some()
    }

    /// Ends a call whose instance has gone.
    async fn instance_gone(&self) -> Result<Outcome, Error> {
        if self.profile.tells_of_crashes() { Err(lost()) } else { pending().await }
    }

    /// Ends the instance that waits for this call; breaks the connection if there is none.
    async fn crash_caller(&self, attempt: &Attempt) -> Result<Outcome, Error> {
        let Some(within) = attempt.context().value::<Within>() else { return self.break_after() };
        self.client.network.crash(&within.service, within.instance);
        pending().await
    }

    /// Runs the handler in a task; `None` if the run was ended from outside.
    async fn run(
        &self,
        attempt: &Attempt,
        message: &RequestMessage,
        reached: &Reached,
    ) -> Option<Outcome> {
        let (sender, answers) = mpsc::channel(2);
        let within = attempt.context().value::<Within>();
        // Owned by the call: dropping the call cancels the handlers, as every transport does.
        let mut runs = Runs {
            profile: self.profile,
            latency: self.latency,
            lives: [Some(self.life.clone()), within.map(|within| within.life.clone())],
            handles: Vec::with_capacity(2),
            answers,
            has_answered: false,
        };
        let count = if self.fault == Some(Fault::Duplicated) { 2 } else { 1 };
        for _ in 0..count {
            runs.handles.extend(self.spawn(message, reached, sender.clone(), None));
        }
        drop(sender);
        runs.answer().await
    }

    /// Runs the handler a second time, at the instance whose turn it is.
    fn arrive_again(&self, message: &RequestMessage) {
        if let Some(reached) = self.client.network.reach(&self.client.to) {
            self.arrive_later(message, &reached, self.latency + LATE);
        }
    }

    /// Runs the handler when the call has ended, and loses its answer. Nothing cancels it.
    fn arrive_later(&self, message: &RequestMessage, reached: &Reached, after: Duration) {
        let (answers, mut answer) = mpsc::channel(1);
        let handle = self.spawn(message, reached, answers, Some(after));
        tokio::spawn(async move {
            answer.recv().await;
            drop(handle);
        });
    }

    /// Runs the handler in a task, now or later. Returns `None` if the message cannot be read.
    fn spawn(
        &self,
        message: &RequestMessage,
        reached: &Reached,
        answers: mpsc::Sender<Outcome>,
        after: Option<Duration>,
    ) -> Option<CancelHandle> {
        let arrived = after.map_or(message.sent_at, |after| Instant::now() + after);
        let (run, request, handle) = match self.read(message, reached, arrived) {
            Ok(read) => read,
            Err(error) => {
                // The channel holds an answer of each run.
                let _ = answers.try_send(Err(error));
                return None;
            }
        };
        let expected = run.network.expect();
        tokio::spawn(async move {
            if let Some(after) = after {
                sleep(after).await;
            }
            if let Some(outcome) = run.outcome(request, expected).await {
                // Fails when the caller has gone.
                let _ = answers.send(outcome).await;
            }
        });
        Some(handle)
    }

    /// Reads a message as the server does. `arrived` is the time from which its timeout counts.
    fn read(
        &self,
        message: &RequestMessage,
        reached: &Reached,
        arrived: Instant,
    ) -> Result<(Run, Request, CancelHandle), Error> {
        let (head, target) = message.read()?;
        let mut inbound = head.inbound();
        inbound.arrived = Some(arrived);
        let (ctx, handle) = reached.intake.context(inbound);
        let NetworkClient { network, from, to, .. } = self.client;
        let ctx = ctx.with_value(Within {
            deadline: ctx.deadline(),
            service: to.clone(),
            instance: reached.instance,
            life: reached.life.clone(),
            root: self.root,
        });
        // Over NATS a handler does not depend on the connection of its caller.
        let is_nats = self.profile == Profile::Nats;
        let link_life = if is_nats { Life::default() } else { self.life.clone() };
        let run = Run {
            network: network.clone(),
            link: (from.clone(), to.clone()),
            call: self.call,
            profile: self.profile,
            fault: self.fault,
            link_life,
            reached: reached.clone(),
            ctx,
        };
        Ok((run, head.into_request(target, message.body()), handle))
    }
}

fn lost() -> Error {
    let text = "the connection was lost";
    failure(Code::Unavailable, Delivery::Unknown, Reason::CONNECTION_LOST, text)
}

fn draining(delivery: Delivery) -> Error {
    let text = "the server is draining";
    failure(Code::Unavailable, delivery, Reason::DRAINING, text)
}

fn overloaded(delivery: Delivery) -> Error {
    let text = "too many requests are in flight";
    failure(Code::ResourceExhausted, delivery, Reason::OVERLOADED, text)
}

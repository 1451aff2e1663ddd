//! Networks over real transports: the same messages and faults, made with sockets and servers.

mod carrier;
mod replay;
mod serving;
mod strike;
mod tap;
mod unheard;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_spi::{
    Attempt, Code, Delivery, Error, IntakeConfig, Middleware, Reason, Request, Requester,
};
use tokio::sync::OnceCell;

use super::client::{Outcome, Within, failure};
use super::fault::{Fault, Script};
use super::network::{Network, Reached};
use crate::sync::lock;

pub use carrier::Carrier;

use serving::{Line, Serving};
use strike::{CALL, Strike, Watch};

/// Real transport of a network, and the servers that run.
pub(super) struct Real {
    carrier: Arc<dyn Carrier>,
    servers: Mutex<HashMap<(String, usize), Arc<Instance>>>,
    /// The fault of each call that has one.
    strikes: Mutex<HashMap<usize, Arc<Strike>>>,
    /// The call that led to each call.
    roots: Mutex<HashMap<usize, usize>>,
    /// Why the network does not do what its script says.
    failed: Mutex<Option<String>>,
}

/// Instance of a service. Its server starts with the first message.
struct Instance {
    reached: Reached,
    serving: OnceCell<Serving>,
}

/// Message on its way.
pub(super) struct Message<'a> {
    pub(super) call: usize,
    /// Number of the call that led to this one, or its own.
    pub(super) root: usize,
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    pub(super) left: Option<Duration>,
    pub(super) fault: Option<Fault>,
}

/// Requester of a message, and what it needs until the message has ended.
struct Sender {
    requester: Arc<dyn Requester>,
    _kept: Box<dyn Send + Sync>,
}

impl From<Arc<Line>> for Sender {
    fn from(line: Arc<Line>) -> Self {
        Self { requester: Arc::clone(&line.requester), _kept: Box::new(line) }
    }
}

impl Network {
    /// Makes a network whose messages a real transport carries, with the faults of a script.
    ///
    /// Time is real: the runtime must not be paused. Latencies are those of the transport, and
    /// [`set_latency`](Network::set_latency) has no effect. The page "Every world" of the book says
    /// for each fault how it is made, and what differs from the simulation. The servers run
    /// until the runtime ends.
    ///
    /// A call whose fault cannot be made fails with `Unimplemented`, not sent, and
    /// [`refused`](Network::refused) says why. Such a fault does not count as one that has struck.
    ///
    /// # Panics
    ///
    /// When called outside of a tokio runtime with a clock.
    #[must_use]
    pub fn over(carrier: Arc<dyn Carrier>, script: Script) -> Self {
        Self::made(script, Some(Real::new(carrier)))
    }

    /// Returns why the network does not do what its script says: a fault that the transport cannot
    /// make, or a server that did not start. `None` in a simulation, which makes every fault.
    #[must_use]
    pub fn refused(&self) -> Option<String> {
        self.real().and_then(|real| lock(&real.failed).clone())
    }
}

impl Real {
    fn new(carrier: Arc<dyn Carrier>) -> Self {
        Self {
            carrier,
            servers: Mutex::default(),
            strikes: Mutex::default(),
            roots: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    /// Sends a message and waits for its outcome.
    pub(super) async fn carry(
        &self,
        network: &Network,
        message: Message<'_>,
        attempt: &Attempt,
        mut request: Request,
    ) -> Outcome {
        if let Some(error) = message.fault.and_then(|fault| self.unmade(fault)) {
            self.fails(error.message());
            return Err(error);
        }
        lock(&self.roots).insert(message.call, message.root);
        let sender = attempt.run(async {
            let unheard = match message.fault {
                Some(fault) => unheard::sender(&self.carrier, fault, &request).await,
                None => Ok(None),
            };
            match unheard.inspect_err(|error| self.fails(&error.to_string()))? {
                Some(sender) => Ok(sender),
                None => self.line(network, &message, attempt).await.map(Sender::from),
            }
        });
        let sender = sender.await?;
        request.headers.insert(CALL, message.call.to_string())?;
        sender.requester.request(attempt.context(), request).await
    }

    /// Returns the line on which a message goes to its service.
    async fn line(
        &self,
        network: &Network,
        message: &Message<'_>,
        attempt: &Attempt,
    ) -> Result<Arc<Line>, Error> {
        let Some(instance) = self.instance(network, message.to) else {
            let text = format!("no service in this network is called `{}`", message.to);
            return Err(failure(Code::Unavailable, Delivery::NotSent, Reason::NO_RESPONDER, text));
        };
        let made = async {
            let serving = self.serving(network, message.to, &instance).await?;
            match message.fault {
                None | Some(Fault::Reset | Fault::Crashed) => serving.line_of(message.from).await,
                Some(Fault::Duplicated) => serving.line(2).await,
                Some(_) => serving.line(1).await,
            }
        };
        let line = made.await.inspect_err(|error| self.fails(&error.to_string()))?;
        if let Some(fault) = message.fault {
            let within = attempt.context().value::<Within>();
            let caller = within.map(|within| (within.service.clone(), within.instance));
            let strike = Arc::new(Strike::new(fault, Arc::clone(&line), caller));
            lock(&self.strikes).insert(message.call, Arc::clone(&strike));
            strike.before_sent(network, message.left.unwrap_or_default());
        }
        Ok(line)
    }

    /// Returns the instance whose turn it is; `None` if no service has the name.
    fn instance(&self, network: &Network, to: &str) -> Option<Arc<Instance>> {
        // Locked before the network is asked: an instance that has crashed is not found again.
        let mut servers = lock(&self.servers);
        let reached = network.reach(to)?;
        let instance = servers.entry((to.to_owned(), reached.instance));
        let make = || Arc::new(Instance { reached, serving: OnceCell::new() });
        Some(Arc::clone(instance.or_insert_with(make)))
    }

    async fn serving<'a>(
        &self,
        network: &Network,
        service: &str,
        instance: &'a Instance,
    ) -> Result<&'a Serving, Error> {
        let Reached { intake, life, instance: number } = &instance.reached;
        let start = || {
            let watch = Watch {
                network: network.clone(),
                service: service.to_owned(),
                instance: *number,
                life: life.clone(),
            };
            let routes = intake.routes().clone().wrap(&[Arc::new(watch) as Arc<dyn Middleware>]);
            Serving::start(&self.carrier, routes, IntakeConfig::default())
        };
        instance.serving.get_or_try_init(start).await
    }

    /// Ends an instance, and starts it again with its next message.
    pub(super) fn crash(&self, network: &Network, service: &str, instance: usize) {
        network.crash(service, instance);
        let died = lock(&self.servers).remove(&(service.to_owned(), instance));
        if let Some(serving) = died.as_ref().and_then(|died| died.serving.get()) {
            serving.crash();
        }
    }

    fn strike(&self, call: usize) -> Option<Arc<Strike>> {
        lock(&self.strikes).get(&call).cloned()
    }

    fn root(&self, call: usize) -> usize {
        lock(&self.roots).get(&call).copied().unwrap_or(call)
    }

    fn has_broker(&self) -> bool {
        self.carrier.broker().is_some()
    }

    /// Records why the network does not do what its script says.
    fn fails(&self, why: &str) {
        lock(&self.failed).get_or_insert_with(|| why.to_owned());
    }

    /// Returns whether a fault can be made.
    pub(super) fn makes(&self, fault: Fault) -> bool {
        carrier::unmade(&*self.carrier, fault).is_none()
    }

    /// Returns the error of a call whose fault cannot be made.
    fn unmade(&self, fault: Fault) -> Option<Error> {
        let text = carrier::unmade(&*self.carrier, fault)?;
        let error = Error::failure(Code::Unimplemented, Delivery::NotSent, None, text);
        Some(error.with_hint("leave the fault out of the script, or run it in a simulated network"))
    }

    /// Ends every server and every connection.
    pub(super) fn close(&self) {
        let servers = std::mem::take(&mut *lock(&self.servers));
        let strikes = std::mem::take(&mut *lock(&self.strikes));
        // Outside of the locks: it runs foreign code.
        drop((servers, strikes));
    }
}

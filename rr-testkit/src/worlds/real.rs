//! Networks over real transports: the same messages and faults, made with sockets and servers.

mod carrier;
mod replay;
mod serving;
mod strike;
mod tap;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_spi::{
    Attempt, Code, Context, Declared, Delivery, Error, IntakeConfig, Middleware, Reason, Request,
    Requester, Responder, Response, Route, Routes, Target, async_trait,
};
use tokio::net::TcpSocket;
use tokio::sync::{Notify, OnceCell};

use super::client::{Outcome, Within, failure};
use super::fault::{Fault, Script};
use super::network::{Network, Reached};
use crate::sync::lock;

pub use carrier::Carrier;

use serving::{ANY_PORT, Line, Serving};
use strike::{CALL, Strike, Watch};

/// Real transport of a network, and the servers that run.
pub(super) struct Real {
    carrier: Arc<dyn Carrier>,
    servers: Mutex<HashMap<(String, usize), Arc<Instance>>>,
    /// The fault of each call that has one.
    strikes: Mutex<HashMap<usize, Arc<Strike>>>,
    /// Servers that refuse one message each.
    refusing: Mutex<Vec<Serving>>,
    /// Sockets that keep ports on which nothing listens.
    unused_ports: Mutex<Vec<TcpSocket>>,
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
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    pub(super) left: Option<Duration>,
    pub(super) fault: Option<Fault>,
}

/// What sends a message, kept until it has ended.
enum Sender {
    Line(Arc<Line>),
    Nowhere(Arc<dyn Requester>),
}

impl Network {
    /// Makes a network whose messages a real transport carries, with the faults of a script.
    ///
    /// Time is real: the runtime must not be paused. Latencies are those of the transport, and
    /// [`set_latency`](Network::set_latency) has no effect. The page "Every world" of the book says
    /// for each fault how it is made, and what differs from the simulation.
    ///
    /// # Panics
    ///
    /// When called outside of a tokio runtime with a clock.
    #[must_use]
    pub fn over(carrier: Arc<dyn Carrier>, script: Script) -> Self {
        Self::made(script, Some(Real::new(carrier)))
    }
}

impl Real {
    fn new(carrier: Arc<dyn Carrier>) -> Self {
        Self {
            carrier,
            servers: Mutex::default(),
            strikes: Mutex::default(),
            refusing: Mutex::default(),
            unused_ports: Mutex::default(),
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
    ) -> Result<Outcome, Error> {
        let sender = attempt.run(self.sender(network, &message, attempt, &request)).await?;
        request.headers.insert(CALL, message.call.to_string())?;
        let requester = match &sender {
            Sender::Line(line) => &line.requester,
            Sender::Nowhere(requester) => requester,
        };
        requester.request(attempt.context(), request).await.map(Ok)
    }

    async fn sender(
        &self,
        network: &Network,
        message: &Message<'_>,
        attempt: &Attempt,
        request: &Request,
    ) -> Result<Sender, Error> {
        let Some(instance) = self.instance(network, message.to) else {
            let text = format!("no service in this network is called `{}`", message.to);
            return Err(failure(Code::Unavailable, Delivery::NotSent, Reason::NO_RESPONDER, text));
        };
        let made = async {
            match message.fault {
                None => Ok(Sender::Line(
                    self.serving(network, message.to, &instance)
                        .await?
                        .line_of(message.from)
                        .await?,
                )),
                Some(Fault::ConnectFails) => self.nowhere().await.map(Sender::Nowhere),
                Some(Fault::Overloaded) => self.overloaded(request).await.map(Sender::Line),
                Some(Fault::Draining) => self.draining(request).await.map(Sender::Line),
                Some(fault) => {
                    let serving = self.serving(network, message.to, &instance).await?;
                    let line = match fault {
                        Fault::Reset | Fault::Crashed => serving.line_of(message.from).await?,
                        Fault::Duplicated => serving.line(2).await?,
                        _ => serving.line(1).await?,
                    };
                    let within = attempt.context().value::<Within>();
                    let caller = within.map(|within| (within.service.clone(), within.instance));
                    let strike = Arc::new(Strike::new(fault, Arc::clone(&line), caller));
                    lock(&self.strikes).insert(message.call, Arc::clone(&strike));
                    strike.before_sent(network, message.left.unwrap_or_default());
                    Ok(Sender::Line(line))
                }
            }
        };
        made.await.inspect_err(|error: &Error| self.fails(error.to_string()))
    }

    /// Returns the instance whose turn it is; `None` if no service has the name.
    fn instance(&self, network: &Network, to: &str) -> Option<Arc<Instance>> {
        let mut servers = lock(&self.servers);
        let reached = network.reach(to)?;
        let instance = servers.entry((to.to_owned(), reached.instance));
        let instance =
            instance.or_insert_with(|| Arc::new(Instance { reached, serving: OnceCell::new() }));
        Some(Arc::clone(instance))
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

    /// Makes a requester that finds no server.
    async fn nowhere(&self) -> Result<Arc<dyn Requester>, Error> {
        let bound = TcpSocket::new_v4().and_then(|socket| {
            socket.bind(ANY_PORT)?;
            Ok((socket.local_addr()?, socket))
        });
        let (address, socket) = bound.map_err(|error| {
            let text = format!("no port could be bound: {error}");
            Error::failure(Code::Unavailable, Delivery::NotSent, None, text)
        })?;
        lock(&self.unused_ports).push(socket);
        self.carrier.connect_to_none(address).await
    }

    /// Makes a line to a server that has as many requests in flight as it takes.
    async fn overloaded(&self, request: &Request) -> Result<Arc<Line>, Error> {
        let config = IntakeConfig::default().with_in_flight_max(0);
        let serving =
            Serving::start(&self.carrier, Hold::default().routes(&request.target)?, config).await?;
        let line = serving.line(1).await?;
        lock(&self.refusing).push(serving);
        Ok(line)
    }

    /// Makes a line to a server that drains.
    ///
    /// Without a broker, a request in flight keeps the drain from ending: a server that has ended
    /// refuses connections.
    async fn draining(&self, request: &Request) -> Result<Arc<Line>, Error> {
        let hold = Hold::default();
        let serving = Serving::start(
            &self.carrier,
            hold.clone().routes(&request.target)?,
            IntakeConfig::default(),
        )
        .await?;
        if !self.has_broker() {
            let (first, request) = (serving.line(1).await?, request.clone());
            tokio::spawn(async move {
                let ctx = Context::background().unbounded();
                // Ends with its server.
                let _ = first.requester.request(&ctx, request).await;
            });
            hold.entered.notified().await;
        }
        serving.drain(self.has_broker()).await;
        let line = serving.line(1).await?;
        lock(&self.refusing).push(serving);
        Ok(line)
    }

    /// Ends an instance, and starts it again with its next message.
    fn crash(&self, network: &Network, service: &str, instance: usize) {
        network.crash(service, instance);
        let died = lock(&self.servers).remove(&(service.to_owned(), instance));
        if let Some(serving) = died.as_ref().and_then(|died| died.serving.get()) {
            serving.crash();
        }
    }

    fn strike(&self, call: usize) -> Option<Arc<Strike>> {
        lock(&self.strikes).get(&call).cloned()
    }

    fn has_broker(&self) -> bool {
        self.carrier.broker().is_some()
    }

    /// Records why the network does not do what its script says.
    fn fails(&self, why: String) {
        lock(&self.failed).get_or_insert(why);
    }

    fn failed(&self) -> Option<String> {
        lock(&self.failed).clone()
    }

    /// Ends every server and every connection.
    pub(super) fn close(&self) {
        let servers = std::mem::take(&mut *lock(&self.servers));
        let strikes = std::mem::take(&mut *lock(&self.strikes));
        let refusing = std::mem::take(&mut *lock(&self.refusing));
        // Outside of the locks: it runs foreign code.
        drop((servers, strikes, refusing));
    }
}

/// Responder that never answers.
#[derive(Clone, Default)]
struct Hold {
    entered: Arc<Notify>,
}

impl Hold {
    fn routes(self, target: &Target) -> Result<Routes, Error> {
        let mut routes = Routes::new();
        routes.insert(
            Route::Target(target.as_str().to_owned()),
            Declared::Unspecified,
            Arc::new(self),
        )?;
        Ok(routes)
    }
}

#[async_trait]
impl Responder for Hold {
    async fn respond(&self, _: &Context, _: Request) -> Result<Response, Error> {
        self.entered.notify_one();
        std::future::pending().await
    }
}

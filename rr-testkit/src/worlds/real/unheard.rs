//! Messages that reach no handler: nothing listens, the request is lost, or the server refuses.

use std::future::pending;
use std::sync::Arc;

use rr_spi::{
    Code, Context, Declared, Delivery, Error, IntakeConfig, Request, Responder, Response, Route,
    Routes, Target, async_trait,
};
use tokio::net::TcpSocket;
use tokio::sync::Notify;

use super::Sender;
use super::carrier::Carrier;
use super::serving::{ANY_PORT, Serving};
use super::tap::Gate;
use crate::stream_link::Direction;
use crate::worlds::fault::Fault;

/// Makes what sends a message whose fault keeps it from every handler; `None` for other faults.
///
/// Each has a server for itself, so that nothing else is struck and no instance loses its turn.
pub(super) async fn sender(
    carrier: &Arc<dyn Carrier>,
    fault: Fault,
    request: &Request,
) -> Result<Option<Sender>, Error> {
    let made = match fault {
        Fault::ConnectFails => nowhere(carrier).await,
        Fault::RequestLost | Fault::Partitioned => lost(carrier, request).await,
        Fault::Overloaded => overloaded(carrier, request).await,
        Fault::Draining => draining(carrier, request).await,
        _ => return Ok(None),
    };
    made.map(Some)
}

/// A bound socket keeps a port on which nothing listens.
async fn nowhere(carrier: &Arc<dyn Carrier>) -> Result<Sender, Error> {
    let bound = TcpSocket::new_v4().and_then(|socket| {
        socket.bind(ANY_PORT)?;
        Ok((socket.local_addr()?, socket))
    });
    let (address, socket) = bound.map_err(|error| {
        let text = format!("no port could be bound: {error}");
        Error::failure(Code::Unavailable, Delivery::NotSent, None, text)
    })?;
    let requester = carrier.connect_to_none(address).await?;
    Ok(Sender { requester, _kept: Box::new(socket) })
}

async fn lost(carrier: &Arc<dyn Carrier>, request: &Request) -> Result<Sender, Error> {
    let routes = Hold::default().routes(&request.target)?;
    let serving = Serving::start(carrier, routes, IntakeConfig::default()).await?;
    let line = serving.line(1).await?;
    line.tap.set(Direction::Requests, Gate::Lost);
    Ok(Sender { requester: Arc::clone(&line.requester), _kept: Box::new((line, serving)) })
}

/// A server that has as many requests in flight as it takes: none.
async fn overloaded(carrier: &Arc<dyn Carrier>, request: &Request) -> Result<Sender, Error> {
    let routes = Hold::default().routes(&request.target)?;
    let config = IntakeConfig::default().with_in_flight_max(0);
    let serving = Serving::start(carrier, routes, config).await?;
    let line = serving.line(1).await?;
    Ok(Sender { requester: Arc::clone(&line.requester), _kept: Box::new((line, serving)) })
}

/// A server that drains.
///
/// Without a broker, a request in flight keeps the drain from ending: a server that has ended refuses
/// connections. With a broker, a drain begins when the broker no longer sends requests to the server.
async fn draining(carrier: &Arc<dyn Carrier>, request: &Request) -> Result<Sender, Error> {
    let hold = Hold::default();
    let routes = hold.clone().routes(&request.target)?;
    let serving = Serving::start(carrier, routes, IntakeConfig::default()).await?;
    let has_broker = carrier.broker().is_some();
    if !has_broker {
        let (first, request) = (serving.line(1).await?, request.clone());
        tokio::spawn(async move {
            let ctx = Context::background().unbounded();
            // Ends with its server.
            let _ = first.requester.request(&ctx, request).await;
        });
        hold.entered.notified().await;
    }
    serving.drain(has_broker).await;
    let line = serving.line(1).await?;
    Ok(Sender { requester: Arc::clone(&line.requester), _kept: Box::new((line, serving)) })
}

/// Responder that never answers.
#[derive(Clone, Default)]
struct Hold {
    entered: Arc<Notify>,
}

impl Hold {
    fn routes(self, target: &Target) -> Result<Routes, Error> {
        let mut routes = Routes::new();
        let route = Route::Target(target.as_str().to_owned());
        routes.insert(route, Declared::Unspecified, Arc::new(self))?;
        Ok(routes)
    }
}

#[async_trait]
impl Responder for Hold {
    async fn respond(&self, _: &Context, _: Request) -> Result<Response, Error> {
        self.entered.notify_one();
        pending().await
    }
}

//! The trait of a real transport under a network.

use std::net::SocketAddr;
use std::sync::Arc;

use rr_spi::{Error, IntakeConfig, Requester, Routes, Server, async_trait};

use crate::worlds::Fault;

/// Real transport that carries the messages of a [`Network`](super::super::Network).
///
/// # Contract
///
/// * Servers of different names share nothing: a request to one never reaches another.
/// * Nothing adds retries or middleware: each message of the network is one attempt.
///
/// # For implementors
///
/// All traffic goes over TCP to the addresses given, where the network puts its proxies. A transport
/// with a broker returns the broker's address; without one, each server has an address of its own.
///
/// # For wrappers
///
/// Delegate every method.
///
/// # Examples
///
/// ```
/// use std::net::SocketAddr;
/// use std::sync::Arc;
///
/// use rr_spi::{Error, IntakeConfig, Requester, Routes, Server, async_trait};
/// use rr_testkit::worlds::Carrier;
///
/// /// A transport over TCP, whose URLs are `tcp://host:port`.
/// struct OverTcp;
///
/// # async fn serve(_: String, _: Routes, _: IntakeConfig) -> Result<Server, Error> { unreachable!() }
/// # async fn connect(_: String) -> Result<Arc<dyn Requester>, Error> { unreachable!() }
/// #[async_trait]
/// impl Carrier for OverTcp {
///     fn name(&self) -> &str {
///         "TCP"
///     }
///
///     async fn serve(
///         &self,
///         _name: &str,
///         address: SocketAddr,
///         routes: Routes,
///         config: IntakeConfig,
///     ) -> Result<Server, Error> {
///         serve(format!("tcp://{address}"), routes, config).await
///     }
///
///     async fn connect(&self, _: &str, at: SocketAddr) -> Result<Arc<dyn Requester>, Error> {
///         connect(format!("tcp://{at}")).await
///     }
///
///     async fn connect_to_none(&self, at: SocketAddr) -> Result<Arc<dyn Requester>, Error> {
///         connect(format!("tcp://{at}")).await
///     }
/// }
/// ```
#[async_trait]
pub trait Carrier: Send + Sync + 'static {
    /// Returns the name of the transport for reports, such as `HTTP/1.1`.
    fn name(&self) -> &str;

    /// Returns the address of the broker that passes requests on to the servers; `None` if requesters
    /// connect to servers directly.
    fn broker(&self) -> Option<SocketAddr> {
        None
    }

    /// Returns why a fault cannot be made over this transport; `None` if it can. A script with such a
    /// fault is refused. No transport can make [`Fault::Repeated`], [`Fault::ClockJumped`] and
    /// [`Fault::ORDERS`].
    fn cannot(&self, fault: Fault) -> Option<&'static str> {
        let _ = fault;
        None
    }

    /// Starts a server with a name: through the broker at `address`, or bound to `address`, whose port
    /// 0 means a free port. The URL of the server states the address.
    ///
    /// # Errors
    ///
    /// Any error of starting; the replay is refused with it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing running.
    async fn serve(
        &self,
        name: &str,
        address: SocketAddr,
        routes: Routes,
        config: IntakeConfig,
    ) -> Result<Server, Error>;

    /// Connects a requester to the server with a name, at the address of the broker or of the server.
    ///
    /// # Errors
    ///
    /// Any error of connecting; the replay is refused with it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    async fn connect(&self, name: &str, address: SocketAddr) -> Result<Arc<dyn Requester>, Error>;

    /// Makes a requester that finds no server. At `address` nothing listens.
    ///
    /// # Errors
    ///
    /// Any error of making the requester; the replay is refused with it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    async fn connect_to_none(&self, address: SocketAddr) -> Result<Arc<dyn Requester>, Error>;
}

/// Returns why a fault cannot be made over a transport, as a sentence; `None` if it can.
pub(super) fn unmade(carrier: &dyn Carrier, fault: Fault) -> Option<String> {
    let why = match fault {
        Fault::Repeated => "a proxy does not know where a request ends, to repeat it later",
        Fault::ClockJumped => "all servers share the clock of this process",
        Fault::Overtaken | Fault::ReplyOvertaken => {
            "no two messages are ready in the same instant of real time"
        }
        _ => carrier.cannot(fault)?,
    };
    Some(format!("`{fault}` cannot be made over {}: {why}", carrier.name()))
}

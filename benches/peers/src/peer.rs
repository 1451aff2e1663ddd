//! What a contender is.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;

use crate::Result;
use crate::drive::{Client, Driven, Load, drive};

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A server that runs in this process until it is dropped.
pub struct Served {
    /// What its client connects to.
    pub address: String,
    _keep: Box<dyn Any + Send>,
}

impl Served {
    /// What is kept ends with it.
    #[must_use]
    pub fn new(address: impl Into<String>, keep: impl Any + Send) -> Self {
        Self { address: address.into(), _keep: Box::new(keep) }
    }
}

/// What runs beside what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Family {
    Http,
    Nats,
    /// TCP without a protocol that anybody speaks, for scale.
    Tcp,
    /// Within one process.
    Memory,
}

impl Family {
    /// All of them, in the order of their tables.
    pub const ALL: [Self; 4] = [Self::Http, Self::Nats, Self::Tcp, Self::Memory];

    /// Its name in a table.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Nats => "NATS",
            Self::Tcp => "TCP",
            Self::Memory => "in process",
        }
    }
}

/// Starts a server; what it is given is the broker's URL, if there is one.
pub type Serve = Box<dyn Fn(String) -> BoxFuture<Result<Served>>>;

/// Connects to an address and puts the load on it.
pub type Drive = Box<dyn Fn(String, Load) -> BoxFuture<Result<Driven>>>;

/// How a peer is run.
pub enum Runs {
    /// Client and server apart.
    Apart(Serve, Drive),
    /// Client and server are one thing.
    Together(Drive),
    /// A program of its own.
    Elsewhere,
}

/// One contender: an echo of the body.
pub struct Peer {
    pub name: &'static str,
    pub family: Family,
    pub runs: Runs,
}

impl Peer {
    /// One whose server can be a process of its own.
    pub fn apart<S, C, SF, CF, K>(name: &'static str, family: Family, serve: S, connect: C) -> Self
    where
        S: Fn(String) -> SF + 'static,
        SF: Future<Output = Result<Served>> + Send + 'static,
        C: Fn(String) -> CF + 'static,
        CF: Future<Output = Result<K>> + Send + 'static,
        K: Client,
    {
        let serve = Box::new(move |broker| -> BoxFuture<_> { Box::pin(serve(broker)) });
        Self { name, family, runs: Runs::Apart(serve, driver(connect)) }
    }

    /// One that is in one process.
    pub fn together<C, CF, K>(name: &'static str, connect: C) -> Self
    where
        C: Fn() -> CF + 'static,
        CF: Future<Output = Result<K>> + Send + 'static,
        K: Client,
    {
        let runs = Runs::Together(driver(move |_| connect()));
        Self { name, family: Family::Memory, runs }
    }

    /// Whether the server can be a process of its own.
    #[must_use]
    pub fn splits(&self) -> bool {
        !matches!(self.runs, Runs::Together(_))
    }
}

fn driver<C, CF, K>(connect: C) -> Drive
where
    C: Fn(String) -> CF + 'static,
    CF: Future<Output = Result<K>> + Send + 'static,
    K: Client,
{
    Box::new(move |address, load| {
        let client = connect(address);
        Box::pin(async move { Ok(drive(client.await?, &load).await) })
    })
}

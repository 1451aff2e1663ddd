//! tarpc, over TCP with bincode and over its channel.

use std::future::{Future, ready};

use crate::Client;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tarpc::server::{BaseChannel, Channel as _};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::{client, context, serde_transport, transport};
use tokio::net::TcpListener;

use super::{Result, Served};

#[tarpc::service]
trait Echo {
    async fn echo(body: Body) -> Body;
}

/// Bytes, which serde takes for a sequence of numbers unless told otherwise.
#[derive(Clone, Debug)]
struct Body(Bytes);

impl serde::Serialize for Body {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Body {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Body;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Body, E> {
                Ok(Body(Bytes::from(bytes)))
            }
        }
        deserializer.deserialize_byte_buf(Visitor)
    }
}

#[derive(Clone)]
struct Server;

impl Echo for Server {
    async fn echo(self, _: context::Context, body: Body) -> Body {
        body
    }
}

/// As its documentation has it: a task for each request.
async fn spawn(answering: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(answering);
}

pub(super) async fn serve() -> Result<Served> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let incoming = serde_transport::tcp::listen_on(listener, Bincode::default).await?;
    let accepting =
        tokio::spawn(incoming.filter_map(|accepted| ready(accepted.ok())).for_each(|transport| {
            // Off by default.
            let _ = transport.get_ref().set_nodelay(true);
            let channel = BaseChannel::with_defaults(transport);
            tokio::spawn(channel.execute(Server.serve()).for_each(spawn));
            ready(())
        }));
    Ok(Served::new(address, accepting))
}

pub(super) async fn connect(address: String) -> Result<impl Client> {
    let transport = serde_transport::tcp::connect(address, Bincode::default).await?;
    transport.get_ref().set_nodelay(true)?;
    Ok(EchoClient::new(client::Config::default(), transport).spawn())
}

pub(super) async fn channel() -> Result<impl Client> {
    let (client_side, server_side) = transport::channel::unbounded();
    let server = BaseChannel::with_defaults(server_side);
    tokio::spawn(server.execute(Server.serve()).for_each(spawn));
    Ok(EchoClient::new(client::Config::default(), client_side).spawn())
}

impl Client for EchoClient {
    async fn call(&self, body: Bytes) {
        let sent = body.len();
        // Its own default deadline is 10 s.
        let answer = self.echo(context::current(), Body(body)).await;
        assert_eq!(answer.expect("the call is answered").0.len(), sent);
    }
}

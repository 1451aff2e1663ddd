//! What a nats-server tells of itself over HTTP.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::Deserialize;

/// How long a server on loopback may take to tell.
const PATIENCE: Duration = Duration::from_secs(5);

/// The page of its clients; as many of them as any test has.
const CLIENTS: &str = "/connz?subs=1&limit=10000";

#[derive(Deserialize)]
struct Clients {
    connections: Vec<Client>,
}

#[derive(Deserialize)]
struct Client {
    #[serde(default)]
    subscriptions_list: Vec<String>,
}

/// Returns the subjects that each client's connection is subscribed to.
pub(super) fn subscriptions(address: SocketAddr) -> io::Result<Vec<Vec<String>>> {
    let page = page(address, CLIENTS)?;
    let clients: Clients = serde_json::from_slice(&page)?;
    Ok(clients.connections.into_iter().map(|client| client.subscriptions_list).collect())
}

/// Asks for a page by HTTP/1.0, which ends a reply with its connection.
fn page(address: SocketAddr, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    let head = reply.windows(4).position(|window| window == b"\r\n\r\n");
    let body = head.filter(|_| reply.starts_with(b"HTTP/1.0 200")).map(|head| head + 4);
    let body = body.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(reply.split_off(body))
}

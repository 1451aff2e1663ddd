//! Client of the HTTP monitoring endpoint of nats-server.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::Deserialize;

/// Connect and read timeout of a monitoring request.
const PATIENCE: Duration = Duration::from_secs(5);

/// Path of the page with all clients and their subscriptions. The limit exceeds any test.
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

/// Returns the subscribed subjects of each client connection.
pub(super) fn subscriptions(address: SocketAddr) -> io::Result<Vec<Vec<String>>> {
    let page = page(address, CLIENTS)?;
    let clients: Clients = serde_json::from_slice(&page)?;
    Ok(clients.connections.into_iter().map(|client| client.subscriptions_list).collect())
}

/// Requests a page over HTTP/1.0, where the end of the connection marks the end of the reply.
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

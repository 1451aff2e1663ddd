//! Tunnels through a forward proxy (`CONNECT`, RFC 9110 §9.3.6).

use std::io;

use http::{HeaderValue, StatusCode};
use rr_spi::Error;
use rr_spi::dial::Lookup;
use tokio::net::TcpStream;

use crate::error::{connect_failed, proxy_refused};
use crate::proxy::ProxyServer;

/// Longest head of the proxy's answer, in bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Forward proxy, and the server to which its tunnels lead.
#[derive(Debug)]
pub(super) struct Tunnel {
    /// The addresses of the proxy.
    pub(super) lookup: Lookup,
    /// Host and port of the proxy, for errors.
    proxy: String,
    /// Host and port of the server.
    target: String,
    authorization: Option<HeaderValue>,
}

impl Tunnel {
    pub(super) fn new(proxy: ProxyServer, host: &str, port: u16) -> Self {
        let ProxyServer { host: proxy_host, port: proxy_port, authorization } = proxy;
        let shown = join(&proxy_host, proxy_port);
        let lookup = Lookup::new(proxy_host, proxy_port);
        Self { lookup, proxy: shown, target: join(host, port), authorization }
    }

    /// Makes the error for a proxy that was not reached, or whose connection broke.
    pub(super) fn failed(&self, authority: &str, error: &io::Error) -> Error {
        let text = format!("the proxy {}: {error}", self.proxy);
        connect_failed(authority, io::Error::new(error.kind(), text))
    }

    /// Opens the tunnel on a connection to the proxy. The bytes that follow are those of the server:
    /// none of them is read.
    ///
    /// # Errors
    ///
    /// `Unavailable`, not sent, `connect-failed`: the request of the call has not been written.
    pub(super) async fn open(&self, stream: &TcpStream, authority: &str) -> Result<(), Error> {
        let answered = async {
            write_all(stream, &self.head()).await?;
            read_status(stream).await
        };
        match answered.await {
            Ok(status) if status.is_success() => Ok(()),
            Ok(status) => Err(proxy_refused(authority, &self.proxy, status)),
            Err(error) => Err(self.failed(authority, &error)),
        }
    }

    /// Makes the head of the request for the tunnel.
    fn head(&self) -> Vec<u8> {
        let target = &self.target;
        let mut head = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            head.extend_from_slice(b"proxy-authorization: ");
            head.extend_from_slice(authorization.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

/// Joins a host and a port. The zone of an IPv6 address has a meaning on this machine only.
fn join(host: &str, port: u16) -> String {
    let host = host.split('%').next().unwrap_or_default();
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads the head of the answer and nothing beyond it: a server may speak first.
async fn read_status(stream: &TcpStream) -> io::Result<StatusCode> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.ends_with(END) {
        let seen = stream.peek(&mut piece).await?;
        if seen == 0 {
            return Err(malformed("it closed the connection before its answer was complete"));
        }
        let wanted = until_end(&head, &piece[..seen]);
        match stream.try_read(&mut piece[..wanted]) {
            Ok(read) => head.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if head.len() > HEAD_BYTES_MAX {
            return Err(malformed("the head of its answer is longer than 8 KiB"));
        }
    }
    parse_status(&head).ok_or_else(|| malformed("its answer is not HTTP/1"))
}

/// End of a head.
const END: &[u8] = b"\r\n\r\n";

/// Returns the number of bytes of `seen` up to the end of the head that `read` begins, or all of
/// them.
fn until_end(read: &[u8], seen: &[u8]) -> usize {
    let before = &read[read.len().saturating_sub(END.len() - 1)..];
    let joined = [before, seen].concat();
    let end = joined.windows(END.len()).position(|window| window == END);
    end.map_or(seen.len(), |at| at + END.len() - before.len())
}

/// Reads the status of a status line (RFC 9112 §4).
fn parse_status(head: &[u8]) -> Option<StatusCode> {
    let rest = head.strip_prefix(b"HTTP/1.")?;
    let [b'0'..=b'9', b' ', status @ ..] = rest else { return None };
    let ends = status.get(3).is_some_and(|byte| b" \r".contains(byte));
    StatusCode::from_bytes(status.get(..3)?).ok().filter(|_| ends)
}

fn malformed(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_status_line_is_read_and_anything_else_is_not() {
        let status = |head: &str| parse_status(head.as_bytes()).map(|status| status.as_u16());
        assert_eq!(status("HTTP/1.1 200 OK\r\n\r\n"), Some(200));
        assert_eq!(status("HTTP/1.0 407\r\nx: y\r\n\r\n"), Some(407));
        for bad in
            ["", "HTTP/2 200\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2000\r\n\r\n", "SSH"]
        {
            assert_eq!(status(bad), None, "{bad}");
        }
    }

    #[test]
    fn hosts_are_joined_without_a_zone() {
        assert_eq!(join("a.example", 80), "a.example:80");
        assert_eq!(join("fe80::1%eth0", 443), "[fe80::1]:443");
    }

    proptest! {
        #[test]
        fn nothing_beyond_the_head_is_taken(
            head in "[a-z\r\n]{0,20}", rest in "[a-z\r\n]{0,20}", cut in 0usize..44,
        ) {
            let text = format!("{head}\r\n\r\n{rest}");
            let end = text.find("\r\n\r\n").unwrap() + 4;
            let cut = cut.min(end);
            let (read, seen) = text.as_bytes().split_at(cut);
            let wanted = until_end(read, seen);
            // Unless the head has ended before.
            if cut < end {
                prop_assert_eq!(cut + wanted, end);
            }
        }
    }
}

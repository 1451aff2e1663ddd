//! Reads `INFO` lines over a short connection: async-nats does not pass on all of their fields.

use std::io;
use std::time::Duration;

use rr_spi::Context;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::authenticate::authenticate;
use super::channel::{Route, Stream, TlsBegin};
use crate::config::{NatsAuth, NatsConnectionConfig};

/// Maximum number of bytes read: an `INFO` line of nats-server has about 1 KiB and 64 bytes for
/// each member, and there are two such lines.
const READ_BYTES_MAX: u64 = 64 * 1024;

/// Time limit for the answer to a question on a new connection. A server that expects TLS first
/// sends nothing.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Shortest interval between two questions, whatever is configured.
pub(super) const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Fields of an `INFO` line that this module reads.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Info {
    server_id: String,
    nonce: String,
    connect_urls: Vec<String>,
    max_payload: Option<usize>,
}

/// Asks a server for the members that it announces; the client library reads them only when it
/// connects.
pub(super) async fn announced_by(server: &Route) -> Option<Vec<String>> {
    let asked = async { Some(Asked::connect(server).await?.info.connect_urls) };
    answered(asked).await
}

/// Message length limits of a server, in bytes with headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServerLimits {
    /// Limit that the server announces to all users.
    pub(super) announced: usize,
    /// Limit for this user.
    pub(super) bytes_max: usize,
}

/// Asks a server for the message length limit of the user of these credentials. `None` if the
/// server does not answer, or if another server answers at its address.
///
/// The server sends a second `INFO` line with the limits of user and account after the first
/// `PING`; the answer to the second `PING` shows that no further line follows.
pub(super) async fn server_limits(
    server: &Route,
    server_id: &str,
    config: &NatsConnectionConfig,
) -> Option<ServerLimits> {
    let asked = async {
        let mut asked = Asked::connect(server).await?;
        let Info { server_id: id, nonce, max_payload, .. } = std::mem::take(&mut asked.info);
        if id != server_id {
            return None;
        }
        let auth = authenticate(&config.credentials, nonce.into()).await.ok()?;
        let introduction = introduction(&config.name, &auth);
        asked.write(&format!("CONNECT {introduction}\r\nPING\r\nPING\r\n")).await.ok()?;
        let announced = max_payload?;
        Some(ServerLimits { announced, bytes_max: asked.until_pongs(2, announced).await? })
    };
    answered(asked).await
}

async fn answered<T>(asked: impl Future<Output = Option<T>>) -> Option<T> {
    Context::background().with_timeout(ANSWER_MAX).race(asked).await.ok().flatten()
}

/// Returns the options of a `CONNECT` line.
fn introduction(name: &str, auth: &NatsAuth) -> serde_json::Value {
    json!({
        "verbose": false, "pedantic": false, "headers": true, "protocol": 1, "name": name,
        "user": auth.user, "pass": auth.password, "auth_token": auth.token,
        "jwt": auth.jwt, "nkey": auth.nkey, "sig": signature(auth),
    })
}

/// Encodes the signature of the nonce.
#[cfg(feature = "nkeys")]
fn signature(auth: &NatsAuth) -> Option<String> {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    auth.signature.as_ref().map(|signature| URL_SAFE_NO_PAD.encode(signature))
}

/// Without the feature, no credentials have a signature.
#[cfg(not(feature = "nkeys"))]
fn signature(_: &NatsAuth) -> Option<String> {
    None
}

/// Short connection for one question.
struct Asked {
    info: Info,
    lines: Lines,
}

type Lines = BufReader<tokio::io::Take<Stream>>;

impl Asked {
    /// Connects and reads the first `INFO` line; begins TLS if the connection has it.
    async fn connect(server: &Route) -> Option<Self> {
        let begin = server.channel.tls_begin();
        let secure = |stream| server.channel.begin_tls(stream, &server.name);
        let mut stream: Stream = Box::new(TcpStream::connect(server.socket).await.ok()?);
        if begin == TlsBegin::First {
            stream = secure(stream).await.ok()?;
        }
        let mut lines = BufReader::new(stream.take(READ_BYTES_MAX));
        let info = Info::parse(&line(&mut lines).await.ok()?)?;
        if begin == TlsBegin::AfterInfo {
            // The server sends nothing more before the handshake, so that nothing is buffered.
            let stream = secure(lines.into_inner().into_inner()).await.ok()?;
            lines = BufReader::new(stream.take(READ_BYTES_MAX));
        }
        Some(Self { info, lines })
    }

    async fn write(&mut self, text: &str) -> io::Result<()> {
        let stream = self.lines.get_mut().get_mut();
        stream.write_all(text.as_bytes()).await?;
        stream.flush().await
    }

    /// Reads until `pongs` lines `PONG` have arrived. Returns the limit of the last `INFO` line, or
    /// `told` without one.
    async fn until_pongs(&mut self, mut pongs: u32, mut told: usize) -> Option<usize> {
        while pongs > 0 {
            let line = line(&mut self.lines).await.ok()?;
            match line.split(|byte| byte.is_ascii_whitespace()).next() {
                Some(b"PONG") => pongs -= 1,
                Some(b"INFO") => told = Info::parse(&line)?.max_payload.unwrap_or(told),
                // An error, or the end of the connection.
                _ => return None,
            }
        }
        Some(told)
    }
}

/// Reads the next line; returns an empty line when there are no more.
async fn line(lines: &mut Lines) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    lines.read_until(b'\n', &mut line).await?;
    Ok(line)
}

impl Info {
    fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line.strip_prefix(b"INFO ")?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rr_testkit::{NatsServer, NatsServerSetup};

    use super::*;
    use crate::config::NatsCredentials;
    use crate::connection::channel::Channel;

    async fn told(nats: &NatsServer, config: &NatsConnectionConfig) -> Option<(usize, usize)> {
        let (channel, socket) = (Channel::plain(), nats.address());
        let server = Route { channel, socket, name: String::new() };
        let id = Asked::connect(&server).await.unwrap().info.server_id;
        assert_eq!(server_limits(&server, "another", config).await, None);
        let told = server_limits(&server, &id, config).await?;
        Some((told.announced, told.bytes_max))
    }

    #[tokio::test]
    async fn the_limit_is_that_of_the_account_or_else_of_the_server() {
        let setup = NatsServerSetup::default().with_max_payload(65536).with_lines(
            "accounts { A { users: [{user: a, password: a}], limits { max_payload: 8192 } }
                        B { users: [{user: b, password: b}] } }",
        );
        let nats = NatsServer::start_with(&setup).await.unwrap();
        for (user, password, expected) in [
            ("a", "a", Some((65536, 8192))),
            ("b", "b", Some((65536, 65536))),
            ("a", "wrong", None),
        ] {
            let (user, password) = (user.to_owned(), password.to_owned());
            let credentials = NatsCredentials::UserPassword { user, password };
            let config = NatsConnectionConfig::default().with_credentials(credentials);
            assert_eq!(told(&nats, &config).await, expected);
        }
        let setup = NatsServerSetup::default()
            .with_max_payload(4096)
            .with_lines("authorization { token: t0ken }");
        let nats = NatsServer::start_with(&setup).await.unwrap();
        let credentials = NatsCredentials::Token("t0ken".to_owned());
        let config = NatsConnectionConfig::default().with_credentials(credentials);
        assert_eq!(told(&nats, &config).await, Some((4096, 4096)));
        assert_eq!(told(&nats, &NatsConnectionConfig::default()).await, None);
    }

    proptest! {
        #[test]
        fn no_info_line_panics(line in prop::collection::vec(any::<u8>(), 0..60), json in "\\PC{0,40}") {
            let _ = Info::parse(&line);
            let _ = Info::parse(format!("INFO {json}").as_bytes());
        }
    }
}

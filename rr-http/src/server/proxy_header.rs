//! Reads the header of the PROXY protocol, version 2, with which a proxy announces its client.
//!
//! Rules: `proxy-protocol.txt` of HAProxy, section 2.2.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// First bytes of every header; no HTTP request and no TLS handshake begins like this.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of the fixed part: signature, version and command, family and protocol, length.
const FIXED_BYTES: usize = 16;

/// Longest rest of a header. Addresses take at most 216 bytes; extensions, such as the names of a
/// client's certificate, hardly ever take more than some hundred.
const REST_BYTES_MAX: usize = 4096;

/// Bytes of the addresses and ports of both ends.
const INET_BYTES: usize = 12;
const INET6_BYTES: usize = 36;
const UNIX_BYTES: usize = 216;

/// Sender of a connection that a header announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Announced {
    /// The proxy itself, as for its health checks.
    Proxy,
    /// A client of the proxy, with its address unless the proxy knows none, as for a Unix socket.
    Client(Option<SocketAddr>),
}

/// Fixed part of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fixed {
    kind: Kind,
    /// Bytes that follow: addresses, then extensions.
    rest: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Local,
    Unspecified,
    Inet,
    Inet6,
    Unix,
}

impl Kind {
    /// Returns the length of the addresses. Those of a header without a client are ignored.
    fn bytes(self) -> usize {
        match self {
            Self::Local | Self::Unspecified => 0,
            Self::Inet => INET_BYTES,
            Self::Inet6 => INET6_BYTES,
            Self::Unix => UNIX_BYTES,
        }
    }
}

/// Reads the fixed part; `None` if it is malformed or announces something else than a stream.
fn read_fixed(bytes: &[u8; FIXED_BYTES]) -> Option<Fixed> {
    let (signature, [command, family, high, low]) = bytes.split_last_chunk()?;
    if signature != SIGNATURE {
        return None;
    }
    let kind = match (command, family) {
        // The family of a local connection is ignored, but its length counts.
        (0x20, _) => Kind::Local,
        (0x21, 0x00) => Kind::Unspecified,
        (0x21, 0x11) => Kind::Inet,
        (0x21, 0x21) => Kind::Inet6,
        (0x21, 0x31) => Kind::Unix,
        _ => return None,
    };
    let rest = usize::from(u16::from_be_bytes([*high, *low]));
    (kind.bytes()..=REST_BYTES_MAX).contains(&rest).then_some(Fixed { kind, rest })
}

/// Reads the address and port of the client from the addresses of both ends.
fn read_addresses(kind: Kind, bytes: &[u8; INET6_BYTES]) -> Announced {
    let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let address = match kind {
        Kind::Local => return Announced::Proxy,
        Kind::Unspecified | Kind::Unix => return Announced::Client(None),
        Kind::Inet => {
            let [a, b, c, d, ..] = *bytes;
            SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), port(8))
        }
        Kind::Inet6 => {
            let mut source = [0; 16];
            source.copy_from_slice(&bytes[..16]);
            SocketAddr::new(IpAddr::V6(Ipv6Addr::from(source)), port(32))
        }
    };
    Announced::Client(Some(address))
}

/// Reads a whole header and not a byte more.
///
/// # Errors
///
/// `InvalidData` when this server does not accept the header, and the errors of the stream.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Announced> {
    let mut fixed = [0; FIXED_BYTES];
    stream.read_exact(&mut fixed).await?;
    let fixed = read_fixed(&fixed).ok_or(io::ErrorKind::InvalidData)?;
    let mut addresses = [0; INET6_BYTES];
    let known = fixed.kind.bytes().min(INET6_BYTES);
    stream.read_exact(&mut addresses[..known]).await?;
    let mut left = fixed.rest - known;
    while left > 0 {
        let mut ignored = [0; 64];
        let length = left.min(ignored.len());
        stream.read_exact(&mut ignored[..length]).await?;
        left -= length;
    }
    Ok(read_addresses(fixed.kind, &addresses))
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use proptest::prelude::*;

    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    /// Reads a header, and returns the bytes that follow it.
    fn read_all(bytes: &[u8]) -> (io::Result<Announced>, usize) {
        let mut rest = bytes;
        let read = {
            let mut reading = std::pin::pin!(read(&mut rest));
            let mut cx = Context::from_waker(Waker::noop());
            // A slice is always ready.
            let Poll::Ready(read) = reading.as_mut().poll(&mut cx) else { unreachable!() };
            read
        };
        (read, rest.len())
    }

    fn accepted(bytes: &[u8]) -> Announced {
        let (read, left) = read_all(&[bytes, b"GET /"].concat());
        assert_eq!(left, 5, "the bytes behind the header stay");
        read.unwrap()
    }

    #[test]
    fn the_clients_address_is_read_and_extensions_are_skipped() {
        let ends = [192, 0, 2, 7, 10, 0, 0, 1, 0xde, 0xad, 0, 80];
        let client = Announced::Client(Some("192.0.2.7:57005".parse().unwrap()));
        assert_eq!(accepted(&header(0x21, 0x11, &ends)), client);
        let long = [&ends[..], &[0; 2000]].concat();
        assert_eq!(accepted(&header(0x21, 0x11, &long)), client);
        let mut ends = [0; 36];
        ends[15] = 1;
        ends[33] = 9;
        let client = Announced::Client(Some("[::1]:9".parse().unwrap()));
        assert_eq!(accepted(&header(0x21, 0x21, &ends)), client);
    }

    #[test]
    fn a_local_connection_is_the_proxys_and_an_address_may_be_unknown() {
        assert_eq!(accepted(&header(0x20, 0x00, &[])), Announced::Proxy);
        assert_eq!(accepted(&header(0x20, 0x11, &[1; 12])), Announced::Proxy);
        assert_eq!(accepted(&header(0x21, 0x00, &[])), Announced::Client(None));
        assert_eq!(accepted(&header(0x21, 0x31, &[b'/'; 216])), Announced::Client(None));
    }

    #[test]
    fn other_versions_commands_families_and_lengths_are_refused() {
        let ends = [1; 36];
        let mut bad = vec![
            header(0x11, 0x11, &ends),
            header(0x22, 0x11, &ends),
            header(0x21, 0x12, &ends),
            header(0x21, 0x41, &ends),
            header(0x21, 0x11, &ends[..11]),
            header(0x21, 0x21, &ends[..35]),
            header(0x21, 0x31, &[0; 215]),
            header(0x21, 0x11, &[0; REST_BYTES_MAX + 1]),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 57005 80\r\n".to_vec(),
            b"GET /echo HTTP/1.1\r\nhost: h\r\n\r\n".to_vec(),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        ];
        let mut cut = header(0x21, 0x11, &ends);
        cut[0] = b'\n';
        bad.push(cut);
        for bytes in bad {
            let error = read_all(&bytes).0.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_and_a_header_is_read_to_its_end(
            command in prop_oneof![Just(0x20_u8), Just(0x21), any::<u8>()],
            family in prop_oneof![Just(0x11_u8), Just(0x21), Just(0x31), any::<u8>()],
            rest in proptest::collection::vec(any::<u8>(), 0..300),
            garbage in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let bytes = [&header(command, family, &rest)[..], &garbage].concat();
            let (outcome, left) = read_all(&bytes);
            if outcome.is_ok() {
                prop_assert_eq!(left, garbage.len());
            }
            // A header that is cut anywhere waits for more.
            for length in 0..FIXED_BYTES + rest.len() {
                if outcome.is_ok() {
                    let error = read_all(&bytes[..length]).0.unwrap_err();
                    prop_assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                }
            }
            let _ = read_all(&garbage);
        }
    }
}

//! Headers of the PROXY protocol: what the server accepts follows the layout of the specification.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use rr_http::fuzz;

type Read<'a> = std::io::Result<(fuzz::Client, &'a [u8])>;

fn read(bytes: &[u8]) -> Read<'_> {
    let mut cx = Context::from_waker(Waker::noop());
    match pin!(fuzz::proxy_header(bytes)).poll(&mut cx) {
        Poll::Ready(read) => read,
        Poll::Pending => panic!("it waits for a slice"),
    }
}

/// Returns the length of a whole header.
fn length(bytes: &[u8]) -> usize {
    16 + usize::from(bytes[14]) * 256 + usize::from(bytes[15])
}

/// Reads a header, and the same header cut at the byte that the first byte chooses.
///
/// # Panics
///
/// When a header is accepted that does not have the layout of the specification, or is read
/// otherwise than it says.
pub fn proxy_header(bytes: &[u8]) {
    let Some((&cut, bytes)) = bytes.split_first() else { return };
    match read(bytes) {
        Ok((client, rest)) => {
            assert!(bytes.starts_with(b"\r\n\r\n\0\r\nQUIT\n"), "another signature");
            let length = length(bytes);
            assert_eq!(
                rest.len(),
                bytes.len() - length,
                "read beyond the header, or not to its end"
            );
            check_client(client, bytes);
            let cut = usize::from(cut) % length;
            let error = read(&bytes[..cut]).expect_err("a part of a header was accepted");
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "a part of a header was refused");
        }
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            assert!(bytes.len() < 16 || bytes.len() < length(bytes), "it was there as a whole");
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidData),
    }
}

fn check_client(client: fuzz::Client, bytes: &[u8]) {
    let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let expected = match (bytes[12], bytes[13]) {
        (0x20, _) => None,
        (0x21, 0x11) => {
            let ip: [u8; 4] = bytes[16..20].try_into().expect("four bytes");
            Some(Some(SocketAddr::new(IpAddr::from(ip), port(24))))
        }
        (0x21, 0x21) => {
            let ip: [u8; 16] = bytes[16..32].try_into().expect("sixteen bytes");
            Some(Some(SocketAddr::new(IpAddr::from(ip), port(48))))
        }
        (0x21, 0x00 | 0x31) => Some(None),
        other => panic!("{other:?} was accepted"),
    };
    assert_eq!(client, expected);
}

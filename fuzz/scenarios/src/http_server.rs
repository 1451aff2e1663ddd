//! Any bytes, in pieces, into a server over a pipe.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rr_core::{Context, Error, HandlerExt as _, Request, Response, Router};
use rr_http::HttpServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::time::sleep;

use crate::input::Input;
use crate::{pipe, world};

/// Most bytes of a reply stream that are looked at.
const REPLY_BYTES_MAX: usize = 1 << 20;

/// Writes the bytes into a connection of a server whose limits are odd, and reads all replies.
///
/// # Panics
///
/// When the server panics, holds the connection beyond its timeouts, or interleaves HTTP/1 replies.
pub fn http_server(bytes: &[u8]) {
    world::run(async {
        let mut input = Input::new(bytes);
        let runs = Arc::new(AtomicUsize::new(0));
        let mut config = HttpServerConfig::default();
        config.intake.in_flight_max = input.pick(&[1024, 1, 0]);
        config.intake.limits.request_bytes_max = input.pick(&[1 << 20, 0, 9, 300]);
        config.intake.limits.response_bytes_max = input.pick(&[1 << 20, 3, 0]);
        config.intake.bodies_bytes_max = input.pick(&[1 << 26, 0, 100]);
        config.h2_streams_max = input.pick(&[200, 0, 1]);
        let pipe_bytes = input.pick(&[64 * 1024, 64, 1, 1000]);
        let piece_bytes = input.pick(&[usize::MAX, 1, 7]);
        let (server, connect) =
            pipe::serve(router(&runs).into(), config).expect("the configuration is valid");
        let (near, far) = duplex(pipe_bytes);
        connect.send(far).await.expect("the server accepts");
        let (mut reader, mut writer) = tokio::io::split(near);
        let sent = input.rest().to_vec();
        let reading = tokio::spawn(async move {
            let mut replies = Vec::new();
            let _ = (&mut reader).take(REPLY_BYTES_MAX as u64).read_to_end(&mut replies).await;
            replies
        });
        for piece in sent.chunks(piece_bytes.min(sent.len().max(1))) {
            if writer.write_all(piece).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(1)).await;
        }
        let _ = writer.shutdown().await;
        let replies = reading.await.expect("reading does not panic");
        if replies.starts_with(b"HTTP/1") {
            check_h1(&replies);
        }
        let _ = server.shutdown(Duration::from_secs(1)).await;
    });
}

fn router(runs: &Arc<AtomicUsize>) -> Router {
    let runs = Arc::clone(runs);
    let echo = move |_: Context, request: Request| {
        runs.fetch_add(1, Ordering::Relaxed);
        async move {
            sleep(Duration::from_millis(request.body.len() as u64 % 5)).await;
            Ok::<_, Error>(Response::new(request.body))
        }
    };
    Router::new().route("e", echo.clone().safe()).service("s", echo)
}

/// Splits replies by their own framing: each begins where the one before ended.
fn check_h1(replies: &[u8]) {
    let mut rest = replies;
    while !rest.is_empty() {
        assert!(rest.starts_with(b"HTTP/1"), "a reply within a reply: {:?}", shown(rest));
        let Some(end) = find(rest, b"\r\n\r\n") else { return };
        let head = String::from_utf8_lossy(&rest[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let interim = head.starts_with("http/1.1 1");
        let body = &rest[end + 4..];
        // A reply to HEAD has no body, whatever its length says.
        if interim || body.starts_with(b"HTTP/1") {
            rest = body;
        } else {
            rest = &body[length.min(body.len())..];
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned()
}

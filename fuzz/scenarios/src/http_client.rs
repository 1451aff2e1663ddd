//! Any bytes from a server into a requester over a pipe.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rr_core::{Context, Delivery, Error, Idempotency, Request, Requester as _, Response, Target};
use rr_http::{HttpConfig, HttpRequester, HttpVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{Instant, sleep};

use crate::input::Input;
use crate::world;

/// Deadline of each call, and how much later its error may come in virtual time.
const TIMEOUT: Duration = Duration::from_millis(500);
const MARGIN: Duration = Duration::from_millis(50);

/// Pause in which all bytes on the pipes arrive.
const SETTLED: Duration = Duration::from_secs(1);

/// Calls that follow each other on what the bytes leave behind.
const CALLS: usize = 3;

/// Makes calls to a server that answers with the bytes.
///
/// # Panics
///
/// When the requester panics, a call outlives its deadline, or an error claims `NotSent` although
/// the server received the head of an HTTP/1 request.
pub fn http_client(bytes: &[u8]) {
    world::run(async {
        let mut input = Input::new(bytes);
        let version = input.pick(&[HttpVersion::H1, HttpVersion::H2c]);
        let mut config = HttpConfig::default().with_version(version);
        config.calls.limits.response_bytes_max = input.pick(&[1 << 20, 0, 9]);
        config.get_bytes_max = input.pick(&[0, 1 << 12]);
        let piece_bytes = input.pick(&[usize::MAX, 1, 7]);
        let reads_first = input.flag();
        let pipe_bytes = input.pick(&[64 * 1024, 64, 1]);
        let replies: Arc<[u8]> = input.rest().into();
        let received = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&received);
        let connect = move || {
            let (near, far) = duplex(pipe_bytes);
            let (replies, count) = (Arc::clone(&replies), Arc::clone(&count));
            tokio::spawn(answer(far, replies, piece_bytes, reads_first, count));
            async move { Ok(near) }
        };
        let client = HttpRequester::with_connector("http://pipe", config, connect);
        let client = client.expect("the configuration is valid");
        for _ in 0..CALLS {
            let begin = Instant::now();
            let before = received.load(Ordering::Relaxed);
            let ctx = Context::background().with_timeout(TIMEOUT);
            let target = Target::try_from("s.t").expect("a valid target");
            let request = Request::new(target, "1").with_idempotency(Idempotency::Safe);
            let outcome = client.request(&ctx, request).await;
            assert!(begin.elapsed() <= TIMEOUT + MARGIN, "late by {:?}", begin.elapsed());
            let reached = received.load(Ordering::Relaxed) > before;
            check(&outcome, version == HttpVersion::H1 && reached);
            // The bytes of this call arrive before the next one begins.
            sleep(SETTLED).await;
        }
    });
}

fn check(outcome: &Result<Response, Error>, reached: bool) {
    let Err(error) = outcome else { return };
    assert!(
        !(reached && error.delivery() == Delivery::NotSent),
        "{error:?} although the request arrived"
    );
}

/// Writes the replies, and counts what was received.
async fn answer(
    stream: DuplexStream,
    replies: Arc<[u8]>,
    piece_bytes: usize,
    reads_first: bool,
    received: Arc<AtomicUsize>,
) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut buffer = [0; 4096];
    if reads_first {
        let length = reader.read(&mut buffer).await.unwrap_or(0);
        received.fetch_add(length, Ordering::Relaxed);
    }
    let reading = tokio::spawn(async move {
        while let Ok(length @ 1..) = reader.read(&mut buffer).await {
            received.fetch_add(length, Ordering::Relaxed);
        }
    });
    for piece in replies.chunks(piece_bytes.min(replies.len().max(1))) {
        if writer.write_all(piece).await.is_err() {
            break;
        }
        sleep(Duration::from_millis(1)).await;
    }
    let _ = writer.shutdown().await;
    drop(reading.await);
}

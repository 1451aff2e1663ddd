//! A TCP proxy that loses, holds, doubles and cuts what passes.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_spi::{CancelHandle, Cause, Context};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, sink, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::stream_link::Direction;
use crate::sync::lock;

/// Size of one read.
const CHUNK_BYTES: usize = 8 * 1024;

/// Pause after a failed accept.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// Treatment of the bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Gate {
    /// Every byte passes, and so does the end of the stream.
    #[default]
    Open,
    /// Bytes wait until the gate opens.
    Held,
    /// Bytes are lost. Those that wait keep waiting.
    Lost,
    /// Bytes that wait pass, later ones are lost.
    HeldPass,
}

/// TCP proxy in front of one address. Dropping the tap ends it and its connections.
pub(super) struct Tap {
    address: SocketAddr,
    shared: Arc<Shared>,
    _life: CancelHandle,
}

struct Shared {
    upstream: SocketAddr,
    /// Connections to the upstream address that each get what one client sends.
    copies: usize,
    requests: Way,
    replies: Way,
    refuses: AtomicBool,
    /// Scope of the open connections; replaced at each cut.
    scope: Mutex<(Context, CancelHandle)>,
}

#[derive(Default)]
struct Way {
    gate: Mutex<Gate>,
    changed: Notify,
}

impl Tap {
    /// Starts a tap on a free loopback port. The client gets the replies to the first of the copies.
    pub(super) async fn start(upstream: SocketAddr, copies: usize) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (life, handle) = Context::background().child();
        let shared = Arc::new(Shared {
            upstream,
            copies,
            requests: Way::default(),
            replies: Way::default(),
            refuses: AtomicBool::new(false),
            scope: Mutex::new(Context::background().child()),
        });
        let accepting = accept(listener, Arc::clone(&shared), life.clone());
        tokio::spawn(async move { life.race(accepting).await });
        Ok(Self { address, shared, _life: handle })
    }

    /// Returns the address to connect to instead of the upstream address.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the treatment of one direction, for open connections too.
    pub(super) fn set(&self, direction: Direction, gate: Gate) {
        let way = match direction {
            Direction::Requests => &self.shared.requests,
            Direction::Replies => &self.shared.replies,
        };
        *lock(&way.gate) = gate;
        way.changed.notify_waiters();
    }

    /// Ends every open connection. No further byte of them passes.
    pub(super) fn cut(&self) {
        let cut = std::mem::replace(&mut *lock(&self.shared.scope), Context::background().child());
        // Outside of the lock: cancelling wakes the tasks of the connections.
        cut.1.cancel_with(Cause::PeerGone);
    }

    /// Ends every open connection, and every later one when it is made.
    pub(super) fn cut_for_good(&self) {
        self.shared.refuses.store(true, Ordering::SeqCst);
        self.cut();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, life: Context) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_AGAIN).await;
            continue;
        };
        // Taken before the flag is read, so that a cut in between ends this connection too.
        let scope = lock(&shared.scope).0.clone();
        if shared.refuses.load(Ordering::SeqCst) {
            continue;
        }
        let (shared, life) = (Arc::clone(&shared), life.clone());
        tokio::spawn(async move {
            // Both ends see the result themselves.
            let _ = life.race(scope.race(carry(stream, &shared))).await;
        });
    }
}

async fn carry(near: TcpStream, shared: &Shared) -> io::Result<()> {
    near.set_nodelay(true)?;
    let (mut readers, mut writers) = (Vec::new(), Vec::new());
    for _ in 0..shared.copies {
        let far = TcpStream::connect(shared.upstream).await?;
        far.set_nodelay(true)?;
        let (reader, writer) = split(far);
        readers.push(reader);
        writers.push(writer);
    }
    let (from_near, to_near) = split(near);
    let requests = pass(&shared.requests, from_near, writers);
    let first = readers.remove(0);
    let replies = pass(&shared.replies, first, vec![to_near]);
    let unread = async {
        for mut reader in readers {
            // Until the server closes the copy; what it sends there has no reader.
            let _ = copy(&mut reader, &mut sink()).await;
        }
        Ok(())
    };
    tokio::try_join!(biased; requests, replies, unread).map(|_| ())
}

/// Copies one direction through its gate, to every writer.
async fn pass(
    way: &Way,
    mut from: impl AsyncRead + Unpin,
    mut to: Vec<impl AsyncWrite + Unpin>,
) -> io::Result<()> {
    let (mut waiting, mut buffer, mut has_ended) = (Vec::new(), vec![0; CHUNK_BYTES], false);
    loop {
        let changed = way.changed.notified();
        let gate = *lock(&way.gate);
        if matches!(gate, Gate::Open | Gate::HeldPass) && !waiting.is_empty() {
            for writer in &mut to {
                writer.write_all(&waiting).await?;
            }
            waiting.clear();
        }
        if has_ended && gate == Gate::Open {
            for writer in &mut to {
                writer.shutdown().await?;
            }
            return Ok(());
        }
        tokio::select! {
            biased;
            () = changed => {}
            read = from.read(&mut buffer), if !has_ended => match (read, *lock(&way.gate)) {
                (Ok(0) | Err(_), _) => has_ended = true,
                (Ok(read), Gate::Open | Gate::Held) => waiting.extend_from_slice(&buffer[..read]),
                (Ok(_), Gate::Lost | Gate::HeldPass) => {}
            },
        }
    }
}

//! A way to a server that can stop taking bytes without closing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Passes bytes both ways; what the client writes stays unread while it is told to stop.
pub struct Stall {
    address: SocketAddr,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct State {
    stopped: AtomicBool,
    changed: Notify,
    cut: Notify,
}

impl Stall {
    pub async fn before(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = state.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut pipes = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(upstream).await.unwrap();
                pipes.spawn(pipe(client, server, shared.clone()));
            }
        });
        Self { address, state, _tasks: tasks }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn stop_reading(&self) {
        self.state.stopped.store(true, Ordering::SeqCst);
    }

    pub fn read_on(&self) {
        self.state.stopped.store(false, Ordering::SeqCst);
        self.state.changed.notify_waiters();
    }

    /// Ends the connections that there are; new ones pass.
    pub fn cut(&self) {
        self.state.stopped.store(false, Ordering::SeqCst);
        self.state.cut.notify_waiters();
    }
}

async fn pipe(client: TcpStream, server: TcpStream, state: Arc<State>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            let mut changed = std::pin::pin!(state.changed.notified());
            changed.as_mut().enable();
            if state.stopped.load(Ordering::SeqCst) {
                changed.await;
                continue;
            }
            match from_client.read(&mut bytes).await {
                Ok(read) if read > 0 => to_server.write_all(&bytes[..read]).await.unwrap_or(()),
                _ => return,
            }
        }
    };
    let down = tokio::io::copy(&mut from_server, &mut to_client);
    tokio::select! {
        biased;
        _ = async { tokio::join!(up, down) } => (),
        () = state.cut.notified() => (),
    }
}

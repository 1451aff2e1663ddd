//! A long way to a server.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Passes bytes both ways, each some time after it came.
pub struct Delay {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Delay {
    pub async fn before(upstream: SocketAddr, one_way: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut ways = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                // A server in lame duck mode takes no more.
                let Ok(server) = TcpStream::connect(upstream).await else { continue };
                for stream in [&client, &server] {
                    stream.set_nodelay(true).unwrap();
                }
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                ways.spawn(pass(from_client, to_server, one_way));
                ways.spawn(pass(from_server, to_client, one_way));
            }
        });
        Self { address, _tasks: tasks }
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, one_way: Duration) {
    let (sender, mut on_the_way) = unbounded_channel::<(Instant, Vec<u8>)>();
    let read = async move {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(read) = from.read(&mut bytes).await {
            if read == 0 || sender.send((Instant::now() + one_way, bytes[..read].to_vec())).is_err()
            {
                return;
            }
        }
    };
    let write = async move {
        while let Some((at, bytes)) = on_the_way.recv().await {
            sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}

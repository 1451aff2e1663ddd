//! A frame there and a frame back on a TCP connection: the floor of whatever runs over one each.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::Client;
use bytes::{Buf, Bytes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Result, Served};

pub(super) async fn serve() -> Result<Served> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let accepting = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    Ok(Served::new(address, accepting))
}

/// Sends each frame back; ends with the connection.
async fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut body = Vec::new();
    loop {
        read(&mut stream, &mut body).await?;
        write(&mut stream, &body).await?;
    }
}

async fn write(stream: &mut TcpStream, body: &[u8]) -> io::Result<()> {
    let length = (body.len() as u32).to_be_bytes();
    // Both parts in one system call, without a copy.
    stream.write_all_buf(&mut Buf::chain(&length[..], body)).await
}

async fn read(stream: &mut TcpStream, body: &mut Vec<u8>) -> io::Result<()> {
    body.resize(stream.read_u32().await? as usize, 0);
    stream.read_exact(body).await.map(drop)
}

/// A connection, and the room for what it brings.
type Idle = (TcpStream, Vec<u8>);

#[derive(Clone)]
struct Pool {
    address: String,
    idle: Arc<Mutex<Vec<Idle>>>,
}

pub(super) async fn connect(address: String) -> Result<impl Client> {
    Ok(Pool { address, idle: Arc::default() })
}

impl Pool {
    async fn take(&self) -> io::Result<Idle> {
        if let Some(idle) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(idle);
        }
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        Ok((stream, Vec::new()))
    }
}

impl Client for Pool {
    async fn call(&self, body: Bytes) {
        let (mut stream, mut received) = self.take().await.expect("loopback accepts");
        write(&mut stream, &body).await.expect("the frame leaves");
        read(&mut stream, &mut received).await.expect("the call is answered");
        assert_eq!(received.len(), body.len());
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((stream, received));
    }
}

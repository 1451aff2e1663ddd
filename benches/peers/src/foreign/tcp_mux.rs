//! Many calls on one TCP connection, whatever waits in one write: the floor of what multiplexes.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::Client;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use super::{Result, Served};

/// Bytes of a frame before its body: the call's number and the body's length.
const HEAD_BYTES: usize = 8;

/// Frames that wait to be written.
const QUEUE_MAX: usize = 1024;

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

/// Sends each frame back, all that came with one read in one write.
async fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut received, mut answers) = (BytesMut::new(), BytesMut::new());
    while stream.read_buf(&mut received).await? > 0 {
        while let Some((call, body)) = frame(&mut received) {
            put(&mut answers, call, &body);
        }
        stream.write_all_buf(&mut answers).await?;
    }
    Ok(())
}

/// Takes a whole frame off the front.
fn frame(received: &mut BytesMut) -> Option<(u32, Bytes)> {
    let mut head = received.get(..HEAD_BYTES)?;
    let (call, length) = (head.get_u32(), head.get_u32() as usize);
    if received.len() < HEAD_BYTES + length {
        return None;
    }
    received.advance(HEAD_BYTES);
    Some((call, received.split_to(length).freeze()))
}

fn put(batch: &mut BytesMut, call: u32, body: &[u8]) {
    batch.reserve(HEAD_BYTES + body.len());
    batch.put_u32(call);
    batch.put_u32(body.len() as u32);
    batch.put_slice(body);
}

type Outgoing = (Bytes, oneshot::Sender<Bytes>);
type Waiting = Arc<Mutex<HashMap<u32, oneshot::Sender<Bytes>>>>;

#[derive(Clone)]
struct Connection(mpsc::Sender<Outgoing>);

pub(super) async fn connect(address: String) -> Result<impl Client> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (reading, writing) = stream.into_split();
    let (sender, receiver) = mpsc::channel(QUEUE_MAX);
    let waiting = Waiting::default();
    tokio::spawn(write(writing, receiver, Arc::clone(&waiting)));
    tokio::spawn(read(reading, waiting));
    Ok(Connection(sender))
}

async fn write(
    mut stream: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Outgoing>,
    waiting: Waiting,
) -> io::Result<()> {
    let (mut calls, mut batch, mut outgoing) = (0_u32, BytesMut::new(), Vec::new());
    while queue.recv_many(&mut outgoing, QUEUE_MAX).await > 0 {
        {
            let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            for (body, reply) in outgoing.drain(..) {
                calls = calls.wrapping_add(1);
                waiting.insert(calls, reply);
                put(&mut batch, calls, &body);
            }
        }
        stream.write_all_buf(&mut batch).await?;
    }
    Ok(())
}

async fn read(mut stream: OwnedReadHalf, waiting: Waiting) -> io::Result<()> {
    let mut received = BytesMut::new();
    while stream.read_buf(&mut received).await? > 0 {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((call, body)) = frame(&mut received) {
            if let Some(reply) = waiting.remove(&call) {
                // Nobody waits any more: nothing to tell.
                let _ = reply.send(body);
            }
        }
    }
    Ok(())
}

impl Client for Connection {
    async fn call(&self, body: Bytes) {
        let sent = body.len();
        let (reply, answer) = oneshot::channel();
        assert!(self.0.send((body, reply)).await.is_ok(), "the connection stays");
        assert_eq!(answer.await.expect("the call is answered").len(), sent);
    }
}

//! tokio's own channels: a queue of requests, and a channel for each reply.

use crate::Client;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::Result;

/// As many as a server of ours has in flight.
const QUEUE_MAX: usize = 1024;

#[derive(Clone)]
struct Channel(mpsc::Sender<(Bytes, oneshot::Sender<Bytes>)>);

pub(super) async fn connect() -> Result<impl Client> {
    let (sender, mut receiver) = mpsc::channel::<(Bytes, oneshot::Sender<Bytes>)>(QUEUE_MAX);
    tokio::spawn(async move {
        while let Some((body, reply)) = receiver.recv().await {
            // Nobody waits any more: nothing to tell.
            let _ = reply.send(body);
        }
    });
    Ok(Channel(sender))
}

impl Client for Channel {
    async fn call(&self, body: Bytes) {
        let sent = body.len();
        let (reply, answer) = oneshot::channel();
        assert!(self.0.send((body, reply)).await.is_ok(), "the server is there");
        assert_eq!(answer.await.expect("the call is answered").len(), sent);
    }
}

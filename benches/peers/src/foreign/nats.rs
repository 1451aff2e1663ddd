//! async-nats by itself: `Client::request`, and a subscription that answers.

use crate::Client;
use async_nats::{HeaderMap, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::{BoxFuture, Result, Served};

/// What is asked and answered.
pub(super) const SUBJECT: &str = "bench.echo";

/// How a responder answers.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Answer {
    /// In the loop that receives.
    InLoop,
    /// There as well, with a header each way.
    InLoopWithHeader,
    /// In a task for each request.
    Spawned,
}

pub(super) fn serve(answer: Answer) -> impl Fn(String) -> BoxFuture<Result<Served>> {
    move |broker| {
        Box::pin(async move {
            let client = async_nats::connect(&broker).await?;
            let subscriber = client.queue_subscribe(SUBJECT, "q".to_owned()).await?;
            client.flush().await?;
            Ok(Served::new(broker, tokio::spawn(respond(client, subscriber, answer))))
        })
    }
}

async fn respond(client: async_nats::Client, mut subscriber: Subscriber, answer: Answer) {
    while let Some(message) = subscriber.next().await {
        let Some(reply) = message.reply else { continue };
        match answer {
            Answer::InLoop => drop(client.publish(reply, message.payload).await),
            Answer::InLoopWithHeader => {
                let _ = client.publish_with_headers(reply, header("ok"), message.payload).await;
            }
            Answer::Spawned => {
                let client = client.clone();
                tokio::spawn(async move { client.publish(reply, message.payload).await });
            }
        }
    }
}

fn header(value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("rr", value);
    headers
}

/// A requester of the subject.
#[derive(Clone)]
pub(super) struct Nats {
    client: async_nats::Client,
    with_header: bool,
}

/// Its own default timeout of 10 s holds.
pub(super) fn connect(answer: Answer) -> impl Fn(String) -> BoxFuture<Result<Nats>> {
    move |broker| {
        Box::pin(async move {
            let client = async_nats::connect(broker).await?;
            Ok(Nats { client, with_header: answer == Answer::InLoopWithHeader })
        })
    }
}

impl Client for Nats {
    async fn call(&self, body: Bytes) {
        let sent = body.len();
        let answer = if self.with_header {
            self.client.request_with_headers(SUBJECT, header("t=10000"), body).await
        } else {
            self.client.request(SUBJECT, body).await
        };
        assert_eq!(answer.expect("the call is answered").payload.len(), sent);
    }
}

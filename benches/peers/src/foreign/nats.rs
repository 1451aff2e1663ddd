//! async-nats by itself: `Client::request`, and a subscription that answers.

use crate::Client;
use async_nats::{HeaderMap, Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::{BoxFuture, Result, Served};

/// A subject of this process: the broker may not have noticed yet that the responder before is
/// gone.
pub(super) fn subject() -> String {
    format!("bench{}.echo", std::process::id())
}

/// The broker's URL and the subject, for the requester.
pub(super) fn address(broker: &str, subject: &str) -> String {
    format!("{broker}#{subject}")
}

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
            let subject = subject();
            let subscriber = client.queue_subscribe(subject.clone(), "q".to_owned()).await?;
            client.flush().await?;
            Ok(Served::new(
                address(&broker, &subject),
                tokio::spawn(respond(client, subscriber, answer)),
            ))
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
    subject: Subject,
    with_header: bool,
}

/// Its own default timeout of 10 s holds.
pub(super) fn connect(answer: Answer) -> impl Fn(String) -> BoxFuture<Result<Nats>> {
    move |address| {
        Box::pin(async move {
            let (broker, subject) = address.split_once('#').ok_or("no subject")?;
            let client = async_nats::connect(broker).await?;
            let with_header = answer == Answer::InLoopWithHeader;
            Ok(Nats { client, subject: subject.into(), with_header })
        })
    }
}

impl Client for Nats {
    async fn call(&self, body: Bytes) {
        let (sent, subject) = (body.len(), self.subject.clone());
        let answer = if self.with_header {
            self.client.request_with_headers(subject, header("t=10000"), body).await
        } else {
            self.client.request(subject, body).await
        };
        assert_eq!(answer.expect("the call is answered").payload.len(), sent);
    }
}

//! One request with several replies: servers in several groups, and services of other libraries.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;

use crate::support::*;
use async_nats::{HeaderMap, Subscriber};
use rr_core::many::{ManyConfig, ManyEnd, Replies, request_many};
use rr_nats::{NatsRequester, NatsServerConfig, serve_with};
use rr_spi::{Code, Delivery, Error, IntakeConfig, Reason, Response, Server};
use rr_testkit::NatsServer;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// A server of `svc.work` in a queue group, or none, that answers with its name.
async fn named(nats: &NatsServer, name: &'static str, queue: Option<&str>) -> Server {
    let routes = route("svc.work", move |_, _| async move { Ok(Response::new(name)) });
    serve_with(&nats.url(), routes, group(queue)).await.unwrap()
}

fn group(queue: Option<&str>) -> NatsServerConfig {
    NatsServerConfig::default().with_queue(queue.map(str::to_owned))
}

/// A foreign service of `svc.work`, and the reply subject of its next request.
struct Foreign {
    client: async_nats::Client,
    requests: Subscriber,
}

impl Foreign {
    async fn start(nats: &NatsServer) -> Self {
        let client = async_nats::connect(nats.url()).await.unwrap();
        let requests = client.subscribe("svc.work").await.unwrap();
        client.flush().await.unwrap();
        Self { client, requests }
    }

    async fn requested(&mut self) -> String {
        let requests = &mut self.requests;
        let next = std::future::poll_fn(|cx| {
            futures_core::Stream::poll_next(std::pin::Pin::new(&mut *requests), cx)
        });
        let message = within(10_000).race(next).await.unwrap().unwrap();
        message.reply.unwrap().to_string()
    }

    /// Answers the next request; see [`Foreign::answer`]. Returns its reply subject.
    async fn answer_next(&mut self, bodies: &[&'static str]) -> String {
        let reply = self.requested().await;
        self.answer(&reply, bodies).await;
        reply
    }

    /// Answers with bodies, one message each, and waits until they are on the wire.
    async fn answer(&self, reply: &str, bodies: &[&'static str]) {
        for body in bodies {
            self.client.publish(reply.to_owned(), (*body).into()).await.unwrap();
        }
        self.client.flush().await.unwrap();
    }
}

/// Reads the next reply, which is there: its body.
async fn body(replies: &mut Replies<'_>) -> String {
    String::from_utf8(replies.next().await.unwrap().unwrap().body.to_vec()).unwrap()
}

/// Reads all replies: their bodies, sorted, and their errors.
async fn all(replies: &mut Replies<'_>) -> (Vec<String>, Vec<Error>) {
    let (mut bodies, mut errors) = (Vec::new(), Vec::new());
    while let Some(item) = replies.next().await {
        match item {
            Ok(reply) => bodies.push(String::from_utf8(reply.body.to_vec()).unwrap()),
            Err(error) => errors.push(error),
        }
    }
    bodies.sort_unstable();
    (bodies, errors)
}

fn work() -> rr_spi::Request {
    request("svc.work", "x")
}

/// Waits until nothing is in flight, and so many replies were late or second ones.
async fn until_stray(client: &NatsRequester, wanted: u64) {
    let strays = async {
        loop {
            let stats = client.nats_stats();
            if (stats.in_flight, stats.late_replies + stats.duplicate_replies) == (0, wanted) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let waited = within(10_000).race(strays).await;
    assert!(waited.is_ok(), "{:?}", client.nats_stats());
}

#[tokio::test]
async fn a_server_of_each_group_answers_and_a_count_ends_the_collection() {
    let nats = nats().await;
    let _servers = (
        named(&nats, "berlin", Some("berlin")).await,
        named(&nats, "oslo", Some("oslo")).await,
        named(&nats, "alone", None).await,
    );
    let (client, ctx) = (client(&nats.url()).await, within(10_000));
    let config = ManyConfig::default().with_replies_max(3);
    let mut replies = request_many(&client, &ctx, work(), config);
    assert_eq!(all(&mut replies).await.0, ["alone", "berlin", "oslo"]);
    assert_eq!((replies.end(), replies.endpoint()), (Some(ManyEnd::Count), None));
    assert_eq!(client.nats_stats().in_flight, 0);
    // Of servers in one group, one answers.
    let _further = named(&nats, "oslo", Some("oslo")).await;
    let config = ManyConfig::default().with_stall(std::time::Duration::from_millis(500));
    let mut replies = request_many(&client, &ctx, work(), config);
    assert_eq!(all(&mut replies).await.0, ["alone", "berlin", "oslo"]);
    assert_eq!(replies.end(), Some(ManyEnd::Stalled));
    assert_eq!(client.nats_stats().duplicate_replies, 0);
}

#[tokio::test]
async fn servers_without_a_group_by_url_all_answer() {
    let nats = nats().await;
    let url = format!("{}?queue=", nats.url());
    let mut servers = Vec::new();
    for name in ["a", "b"] {
        let routes = route("svc.work", move |_, _| async move { Ok(Response::new(name)) });
        servers.push(rr_nats::serve(&url, routes).await.unwrap());
    }
    let (client, ctx) = (client(&nats.url()).await, within(10_000));
    let config = ManyConfig::default().with_replies_max(2);
    assert_eq!(all(&mut request_many(&client, &ctx, work(), config)).await.0, ["a", "b"]);
}

#[tokio::test]
async fn the_refusal_of_one_server_is_an_item_that_proves_nothing_about_the_others() {
    let nats = nats().await;
    // In the default group, a server says `rejected`.
    let full = IntakeConfig::default().with_in_flight_max(0);
    let routes = route("svc.work", |_, _| async { Ok(Response::new("")) });
    let config = group(Some("q")).with_intake(full);
    let _full = serve_with(&nats.url(), routes, config).await.unwrap();
    // The other one waits, so that the refusal is the first reply.
    let (answer, waits) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (released, answering) = (Arc::clone(&answer), Arc::clone(&waits));
    let routes = route("svc.work", move |_, _| {
        let (released, answering) = (Arc::clone(&released), Arc::clone(&answering));
        async move {
            answering.notify_one();
            released.notified().await;
            Ok(Response::new("works"))
        }
    });
    let _works = serve_with(&nats.url(), routes, group(Some("blue"))).await.unwrap();
    let (client, ctx) = (client(&nats.url()).await, within(10_000));
    let config = ManyConfig::default().with_replies_max(2);
    let mut replies = request_many(&client, &ctx, work(), config);
    let error = replies.next().await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(&Reason::OVERLOADED));
    assert_eq!(error.delivery(), Delivery::Unknown);
    waits.notified().await;
    answer.notify_one();
    assert_eq!(body(&mut replies).await, "works");
    assert_eq!((replies.count(), replies.end()), (1, None));
    drop(replies);
    // Two replies teach the requester that a refusal of this target is no proof.
    let error = call(&client, &ctx, "svc.work").await.unwrap_err();
    assert_eq!(error.reason(), Some(&Reason::OVERLOADED));
    assert_eq!(error.delivery(), Delivery::Unknown);
}

#[tokio::test]
async fn a_foreign_service_answers_in_pieces_and_marks_the_end() {
    let nats = nats().await;
    let mut foreign = Foreign::start(&nats).await;
    let (client, ctx) = (client(&nats.url()).await, within(10_000));
    let config = ManyConfig::default().with_empty_ends(true);
    let mut replies = request_many(&client, &ctx, work(), config);
    let answering = foreign.answer_next(&["a", "b", "c", "", "d"]);
    let ((bodies, errors), _) = tokio::join!(all(&mut replies), answering);
    assert_eq!((bodies, errors.len()), (["a", "b", "c"].map(str::to_owned).to_vec(), 0));
    assert_eq!((replies.end(), replies.count()), (Some(ManyEnd::Sentinel), 3));
    until_stray(&client, 1).await;
    // Without the option, an empty reply is a reply.
    let config = ManyConfig::default().with_replies_max(2);
    let mut replies = request_many(&client, &ctx, work(), config);
    let answering = foreign.answer_next(&["", "z", "late"]);
    let ((bodies, _), _) = tokio::join!(all(&mut replies), answering);
    assert_eq!((bodies, replies.end()), (vec![String::new(), "z".into()], Some(ManyEnd::Count)));
    // Replies beyond the count are counted as second ones.
    until_stray(&client, 2).await;
}

#[tokio::test]
async fn an_error_with_an_empty_body_does_not_end_the_collection() {
    let nats = nats().await;
    let mut foreign = Foreign::start(&nats).await;
    let (client, ctx) = (client(&nats.url()).await, within(10_000));
    let config = ManyConfig::default().with_empty_ends(true);
    let mut replies = request_many(&client, &ctx, work(), config);
    let answering = async {
        let reply = foreign.requested().await;
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Service-Error-Code", "404");
        let to = reply.clone();
        foreign.client.publish_with_headers(to, headers, "".into()).await.unwrap();
        foreign.answer(&reply, &["a", ""]).await;
    };
    let ((bodies, errors), ()) = tokio::join!(all(&mut replies), answering);
    assert_eq!(bodies, ["a"]);
    assert_eq!((errors[0].code(), errors[0].delivery()), (Code::NotFound, Delivery::Processed));
    assert_eq!(replies.end(), Some(ManyEnd::Sentinel));
}

#[tokio::test]
async fn without_responders_nothing_was_sent() {
    let nats = nats().await;
    let (client, ctx) = (client(&nats.url()).await, within(10_000));
    let mut replies = request_many(&client, &ctx, work(), ManyConfig::default());
    let error = replies.next().await.unwrap().unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::NotSent));
    assert_eq!(error.reason(), Some(&Reason::NO_RESPONDER));
    assert!(replies.next().await.is_none());
    assert_eq!((replies.end(), client.nats_stats().in_flight), (Some(ManyEnd::Failed), 0));
}

#[tokio::test]
async fn no_responders_after_a_reply_ends_the_collection_as_unknown() {
    let nats = nats().await;
    let mut foreign = Foreign::start(&nats).await;
    let (client, ctx) = (client(&nats.url()).await, within(10_000));
    let mut replies = request_many(&client, &ctx, work(), ManyConfig::default());
    let answering = foreign.answer_next(&["a"]);
    let (first, reply) = tokio::join!(body(&mut replies), answering);
    assert_eq!(first, "a");
    // No library writes a status: byte for byte, as the NATS server would.
    let status = "NATS/1.0 503\r\n\r\n";
    let connect = "CONNECT {\"verbose\":false,\"headers\":true}\r\n";
    let length = status.len();
    let bytes = format!("{connect}HPUB {reply} {length} {length}\r\n{status}\r\n");
    let mut raw = TcpStream::connect(nats.address()).await.unwrap();
    raw.write_all(bytes.as_bytes()).await.unwrap();
    let error = replies.next().await.unwrap().unwrap_err();
    assert_eq!(
        (error.reason(), error.delivery()),
        (Some(&Reason::NO_RESPONDER), Delivery::Unknown)
    );
    assert!(replies.next().await.is_none());
    assert_eq!(replies.end(), Some(ManyEnd::Failed));
}

#[tokio::test]
async fn the_total_time_and_a_stall_end_the_collection_and_a_stall_cancels() {
    let nats = nats().await;
    let (entered, dropped) = (Count::new(), Count::new());
    let hanging = {
        let (entered, dropped) = (Arc::clone(&entered), Arc::clone(&dropped));
        route("svc.work", move |_, _| {
            let (entered, dropped) = (Arc::clone(&entered), OnDrop(Arc::clone(&dropped)));
            async move {
                let _dropped = dropped;
                entered.up();
                std::future::pending().await
            }
        })
    };
    let config = group(Some("slow"));
    let (_hangs, stats) = rr_nats::serve_with_stats(&nats.url(), hanging, config).await.unwrap();
    let _works = named(&nats, "fast", Some("q")).await;
    let client = client(&nats.url()).await;
    let ctx = within(60_000);
    let config = ManyConfig::default().with_stall(std::time::Duration::from_millis(100));
    let mut replies = request_many(&client, &ctx, work(), config);
    assert_eq!(all(&mut replies).await.0, ["fast"]);
    assert_eq!((replies.end(), client.nats_stats().in_flight), (Some(ManyEnd::Stalled), 0));
    dropped.reaches(1).await;
    assert_eq!(stats.cancelled(), 1);

    // The handler's own deadline ends it, whose error may be an item.
    let ctx = within(300);
    let mut replies = request_many(&client, &ctx, work(), ManyConfig::default());
    let (bodies, errors) = all(&mut replies).await;
    assert_eq!((bodies, replies.end()), (vec!["fast".to_owned()], Some(ManyEnd::Deadline)));
    for error in errors {
        assert!(!error.delivery().is_unexecuted(), "{error:?}");
    }
    dropped.reaches(2).await;
    assert_eq!((stats.cancelled(), entered.now()), (1, 2));
}

#[tokio::test]
async fn dropped_replies_cancel_every_handler_and_free_their_slot() {
    let nats = nats().await;
    let (entered, dropped) = (Count::new(), Count::new());
    let mut servers = Vec::new();
    for queue in ["a", "b", "c"] {
        let (entered, dropped) = (Arc::clone(&entered), Arc::clone(&dropped));
        let routes = route("svc.work", move |_, _| {
            let (entered, dropped) = (Arc::clone(&entered), OnDrop(Arc::clone(&dropped)));
            async move {
                let _dropped = dropped;
                entered.up();
                std::future::pending().await
            }
        });
        servers.push(serve_with(&nats.url(), routes, group(Some(queue))).await.unwrap());
    }
    let client = client(&nats.url()).await;
    let ctx = within(60_000);
    let mut replies = request_many(&client, &ctx, work(), ManyConfig::default());
    tokio::select! {
        biased;
        item = replies.next() => panic!("{item:?}"),
        () = entered.reaches(3) => {}
    }
    assert_eq!((client.nats_stats().in_flight, dropped.now()), (1, 0));
    drop(replies);
    assert_eq!(client.nats_stats().in_flight, 0);
    dropped.reaches(3).await;
}

#[tokio::test]
async fn a_lost_connection_ends_the_collection_as_unknown_after_what_has_arrived() {
    let mut nats = nats().await;
    let mut foreign = Foreign::start(&nats).await;
    let (client, ctx) = (client(&nats.url()).await, within(60_000));
    let mut replies = request_many(&client, &ctx, work(), ManyConfig::default());
    let answering = foreign.answer_next(&["a", "b"]);
    let (first, _) = tokio::join!(body(&mut replies), answering);
    assert_eq!(first, "a");
    // The second reply arrives before the connection is lost, and is read after that.
    let other = call(&client, &ctx, "svc.other").await.unwrap_err();
    assert_eq!(other.reason(), Some(&Reason::NO_RESPONDER));
    nats.kill().unwrap();
    let lost = async {
        while client.state() == rr_nats::NatsState::Connected {
            client.state_changed(rr_nats::NatsState::Connected).await;
        }
    };
    within(10_000).race(lost).await.unwrap();
    assert_eq!(body(&mut replies).await, "b");
    let error = replies.next().await.unwrap().unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::Unavailable, Delivery::Unknown));
    assert_eq!(error.reason(), Some(&Reason::CONNECTION_LOST));
    assert!(replies.next().await.is_none());
    assert_eq!(replies.end(), Some(ManyEnd::Failed));

    // The next request waits for the next connection.
    nats.restart().await.unwrap();
    let _server = named(&nats, "again", Some("q")).await;
    client.ready(&ctx).await.unwrap();
    let config = ManyConfig::default().with_replies_max(1);
    let mut replies = request_many(&client, &ctx, work(), config);
    assert_eq!(body(&mut replies).await, "again");
}

#[tokio::test]
async fn replies_that_are_not_read_are_bounded_and_their_loss_is_told() {
    let nats = nats().await;
    let mut foreign = Foreign::start(&nats).await;
    let (client, ctx) = (client(&nats.url()).await, within(60_000));
    for config in [
        ManyConfig::default().with_held_max(3),
        // A message has about a hundred bytes of subjects besides its body.
        ManyConfig::default().with_held_bytes_max(500),
    ] {
        let before = client.nats_stats().late_replies;
        let mut replies = request_many(&client, &ctx, work(), config);
        let answering = foreign.answer_next(&["first"]);
        let (first, reply) = tokio::join!(body(&mut replies), answering);
        assert_eq!(first, "first");
        foreign.answer(&reply, &["x"; 20]).await;
        // The NATS server passes its messages on in order: when this call ends, all have arrived.
        assert!(call(&client, &ctx, "svc.other").await.is_err());
        let (bodies, errors) = all(&mut replies).await;
        assert!((3..15).contains(&bodies.len()), "{config:?} {bodies:?}");
        let [error] = &errors[..] else { panic!("{errors:?}") };
        assert_eq!((error.code(), error.delivery()), (Code::ResourceExhausted, Delivery::Unknown));
        assert!(error.message().contains("held_max"), "{error:?}");
        assert_eq!(replies.end(), Some(ManyEnd::Failed));
        assert_eq!(client.nats_stats().late_replies - before, 20 - bodies.len() as u64);
    }
}

#[tokio::test]
async fn a_reply_over_the_limit_of_bodies_is_an_item() {
    let nats = nats().await;
    let mut foreign = Foreign::start(&nats).await;
    let mut limited = rr_nats::NatsConfig::default();
    limited.calls.limits.response_bytes_max = 3;
    let client = NatsRequester::connect_with(&nats.url(), limited).await.unwrap();
    let ctx = within(10_000);
    let config = ManyConfig::default().with_replies_max(2);
    let mut replies = request_many(&client, &ctx, work(), config);
    let answering = foreign.answer_next(&["abc", "abcd", "abc"]);
    let ((bodies, errors), _) = tokio::join!(all(&mut replies), answering);
    assert_eq!((bodies.len(), replies.end()), (2, Some(ManyEnd::Count)));
    assert_eq!(errors[0].reason(), Some(&Reason::RESPONSE_TOO_LARGE));
    assert_eq!(errors[0].delivery(), Delivery::Processed);
}

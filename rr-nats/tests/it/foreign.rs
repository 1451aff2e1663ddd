//! Peers that never heard of us: the client library by itself, and bytes written by hand.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::time::Duration;

use crate::support::*;
use async_nats::HeaderMap;
use rr_nats::NatsServerConfig;
use rr_spi::{Code, Delivery, Headers, Response};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn next(subscriber: &mut async_nats::Subscriber) -> async_nats::Message {
    use std::pin::Pin;
    let next =
        std::future::poll_fn(|cx| futures_core::Stream::poll_next(Pin::new(&mut *subscriber), cx));
    within(5000).race(next).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_foreign_requester_is_answered_with_the_default_deadline_and_without_headers() {
    let nats = nats().await;
    let routes = with(route("svc.echo", echo), "svc.left", |ctx, _| async move {
        Ok(Response::new(ctx.remaining().unwrap().as_secs().to_string()))
    });
    let mut config = NatsServerConfig::default();
    config.intake.timeout_default = Duration::from_secs(17);
    let (_server, stats) = rr_nats::serve_with_stats(&nats.url(), routes, config).await.unwrap();
    let foreign = async_nats::connect(nats.url()).await.unwrap();
    let reply = foreign.request("svc.left", "".into()).await.unwrap();
    let left: u64 = std::str::from_utf8(&reply.payload).unwrap().parse().unwrap();
    assert!((5..17).contains(&left), "{left}");
    assert!(reply.headers.is_none());
    let mut headers = HeaderMap::new();
    headers.insert("X-Shop", "berlin");
    headers.insert("under_score", "dropped");
    headers.insert("Nats-Msg-Id", "reserved");
    let reply = foreign.request_with_headers("svc.echo", headers, "hi".into()).await.unwrap();
    assert_eq!(reply.payload, "hi");
    let headers = reply.headers.unwrap();
    assert_eq!((headers.len(), headers.get("x-shop").unwrap().as_str()), (1, "berlin"));
    assert_eq!(stats.headers_dropped(), 1);
}

#[tokio::test]
async fn a_foreign_requester_sees_service_errors_and_broken_headers_of_ours_are_refused() {
    let nats = nats().await;
    let routes = route("svc.fail", |_, _| async {
        Err(rr_spi::Error::new(Code::NotFound, "no\r\nsuch thing"))
    });
    let _server = rr_nats::serve(&nats.url(), routes).await.unwrap();
    let foreign = async_nats::connect(nats.url()).await.unwrap();
    let reply = foreign.request("svc.fail", "".into()).await.unwrap();
    let headers = reply.headers.unwrap();
    assert_eq!(headers.get("Nats-Service-Error").unwrap().as_str(), "no  such thing");
    assert_eq!(headers.get("Nats-Service-Error-Code").unwrap().as_str(), "404");
    assert_eq!(headers.get("rr-code").unwrap().as_str(), "not_found");
    assert_eq!(headers.get("rr-delivery").unwrap().as_str(), "processed");
    let body: Value = serde_json::from_slice(&reply.payload).unwrap();
    assert_eq!(body["message"], "no\r\nsuch thing");
    for (value, code) in [("t=x", "400"), ("t=0", "504")] {
        let mut headers = HeaderMap::new();
        headers.insert("rr", value);
        let reply = foreign.request_with_headers("svc.fail", headers, "".into()).await.unwrap();
        let headers = reply.headers.unwrap();
        assert_eq!(headers.get("Nats-Service-Error-Code").unwrap().as_str(), code);
        assert_eq!(headers.get("rr-delivery").unwrap().as_str(), "rejected");
    }
}

#[tokio::test]
async fn a_foreign_responder_is_understood() {
    let nats = nats().await;
    let foreign = async_nats::connect(nats.url()).await.unwrap();
    let mut subscriber = foreign.subscribe("svc.*").await.unwrap();
    foreign.flush().await.unwrap();
    let answering = tokio::spawn(async move {
        let mut seen = Vec::new();
        for (header, value) in
            [("", ""), ("Nats-Service-Error-Code", "404"), ("Nats-Service-Error", "it broke")]
        {
            let message = next(&mut subscriber).await;
            let mut headers = HeaderMap::new();
            headers.insert("X-Node", "a");
            if !header.is_empty() {
                headers.insert(header, value);
            }
            let reply = message.reply.unwrap();
            foreign.publish_with_headers(reply, headers, "body".into()).await.unwrap();
            foreign.flush().await.unwrap();
            seen.push(message.headers);
        }
        seen
    });
    let client = client(&nats.url()).await;
    let response = call(&client, &within(2000), "svc.a").await.unwrap();
    assert_eq!((response.body.as_ref(), response.headers.get("x-node")), (&b"body"[..], Some("a")));
    let (code, delivery, _) = told(call(&client, &within(2000), "svc.a").await);
    assert_eq!((code, delivery), (Code::NotFound, Delivery::Processed));
    let error = call(&client, &within(2000), "svc.a").await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::Unknown, "it broke"));
    let seen = answering.await.unwrap();
    let header = seen[0].as_ref().unwrap();
    assert_eq!(header.len(), 1);
    assert!(header.get("rr").unwrap().as_str().starts_with("t="));
}

#[tokio::test]
async fn a_call_without_a_deadline_has_no_header_and_values_cannot_split_a_message() {
    let nats = nats().await;
    let foreign = async_nats::connect(nats.url()).await.unwrap();
    let mut subscriber = foreign.subscribe("svc.a").await.unwrap();
    foreign.flush().await.unwrap();
    let client = client(&nats.url()).await;
    let calling = client.clone();
    let ctx = rr_spi::Context::background().unbounded();
    let task = tokio::spawn(async move { call(&calling, &ctx, "svc.a").await });
    let message = next(&mut subscriber).await;
    assert!(message.headers.is_none());
    foreign.publish(message.reply.unwrap(), "".into()).await.unwrap();
    task.await.unwrap().unwrap();
    // The grammar refuses it before the library, which would panic, sees it.
    assert!(Headers::new().insert("x", "a\r\nPUB y 0").is_err());
}

#[tokio::test]
async fn messages_without_a_reply_subject_are_dropped_and_counted() {
    let nats = nats().await;
    let ran = Count::new();
    let inside = ran.clone();
    let routes = route("svc.count", move |_, _| {
        inside.up();
        async { Ok(Response::new("")) }
    });
    let config = NatsServerConfig::default();
    let (_server, stats) = rr_nats::serve_with_stats(&nats.url(), routes, config).await.unwrap();
    let foreign = async_nats::connect(nats.url()).await.unwrap();
    foreign.publish("svc.count", "".into()).await.unwrap();
    foreign.request("svc.count", "".into()).await.unwrap();
    assert_eq!((ran.now(), stats.without_reply()), (1, 1));
}

#[tokio::test]
async fn one_reply_subject_for_many_requests_is_answered_for_each() {
    let nats = nats().await;
    let entered = Count::new();
    let inside = entered.clone();
    let routes = route("svc.wait", move |_, request| {
        inside.up();
        let all = inside.clone();
        async move {
            all.reaches(3).await;
            Ok(Response::new(request.body))
        }
    });
    let _server = rr_nats::serve(&nats.url(), routes).await.unwrap();
    let foreign = async_nats::connect(nats.url()).await.unwrap();
    let mut inbox = foreign.subscribe("my.inbox").await.unwrap();
    for body in ["a", "b", "c"] {
        foreign.publish_with_reply("svc.wait", "my.inbox", body.into()).await.unwrap();
    }
    let mut bodies = Vec::new();
    for _ in 0..3 {
        bodies.push(next(&mut inbox).await.payload);
    }
    bodies.sort();
    assert_eq!(bodies, ["a", "b", "c"]);
}

#[tokio::test]
async fn late_and_second_replies_are_counted_and_change_nothing() {
    let nats = nats().await;
    let foreign = async_nats::connect(nats.url()).await.unwrap();
    let mut subscriber = foreign.subscribe("svc.a").await.unwrap();
    foreign.flush().await.unwrap();
    let client = client(&nats.url()).await;
    assert_eq!(told(call(&client, &within(50), "svc.a").await).1, Delivery::Unknown);
    let late = next(&mut subscriber).await.reply.unwrap();
    let calling = client.clone();
    let task = tokio::spawn(async move { call(&calling, &within(5000), "svc.a").await });
    let reply = next(&mut subscriber).await.reply.unwrap();
    assert_ne!(late, reply);
    for (to, body) in [(&late, "late"), (&reply, "first"), (&reply, "second")] {
        foreign.publish(to.clone(), body.into()).await.unwrap();
    }
    assert_eq!(task.await.unwrap().unwrap().body, "first");
    let counted = async {
        while client.nats_stats().late_replies + client.nats_stats().duplicate_replies < 2 {
            tokio::task::yield_now().await;
        }
    };
    within(5000).race(counted).await.unwrap();
}

#[tokio::test]
async fn discovery_answers_ping_info_and_stats_at_three_levels() {
    let nats = nats().await;
    let fail = |_, _| async { Err(rr_spi::Error::new(Code::NotFound, "none")) };
    let routes = with(route("demo.v1.Echo.Say", echo), "demo.v1.Echo.Fail", fail);
    let routes = with(routes, "ping", echo);
    let config = NatsServerConfig::default().with_version("1.2.3");
    let _server = rr_nats::serve_with(&nats.url(), routes, config).await.unwrap();
    let client = client(&nats.url()).await;
    call(&client, &within(5000), "demo.v1.Echo.Say").await.unwrap();
    call(&client, &within(5000), "demo.v1.Echo.Fail").await.unwrap_err();

    let foreign = async_nats::connect(nats.url()).await.unwrap();
    let ask = |subject: String| {
        let foreign = foreign.clone();
        async move {
            let reply = foreign.request(subject, "".into()).await.unwrap();
            serde_json::from_slice::<Value>(&reply.payload).unwrap()
        }
    };
    let mut inbox = foreign.subscribe("all.pings").await.unwrap();
    foreign.publish_with_reply("$SRV.PING", "all.pings", "".into()).await.unwrap();
    let mut names = Vec::new();
    for _ in 0..2 {
        let ping: Value = serde_json::from_slice(&next(&mut inbox).await.payload).unwrap();
        assert_eq!(ping["type"], "io.nats.micro.v1.ping_response");
        names.push(ping["name"].as_str().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(names, ["demo-v1-Echo", "rr"]);
    let info = ask("$SRV.INFO.demo-v1-Echo".to_owned()).await;
    assert_eq!(info["type"], "io.nats.micro.v1.info_response");
    assert_eq!(
        (&info["version"], &info["metadata"]["rr-service"]),
        (&"1.2.3".into(), &"demo.v1.Echo".into())
    );
    assert_eq!(info["endpoints"][0]["name"], "Fail");
    assert_eq!(info["endpoints"][1]["subject"], "demo.v1.Echo.Say");
    assert_eq!(info["endpoints"][1]["queue_group"], "q");
    let id = info["id"].as_str().unwrap();
    let stats = ask(format!("$SRV.STATS.demo-v1-Echo.{id}")).await;
    assert_eq!(stats["type"], "io.nats.micro.v1.stats_response");
    assert!(stats["started"].as_str().unwrap().ends_with('Z'));
    for (at, errors) in [(0, 1), (1, 0)] {
        let endpoint = &stats["endpoints"][at];
        assert_eq!(endpoint["num_requests"], 1);
        assert_eq!(endpoint["num_errors"], errors);
        assert!(endpoint["average_processing_time"].as_u64().unwrap() > 0);
    }
}

#[tokio::test]
async fn discovery_shows_the_descriptions_and_leaves_out_schemas_that_are_too_large() {
    for (schema_bytes, is_shown) in [(10, true), (70_000, false)] {
        let nats = nats().await;
        let mut routes = route("demo.v1.Say", echo);
        let description = serde_json::json!({
            "docs": "A demonstration.",
            "methods": [{
                "name": "Say",
                "docs": "Says it.",
                "idempotency": "safe",
                "input": {"title": "x".repeat(schema_bytes)},
            }],
        });
        routes.describe("demo.v1", description).unwrap();
        let _server = rr_nats::serve(&nats.url(), routes).await.unwrap();
        let foreign = async_nats::connect(nats.url()).await.unwrap();
        let reply = foreign.request("$SRV.INFO.demo-v1", "".into()).await.unwrap();
        let info: Value = serde_json::from_slice(&reply.payload).unwrap();
        assert_eq!(info["description"], "A demonstration.");
        let metadata = &info["endpoints"][0]["metadata"];
        assert_eq!(metadata["rr-docs"], "Says it.");
        assert_eq!(metadata["rr-idempotency"], "safe");
        assert_eq!(metadata["rr-input"].is_string(), is_shown, "{schema_bytes}");
        let reply = foreign.request("$SRV.STATS.demo-v1", "".into()).await.unwrap();
        let stats: Value = serde_json::from_slice(&reply.payload).unwrap();
        assert_eq!(stats["endpoints"][0]["metadata"], serde_json::json!({}));
    }
}

#[tokio::test]
async fn a_header_that_breaks_the_library_costs_a_connection_and_no_more() {
    let nats = nats().await;
    let config = NatsServerConfig::default();
    let (_server, stats) =
        rr_nats::serve_with_stats(&nats.url(), route("svc.echo", echo), config).await.unwrap();
    let mut raw = TcpStream::connect(nats.address()).await.unwrap();
    let mut info = [0; 4096];
    let _ = raw.read(&mut info).await.unwrap();
    let block = "NATS/1.0\r\nbad name: x\r\ny: a\rb\r\n\r\n";
    let line = format!(
        "CONNECT {{\"headers\":true,\"verbose\":false}}\r\nHPUB svc.echo r {0} {0}\r\n{block}\r\n",
        block.len()
    );
    raw.write_all(line.as_bytes()).await.unwrap();
    let again = async {
        while stats.connects() < 2 {
            tokio::task::yield_now().await;
        }
    };
    within(5000).race(again).await.unwrap();
    let client = client(&nats.url()).await;
    let served = async {
        while call(&client, &within(1000), "svc.echo").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within(5000).race(served).await.unwrap();
}

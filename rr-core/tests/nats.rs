//! Typed calls by URL over a real NATS server.

#![cfg(feature = "nats")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rr_core::config::{NatsSection, NatsServerSection};
use rr_core::many::{ManyConfig, ManyEnd};
use rr_core::{
    CallError, Code, Context, Delivery, Error, Forward, Reason, Request, RequesterExt, Response,
    Router, Server,
    config::{CallConfig, ClientConfig, IntakeConfig, Limits, ServerConfig},
    connect, connect_with, recommended, serve, serve_all, serve_with,
};
use rr_nats::NatsServerConfig;
use rr_testkit::{NatsServer, NatsServerSetup};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

async fn greet(name: String) -> Result<String, Error> {
    if name.is_empty() {
        return Err(Error::new(Code::InvalidArgument, "who?"));
    }
    Ok(format!("Hello, {name}!"))
}

async fn hang(ctx: Context, (): ()) -> Result<(), Error> {
    ctx.cancelled().await;
    std::future::pending().await
}

fn ctx() -> Context {
    Context::background().with_timeout(Duration::from_secs(5))
}

#[tokio::test]
async fn the_same_application_runs_over_nats_by_its_url() -> Result<(), CallError> {
    let nats = NatsServer::start().await.expect("a nats-server starts");
    let url = format!("{}/team", nats.url());
    let server = serve(&url, Router::new().route("greeter.greet", greet)).await?;
    let client = connect(server.url()).await?;
    client.ready(&ctx()).await?;
    let greeting: String = client.call(&ctx(), "greeter.greet", "world").await?;
    assert_eq!(greeting, "Hello, world!");
    let outcome: Result<String, CallError> = client.call(&ctx(), "greeter.greet", "").await;
    let Err(CallError::Rr(error)) = outcome else { panic!("{outcome:?}") };
    assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::Processed));
    let outcome: Result<String, CallError> = client.call(&ctx(), "greeter.greet", &7).await;
    let Err(CallError::Rr(error)) = outcome else { panic!("{outcome:?}") };
    assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::Rejected));
    let report = server.shutdown(Duration::from_secs(5)).await;
    assert_eq!((report.aborted, report.refused), (0, 0));
    Ok(())
}

#[tokio::test]
async fn a_server_is_called_at_its_own_url_and_shows_no_password() -> Result<(), CallError> {
    let permissions = r#"publish: [">"], subscribe: ["greeter.>", "_SVC.>", "$SRV.>", "_MINE.>"]"#;
    let setup = NatsServerSetup::default().with_user("orders", "hunter2", permissions);
    let nats = NatsServer::start_with(&setup).await.expect("a nats-server starts");
    let url = format!("nats://orders:hunter2@{}?inbox_prefix=_MINE&timeout=5s", nats.address());
    let server = serve(&url, Router::new().route("greeter.greet", greet)).await?;
    let client = connect(server.url()).await?;
    let greeting: String = client.call(&ctx(), "greeter.greet", "world").await?;
    assert_eq!(greeting, "Hello, world!");
    for shown in [format!("{server:?}"), server.url().to_string(), format!("{:?}", server.url())] {
        assert!(shown.contains("***@127.0.0.1") && !shown.contains("hunter2"), "{shown}");
    }
    Ok(())
}

#[tokio::test]
async fn a_bridge_passes_deadlines_on_and_never_claims_more_than_it_knows() -> Result<(), CallError>
{
    let nats = NatsServer::start().await.expect("a nats-server starts");
    let behind = Router::new().route("greeter.greet", greet).route("greeter.hang", hang);
    let _behind = serve(&format!("{}/behind", nats.url()), behind).await?;
    let client = connect(&format!("{}/behind", nats.url())).await?;
    client.ready(&ctx()).await?;
    let front = Router::new().service("greeter", Forward(client));
    let _front = serve(&format!("{}/front", nats.url()), front).await?;
    let client = connect(&format!("{}/front", nats.url())).await?;
    client.ready(&ctx()).await?;
    let greeting: String = client.call(&ctx(), "greeter.greet", "bridge").await?;
    assert_eq!(greeting, "Hello, bridge!");
    let short = Context::background().with_timeout(Duration::from_millis(100));
    let outcome: Result<(), CallError> = client.call(&short, "greeter.hang", &()).await;
    let Err(CallError::Rr(error)) = outcome else { panic!("{outcome:?}") };
    assert_eq!((error.code(), error.delivery()), (Code::DeadlineExceeded, Delivery::Unknown));
    let outcome: Result<(), CallError> = client.call(&ctx(), "greeter.none", &()).await;
    let Err(CallError::Rr(error)) = outcome else { panic!("{outcome:?}") };
    assert!(error.delivery().is_unexecuted(), "{error:?}");
    Ok(())
}

/// Serves `svc.work` in a queue group; counts how often it runs.
async fn work(url: &str, config: NatsServerConfig) -> (Server, Arc<AtomicUsize>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&runs);
    let work = move |(): ()| {
        seen.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, Error>(()) }
    };
    let server = rr_nats::serve_with(url, Router::new().route("svc.work", work), config).await;
    (server.expect("it serves"), runs)
}

#[tokio::test]
async fn a_call_that_one_group_refuses_runs_once_in_the_other() {
    let nats = NatsServer::start().await.expect("a nats-server starts");
    let group = |name: &str| NatsServerConfig::default().with_queue(Some(name.to_owned()));
    let (_blue, _) =
        work(&nats.url(), group("blue").with_intake(IntakeConfig::default().with_in_flight_max(0)))
            .await;
    let (_green, runs) = work(&nats.url(), group("green")).await;
    let client = connect(&nats.url()).await.expect("the URL is fine");
    client.ready(&ctx()).await.expect("there is a server");
    let client = recommended(client);
    for sent in 1..=200 {
        let outcome: Result<(), CallError> = client.call(&ctx(), "svc.work", &()).await;
        if let Err(CallError::Rr(error)) = &outcome {
            assert_eq!(error.delivery(), Delivery::Unknown, "{error:?}");
        }
        // Each request reaches green as well, and before the next one.
        let ran = async {
            while runs.load(Ordering::SeqCst) < sent {
                tokio::task::yield_now().await;
            }
        };
        ctx().race(ran).await.expect("it ran");
        assert_eq!(runs.load(Ordering::SeqCst), sent, "the call ran twice: {outcome:?}");
    }
}

/// Has a NATS server capture a subject in a JetStream stream, by its API.
async fn capture(nats: &NatsServer, subject: &str) {
    let socket = TcpStream::connect(nats.address()).await.expect("it listens");
    let mut socket = BufReader::new(socket);
    let body = format!(r#"{{"name":"S","subjects":["{subject}"],"storage":"memory"}}"#);
    let lines = format!(
        "CONNECT {{\"verbose\":false}}\r\nSUB created 1\r\n\
         PUB $JS.API.STREAM.CREATE.S created {}\r\n{body}\r\n",
        body.len()
    );
    socket.write_all(lines.as_bytes()).await.expect("it reads");
    let created = async {
        let mut line = String::new();
        while !line.contains("stream_create_response") {
            line.clear();
            assert!(socket.read_line(&mut line).await.expect("it answers") > 0);
        }
        assert!(!line.contains("\"error\""), "{line}");
    };
    ctx().race(created).await.expect("it answers in time");
}

#[tokio::test]
async fn an_acknowledgement_of_a_stream_is_no_reply_of_a_handler() {
    let directory = std::env::temp_dir().join(format!("rr-core-stream-{}", std::process::id()));
    let lines = format!("jetstream {{ store_dir: {directory:?} }}");
    let setup = NatsServerSetup::default().with_lines(&lines);
    let nats = NatsServer::start_with(&setup).await.expect("a nats-server starts");
    capture(&nats, "svc.>").await;
    let client = connect(&nats.url()).await.expect("the URL is fine");
    client.ready(&ctx()).await.expect("there is a server");
    let outcome: Result<String, CallError> = client.call(&ctx(), "svc.t", "x").await;
    let Err(CallError::Rr(error)) = outcome else { panic!("{outcome:?}") };
    assert_eq!((error.code(), error.delivery()), (Code::Internal, Delivery::Unknown));
    assert_eq!(error.reason().map(|reason| reason.as_str()), Some("bad-response"));
    assert!(error.hint().contains("a stream captures this subject"), "{}", error.hint());
    let outcome: Result<(), CallError> = client.call(&ctx(), "svc.t", &()).await;
    assert!(outcome.is_err());
    // Raw calls take any bytes.
    let raw = client.call_raw(&ctx(), "svc.t", "x").await.expect("bytes are bytes");
    assert!(raw.body.starts_with(b"{\"stream\":"), "{:?}", raw.body);
    drop(nats);
    let _ = std::fs::remove_dir_all(directory);
}

async fn echo(_: Context, request: Request) -> Result<Response, Error> {
    Ok(Response::new(request.body))
}

fn echoing() -> Router {
    Router::new().route("svc.echo", echo)
}

/// Makes a body whose bytes differ from their neighbours.
fn body(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at % 251) as u8).collect()
}

#[tokio::test]
async fn bodies_of_4_mib_pass_where_both_ends_and_the_nats_server_allow_them() -> Result<(), Error>
{
    const LARGE: usize = 4 * 1024 * 1024;
    const MAX_PAYLOAD: usize = 8 * 1024 * 1024;

    let setup = NatsServerSetup::default().with_max_payload(MAX_PAYLOAD);
    let nats = NatsServer::start_with(&setup).await.expect("a nats-server starts");
    let max = 2 * MAX_PAYLOAD;
    let limits = Limits::default().with_request_bytes_max(max).with_response_bytes_max(max);
    let query = format!("request_bytes_max={max}&response_bytes_max={max}");
    let ctx = Context::background().with_timeout(Duration::from_secs(60));
    for (url, intake, calls) in [
        (nats.url(), IntakeConfig::from(limits), CallConfig::from(limits)),
        (format!("{}?{query}", nats.url()), IntakeConfig::default(), CallConfig::default()),
    ] {
        let twice = |_: Context, request: Request| async move {
            Ok::<_, Error>(Response::new(request.body.repeat(2)))
        };
        let router = echoing().route("svc.twice", twice);
        let server = serve_with(&url, router, intake).await?;
        let client = connect_with(&url, calls).await?;
        client.ready(&ctx).await?;
        let response = client.call_raw(&ctx, "svc.echo", body(LARGE)).await?;
        assert!(response.body == body(LARGE), "another body came back");
        // Beyond what the NATS server allows, both ends say so before they send.
        let error = client.call_raw(&ctx, "svc.echo", body(MAX_PAYLOAD + 1)).await.unwrap_err();
        assert_eq!(error.reason(), Some(&Reason::REQUEST_TOO_LARGE), "{error}");
        assert_eq!(error.delivery(), Delivery::NotSent);
        assert!(error.message().contains("`max_payload` of the NATS server is 8388608"), "{error}");
        assert!(error.hint().contains("raise `max_payload`"), "{}", error.hint());
        let error = client.call_raw(&ctx, "svc.twice", body(LARGE + 1)).await.unwrap_err();
        assert_eq!(error.reason(), Some(&Reason::RESPONSE_TOO_LARGE), "{error}");
        assert_eq!(error.delivery(), Delivery::Processed);
        assert!(error.message().contains("8388608 bytes that `max_payload`"), "{error}");
        server.shutdown(Duration::from_secs(5)).await;
    }
    Ok(())
}

#[tokio::test]
async fn the_section_of_nats_applies_at_both_ends_and_a_url_overrides_it() -> Result<(), Error> {
    let nats = NatsServer::start().await.expect("a nats-server starts");
    // In the group `blue`, a refusal proves nothing.
    let blue = NatsServerSection::default().with_queue(Some("blue".to_owned()));
    let refusing = IntakeConfig::default().with_in_flight_max(0);
    let config = ServerConfig::from(blue).with_intake(refusing);
    for (query, delivery) in [("", Delivery::Unknown), ("?queue=q", Delivery::Rejected)] {
        let url = format!("{}{query}", nats.url());
        let server = serve_with(&url, echoing(), config.clone()).await?;
        let client = connect(&nats.url()).await?;
        let error = client.call_raw(&ctx(), "svc.echo", "").await.unwrap_err();
        assert_eq!((error.reason(), error.delivery()), (Some(&Reason::OVERLOADED), delivery));
        server.shutdown(Duration::from_secs(5)).await;
    }
    let _server = serve(&nats.url(), echoing()).await?;
    let none: ClientConfig = NatsSection::default().with_in_flight_max(0).into();
    let client = connect_with(&nats.url(), none.clone()).await?;
    let short = Context::background().with_timeout(Duration::from_millis(100));
    let error = client.call_raw(&short, "svc.echo", "").await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::DeadlineExceeded, Delivery::NotSent));
    let client = connect_with(&format!("{}?in_flight_max=1", nats.url()), none).await?;
    assert_eq!(client.call_raw(&ctx(), "svc.echo", "hi").await?.body, "hi");
    Ok(())
}

#[cfg(all(feature = "http", feature = "memory"))]
#[tokio::test]
async fn one_router_answers_over_http_nats_and_memory_together() -> Result<(), Error> {
    let mut nats = NatsServer::start().await.expect("a nats-server starts");
    let urls = ["http://127.0.0.1:0", &nats.url(), "memory://together"];
    let servers = serve_all(urls, echoing()).await?;
    for url in servers.urls() {
        let response = connect(url).await?.call_raw(&ctx(), "svc.echo", "hi").await?;
        assert_eq!(response.body, "hi", "{url}");
    }
    let report = servers.shutdown(Duration::from_secs(5)).await;
    assert_eq!(report.aborted, 0);

    nats.kill().expect("it runs");
    let secret = nats.url().replace("//", "//user:hunter2@");
    let error = serve_all(["memory://together", &secret], echoing()).await.unwrap_err();
    assert_eq!(error.reason(), Some(&Reason::CONNECT_FAILED), "{error}");
    let named = format!("cannot serve `nats://***@{}`", nats.address());
    assert!(error.message().contains(&named), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    drop(serve("memory://together", echoing()).await?);
    Ok(())
}

#[tokio::test]
async fn a_client_by_url_collects_the_typed_replies_of_all_groups() -> Result<(), CallError> {
    let nats = NatsServer::start().await.expect("a nats-server starts");
    let mut servers = Vec::new();
    for (queue, node) in [("berlin", 1), ("oslo", 2), ("", 4)] {
        let status = move |(): ()| async move { Ok::<u32, Error>(node) };
        let url = format!("{}/team?queue={queue}", nats.url());
        servers.push(serve(&url, Router::new().route("nodes.status", status)).await?);
    }
    let (client, ctx) = (connect(&format!("{}/team", nats.url())).await?, ctx());
    let config = ManyConfig::default().with_replies_max(3);
    let mut replies = client.call::<u32>(&ctx, "nodes.status", &()).many(config);
    let mut sum = 0;
    while let Some(node) = replies.next().await {
        sum += node?;
    }
    assert_eq!((sum, replies.end()), (7, Some(ManyEnd::Count)));
    Ok(())
}

#[test]
fn a_file_sets_credentials_and_parts_of_the_section_of_nats() {
    let toml = "
        [nats]
        in_flight_max = 7
        connection.name = 'orders'
        connection.credentials.token = 'hunter2'";
    let config: ClientConfig = toml::from_str(toml).expect("it is a configuration");
    assert_eq!((config.nats.in_flight_max, config.nats.connection.name.as_str()), (7, "orders"));
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    let error = toml::from_str::<ServerConfig>("[nats.intake]").unwrap_err().to_string();
    assert!(error.contains("in `intake`, outside of the sections"), "{error}");
}

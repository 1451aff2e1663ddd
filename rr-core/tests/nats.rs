//! Typed calls by URL over a real NATS server.

#![cfg(feature = "nats")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rr_core::{
    CallError, Code, Context, Delivery, Error, Forward, IntakeConfig, RequesterExt, Router, Server,
    connect, recommended, serve,
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

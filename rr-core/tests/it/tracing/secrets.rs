//! Nothing that a caller, a peer or a configuration keeps secret is in any field.

use std::io;
use std::time::Duration;

use rr_core::call::Detail;
use rr_core::config::IntakeConfig;
use rr_core::{
    Code, Context, Error, Headers, IdempotencyKey, Local, Request, Requester, RequesterExt as _,
    Response, Router, Target, recommended,
};
use tracing::Level;

use super::support::*;

/// What must not be in any field.
pub(super) const SECRET: &str = "hunter2";

/// What a service itself says of its failures: it is logged, at the service alone.
const OWN: [&str; 4] = ["own message", "own source", "own panic", "own downstream"];

fn secret_headers() -> Headers {
    let mut headers = Headers::new();
    for name in ["authorization", "cookie", "x-api-key"] {
        headers.insert(name, format!("Bearer {SECRET}")).unwrap();
    }
    headers
}

/// An error with the secret wherever its message is not.
fn error(code: Code, message: &'static str) -> Error {
    Error::new(code, message)
        .with_detail(Detail::new("token", SECRET))
        .with_headers(secret_headers())
        .with_hint(format!("try {SECRET}"))
}

/// What the services behind the handlers answer.
fn behind() -> Local {
    let fails = |_: Context, _: Request| async {
        let source = io::Error::other(SECRET);
        Err::<Response, _>(Error::new(Code::Internal, SECRET).with_source(source))
    };
    let text = |(): ()| async { Ok::<_, Error>(SECRET.to_owned()) };
    let typed = |_: Context, _: Request| async {
        let mut reply = Response::new("1");
        reply.headers.insert("content-type", "text/hunter2")?;
        Ok::<_, Error>(reply)
    };
    Local::new(Router::new().route("fails", fails).route("text", text).route("typed", typed))
}

/// Handlers that are given the secret, and fail in every way that has a text.
pub(super) fn router() -> Router {
    let echo = |_: Context, request: Request| async {
        let mut reply = Response::new(request.body);
        reply.headers = secret_headers();
        Ok::<_, Error>(reply)
    };
    let double = |n: u32| async move { Ok::<_, Error>(n * 2) };
    let own = |_: Context, _: Request| async {
        let source = io::Error::other(OWN[1]);
        Err::<Response, _>(error(Code::Internal, OWN[0]).with_source(source))
    };
    let panics = |_: Context, _: Request| async { panic!("{}", OWN[2]) };
    let panics = move |ctx: Context, request: Request| async move {
        let outcome: Result<Response, Error> = panics(ctx, request).await;
        outcome
    };
    let hangs = |ctx: Context, _: Request| async move {
        ctx.cancelled().await;
        Err::<Response, _>(error(Code::Canceled, ""))
    };
    let reads = |ctx: Context, target: String| async move {
        let target = Target::try_from(target)?;
        let n: u32 = behind().call(&ctx, &target, &()).await.map_err(Error::from)?;
        Ok::<_, Error>(n)
    };
    let explains = |ctx: Context, _: Request| async move {
        behind()
            .call_raw(&ctx, "fails", "")
            .await
            .map_err(|failed| Error::new(Code::Internal, OWN[3]).with_source(failed))
    };
    Router::new()
        .route("echo", echo)
        .route("double", double)
        .route("own", own)
        .route("panics", panics)
        .route("hangs", hangs)
        .route("reads", reads)
        .route("explains", explains)
}

/// Makes calls that carry the secret wherever a caller can put it; returns how many failed.
pub(super) async fn calls(client: &dyn Requester) -> usize {
    let key = IdempotencyKey::new(SECRET).unwrap();
    let json = "application/json";
    let mut failed = 0;
    for (target, body, content_type) in [
        ("echo", SECRET, json),
        ("unknown", SECRET, json),
        ("double", "\"hunter2\"", json),
        ("double", "{\"hunter2\": 1}", json),
        ("double", "1", "text/hunter2"),
        ("own", SECRET, json),
        ("panics", SECRET, json),
        ("hangs", SECRET, json),
        ("reads", "\"fails\"", json),
        ("reads", "\"text\"", json),
        ("reads", "\"typed\"", json),
        ("explains", SECRET, json),
    ] {
        let mut request =
            request(target).with_idempotency(rr_core::Idempotency::Keyed(key.clone()));
        request.body = body.into();
        request.headers = secret_headers();
        request.headers.insert("content-type", content_type).unwrap();
        let ctx = Context::background()
            .with_timeout(Duration::from_millis(300))
            .with_trace(
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                Some("t=hunter2"),
            )
            .and_then(|ctx| ctx.with_baggage("token=hunter2"))
            .and_then(|ctx| ctx.with_request_id("r-1"))
            .unwrap();
        let outcome = client.request(&ctx, request).await;
        failed += usize::from(outcome.is_err());
        assert_eq!(outcome.is_ok(), target == "echo", "{target}");
    }
    failed
}

/// Checks that no entry has the secret, and that the service's own texts are where they belong.
pub(super) fn check(entries: &[Entry], failed: usize) {
    for entry in entries {
        assert!(!format!("{entry:?}").contains(SECRET), "{entry:?}");
        if entry.target != "rr::server" {
            for own in OWN {
                assert!(!format!("{entry:?}").contains(own), "{entry:?}");
            }
        }
    }
    let of = |name: &str| entries.iter().filter(|entry| entry.name == name).collect::<Vec<_>>();
    assert_eq!(of("call failed").len(), failed);
    for own in OWN {
        let requests = of("request failed");
        let mut logged = requests.iter().filter(|event| format!("{event:?}").contains(own));
        assert!(logged.all(|event| event.level == Level::ERROR), "{own}");
        let logged = requests.iter().filter(|event| format!("{event:?}").contains(own)).count();
        assert_eq!(logged, 1, "{own}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_secret_of_a_caller_or_of_a_service_behind_is_logged() {
    let (log, _guard) = Log::capture();
    let client = recommended(InProcess::new(router(), IntakeConfig::default()));
    let failed = calls(&client).await;
    check(&log.take(), failed);
}

#[tokio::test(start_paused = true)]
async fn what_a_peer_chose_is_escaped_and_cut() {
    let (log, _guard) = Log::capture();
    let long = "x".repeat(5000);
    let text = format!("a\u{1b}[31m\n{long}");
    let router = Router::new().route("fails", move |_: Context, _: Request| {
        let text = text.clone();
        async move { Err::<Response, _>(Error::new(Code::Internal, text)) }
    });
    let client = recommended(InProcess::new(router, IntakeConfig::default()));
    let id = "\"".repeat(256);
    let ctx = Context::background().with_request_id(&id).unwrap();
    client.request(&ctx, request("fails")).await.unwrap_err();
    let entries = log.take();
    assert!(!entries.is_empty());
    for entry in &entries {
        let values = entry.fields.values();
        assert!(values.clone().all(|value| !value.contains(char::is_control)), "{entry:?}");
        assert!(values.clone().all(|value| value.len() < 600), "{entry:?}");
        let ids: Vec<_> = values.filter(|value| value.contains('"')).collect();
        assert_eq!(ids, [&"\\\"".repeat(128)], "{entry}");
    }
    let request = entries.iter().find(|entry| entry.name == "request failed").unwrap();
    assert!(request.get("error").starts_with("a\\u{1b}[31m\\nxxx"), "{request:?}");
}

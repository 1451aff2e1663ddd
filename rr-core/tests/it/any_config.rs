//! Any number that a configuration can hold is one that a server and a requester can live with.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]
#![cfg(all(feature = "http", feature = "memory", feature = "json"))]

mod layers;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rr_core::balance::{Balance, BalanceConfig, Endpoint};
use rr_core::retry::{RetryBudgetConfig, RetryConfig};
use rr_core::transport::options::Options;
use rr_core::{
    Context, Error, Local, Request, RequesterExt, Response, Router, Server, Stack,
    config::{CallConfig, IntakeConfig, Limits},
    connect, dedup, serve,
};
use rr_http::{HttpConfig, HttpServerConfig};
use rr_testkit::MemoryRequester;
use serde::de::DeserializeOwned;

/// Panics of any task: a call whose connection panics may still end with an error.
static PANICS: AtomicUsize = AtomicUsize::new(0);

const DURATIONS: [&str; 4] = ["0ms", "1us", "365000h", "18446744073709551615s"];
const COUNTS: [&str; 4] = ["0", "1", "4294967295", "18446744073709551615"];

async fn echo(_: Context, request: Request) -> Result<Response, Error> {
    Ok(Response::new(request.body))
}

fn router() -> Router {
    Router::new().route("echo", echo)
}

/// Calls twice, so that what was kept of the first call is used by the second.
async fn call(client: &impl rr_core::Requester) {
    for _ in 0..2 {
        let ctx = Context::background().with_timeout(Duration::from_millis(100));
        let _ = client.call_raw(&ctx, "echo", "body").idempotent().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Stops a server; the second shutdown ends a lame duck of any length.
async fn stop(server: &Server, grace: Duration) {
    tokio::join!(server.shutdown(grace), server.shutdown(grace));
}

/// Returns what `text` makes of a field, where it fits the field's type. A field of a part is called
/// `part.field`.
fn with<C: DeserializeOwned>(field: &str, text: &str) -> Option<C> {
    let is_bare = text.parse::<u64>().is_ok() || text.parse::<bool>().is_ok();
    let value = if is_bare { text.to_owned() } else { format!("\"{text}\"") };
    let object = |value: String, field| format!("{{\"{field}\": {value}}}");
    serde_json::from_str(&field.rsplit('.').fold(value, object)).ok()
}

/// Returns the parameter of a URL that sets a field.
fn key(field: &'static str) -> &'static str {
    field.rsplit('.').next().unwrap()
}

fn values(field: &str) -> &'static [&'static str] {
    let is_time = [
        "timeout",
        "ttl",
        "window",
        "linger",
        "backoff",
        "decay",
        "ejection",
        "interval",
        "keepalive",
        "lame",
        "age",
        "wait_max",
        "delay",
    ];
    let is_time = is_time.iter().any(|word| field.contains(word));
    match field {
        "version" => &["auto", "h1", "h2c"],
        "tls_client_auth" => &["none"],
        "proxy_protocol" => &["off", "required"],
        "hosts" => &["", "127.0.0.1:9", "127.0.0.1:9,localhost:9"],
        "addresses" => &["first", "all"],
        "refusals" => &["none", "goaway", "all"],
        "status_codes" => &["connect", "http"],
        "proxy" => &["none", "http://user:password@127.0.0.1:1"],
        #[cfg(feature = "zstd")]
        "accept_encoding" => &["none", "gzip", "zstd"],
        #[cfg(not(feature = "zstd"))]
        "accept_encoding" => &["none", "gzip"],
        "cors_origins" => &["", "*", "https://a.example,http://127.0.0.1:5173"],
        "deduplicates" | "retries_internal" | "sheds_hopeless" => &["false", "true"],
        "order" => &["oldest-first", "newest-first"],
        _ if is_time => &DURATIONS,
        _ => &COUNTS,
    }
}

/// The fields of a configuration and those of its TLS, if that is compiled in.
fn and_tls(fields: &[&'static str], tls: &[&'static str]) -> Vec<&'static str> {
    let tls = if cfg!(feature = "tls") { tls } else { &[] };
    [fields, tls].concat()
}

/// Asserts that a list names every field of a configuration, as serde tells them.
fn assert_complete<C: DeserializeOwned>(listed: &[&str]) {
    let unknown = serde_json::from_str::<C>("{\"no such field\": 0}").err().unwrap().to_string();
    let expected = unknown.split("expected").nth(1).unwrap();
    let fields: BTreeSet<&str> = expected.split('`').skip(1).step_by(2).collect();
    let listed = listed.iter().map(|field| field.split('.').next().unwrap()).collect();
    assert_eq!(fields, listed, "{}", std::any::type_name::<C>());
}

/// Asserts that a URL sets each listed field by its name, and that no name means two options.
fn assert_names<C: Options>(listed: &[&'static str]) {
    let mut names = Vec::new();
    C::names(&mut |name| names.push(name));
    names.sort_unstable();
    let mut listed: Vec<_> = listed.iter().map(|field| key(field)).collect();
    listed.sort_unstable();
    assert_eq!(names, listed, "{}", std::any::type_name::<C>());
}

#[test]
fn every_field_is_tried() {
    let http = and_tls(&HTTP, &TLS);
    let http_server = and_tls(&HTTP_SERVER, &TLS_SERVER);
    assert_complete::<HttpConfig>(&http);
    assert_complete::<HttpServerConfig>(&http_server);
    assert_names::<HttpConfig>(&http);
    assert_names::<HttpServerConfig>(&http_server);
    assert_complete::<IntakeConfig>(&INTAKE);
    assert_complete::<Limits>(&["request_bytes_max", "response_bytes_max"]);
    assert_complete::<CallConfig>(&CALLS);
    assert_complete::<RetryConfig>(&RETRY);
    assert_complete::<RetryBudgetConfig>(&BUDGET);
    assert_complete::<BalanceConfig>(&BALANCE);
    assert_complete::<dedup::MemoryStoreConfig>(&STORE);
    layers::assert_every_field_is_tried();
}

const HTTP: [&str; 21] = [
    "version",
    "calls.timeout",
    "connect_timeout",
    "idle_timeout",
    "connection_age_max",
    "idle_max",
    "connections_max",
    "h2_connections_max",
    "h2_streams_max",
    "calls.limits.request_bytes_max",
    "calls.limits.response_bytes_max",
    "get_bytes_max",
    "refusals",
    "status_codes",
    "accept_encoding",
    "tcp_keepalive",
    "tcp_user_timeout",
    "proxy",
    "hosts",
    "addresses",
    "lookup_interval",
];

/// The parameters of a client's TLS, which are no fields: their names in a file have no prefix.
const TLS: [&str; 5] =
    ["tls.tls_roots", "tls.tls_certificate", "tls.tls_key", "tls.tls_server_name", "tls.tls_crls"];

const TLS_SERVER: [&str; 8] = [
    "tls.tls_certificate",
    "tls.tls_key",
    "tls.tls_client_auth",
    "tls.tls_client_roots",
    "tls.tls_client_crls",
    "tls.tls_handshake_timeout",
    "tls.tls_handshakes_max",
    "tls.tls_reload_interval",
];

const HTTP_SERVER: [&str; 21] = [
    "intake.in_flight_max",
    "intake.timeout_default",
    "intake.timeout_min",
    "intake.timeout_max",
    "intake.limits.request_bytes_max",
    "intake.limits.response_bytes_max",
    "connections_max",
    "first_bytes_timeout",
    "header_read_timeout",
    "body_read_timeout",
    "intake.bodies_bytes_max",
    "intake.lame_duck",
    "write_timeout",
    "idle_timeout",
    "drain_linger",
    "connection_age_max",
    "proxy_protocol",
    "h2_streams_max",
    "cors_origins",
    "compress_bytes_min",
    "tcp_keepalive",
];

const INTAKE: [&str; 8] = [
    "in_flight_max",
    "timeout_default",
    "timeout_min",
    "timeout_max",
    "limits.request_bytes_max",
    "limits.response_bytes_max",
    "bodies_bytes_max",
    "lame_duck",
];

const CALLS: [&str; 3] = ["timeout", "limits.request_bytes_max", "limits.response_bytes_max"];

const RETRY: [&str; 10] = [
    "attempts_max",
    "attempt_timeout",
    "backoff_base",
    "backoff_base_throttled",
    "backoff_max",
    "deduplicates",
    "retries_internal",
    "budget.percent",
    "budget.floor_per_second",
    "budget.window",
];

const BUDGET: [&str; 3] = ["percent", "floor_per_second", "window"];

const BALANCE: [&str; 12] = [
    "timeout",
    "latency_decay",
    "failures_in_row_max",
    "success_percent_min",
    "success_window",
    "success_calls_min",
    "ejection_time",
    "ejection_time_max",
    "slow_start",
    "budget.percent",
    "budget.floor_per_second",
    "budget.window",
];

const STORE: [&str; 3] = ["ttl", "entries_max", "bytes_max"];

async fn over_http_by_url() {
    let server = serve("http://127.0.0.1:0", router()).await.unwrap();
    for version in ["h1", "h2c"] {
        for field in HTTP {
            let key = key(field);
            for value in values(key) {
                let url = match key {
                    "version" => format!("{}?version={value}", server.url()),
                    _ => format!("{}?version={version}&{key}={value}", server.url()),
                };
                call(&connect(&url).await.unwrap()).await;
            }
        }
    }
    stop(&server, Duration::MAX).await;
}

async fn over_http_to_any_server() {
    for key in HTTP_SERVER.map(key) {
        for value in values(key) {
            let url = format!("http://127.0.0.1:0?{key}={value}");
            let server = serve(&url, router()).await.unwrap();
            call(&connect(server.url()).await.unwrap()).await;
            stop(&server, Duration::from_millis(1)).await;
        }
    }
    for field in HTTP_SERVER {
        for value in values(field) {
            let Some(config) = with(field, value) else { continue };
            let server = rr_http::serve_with("http://127.0.0.1:0", router(), config).await.unwrap();
            for version in ["h1", "h2c"] {
                let url = format!("{}?version={version}", server.url());
                call(&connect(&url).await.unwrap()).await;
            }
            stop(&server, Duration::from_millis(1)).await;
        }
    }
}

#[cfg(feature = "tls")]
async fn over_tls_to_any_server() {
    use rr_core::config::{ClientConfig, HttpSection, TlsConfig, TlsServerConfig};
    use rr_core::connect_with;

    let authority = crate::authority::Authority::new("any config");
    let pair = authority.pair(&["127.0.0.1"]);
    let server_tls =
        TlsServerConfig::default().with_certificate(pair.certificate).with_key(pair.key);
    let tls = TlsConfig::default().with_roots(authority.pem());
    let client = ClientConfig::from(HttpSection::default().with_tls(tls));
    for key in TLS_SERVER.map(key).into_iter().filter(|key| !is_pem(key)) {
        for value in values(key) {
            let url = format!("https://127.0.0.1:0?{key}={value}");
            let config = HttpServerConfig::default().with_tls(server_tls.clone());
            let server = rr_http::serve_with(&url, router(), config).await.unwrap();
            for version in ["auto", "h1", "h2"] {
                let url = format!("{}&version={version}", server.url());
                call(&connect_with(&url, client.clone()).await.unwrap()).await;
            }
            server.shutdown(Duration::from_millis(1)).await;
        }
    }
}

#[cfg(feature = "tls")]
fn is_pem(key: &str) -> bool {
    ["certificate", "key", "roots", "crls"].iter().any(|kind| key.ends_with(kind))
}

async fn in_this_process() {
    for key in CALLS.iter().chain(&INTAKE).map(|field| key(field)) {
        for value in values(key) {
            let url = format!("memory://any-config?{key}={value}");
            let server = serve(&url, router()).await.unwrap();
            call(&connect(&url).await.unwrap()).await;
            stop(&server, Duration::MAX).await;
        }
    }
    let server = serve("memory://any-config", router()).await.unwrap();
    for field in CALLS {
        for value in values(field) {
            let config: CallConfig = with(field, value).unwrap();
            call(&MemoryRequester::new(server.url(), config).unwrap()).await;
        }
    }
    stop(&server, Duration::MAX).await;
    for field in INTAKE {
        for value in values(field) {
            let config: IntakeConfig = with(field, value).unwrap();
            call(&Local::with_config(router(), config.clone())).await;
            let server = rr_testkit::serve_with("memory://any-intake", router(), config).unwrap();
            call(&connect(server.url()).await.unwrap()).await;
            stop(&server, Duration::MAX).await;
        }
    }
}

async fn balanced() {
    for field in BALANCE {
        for value in values(field) {
            let Some(config) = with(field, value) else { continue };
            let config: BalanceConfig = config;
            let refusing = IntakeConfig::default().with_in_flight_max(0);
            let refusing = || Local::with_config(router(), refusing.clone());
            let named = ["a", "b"].map(|name| Endpoint::new(name, refusing()));
            let balance = Balance::with_config(named, config.clone()).unwrap();
            call(&balance).await;
            let gone = ["a", "b", "c"].map(|name| {
                Endpoint::new(
                    name,
                    MemoryRequester::new("memory://no-one", CallConfig::default()).unwrap(),
                )
            });
            balance.set(gone).unwrap();
            for _ in 0..5 {
                call(&balance).await;
            }
        }
    }
}

async fn retried_and_deduplicated() {
    for field in RETRY {
        for value in values(field) {
            let Some(config) = with(field, value) else { continue };
            let refusing = IntakeConfig::default().with_in_flight_max(0);
            let local = Local::with_config(router(), refusing);
            call(&Stack::new(local).with(rr_core::retry::Retry::with_config(config))).await;
        }
    }
    for field in BUDGET {
        for value in values(field) {
            let Some(config) = with(field, value) else { continue };
            let budget = rr_core::retry::RetryBudget::with_config(&config);
            for _ in 0..3 {
                budget.deposit();
                let _ = budget.withdraw();
            }
        }
    }
    for field in STORE {
        for value in values(field) {
            let store = dedup::MemoryStore::new(with(field, value).unwrap());
            let client = Local::new(router().with(dedup::Deduplicate::new(store)));
            let key = rr_core::IdempotencyKey::new("k").unwrap();
            for _ in 0..2 {
                let ctx = Context::background();
                let _ = client.call_raw(&ctx, "echo", "").keyed(key.clone()).await;
            }
        }
    }
}

#[tokio::test]
async fn one_url_does_for_both_ends_and_unknown_keys_are_refused() {
    for url in [
        "http://127.0.0.1:0?timeout=2s&idle_max=3&version=h2c&bodies_bytes_max=1000",
        "memory://both-ends?timeout=2s&request_bytes_max=10&bodies_bytes_max=1000",
    ] {
        let server = serve(url, router()).await.unwrap();
        let client = connect(server.url()).await.unwrap();
        let answer = client.call_raw(&Context::background(), "echo", "body").await.unwrap();
        assert_eq!(answer.body, "body");
        let unknown = format!("{url}&timeuot=2s");
        assert!(connect(&unknown).await.unwrap_err().message().contains("timeuot"));
        assert!(serve(&unknown, router()).await.unwrap_err().message().contains("timeuot"));
    }
}

#[test]
fn every_duration_and_count_from_0_to_the_largest_works_without_a_panic() {
    const THREADS: &str = "any-config";
    crate::on_panic(|_| {
        if thread::current().name() == Some(THREADS) {
            PANICS.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.thread_name(THREADS).enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::join!(
            over_http_by_url(),
            over_http_to_any_server(),
            async {
                #[cfg(feature = "tls")]
                over_tls_to_any_server().await;
            },
            in_this_process(),
            balanced(),
            retried_and_deduplicated(),
            layers::hedged_and_throttled(),
            layers::limited(),
        );
    });
    drop(runtime);
    assert_eq!(PANICS.load(Ordering::SeqCst), 0, "tasks that panicked, see above");
}

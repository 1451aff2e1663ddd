//! Configuration of both ends: from files, in code, and by URL.

#![cfg(all(feature = "http", feature = "json", feature = "memory"))]

use std::collections::BTreeSet;
use std::time::Duration;

use rr_core::config::{HttpSection, HttpServerSection, HttpVersion};
use rr_core::transport::options::Options;
use rr_core::{
    Code, Context, Delivery, Error, Reason, Request, RequesterExt, Response, Router,
    config::{CallConfig, ClientConfig, IntakeConfig, Limits, ServerConfig},
    connect, connect_with, serve, serve_with,
};

async fn echo(_: Context, request: Request) -> Result<Response, Error> {
    Ok(Response::new(request.body))
}

fn router() -> Router {
    Router::new().route("a.echo", echo)
}

fn within(millis: u64) -> Context {
    Context::background().with_timeout(Duration::from_millis(millis))
}

#[test]
fn a_file_has_the_common_part_once_and_a_section_for_each_transport() {
    let limits = Limits::default().with_request_bytes_max(7);
    let calls = CallConfig::from(limits).with_timeout(Duration::from_millis(1500));
    let http = HttpSection::default().with_version(HttpVersion::H2c).with_idle_max(3);
    let expected = ClientConfig::from(calls).with_http(http);
    let json = r#"{
        "calls": {"timeout": "1500ms", "limits": {"request_bytes_max": 7}},
        "http": {"version": "h2c", "idle_max": 3}
    }"#;
    assert_eq!(serde_json::from_str::<ClientConfig>(json).unwrap(), expected);
    let toml = "
        calls.timeout = '1500ms'
        calls.limits.request_bytes_max = 7
        [http]
        version = 'h2c'
        idle_max = 3";
    assert_eq!(toml::from_str::<ClientConfig>(toml).unwrap(), expected);
    assert_eq!(serde_json::from_str::<ClientConfig>("{}").unwrap(), ClientConfig::default());

    let http = HttpServerSection::default().with_idle_timeout(Duration::from_secs(5));
    let intake = IntakeConfig::default().with_in_flight_max(8);
    let expected = ServerConfig::from(http).with_intake(intake);
    let json = r#"{"intake": {"in_flight_max": 8}, "http": {"idle_timeout": "5s"}}"#;
    assert_eq!(serde_json::from_str::<ServerConfig>(json).unwrap(), expected);
    let toml = "intake.in_flight_max = 8\nhttp.idle_timeout = '5s'";
    assert_eq!(toml::from_str::<ServerConfig>(toml).unwrap(), expected);
}

/// Asserts that a configuration refuses a TOML file, in words that contain all of these.
fn assert_refused<C: serde::de::DeserializeOwned>(toml: &str, words: &[&str]) {
    let error = toml::from_str::<C>(toml).err().expect("a mistake").to_string();
    for word in words {
        assert!(error.contains(word), "{toml}: {error}");
    }
}

#[test]
fn a_key_in_the_wrong_place_is_refused_with_the_right_place() {
    for (toml, key) in [
        ("[http.calls]\ntimeout = '1s'", "`calls`"),
        ("[http]\ntimeout = '1s'", "`timeout`"),
        ("[http.limits]\nrequest_bytes_max = 1", "`limits`"),
        ("[http]\nrequest_bytes_max = 1", "`request_bytes_max`"),
    ] {
        assert_refused::<ClientConfig>(toml, &[key, "unknown key", "in `calls`, outside"]);
    }
    assert_refused::<ClientConfig>("timeout = '1s'", &["`timeout`", "it belongs in `calls`"]);
    for (toml, key) in [
        ("[http.intake]\nin_flight_max = 1", "`intake`"),
        ("[http]\nin_flight_max = 1", "`in_flight_max`"),
    ] {
        assert_refused::<ServerConfig>(toml, &[key, "unknown key", "in `intake`, outside"]);
    }
    assert_refused::<ServerConfig>("timeout_max = '1s'", &["it belongs in `intake`"]);
}

#[test]
fn unknown_keys_and_values_that_do_not_fit_are_refused_by_name() {
    assert_refused::<ClientConfig>("[htp]", &["`htp`", "`calls`", "`http`"]);
    assert_refused::<ClientConfig>("[intake]", &["`intake`", "`calls`"]);
    assert_refused::<ClientConfig>("[http]\nverison = 'h1'", &["`verison`", "`version`"]);
    assert_refused::<ClientConfig>(
        "[http]\nidle_timeout = 5",
        &["idle_timeout", "a duration such as `1500ms`"],
    );
    assert_refused::<ClientConfig>("[http]\nidle_timeout = '5'", &["`1500ms`"]);
    assert_refused::<ClientConfig>("http = 7", &["options by name"]);
    assert_refused::<ServerConfig>("[calls]", &["`calls`", "`intake`"]);
}

#[cfg(not(feature = "nats"))]
#[test]
fn the_section_of_a_transport_that_is_not_compiled_in_names_its_feature() {
    let hint = "enable the feature `nats` of rr-core";
    assert_refused::<ClientConfig>("[nats]\nname = 'orders'", &["`nats`", hint]);
    assert_refused::<ServerConfig>("[nats]\nname = 'orders'", &["`nats`", hint]);
}

#[tokio::test]
async fn the_common_part_applies_to_every_transport_and_a_url_overrides_it() {
    let refuses = Limits::default().with_request_bytes_max(2);
    for url in ["memory://common", "http://127.0.0.1:0"] {
        let server = serve(url, router()).await.unwrap();
        let client = connect_with(server.url(), CallConfig::from(refuses)).await.unwrap();
        let error = client.call_raw(&within(5_000), "a.echo", "abc").await.unwrap_err();
        assert_eq!(error.reason(), Some(&Reason::REQUEST_TOO_LARGE), "{url}: {error}");
        assert_eq!(error.delivery(), Delivery::NotSent, "{url}");
        let over = format!("{}?request_bytes_max=3", server.url().as_str());
        let client = connect_with(&over, CallConfig::from(refuses)).await.unwrap();
        client.call_raw(&within(5_000), "a.echo", "abc").await.unwrap();
        server.shutdown(Duration::from_secs(5)).await;

        let refuses = IntakeConfig::from(refuses);
        let server = serve_with(url, router(), ServerConfig::from(refuses.clone())).await.unwrap();
        let client = connect(server.url()).await.unwrap();
        let error = client.call_raw(&within(5_000), "a.echo", "abc").await.unwrap_err();
        assert_eq!(error.delivery(), Delivery::Rejected, "{url}: {error}");
        server.shutdown(Duration::from_secs(5)).await;

        let over = format!("{url}?request_bytes_max=3");
        let server = serve_with(&over, router(), refuses).await.unwrap();
        let client = connect(server.url()).await.unwrap();
        client.call_raw(&within(5_000), "a.echo", "abc").await.unwrap();
    }
}

#[tokio::test]
async fn the_section_of_http_applies_at_both_ends_and_a_url_overrides_it() {
    let server = serve("http://127.0.0.1:0", router()).await.unwrap();
    // Without connections, a call waits until its deadline.
    let none = ClientConfig::from(HttpSection::default().with_connections_max(0));
    let client = connect_with(server.url(), none.clone()).await.unwrap();
    let error = client.call_raw(&within(50), "a.echo", "").await.unwrap_err();
    assert_eq!((error.code(), error.delivery()), (Code::DeadlineExceeded, Delivery::NotSent));
    let over = format!("{}?connections_max=1", server.url().as_str());
    let client = connect_with(&over, none).await.unwrap();
    client.call_raw(&within(5_000), "a.echo", "").await.unwrap();

    let none = HttpServerSection::default().with_connections_max(0);
    let server = serve_with("http://127.0.0.1:0", router(), none.clone()).await.unwrap();
    let client = connect(server.url()).await.unwrap();
    let error = client.call_raw(&within(50), "a.echo", "").await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");
    let server = serve_with("http://127.0.0.1:0?connections_max=1", router(), none).await.unwrap();
    let client = connect(server.url()).await.unwrap();
    client.call_raw(&within(5_000), "a.echo", "").await.unwrap();
}

/// The names that a table of the documentation lists for one end.
fn documented(table: &str, end: &str) -> BTreeSet<String> {
    let page = include_str!("../../src/url.md");
    let table = page.split("\nParameters of ").find(|part| part.starts_with(table));
    let table = table.expect("a table of this name");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| {
        let (name, rest) = row.split_once("` | ").expect("a second column");
        let listed = rest.split_once(" | ").expect("a third column").0;
        assert!(["client", "server", "both"].contains(&listed), "{row}");
        (listed == end || listed == "both").then(|| name.to_owned())
    })
    .collect()
}

fn names<C: Options>() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    C::names(&mut |name| assert!(names.insert(name.to_owned()), "{name}"));
    names
}

#[test]
fn the_documentation_lists_every_parameter_of_a_url() {
    let http = "`http://`";
    let (mut client, mut server) = (documented(http, "client"), documented(http, "server"));
    if cfg!(feature = "tls") {
        client.append(&mut documented("`https://`", "client"));
        server.append(&mut documented("`https://`", "server"));
    }
    assert_eq!(documented("all schemes", "client"), names::<CallConfig>());
    assert_eq!(documented("all schemes", "server"), names::<IntakeConfig>());
    assert_eq!(client, names::<HttpSection>());
    assert_eq!(server, names::<HttpServerSection>());
    #[cfg(feature = "nats")]
    {
        use rr_core::config::{NatsSection, NatsServerSection};

        let nats = "`nats://`";
        let (mut client, mut server) = (documented(nats, "client"), documented(nats, "server"));
        if cfg!(feature = "tls") {
            client.append(&mut documented("`nats+tls://`", "client"));
            server.append(&mut documented("`nats+tls://`", "server"));
        }
        assert_eq!(client, names::<NatsSection>());
        assert_eq!(server, names::<NatsServerSection>());
    }
}

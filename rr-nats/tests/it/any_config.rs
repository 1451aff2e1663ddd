//! Any number that a configuration can hold is one that a server and a requester can live with.

#![allow(clippy::unwrap_used, reason = "helpers of tests, outside of any test function")]

use std::collections::BTreeSet;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::*;
use rr_nats::{NatsConfig, NatsConnectionConfig, NatsRequester, NatsServerConfig, serve_with};
use rr_spi::Context;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

/// Panics of any task: a call whose connection panics may still end with an error.
static PANICS: AtomicUsize = AtomicUsize::new(0);

const DURATIONS: [&str; 4] = ["\"0ms\"", "\"1us\"", "\"365000h\"", "\"18446744073709551615s\""];
const COUNTS: [&str; 4] = ["0", "1", "4294967295", "18446744073709551615"];

/// Fields of the common part, of a requester and of a server.
const CONNECTION: [&str; 7] = [
    "connect_timeout",
    "ping_interval",
    "reconnect_delay_max",
    "members_interval",
    "ignore_discovered",
    "outgoing_max",
    "tls_first",
];
const REQUESTER: [&str; 7] = [
    "connection_wait",
    "in_flight_max",
    "cancel",
    "clocks_agree",
    "calls.timeout",
    "calls.limits.request_bytes_max",
    "calls.limits.response_bytes_max",
];
const SERVER: [&str; 16] = [
    "sole_group",
    "dispatch",
    "drain_by_count",
    "cancel",
    "clocks_agree",
    "discovery",
    "waiting_max",
    "waiting_bytes_max",
    "intake.in_flight_max",
    "intake.bodies_bytes_max",
    "intake.timeout_default",
    "intake.lame_duck",
    "intake.timeout_min",
    "intake.timeout_max",
    "intake.limits.request_bytes_max",
    "intake.limits.response_bytes_max",
];

/// What is text, or holds what is listed for itself.
#[cfg(not(feature = "tls"))]
const CONNECTION_TEXTS: [&str; 3] = ["credentials", "name", "inbox_prefix"];
#[cfg(feature = "tls")]
const CONNECTION_TEXTS: [&str; 4] = ["credentials", "name", "inbox_prefix", "tls"];
const REQUESTER_PARTS: [&str; 1] = ["connection"];
const SERVER_TEXTS: [&str; 3] = ["connection", "queue", "version"];

/// Longest time for one configuration: some never connect, and none may hold the test up.
const PATIENCE: Duration = Duration::from_millis(300);

/// Returns the configurations in which one field has an unusual value, where the value fits the
/// field's type.
fn configs<C: DeserializeOwned>(own: &'static [&str]) -> impl Iterator<Item = (String, C)> {
    let common = CONNECTION.map(|field| format!("connection.{field}"));
    let fields = common.into_iter().chain(own.iter().map(|field| (*field).to_owned()));
    fields.flat_map(|field| {
        values(&field).iter().filter_map(move |value| {
            let object = |value: String, field| format!("{{\"{field}\": {value}}}");
            let text = field.rsplit('.').fold((*value).to_owned(), object);
            Some((text.clone(), serde_json::from_str(&text).ok()?))
        })
    })
}

fn values(field: &str) -> &'static [&'static str] {
    match field.rsplit('.').next().unwrap() {
        "drain_by_count" | "ignore_discovered" | "sole_group" | "cancel" | "clocks_agree"
        | "discovery" | "tls_first" => &["false", "true"],
        "dispatch" => &["\"when_pending\"", "\"always\""],
        "reconnect_delay_max" | "timeout_max" => &DURATIONS,
        _ if field.ends_with("_max") => &COUNTS,
        _ => &DURATIONS,
    }
}

/// Asserts that lists name every field of a configuration, as serde tells them.
fn assert_complete<C: DeserializeOwned>(listed: &[&[&str]]) {
    let unknown = serde_json::from_str::<C>("{\"no such field\": 0}").err().unwrap().to_string();
    let expected = unknown.split("expected").nth(1).unwrap();
    let fields: BTreeSet<&str> = expected.split('`').skip(1).step_by(2).collect();
    let listed = listed.concat();
    let listed = listed.iter().map(|field| field.split('.').next().unwrap()).collect();
    assert_eq!(fields, listed, "{}", std::any::type_name::<C>());
}

#[test]
fn every_field_is_tried() {
    assert_complete::<NatsConnectionConfig>(&[&CONNECTION, &CONNECTION_TEXTS]);
    assert_complete::<NatsConfig>(&[&REQUESTER, &REQUESTER_PARTS]);
    assert_complete::<NatsServerConfig>(&[&SERVER, &SERVER_TEXTS]);
}

async fn call_twice(client: &NatsRequester) {
    for _ in 0..2 {
        let _ = call(client, &Context::background().with_timeout(PATIENCE / 3), "echo").await;
    }
}

#[tokio::test]
async fn every_duration_and_count_from_0_to_the_largest_works_without_a_panic() {
    let (this, before) = (thread::current().id(), panic::take_hook());
    panic::set_hook(Box::new(move |info| {
        // The runtime of this test has one thread, and those of other tests have theirs.
        if thread::current().id() == this {
            PANICS.fetch_add(1, Ordering::SeqCst);
        }
        before(info);
    }));
    let broker = nats().await;
    let url = &broker.url();
    let served = serve_with(url, route("echo", echo), NatsServerConfig::default()).await.unwrap();
    let mut seen = 0;
    for (text, config) in configs(&REQUESTER) {
        let client = NatsRequester::connect_with(url, config).await.unwrap();
        call_twice(&client).await;
        drop(client);
        assert_eq!(PANICS.load(Ordering::SeqCst), 0, "{text}");
        seen += 1;
    }
    let _ = served.shutdown(Duration::MAX).await;
    let client = NatsRequester::connect(url).await.unwrap();
    for (text, config) in configs(&SERVER) {
        if let Ok(Ok(server)) =
            timeout(PATIENCE, serve_with(url, route("echo", echo), config)).await
        {
            call_twice(&client).await;
            let grace = Duration::from_millis(1);
            // The second shutdown ends a lame duck of any length.
            tokio::join!(server.shutdown(grace), server.shutdown(grace));
        }
        assert_eq!(PANICS.load(Ordering::SeqCst), 0, "{text}");
        seen += 1;
    }
    assert!(seen > 80, "{seen}: most values fit their fields");
}

//! Events of the layers around a requester or a handler.

use std::time::Duration;

use rr_core::observe::{EjectionCause, Event, Observer as _, TracingObserver};
use rr_core::{Code, Context, Delivery, Error, Reason};
use tracing::Level;

use super::support::*;

#[test]
fn ejections_are_logged_at_warn_and_what_becomes_of_single_calls_at_debug() {
    let (log, _guard) = Log::capture();
    let (ctx, target) =
        (Context::background().with_request_id("7f3a").unwrap(), request("shop.t").target);
    let refused =
        Error::failure(Code::ResourceExhausted, Delivery::NotSent, Reason::OVERLOADED, "full");
    let lasts = Duration::from_secs(30);
    let of_call = [("rpc.service", "shop"), ("rpc.method", "t"), ("request_id", "7f3a")];
    for (event, level, name, fields) in [
        (
            Event::endpoint_ejected("a\n", lasts, EjectionCause::SuccessRate),
            Level::WARN,
            "endpoint ejected",
            &[("endpoint", "a\\n"), ("ejected_ms", "30000.0"), ("cause", "success-rate")][..],
        ),
        (Event::endpoint_returned("a"), Level::INFO, "endpoint returned", &[("endpoint", "a")]),
        (
            Event::ejected_endpoint_removed("a"),
            Level::INFO,
            "ejected endpoint removed",
            &[("endpoint", "a")],
        ),
        (
            Event::hedged(&ctx, &target, Duration::from_millis(20)),
            Level::DEBUG,
            "second request sent",
            &[("rpc.method", "t"), ("after_ms", "20.0")],
        ),
        (Event::hedge_won(&ctx, &target), Level::DEBUG, "second request won", &of_call),
        (Event::hedge_refused(&ctx, &target), Level::DEBUG, "second request refused", &of_call),
        (Event::throttled(&ctx, &target), Level::DEBUG, "throttled", &of_call),
        (
            Event::limit_refused(&ctx, &target, &refused, 5),
            Level::DEBUG,
            "limit refused",
            &[("rr.reason", "overloaded"), ("limit", "5"), ("rpc.service", "shop")],
        ),
    ] {
        TracingObserver::new().event(&event);
        let [entry] = log.events().try_into().unwrap();
        assert_eq!((&*entry.name, entry.level, entry.target), (name, level, "rr::event"));
        for (field, value) in fields {
            assert_eq!(entry.get(field), *value, "{name}");
        }
    }
    TracingObserver::new().event(&Event::limit_reported(&target, 7));
    assert!(log.events().is_empty(), "a measurement is no event");
}

//! The cases of tower's concurrency limit, by their names there.
//!
//! Do not apply: `reserve_capacity_without_sending_request` (a call takes its permit when it begins) and
//! `service_drop_frees_capacity` (a permit is that of a call). `multi_waiters` is `testMultipleBlockedThreads`, and the
//! cases of its rate limit are those of governor.

use rr_core::limit::{ConcurrencyConfig, ConcurrencyLimit};
use rr_core::{Reason, Requester as _};
use tokio::task::yield_now;

use super::support::*;

fn limited(does: Does) -> Watched<ConcurrencyLimit> {
    watched(ConcurrencyLimit::fixed(1), Host::new(does))
}

#[tokio::test(start_paused = true)]
async fn basic_service_limit_functionality_with_poll_ready() {
    let config = ConcurrencyConfig::default().with_wait_max(ms(1000));
    let limit = ConcurrencyLimit::fixed(2).with_config(config);
    let limited = watched(limit, Host::new(Does::Answers(ms(100))));
    let calls = [limited.start(plain()).await, limited.start(plain()).await];
    let third = limited.start(plain()).await;
    assert_eq!((limited.watch.in_flight(), limited.layer.waiting()), (2, 1));
    for call in calls {
        call.await.unwrap().unwrap();
    }
    yield_now().await;
    assert_eq!((limited.watch.in_flight(), limited.layer.waiting()), (1, 0));
    third.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn request_without_capacity() {
    // There it is ready never; here a limit has one permit at least.
    let limited = watched(ConcurrencyLimit::fixed(0), Host::new(Does::Answers(ms(100))));
    assert_eq!(limited.layer.limit(), 1);
    assert!(limited.is_admitted(plain()).await && !limited.is_admitted(plain()).await);
}

#[tokio::test(start_paused = true)]
async fn response_error_releases_capacity() {
    let limited = limited(Does::Fails(lost()));
    for _ in 0..3 {
        let outcome = limited.client.request(&within(1000), plain()).await;
        assert!(!is_refused(&outcome, &Reason::OVERLOADED), "{outcome:?}");
        assert_eq!(limited.layer.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn response_future_drop_releases_capacity() {
    let limited = limited(Does::Hangs);
    for _ in 0..3 {
        let call = limited.start(plain()).await;
        assert_eq!((limited.layer.in_flight(), call.is_finished()), (1, false));
        call.abort();
        yield_now().await;
        assert_eq!(limited.layer.in_flight(), 0);
    }
}

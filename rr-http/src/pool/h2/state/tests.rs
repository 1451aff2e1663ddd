use h2::client::{Builder, Connection};
use rr_spi::Location;
use tokio::io::DuplexStream;

use super::*;
use crate::endpoint::Endpoint;
use crate::error::handed_back;

type Held = (Connection<DuplexStream, Outgoing>, DuplexStream);

fn state(connections_max: usize) -> PoolState {
    let endpoint = Endpoint::of(&Location::parse("http://h").unwrap()).unwrap();
    let dialer = Arc::new(Dialer::new(endpoint, None, Duration::from_secs(1)));
    let config = HttpConfig::default().with_h2_connections_max(connections_max);
    PoolState::new(dialer, &config.with_h2_streams_max(10))
}

/// Adds a connection. `allowed` is the server's stream limit, if its SETTINGS have arrived.
async fn add(state: &mut PoolState, allowed: Option<usize>) -> Held {
    let (near, far) = tokio::io::duplex(1024);
    let (sender, connection) = Builder::new().handshake(near).await.unwrap();
    let id = state.add(sender, Arc::default(), Refused::default());
    if let Some(allowed) = allowed {
        state.set_peer_limit(id, allowed);
    }
    (connection, far)
}

/// Returns the next step as text.
fn step(state: &mut PoolState, ticket: WaitTicket) -> String {
    match state.step(ticket) {
        Step::Go(place) => format!("go {}", place.id),
        Step::Fail(error) => format!("fail {}", error.delivery().as_str()),
        Step::Dial => "dial".to_owned(),
        Step::Wait => "wait".to_owned(),
    }
}

#[tokio::test]
async fn one_call_is_sent_before_the_servers_settings_arrive() {
    let mut state = state(2);
    let ticket = state.wait(false);
    assert_eq!(step(&mut state, ticket), "dial");
    assert_eq!(step(&mut state, ticket), "wait");
    let _first = add(&mut state, None).await;
    state.dialed(None);
    assert_eq!(step(&mut state, ticket), "go 0");
    assert_eq!(step(&mut state, ticket), "wait");
    // One is a valid limit, and so is zero.
    for allowed in [1, 0] {
        state.set_peer_limit(0, allowed);
        assert!(state.take_permit(0).is_none(), "{allowed}");
    }
    assert_eq!(step(&mut state, ticket), "dial");
    // Another connection has to receive its server's SETTINGS first.
    let _second = add(&mut state, None).await;
    state.dialed(None);
    assert_eq!(step(&mut state, ticket), "wait");
    state.set_peer_limit(1, usize::MAX);
    for _ in 0..10 {
        assert_eq!(step(&mut state, ticket), "go 1");
    }
    // Both are full, and no third is allowed.
    assert_eq!(step(&mut state, ticket), "wait");
    state.release(1, Sent { received: 0, deadline: None });
    assert_eq!(step(&mut state, ticket), "go 1");
}

#[tokio::test]
async fn a_fresh_place_is_on_a_connection_made_from_now_on_while_one_can_be_made() {
    let mut state = state(2);
    let _old = add(&mut state, Some(10)).await;
    let ticket = state.wait(true);
    assert_eq!(step(&mut state, ticket), "dial");
    assert_eq!(step(&mut state, ticket), "wait");
    let _new = add(&mut state, Some(10)).await;
    state.dialed(None);
    assert_eq!(step(&mut state, ticket), "go 1");
    // No third is allowed: an old connection serves, as it does when none can be made.
    let ticket = state.wait(true);
    assert_eq!(step(&mut state, ticket), "go 0");
    state.remove(1);
    assert_eq!(step(&mut state, ticket), "dial");
    state.dialed(Some(handed_back()));
    assert_eq!(step(&mut state, ticket), "go 0");
}

#[tokio::test]
async fn a_failed_dial_fails_the_calls_that_waited_for_it_and_no_other() {
    let mut state = state(2);
    let (first, second) = (state.wait(false), state.wait(false));
    assert_eq!(step(&mut state, first), "dial");
    state.dialed(Some(handed_back()));
    assert_eq!(step(&mut state, first), "fail not_sent");
    assert_eq!(step(&mut state, second), "fail not_sent");
    let later = state.wait(false);
    assert_eq!(step(&mut state, later), "dial");
    // A connection that ends before its first use counts as one more failure.
    let held = add(&mut state, None).await;
    state.dialed(None);
    drop(held);
    assert_eq!(step(&mut state, later), "fail not_sent");
}

#[tokio::test]
async fn calls_dropped_unheard_in_a_row_put_the_connection_in_doubt() {
    let mut state = state(2);
    let _only = add(&mut state, Some(10)).await;
    let drop_one = |state: &mut PoolState| {
        let place = state.take_permit(0);
        place.map(|place| state.release(place.id, place.sent)).is_some()
    };
    for _ in 0..UNHEARD_MAX - 1 {
        assert!(drop_one(&mut state));
    }
    let place = state.take_permit(0).unwrap();
    state.connections[0].doubt.received();
    state.release(0, place.sent);
    for _ in 0..UNHEARD_MAX {
        assert!(drop_one(&mut state), "one that heard something breaks the row");
    }
    assert!(!drop_one(&mut state));
    state.connections[0].doubt.received();
    for _ in 0..UNHEARD_MAX {
        assert!(drop_one(&mut state), "it has answered, and the count starts anew");
    }
    assert!(!drop_one(&mut state));
}

#[tokio::test]
async fn those_who_wait_try_again_when_the_last_connection_ends() {
    let mut state = state(2);
    let only = add(&mut state, Some(1)).await;
    let first = state.wait(false);
    assert_eq!(step(&mut state, first), "go 0");
    let second = state.wait(false);
    assert_eq!(step(&mut state, second), "dial");
    state.dialed(Some(handed_back()));
    assert_eq!(step(&mut state, second), "wait", "for a place on the one there is");
    state.release(0, Sent { received: 0, deadline: None });
    drop(only);
    assert_eq!(step(&mut state, second), "dial");
}

//! The memory store of duplicate suppression beside a naive model.

use std::collections::HashMap;
use std::time::Duration;

use rr_core::dedup::{
    Claim, Fingerprint, MemoryStore, MemoryStoreConfig, ScopedKey, Settlement, Store, Ticket,
};
use rr_core::{IdempotencyKey, Request, Response, Target};
use tokio::time::{Instant, sleep};

use crate::input::Input;
use crate::world;

/// Most steps of a scenario.
const STEPS_MAX: usize = 512;

const TTL: Duration = Duration::from_millis(200);

/// Few keys and requests, so that they meet often.
const KEYS: u8 = 4;
const REQUESTS: u8 = 2;

/// Keys that may be known at the same time; no scenario fills the store.
const ENTRIES_MAX: usize = 64;

struct Entry {
    request: u8,
    ticket: Ticket,
    state: State,
}

enum State {
    Running,
    /// The stored reply, and when the run ended.
    Kept(Vec<u8>, Instant),
    Lost(Instant),
}

/// Claims and settles keys while time passes.
///
/// # Panics
///
/// When the store answers otherwise than the model.
pub fn dedup(bytes: &[u8]) {
    world::run(async {
        let config = MemoryStoreConfig::default().with_ttl(TTL).with_entries_max(ENTRIES_MAX);
        let store = MemoryStore::new(config);
        let mut model: HashMap<u8, Entry> = HashMap::new();
        let mut input = Input::new(bytes);
        for _ in 0..STEPS_MAX {
            if input.is_empty() {
                break;
            }
            let key = input.below(KEYS);
            match input.below(4) {
                0 | 1 => claim(&store, &mut model, key, input.below(REQUESTS)).await,
                2 => settle(&store, &mut model, key, &mut input).await,
                _ => sleep(input.millis()).await,
            }
        }
    });
}

async fn claim(store: &MemoryStore, model: &mut HashMap<u8, Entry>, key: u8, request: u8) {
    let now = Instant::now();
    model.retain(|_, entry| match entry.state {
        State::Running => true,
        State::Kept(_, ended) | State::Lost(ended) => now < ended + TTL,
    });
    let claimed = store.claim(&scoped(key), fingerprint(request)).await;
    match (claimed.expect("the store has no errors"), model.get(&key)) {
        (Claim::New(ticket), None) => {
            model.insert(key, Entry { request, ticket, state: State::Running });
        }
        (Claim::Reused, Some(entry)) => assert_ne!(entry.request, request),
        (claim, Some(entry)) => {
            assert_eq!(entry.request, request, "{claim:?} for another request");
            match (&claim, &entry.state) {
                (Claim::Running, State::Running) | (Claim::Lost, State::Lost(_)) => {}
                (Claim::Kept(Ok(reply)), State::Kept(body, _)) => assert_eq!(reply.body, body[..]),
                _ => panic!("{claim:?} does not fit"),
            }
        }
        (claim, None) => panic!("{claim:?} of an unknown key"),
    }
}

async fn settle(
    store: &MemoryStore,
    model: &mut HashMap<u8, Entry>,
    key: u8,
    input: &mut Input<'_>,
) {
    let stale = input.flag();
    let ticket = model.get(&key).map_or(Ticket(1 << 40), |entry| entry.ticket);
    let ticket = if stale { Ticket(ticket.0 ^ (1 << 41)) } else { ticket };
    let now = Instant::now();
    let length = usize::from(input.byte());
    let (settlement, state) = match input.below(3) {
        0 => (Settlement::NotRun, None),
        1 => (Settlement::Lost, Some(State::Lost(now))),
        _ => {
            let body = vec![7; length];
            let reply = Response::new(body.clone());
            (Settlement::Kept(Ok(reply)), Some(State::Kept(body, now)))
        }
    };
    store.settle(&scoped(key), ticket, settlement).await.expect("the store has no errors");
    let running = |entry: &&mut Entry| matches!(entry.state, State::Running);
    let Some(entry) = model.get_mut(&key).filter(running).filter(|_| !stale) else { return };
    match state {
        Some(state) => entry.state = state,
        None => drop(model.remove(&key)),
    }
}

fn scoped(key: u8) -> ScopedKey {
    let key = IdempotencyKey::new(&format!("key-{key}")).expect("a valid key");
    ScopedKey::new(None, key)
}

fn fingerprint(request: u8) -> Fingerprint {
    let target = Target::try_from("orders.place").expect("a valid target");
    Fingerprint::of(&Request::new(target, vec![request]))
}

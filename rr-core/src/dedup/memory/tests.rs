use rr_spi::{Code, IdempotencyKey, Request, Response};

use super::*;

fn key(text: &str) -> ScopedKey {
    ScopedKey::new(None, IdempotencyKey::new(text).unwrap())
}

fn print(body: &'static str) -> Fingerprint {
    Fingerprint::of(&Request::new("a.b".try_into().unwrap(), body))
}

fn store(change: impl FnOnce(MemoryStoreConfig) -> MemoryStoreConfig) -> MemoryStore {
    MemoryStore::new(change(MemoryStoreConfig::default()))
}

async fn claim(store: &MemoryStore, text: &str) -> Claim {
    store.claim(&key(text), print("")).await.unwrap()
}

/// Claims a key and settles the claim.
async fn run(store: &MemoryStore, text: &str, settlement: Settlement) {
    let Claim::New(ticket) = claim(store, text).await else { panic!("{text} is known") };
    store.settle(&key(text), ticket, settlement).await.unwrap();
}

fn answer(body: &'static str) -> Settlement {
    Settlement::Kept(Ok(Response::new(body)))
}

async fn is_new(store: &MemoryStore, text: &str) -> bool {
    matches!(claim(store, text).await, Claim::New(_))
}

#[tokio::test(start_paused = true)]
async fn one_claim_runs_and_the_others_hear_what_became_of_it() {
    let store = store(|config| config);
    assert!(is_new(&store, "a").await);
    assert!(matches!(claim(&store, "a").await, Claim::Running));
    run(&store, "b", answer("x")).await;
    assert!(matches!(claim(&store, "b").await, Claim::Kept(Ok(r)) if r.body == "x"));
    run(&store, "c", Settlement::Kept(Err(Error::new(Code::NotFound, "")))).await;
    assert!(matches!(claim(&store, "c").await, Claim::Kept(Err(e)) if e.code() == Code::NotFound));
    run(&store, "d", Settlement::Lost).await;
    assert!(matches!(claim(&store, "d").await, Claim::Lost));
    run(&store, "e", Settlement::NotRun).await;
    assert!(is_new(&store, "e").await);
}

#[tokio::test(start_paused = true)]
async fn another_body_is_reuse_and_another_scope_is_another_key() {
    let store = store(|config| config);
    run(&store, "a", answer("x")).await;
    let reused = store.claim(&key("a"), print("other")).await.unwrap();
    assert!(matches!(reused, Claim::Reused));
    let scoped = ScopedKey::new(Some("bob".into()), key("a").key);
    assert!(matches!(store.claim(&scoped, print("")).await.unwrap(), Claim::New(_)));
}

#[tokio::test(start_paused = true)]
async fn a_key_is_forgotten_its_ttl_after_its_end_and_never_while_it_runs() {
    let ttl = Duration::from_secs(10);
    let store = store(|config| config.with_ttl(ttl));
    assert!(is_new(&store, "running").await);
    run(&store, "a", answer("x")).await;
    tokio::time::sleep(ttl - Duration::from_millis(1)).await;
    run(&store, "b", answer("x")).await;
    assert!(matches!(claim(&store, "a").await, Claim::Kept(_)));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(is_new(&store, "a").await);
    assert!(matches!(claim(&store, "b").await, Claim::Kept(_)));
    tokio::time::sleep(ttl * 10).await;
    assert!(matches!(claim(&store, "running").await, Claim::Running));
    assert_eq!(store.lock().bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_store_forgets_what_ended_first_and_refuses_when_all_run() {
    let store = store(|config| config.with_entries_max(2));
    run(&store, "a", answer("x")).await;
    run(&store, "b", Settlement::Lost).await;
    assert!(is_new(&store, "c").await);
    assert!(matches!(claim(&store, "b").await, Claim::Lost));
    assert!(is_new(&store, "a").await);
    assert!(matches!(claim(&store, "d").await, Claim::Full));
    assert!(matches!(claim(&store, "c").await, Claim::Running));
    let none = MemoryStore::new(MemoryStoreConfig::default().with_entries_max(0));
    assert!(matches!(claim(&none, "a").await, Claim::Full));
}

#[tokio::test(start_paused = true)]
async fn answers_over_the_byte_limit_are_dropped_and_their_keys_kept() {
    let store = store(|config| config.with_bytes_max(10));
    run(&store, "a", answer("12345")).await;
    run(&store, "b", answer("12345")).await;
    assert!(matches!(claim(&store, "a").await, Claim::Kept(_)));
    run(&store, "c", answer("1")).await;
    assert!(matches!(claim(&store, "a").await, Claim::Lost));
    assert!(matches!(claim(&store, "b").await, Claim::Kept(_)));
    run(&store, "d", answer("12345678901")).await;
    for gone in ["a", "b", "c", "d"] {
        assert!(matches!(claim(&store, gone).await, Claim::Lost), "{gone}");
    }
    assert_eq!(store.lock().bytes, 0);
}

/// Buffer whose release can be observed.
#[derive(Clone, Debug)]
struct Buffer(std::sync::Arc<Vec<u8>>);

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a buffer")
    }
}

impl std::error::Error for Buffer {}

#[tokio::test(start_paused = true)]
async fn what_is_kept_holds_no_more_than_is_counted() {
    let store = store(|config| config);
    let buffer = Buffer(std::sync::Arc::new(vec![7; 1000]));
    let slice = || bytes::Bytes::from_owner(buffer.clone()).slice(..1);
    let mut headers = Headers::new();
    headers.append_bin("x-bin", slice()).unwrap();
    let response = Response::new(slice()).with_headers(headers.clone());
    run(&store, "a", Settlement::Kept(Ok(response.clone()))).await;
    let error = Error::new(Code::NotFound, "")
        .with_headers(headers)
        .with_detail(rr_spi::Detail::new("a", slice()))
        .with_source(buffer.clone());
    run(&store, "b", Settlement::Kept(Err(error.clone()))).await;
    let Claim::Kept(Ok(stored)) = claim(&store, "a").await else { panic!("it is kept") };
    assert_eq!(stored, response);
    let Claim::Kept(Err(stored)) = claim(&store, "b").await else { panic!("it is kept") };
    assert_eq!((stored.headers(), stored.details()), (error.headers(), error.details()));
    drop((response, error));
    assert_eq!(std::sync::Arc::strong_count(&buffer.0), 1, "nothing holds the buffer");
}

#[tokio::test(start_paused = true)]
async fn a_ticket_of_an_earlier_claim_settles_nothing() {
    let store = store(|config| config);
    let Claim::New(old) = claim(&store, "a").await else { panic!("it is new") };
    store.settle(&key("a"), old, Settlement::NotRun).await.unwrap();
    assert!(is_new(&store, "a").await);
    store.settle(&key("a"), old, answer("x")).await.unwrap();
    assert!(matches!(claim(&store, "a").await, Claim::Running));
}

#[cfg(feature = "json")]
#[test]
fn the_config_reads_durations_as_text_and_refuses_what_it_does_not_know() {
    let config: MemoryStoreConfig = serde_json::from_str(r#"{"ttl":"1500ms"}"#).unwrap();
    assert_eq!(config, MemoryStoreConfig::default().with_ttl(Duration::from_millis(1500)));
    assert!(serde_json::from_str::<MemoryStoreConfig>(r#"{"tll":"1s"}"#).is_err());
}

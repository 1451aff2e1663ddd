//! The middleware that suppresses duplicates, for the cases about them.

use std::sync::Arc;
use std::time::Duration;

use rr_core::Middleware;
use rr_core::dedup::{Deduplicate, MemoryStore, MemoryStoreConfig};

/// Returns the middleware, whose answers are kept for `ttl`.
pub(crate) fn deduplicate(ttl: Duration) -> Option<Arc<dyn Middleware>> {
    let store = MemoryStore::new(MemoryStoreConfig::default().with_ttl(ttl));
    Some(Arc::new(Deduplicate::new(store)))
}

//! Interface of a store of keys and answers.

use std::sync::Arc;

use rr_spi::{Error, IdempotencyKey, Response, async_trait};

use super::Fingerprint;

/// Stores used idempotency keys and their answers.
///
/// [`MemoryStore`](super::MemoryStore) is the built-in store and covers one process. With a store
/// that several processes share, [`Deduplicate`](super::Deduplicate) covers all of them.
///
/// # Contract
///
/// * Only one claim of a key is answered [`Claim::New`] until it is settled as
///   [`Settlement::NotRun`] or the store has forgotten the key.
/// * A store keeps a settled key for a time that it documents; 5 min is usual.
/// * A claim that is never settled, for example because the process died, eventually becomes
///   [`Claim::Lost`], and never [`Claim::New`] before the store would have forgotten the key.
/// * A store that cannot determine the state of a key returns an error; the request is then
///   refused.
///
/// # For implementors
///
/// A claim is one atomic step, such as creating a record that must not exist. While a claim is
/// pending, the delivery of the call is `Unknown`; a claim that completes on the first poll avoids
/// this. Encode [`Settlement::Kept`] as on a wire: headers and body, or
/// [`ErrorHeaders`](crate::transport::wire::ErrorHeaders) and
/// [`ErrorDocument`](crate::transport::wire::ErrorDocument).
///
/// # For wrappers
///
/// Pass tickets on unchanged: they belong to the store that issued them.
///
/// # Cancel safety
///
/// Dropping the future of a claim leaves no claim, or one that is never settled. Settling continues
/// in a task when its call is dropped, and is abandoned after 5 s.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Claims a key for a run, or returns the state of the key.
    ///
    /// # Errors
    ///
    /// Any error that keeps the store from answering. The caller receives `Unavailable`, unknown.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves no claim, or one that is never settled.
    async fn claim(&self, key: &ScopedKey, fingerprint: Fingerprint) -> Result<Claim, Error>;

    /// Records the end of a claim. Does nothing if the ticket is not that of the key's claim.
    ///
    /// # Errors
    ///
    /// Any error that keeps the store from recording it; the claim then counts as never settled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future settles the claim, or leaves it unsettled.
    async fn settle(
        &self,
        key: &ScopedKey,
        ticket: Ticket,
        settlement: Settlement,
    ) -> Result<(), Error>;
}

/// Idempotency key with its scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ScopedKey {
    /// Scope of the key; see [`Deduplicate::with_scope`](super::Deduplicate::with_scope).
    pub scope: Option<Arc<str>>,
    /// The key that the request carries.
    pub key: IdempotencyKey,
}

impl ScopedKey {
    /// Makes a key in the given scope.
    #[must_use]
    pub fn new(scope: Option<Arc<str>>, key: IdempotencyKey) -> Self {
        Self { scope, key }
    }
}

/// Identifier of one claim of a key. Only the store interprets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it is the number it wraps, and nothing more")]
pub struct Ticket(pub u64);

/// Answer of a store to a claim.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Claim {
    /// The key is unused: the claimant runs the request and settles the claim.
    New(Ticket),
    /// The key is claimed and not settled: its request is running elsewhere.
    Running,
    /// The request of the key ran, and this was its answer.
    Kept(Result<Response, Error>),
    /// The request of the key ran, or may have run, and its answer is unknown.
    Lost,
    /// The key was used with another fingerprint.
    Reused,
    /// The key is new, and the store is full.
    Full,
}

/// End of a claim.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Settlement {
    /// The handler was not entered: the key is free again.
    NotRun,
    /// The handler returned this response or error.
    Kept(Result<Response, Error>),
    /// The handler was entered, or may have been, and did not finish.
    Lost,
}

//! Where keys and answers are kept, as any store does it.

use std::sync::Arc;

use rr_spi::{Error, IdempotencyKey, Response, async_trait};

use super::Fingerprint;

/// Keeps the keys that were used and what was answered to them.
///
/// [`MemoryStore`](super::MemoryStore) is the one that is there; it knows of one process. One that
/// several processes share makes [`Deduplicate`](super::Deduplicate) hold among them.
///
/// # Contract
///
/// * Of all claims of one key, one alone is answered [`Claim::New`] until it is settled as
///   [`Settlement::NotRun`] or the store has forgotten the key.
/// * A store forgets a key only some time after it was settled, and says how long; 5 min is usual.
/// * What was claimed and is never settled, as when a process dies, becomes [`Claim::Lost`] at some
///   point, and never [`Claim::New`] before it would have been forgotten.
/// * A store that cannot tell says so by an error; then the request is refused.
///
/// # For implementors
///
/// A claim is one atomic step, such as creating a record that must not exist. What is answered at
/// the first poll costs the call nothing of its certainty; while a claim waits, the call can only
/// say `Unknown` of itself. [`Settlement::Kept`] is encoded as on a wire: headers and body, or
/// [`ErrorHeaders`](crate::wire::ErrorHeaders) and [`ErrorDocument`](crate::wire::ErrorDocument).
///
/// # For wrappers
///
/// Pass tickets on as they are: they belong to the store that gave them.
///
/// # Cancel safety
///
/// A claim whose future is dropped is one that is never settled, or none. Settling goes on in a
/// task when its call is dropped, and is given up after 5 s.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Claims a key for a run, or says what is known of it.
    ///
    /// # Errors
    ///
    /// Whatever keeps the store from telling. The caller hears `Unavailable`, unknown.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves no claim, or one that is never settled.
    async fn claim(&self, key: &ScopedKey, fingerprint: Fingerprint) -> Result<Claim, Error>;

    /// Says what became of a claim. Does nothing when the ticket is not that of the key's claim.
    ///
    /// # Errors
    ///
    /// Whatever keeps the store from recording it; the claim then counts as never settled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future settles the claim, or leaves it.
    async fn settle(
        &self,
        key: &ScopedKey,
        ticket: Ticket,
        settlement: Settlement,
    ) -> Result<(), Error>;
}

/// An idempotency key and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ScopedKey {
    /// Whose key it is; see [`Deduplicate::with_scope`](super::Deduplicate::with_scope).
    pub scope: Option<Arc<str>>,
    /// The key that the request carries.
    pub key: IdempotencyKey,
}

impl ScopedKey {
    /// Makes a key of this scope.
    #[must_use]
    pub fn new(scope: Option<Arc<str>>, key: IdempotencyKey) -> Self {
        Self { scope, key }
    }
}

/// Tells one claim of a key from another; what it means is the store's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it is the number it wraps, and nothing more")]
pub struct Ticket(pub u64);

/// What a store answers to a claim.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Claim {
    /// Nobody has used the key: whoever claimed it runs, and settles.
    New(Ticket),
    /// The key is claimed and not settled: it runs elsewhere at this moment.
    Running,
    /// The key ran, and this was its answer.
    Kept(Result<Response, Error>),
    /// The key ran, or may have, and its answer is not known.
    Lost,
    /// The key was used with another fingerprint.
    Reused,
    /// The key is new, and there is no room for it.
    Full,
}

/// What became of a claim.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Settlement {
    /// The handler was not entered: the key is free again.
    NotRun,
    /// The handler answered this, an answer or an error of its own.
    Kept(Result<Response, Error>),
    /// The handler was entered, or may have been, and did not come to its end.
    Lost,
}

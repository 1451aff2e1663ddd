//! Requests that have been pending, so that all of them can be cancelled together.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use slab::Slab;

use crate::context::{Cause, Context, Node};

/// Key of a pending request: its position plus one, so that an optional key takes no more memory.
#[derive(Clone, Copy)]
pub(super) struct PendingKey(NonZeroUsize);

/// Requests that have been pending.
#[derive(Default)]
pub(super) struct PendingRequests(Mutex<Pending>);

#[derive(Default)]
struct Pending {
    /// Node with the scope of each request; `None` for a context that cannot be cancelled.
    scopes: Slab<Option<Arc<Node>>>,
    /// Set when all were cancelled: requests that become pending later are cancelled too.
    ended: Option<Cause>,
}

impl PendingRequests {
    /// Records that a request is pending; returns the key for [`PendingRequests::remove`].
    pub(super) fn insert(&self, ctx: &Context) -> PendingKey {
        let scope = ctx.own_scope();
        let (key, ended) = self.with(|p| (p.scopes.insert(scope.clone()), p.ended));
        // Outside of the lock: cancelling wakes the waiter that the request has just registered.
        if let (Some(scope), Some(cause)) = (scope, ended) {
            scope.cancel(cause);
        }
        PendingKey(NonZeroUsize::MIN.saturating_add(key))
    }

    pub(super) fn remove(&self, key: PendingKey) {
        let removed = self.with(|pending| pending.scopes.try_remove(key.0.get() - 1));
        drop(removed);
    }

    pub(super) fn cancel_all(&self, cause: Cause) {
        let scopes: Vec<_> = self.with(|pending| {
            pending.ended = Some(cause);
            pending.scopes.iter().filter_map(|(_, scope)| scope.clone()).collect()
        });
        for scope in scopes {
            scope.cancel(cause);
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Pending) -> T) -> T {
        // No foreign code runs under the lock, so a panic cannot leave the slab half-changed.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

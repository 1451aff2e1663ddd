//! Requests that have been pending, so that all of them can be cancelled together.

use std::sync::{Mutex, PoisonError};

use slab::Slab;

use crate::context::{Cause, Context};

/// Requests that have been pending.
#[derive(Default)]
pub(super) struct PendingRequests(Mutex<Pending>);

#[derive(Default)]
struct Pending {
    contexts: Slab<Context>,
    /// Set when all were cancelled: requests that become pending later are cancelled too.
    ended: Option<Cause>,
}

impl PendingRequests {
    /// Records that a request is pending; returns the key for [`PendingRequests::remove`].
    pub(super) fn insert(&self, ctx: &Context) -> usize {
        let (key, ended) = self.with(|p| (p.contexts.insert(ctx.clone()), p.ended));
        // Outside of the lock: cancelling wakes the waiter that the request has just registered.
        if let Some(cause) = ended {
            ctx.cancel_own_scope(cause);
        }
        key
    }

    pub(super) fn remove(&self, key: usize) {
        let removed = self.with(|pending| pending.contexts.try_remove(key));
        drop(removed);
    }

    pub(super) fn cancel_all(&self, cause: Cause) {
        let contexts: Vec<Context> = self.with(|pending| {
            pending.ended = Some(cause);
            pending.contexts.iter().map(|(_, ctx)| ctx.clone()).collect()
        });
        for ctx in contexts {
            ctx.cancel_own_scope(cause);
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Pending) -> T) -> T {
        // No foreign code runs under the lock, so a panic cannot leave the slab half-changed.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

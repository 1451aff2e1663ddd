//! One pool per runtime: only the runtime that registered a connection's socket uses the
//! connection.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock};

use crate::sync::lock;
use rr_spi::{Code, Delivery, Error};
use tokio::runtime::{Handle, Id};

/// Maximum number of runtimes that have a pool, besides the first one that made a call: with one
/// runtime per core, more than any machine has today. A further runtime replaces the oldest of
/// these pools, whose unused connections close.
const RUNTIMES_MAX: usize = 1024;

/// A pool of one runtime.
pub(crate) trait RuntimePool {
    /// Returns whether the pool holds no connection and has no dial in progress.
    fn is_empty(&self) -> bool;
}

/// The pools of a requester, one for each runtime that makes calls.
///
/// A requester is not bound to a runtime, but each of its connections is: the reactor of that
/// runtime reports events of the socket, and tasks of that runtime drive the connection. When the
/// runtime ends, those tasks end and their connections close. While the runtime is alive but not
/// driven, its connections stall; calls of other runtimes do not depend on them.
pub(crate) struct Pools<P> {
    make: Box<dyn Fn() -> P + Send + Sync>,
    /// Pool of the runtime that made the first call. Most programs have no other runtime, and reach
    /// this pool without a lock.
    first: OnceLock<(Id, P)>,
    others: Mutex<Vec<(Id, Arc<P>)>>,
}

/// The pool of the current runtime.
pub(crate) enum CurrentPool<'a, P> {
    First(&'a P),
    Other(Arc<P>),
}

impl<P: RuntimePool> Pools<P> {
    pub(crate) fn new(make: impl Fn() -> P + Send + Sync + 'static) -> Self {
        Self { make: Box::new(make), first: OnceLock::new(), others: Mutex::default() }
    }

    /// Returns the pool of the current runtime.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition`, not sent, outside of a tokio runtime.
    pub(crate) fn current(&self) -> Result<CurrentPool<'_, P>, Error> {
        let id = Handle::try_current().map_err(|_| outside_of_a_runtime())?.id();
        let (first, pool) = self.first.get_or_init(|| (id, (self.make)()));
        if *first == id {
            return Ok(CurrentPool::First(pool));
        }
        Ok(CurrentPool::Other(self.other(id)))
    }

    fn other(&self, id: Id) -> Arc<P> {
        let mut others = lock(&self.others);
        if let Some((_, pool)) = others.iter().find(|(known, _)| *known == id) {
            return Arc::clone(pool);
        }
        // Pools of runtimes that have ended are empty, and no call uses them.
        let unused = |pool: &Arc<P>| Arc::strong_count(pool) == 1 && pool.is_empty();
        others.retain(|(_, pool)| !unused(pool));
        let evicted = (others.len() >= RUNTIMES_MAX).then(|| others.remove(0));
        let pool = Arc::new((self.make)());
        others.push((id, Arc::clone(&pool)));
        // Closes connections, which may be streams of the application: not under the lock.
        drop(others);
        drop(evicted);
        pool
    }
}

impl<P> Deref for CurrentPool<'_, P> {
    type Target = P;

    fn deref(&self) -> &P {
        match self {
            Self::First(pool) => pool,
            Self::Other(pool) => pool,
        }
    }
}

impl<P> fmt::Debug for Pools<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pools").finish_non_exhaustive()
    }
}

fn outside_of_a_runtime() -> Error {
    let message = "a call over HTTP needs a tokio runtime";
    Error::failure(Code::FailedPrecondition, Delivery::NotSent, None, message)
        .with_hint("await the call within a tokio runtime with IO and time enabled")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    struct Pool {
        number: usize,
        empty: AtomicBool,
    }

    impl RuntimePool for Pool {
        fn is_empty(&self) -> bool {
            self.empty.load(Ordering::Relaxed)
        }
    }

    fn pools() -> Pools<Pool> {
        let made = AtomicUsize::new(0);
        Pools::new(move || Pool {
            number: made.fetch_add(1, Ordering::Relaxed),
            empty: AtomicBool::new(false),
        })
    }

    fn runtime() -> Runtime {
        Builder::new_current_thread().build().unwrap()
    }

    fn number_in(runtime: &Runtime, pools: &Pools<Pool>) -> usize {
        let _inside = runtime.enter();
        pools.current().unwrap().number
    }

    #[test]
    fn each_runtime_keeps_the_pool_that_it_has() {
        let (pools, runtimes) = (pools(), [runtime(), runtime(), runtime()]);
        for _ in 0..3 {
            let numbers = [0, 1, 2].map(|at| number_in(&runtimes[at], &pools));
            assert_eq!(numbers, [0, 1, 2]);
        }
        assert_eq!(pools.current().map(|_| ()).unwrap_err().delivery(), Delivery::NotSent);
    }

    #[test]
    fn empty_pools_go_when_another_runtime_comes_and_full_ones_stay_up_to_a_limit() {
        let (pools, first, kept) = (pools(), runtime(), runtime());
        assert_eq!((number_in(&first, &pools), number_in(&kept, &pools)), (0, 1));
        for _ in 0..10 {
            let passing = runtime();
            let _inside = passing.enter();
            pools.current().unwrap().empty.store(true, Ordering::Relaxed);
        }
        assert!(lock(&pools.others).len() <= 2);
        assert_eq!((number_in(&first, &pools), number_in(&kept, &pools)), (0, 1));
        let many: Vec<_> = (0..RUNTIMES_MAX).map(|_| runtime()).collect();
        for runtime in &many {
            number_in(runtime, &pools);
        }
        assert_eq!(lock(&pools.others).len(), RUNTIMES_MAX);
        assert_eq!(number_in(&first, &pools), 0, "the first one stays");
        assert_ne!(number_in(&kept, &pools), 1, "it came first among the others");
    }
}

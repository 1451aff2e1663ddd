//! Two workers that share a lock: it is never free again when its release is lost.

use std::sync::Arc;
use std::time::Duration;

use rr_core::{Error, HandlerExt, RequesterExt, Service};
use rr_testkit::worlds::{Network, NetworkClient};
use tokio::time::{Instant, sleep};

use super::support::{Kept, assert_found, assert_passes, explore, within};

struct Locks {
    /// Worker that holds the lock, and until when.
    holder: Kept<Option<(u32, Instant)>>,
    is_right: bool,
}

impl Locks {
    async fn acquire(self: Arc<Self>, worker: u32) -> Result<bool, Error> {
        let longest = Duration::from_secs(if self.is_right { 5 } else { u64::from(u32::MAX) });
        let (mut holder, now) = (self.holder.lock().unwrap(), Instant::now());
        let is_free = holder.is_none_or(|(other, until)| other == worker || until <= now);
        if is_free {
            *holder = Some((worker, now + longest));
        }
        Ok(is_free)
    }

    async fn release(self: Arc<Self>, worker: u32) -> Result<(), Error> {
        let mut holder = self.holder.lock().unwrap();
        *holder = holder.filter(|(other, _)| *other != worker);
        Ok(())
    }
}

/// Runs the job of a worker; returns whether it got the lock.
async fn work(locks: &NetworkClient, worker: u32) -> bool {
    for _ in 0..5 {
        let ctx = within(1);
        let acquired = locks.call::<bool>(&ctx, "locks.acquire", &worker).idempotent().await;
        if matches!(acquired, Ok(true)) {
            sleep(Duration::from_secs(1)).await;
            // The lock expires by itself.
            let _ = locks.call::<()>(&within(1), "locks.release", &worker).idempotent().await;
            return true;
        }
        sleep(Duration::from_secs(6)).await;
    }
    false
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    let locks = Arc::new(Locks { holder: Kept::default(), is_right });
    network.serve("locks", move || {
        Service::new("locks", Arc::clone(&locks))
            .method("acquire", Locks::acquire.idempotent())
            .method("release", Locks::release.idempotent())
    });

    let [first, second] = ["first", "second"].map(|from| network.client(from, "locks"));
    let (first, second) = tokio::join!(biased; work(&first, 1), work(&second, 2));

    assert!(first && second, "a worker never got the lock");
}

#[test]
fn a_lock_whose_release_is_lost_is_never_free_again() {
    assert_found(
        &explore(false, scenario),
        "first>locks/locks.release#1=connect-fails",
        "a worker never got the lock",
    );
}

#[test]
fn a_lock_that_expires_passes() {
    assert_passes(&explore(true, scenario));
}

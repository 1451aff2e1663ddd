//! Two workers that take a lease before they write: a write that is delayed arrives after the lease
//! has expired, and overwrites what the next worker wrote.

use std::sync::Arc;
use std::time::Duration;

use rr_core::{CallError, Code, Error, HandlerExt, RequesterExt, Service};
use rr_testkit::worlds::{Network, NetworkClient};
use tokio::time::{Instant, sleep};

use super::support::{Kept, assert_found, assert_passes, explore, settle, within};

/// Leases of 3 s. Each has a higher number than those before.
#[derive(Default)]
struct Leases {
    latest: Kept<Option<(u32, Instant)>>,
}

impl Leases {
    async fn take(self: Arc<Self>, (): ()) -> Result<Option<u32>, Error> {
        let (mut latest, now) = (self.latest.lock().unwrap(), Instant::now());
        if latest.is_some_and(|(_, until)| now < until) {
            return Ok(None);
        }
        let lease = latest.map_or(0, |(lease, _)| lease) + 1;
        *latest = Some((lease, now + Duration::from_secs(3)));
        Ok(Some(lease))
    }
}

struct Files {
    /// Leases under which was written.
    written: Kept<Vec<u32>>,
    is_right: bool,
}

impl Files {
    async fn write(self: Arc<Self>, lease: u32) -> Result<(), Error> {
        let mut written = self.written.lock().unwrap();
        if self.is_right && written.last().is_some_and(|latest| *latest > lease) {
            return Err(Error::new(Code::FailedPrecondition, "the lease has expired"));
        }
        written.push(lease);
        Ok(())
    }
}

async fn work(leases: &NetworkClient, files: &NetworkClient) -> Result<(), CallError> {
    for _ in 0..4 {
        if let Some(lease) = leases.call::<Option<u32>>(&within(1), "leases.take", &()).await? {
            return files.call::<()>(&within(10), "files.write", &lease).idempotent().await;
        }
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

pub(crate) async fn scenario(network: Network, is_right: bool) {
    let leases = Arc::new(Leases::default());
    network.serve("leases", move || {
        Service::new("leases", Arc::clone(&leases)).method("take", Leases::take)
    });
    let files = Arc::new(Files { written: Kept::default(), is_right });
    let written = Arc::clone(&files.written);
    network.serve("files", move || {
        Service::new("files", Arc::clone(&files)).method("write", Files::write.idempotent())
    });

    let worker = |name: &str| (network.client(name, "leases"), network.client(name, "files"));
    let (first, second) = (worker("first"), worker("second"));
    let late = async {
        sleep(Duration::from_secs(1)).await;
        work(&second.0, &second.1).await
    };
    let _ = tokio::join!(biased; work(&first.0, &first.1), late);
    settle(&network).await;

    let written = written.lock().unwrap();
    assert!(written.is_sorted(), "the writes came under the leases {written:?}");
}

#[test]
fn a_write_that_outlives_its_lease_overwrites_the_next() {
    assert_found(
        &explore(false, scenario),
        "first>files/files.write#1=delayed",
        "the writes came under the leases [2, 1]",
    );
}

#[test]
fn files_that_refuse_an_older_lease_pass() {
    assert_passes(&explore(true, scenario));
}

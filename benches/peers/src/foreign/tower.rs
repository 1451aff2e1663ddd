//! tower's layers around an echo: timeout, retry and limit.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::time::Duration;

use crate::Client;
use bytes::Bytes;
use tower::retry::Policy;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder, ServiceExt as _, service_fn};

use super::Result;

/// Tries a failed call again, at most twice.
#[derive(Clone)]
struct Attempts(u32);

impl Policy<Bytes, Bytes, BoxError> for Attempts {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _: &mut Bytes,
        outcome: &mut Result<Bytes, BoxError>,
    ) -> Option<Self::Future> {
        if outcome.is_ok() {
            return None;
        }
        self.0 = self.0.checked_sub(1)?;
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &Bytes) -> Option<Bytes> {
        Some(request.clone())
    }
}

#[derive(Clone)]
struct Tower(BoxCloneSyncService<Bytes, Bytes, BoxError>);

async fn echo(body: Bytes) -> Result<Bytes, Infallible> {
    Ok(body)
}

pub(super) async fn connect() -> Result<impl Client> {
    let stack = ServiceBuilder::new()
        .timeout(Duration::from_secs(10))
        .retry(Attempts(2))
        .concurrency_limit(1024)
        .map_err(BoxError::from)
        .service(service_fn(echo));
    Ok(Tower(BoxCloneSyncService::new(stack)))
}

impl Client for Tower {
    async fn call(&self, body: Bytes) {
        let sent = body.len();
        let answer = self.0.clone().oneshot(body).await;
        assert_eq!(answer.expect("the call is answered").len(), sent);
    }
}

//! Routes on every transport of this binary, and a middleware that records requests.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rr_core::{
    Context, Error, Local, Middleware, Next, Request, Requester, Response, Router, Server,
    async_trait, connect, serve,
};

/// Requester of routes, with its server.
pub(super) struct Rig {
    pub(super) name: String,
    pub(super) requester: Arc<dyn Requester>,
    _server: Option<Server>,
}

/// Serves the same routes on each transport; `name` is unique in this binary.
pub(super) async fn rigs(name: &str, router: impl Fn() -> Router) -> Vec<Rig> {
    let local = Arc::new(Local::new(router()));
    let mut rigs = vec![Rig { name: "local".to_owned(), requester: local, _server: None }];
    let mut urls = Vec::new();
    if cfg!(feature = "memory") {
        urls.push(format!("memory://{name}"));
    }
    if cfg!(feature = "http") {
        urls.push("http://127.0.0.1:0".to_owned());
    }
    for url in urls {
        let server = serve(&url, router()).await.unwrap();
        let client = connect(server.url()).await.unwrap();
        rigs.push(Rig { name: url, requester: Arc::new(client), _server: Some(server) });
    }
    rigs
}

pub(super) fn ctx() -> Context {
    Context::background().with_timeout(Duration::from_secs(20))
}

/// Middleware that records each request, and answers with a header.
#[derive(Clone, Default)]
pub(super) struct Recorder(Arc<Mutex<Vec<Request>>>);

impl Recorder {
    /// Returns the latest request.
    pub(super) fn latest(&self) -> Request {
        self.0.lock().unwrap().last().cloned().expect("a request came")
    }

    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

#[async_trait]
impl Middleware for Recorder {
    async fn handle(
        &self,
        ctx: &Context,
        request: Request,
        next: Next<'_>,
    ) -> Result<Response, Error> {
        self.0.lock().unwrap().push(request.clone());
        let mut response = next.run(ctx, request).await?;
        response.headers.insert("x-served-by", "shop")?;
        Ok(response)
    }
}

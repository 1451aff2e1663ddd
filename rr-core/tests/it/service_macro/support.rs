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
    #[cfg(feature = "nats")]
    _nats: Option<Arc<rr_testkit::NatsServer>>,
}

impl Rig {
    fn new(name: &str, requester: impl Requester, server: Option<Server>) -> Self {
        Self {
            name: name.to_owned(),
            requester: Arc::new(requester),
            _server: server,
            #[cfg(feature = "nats")]
            _nats: None,
        }
    }

    /// Serves routes at a URL.
    async fn serve(url: &str, router: Router) -> Self {
        let server = serve(url, router).await.unwrap();
        let client = connect(server.url()).await.unwrap();
        client.ready(&ctx()).await.unwrap();
        Self::new(url, client, Some(server))
    }
}

/// Serves the same routes on each transport; `name` is unique in this binary.
pub(super) async fn rigs(name: &str, router: impl Fn() -> Router) -> Vec<Rig> {
    let mut rigs = vec![Rig::new("local", Local::new(router()), None)];
    if cfg!(feature = "memory") {
        rigs.push(Rig::serve(&format!("memory://{name}"), router()).await);
    }
    if cfg!(feature = "http") {
        rigs.push(Rig::serve("http://127.0.0.1:0", router()).await);
    }
    #[cfg(feature = "nats")]
    {
        let nats = rr_testkit::NatsServer::start().await.expect("a nats-server starts");
        let rig = Rig::serve(&format!("{}/{name}", nats.url()), router()).await;
        rigs.push(Rig { _nats: Some(Arc::new(nats)), ..rig });
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

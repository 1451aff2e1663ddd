//! hyper-util's pooling client.

use crate::Client;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::Result;

#[derive(Clone)]
struct Pooled {
    client: legacy::Client<HttpConnector, Full<Bytes>>,
    uri: hyper::Uri,
}

pub(super) async fn connect(address: String) -> Result<impl Client> {
    let mut connector = HttpConnector::new();
    // Off by default.
    connector.set_nodelay(true);
    let client = legacy::Client::builder(TokioExecutor::new()).build(connector);
    Ok(Pooled { client, uri: format!("http://{address}/bench/echo").parse()? })
}

impl Client for Pooled {
    async fn call(&self, body: Bytes) {
        let sent = body.len();
        let request =
            hyper::Request::post(self.uri.clone()).body(Full::new(body)).expect("a valid request");
        let answer = self.client.request(request).await.expect("the call is answered");
        let received = answer.into_body().collect().await.expect("the body arrives").to_bytes();
        assert_eq!(received.len(), sent);
    }
}

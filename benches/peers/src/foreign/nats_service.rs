//! async-nats's service API, one request at a time, as its documentation shows.

use async_nats::service::ServiceExt as _;
use futures_util::StreamExt as _;

use super::nats::{address, subject};
use super::{Result, Served};

pub(super) async fn serve(broker: String) -> Result<Served> {
    let client = async_nats::connect(&broker).await?;
    let subject = subject();
    let service = client.service_builder().start("bench", "1.0.0").await?;
    let mut endpoint = service.endpoint(&subject).await?;
    client.flush().await?;
    let answering = tokio::spawn(async move {
        // The service ends when it is dropped.
        let _service = service;
        while let Some(request) = endpoint.next().await {
            let body = request.message.payload.clone();
            let _ = request.respond(Ok(body)).await;
        }
    });
    Ok(Served::new(address(&broker, &subject), answering))
}

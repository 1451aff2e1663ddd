//! Connectors of the application. Their panics are contained.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rr_spi::BoxFuture;

use crate::socket::{Foreign, Socket, Stream, contained, panicked};

/// Connector of the application.
pub(crate) struct Connector(Box<Connect>);

type Connect = dyn Fn() -> BoxFuture<'static, io::Result<Socket>> + Send + Sync;

impl Connector {
    pub(crate) fn new<F, C, S>(connect: F) -> Self
    where
        F: Fn() -> C + Send + Sync + 'static,
        C: Future<Output = io::Result<S>> + Send + 'static,
        S: Stream,
    {
        Self(Box::new(move || {
            let connecting = connect();
            Box::pin(async move { Ok(Socket::Stream(Foreign::new(connecting.await?))) })
        }))
    }

    pub(crate) async fn connect(&self) -> io::Result<Socket> {
        let connecting = contained(|| (self.0)())?;
        Connecting(Some(connecting)).await
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

/// Future of the application that makes a stream.
struct Connecting(Option<BoxFuture<'static, io::Result<Socket>>>);

impl Future for Connecting {
    type Output = io::Result<Socket>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Socket>> {
        let Some(connecting) = &mut self.0 else { return Poll::Ready(Err(panicked())) };
        contained(|| connecting.as_mut().poll(cx)).unwrap_or_else(|error| Poll::Ready(Err(error)))
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        let connecting = self.0.take();
        let _ = contained(|| drop(connecting));
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::*;

    async fn later() -> io::Result<DuplexStream> {
        panic!("later")
    }

    #[tokio::test]
    async fn a_connector_that_panics_is_an_error() {
        let now =
            Connector::new(|| -> std::future::Ready<io::Result<DuplexStream>> { panic!("now") });
        for connector in [now, Connector::new(later)] {
            assert!(connector.connect().await.is_err());
        }
    }
}

//! Schemes of URLs: how the bytes of a connection travel.

use rr_spi::{Code, Delivery, Error, excerpt};

/// Scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// `nats://`, over TCP.
    Nats,
    /// `nats+tls://` or `tls://`, over TLS.
    Tls,
    /// `ws://`, over a websocket.
    WebSocket,
    /// `wss://`, over a websocket over TLS.
    SecureWebSocket,
}

impl Scheme {
    /// Parses the scheme of a URL.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, if it is unknown, or needs a feature that is not enabled.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let scheme = match text {
            "nats" => Self::Nats,
            "nats+tls" | "tls" => Self::Tls,
            "ws" => Self::WebSocket,
            "wss" => Self::SecureWebSocket,
            _ => {
                let message = format!("the scheme of a NATS URL cannot be `{}`", excerpt(text, 32));
                return Err(invalid(message).with_hint("use `nats`, `nats+tls`, `ws` or `wss`"));
            }
        };
        match scheme.missing_feature() {
            None => Ok(scheme),
            Some(feature) => Err(invalid(format!("`{text}://` is not compiled in"))
                .with_hint(format!("enable the feature `{feature}` of rr-core or rr-nats"))),
        }
    }

    fn missing_feature(self) -> Option<&'static str> {
        if self.is_secure() && !cfg!(feature = "tls") {
            return Some("tls");
        }
        (self.is_websocket() && !cfg!(feature = "websockets")).then_some("websockets")
    }

    pub(crate) fn is_websocket(self) -> bool {
        matches!(self, Self::WebSocket | Self::SecureWebSocket)
    }

    pub(crate) fn is_secure(self) -> bool {
        self.secure_form().is_none()
    }

    /// Returns the scheme that requires TLS instead; `None` if this one does.
    pub(crate) fn secure_form(self) -> Option<&'static str> {
        match self {
            Self::Nats => Some("nats+tls"),
            Self::WebSocket => Some("wss"),
            Self::Tls | Self::SecureWebSocket => None,
        }
    }

    /// Returns the port of a host for which a URL names none.
    pub(crate) fn port_default(self) -> u16 {
        match self {
            Self::Nats | Self::Tls => 4222,
            Self::WebSocket => 80,
            Self::SecureWebSocket => 443,
        }
    }

    /// Returns the name of the scheme in the client library.
    pub(crate) fn in_library(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::Tls => "tls",
            Self::WebSocket => "ws",
            Self::SecureWebSocket => "wss",
        }
    }
}

fn invalid(message: String) -> Error {
    Error::failure(Code::InvalidArgument, Delivery::NotSent, None, message)
}

//! Codecs: how typed values become the bytes of a body, named by a content type.
//!
//! [`Json`] is the default on both sides. A client selects another codec with
//! [`RequesterExt::codec`](crate::RequesterExt::codec). A handler lists the codecs that it accepts
//! with [`HandlerExt::accepts`](crate::HandlerExt::accepts), answers in the codec of the request, and
//! refuses a request of another content type as `Unimplemented`, `codec`, with the list.
//!
//! | codec | content type | values | feature |
//! |---|---|---|---|
//! | [`Json`] | `application/json` | serde | |
//! | [`Text`] | `text/plain` | `String`, `str`, unit as an empty body | |
//! | [`OctetStream`] | `application/octet-stream` | `Bytes`, `Vec<u8>`, `[u8]`, unit as an empty body | |
#![cfg_attr(
    feature = "form",
    doc = "| [`Form`] | `application/x-www-form-urlencoded`; replies are JSON | serde | `form` |"
)]
#![cfg_attr(feature = "cbor", doc = "| [`Cbor`] | `application/cbor` | serde | `cbor` |")]
#![cfg_attr(
    feature = "messagepack",
    doc = "| [`MessagePack`] | `application/msgpack` | serde | `messagepack` |"
)]
#![cfg_attr(
    feature = "postcard",
    doc = "| [`Postcard`] | `application/postcard` | serde | `postcard` |"
)]
#![cfg_attr(
    feature = "protobuf",
    doc = "| [`Protobuf`] | `application/proto` | messages of prost | `protobuf` |"
)]
//!
//! # Examples
//!
//! ```
//! use rr_core::codec::{Json, Text};
//! use rr_core::{CallError, Context, Error, HandlerExt, Local, RequesterExt, Router};
//!
//! async fn shout(text: String) -> Result<String, Error> {
//!     Ok(text.to_uppercase())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), CallError> {
//! let local = Local::new(Router::new().route("text.shout", shout.accepts((Json, Text))));
//! let ctx = Context::background();
//! let as_json: String = local.call(&ctx, "text.shout", "hello").await?;
//! let as_text: String = local.codec(Text).call(&ctx, "text.shout", "hello").await?;
//! assert_eq!(as_json, as_text);
//! # Ok(()) }
//! ```

#[cfg(feature = "cbor")]
mod cbor;
#[cfg(feature = "form")]
mod form;
mod json;
#[cfg(feature = "messagepack")]
mod messagepack;
mod plain;
#[cfg(feature = "postcard")]
mod postcard;
#[cfg(feature = "protobuf")]
mod protobuf;
mod set;
pub(crate) mod transcode;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::sync::Arc;

use bytes::Bytes;
use rr_spi::{Code, Delivery, Error, Reason};

#[cfg(feature = "cbor")]
pub use cbor::Cbor;
#[cfg(feature = "form")]
pub use form::Form;
pub use json::Json;
#[cfg(feature = "messagepack")]
pub use messagepack::MessagePack;
pub use plain::{OctetStream, Text};
#[cfg(feature = "postcard")]
pub use postcard::Postcard;
#[cfg(feature = "protobuf")]
pub use protobuf::Protobuf;
pub use set::CodecSet;

/// Encoding of typed values, named by a content type. Implemented by marker types.
///
/// # For implementors
///
/// Implement [`Encode`] and [`Decode`] for the values that the codec can carry. `CONTENT_TYPE` has
/// no parameters and is in lower case; a received content type is compared without its parameters
/// and without regard to case. A panic of a codec becomes an error of the call.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use rr_core::codec::{Codec, CodecError, Decode, Encode};
///
/// /// Numbers as four bytes, most significant first.
/// #[derive(Clone, Copy)]
/// struct BigEndian;
///
/// impl Codec for BigEndian {
///     const CONTENT_TYPE: &'static str = "application/x-big-endian";
/// }
///
/// impl Encode<u32> for BigEndian {
///     fn encode(value: &u32) -> Result<Bytes, CodecError> {
///         Ok(Bytes::copy_from_slice(&value.to_be_bytes()))
///     }
/// }
///
/// impl Decode<u32> for BigEndian {
///     fn decode(body: &Bytes) -> Result<u32, CodecError> {
///         let bytes = body.as_ref().try_into();
///         let bytes = bytes.map_err(|_| CodecError::new("the body is not four bytes"))?;
///         Ok(u32::from_be_bytes(bytes))
///     }
/// }
///
/// assert_eq!(BigEndian::decode(&BigEndian::encode(&7)?)?, 7);
/// # Ok::<(), CodecError>(())
/// ```
pub trait Codec: Send + Sync + 'static {
    /// Content type of a request in this codec.
    const CONTENT_TYPE: &'static str;

    /// Content type of a reply; the same, unless the codec is for requests only.
    const REPLY_CONTENT_TYPE: &'static str = Self::CONTENT_TYPE;
}

/// Encoding of values of type `T`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot encode `{T}`",
    label = "`{T}` cannot be encoded by this codec",
    note = "`Json` and the other serde codecs encode types that implement `serde::Serialize`: add `#[derive(serde::Serialize)]`"
)]
pub trait Encode<T: ?Sized>: Codec {
    /// Encodes a value.
    ///
    /// # Errors
    ///
    /// [`CodecError`], when the value has no encoding.
    fn encode(value: &T) -> Result<Bytes, CodecError>;

    /// Encodes the value of a reply; as [`Encode::encode`], unless the codec is for requests only.
    ///
    /// # Errors
    ///
    /// As [`Encode::encode`].
    fn encode_reply(value: &T) -> Result<Bytes, CodecError> {
        Self::encode(value)
    }
}

/// Value that the codec `C` encodes: implemented for every type that `C` [encodes](Encode).
///
/// A call that takes such a value names no type but that of its reply.
pub trait EncodedBy<C> {
    /// Encodes the value.
    ///
    /// # Errors
    ///
    /// As [`Encode::encode`].
    fn encoded(&self) -> Result<Bytes, CodecError>;
}

impl<C: Encode<T>, T: ?Sized> EncodedBy<C> for T {
    fn encoded(&self) -> Result<Bytes, CodecError> {
        C::encode(self)
    }
}

/// Decoding of values of type `T`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot decode `{T}`",
    label = "`{T}` cannot be decoded by this codec",
    note = "`Json` and the other serde codecs decode types that implement `serde::de::DeserializeOwned`: add `#[derive(serde::Deserialize)]`"
)]
pub trait Decode<T>: Codec {
    /// Decodes a value.
    ///
    /// # Errors
    ///
    /// [`CodecError`], with the place and the reason, when the body does not decode to `T`.
    fn decode(body: &Bytes) -> Result<T, CodecError>;

    /// Decodes the value of a reply; as [`Decode::decode`], unless the codec is for requests only.
    ///
    /// # Errors
    ///
    /// As [`Decode::decode`].
    fn decode_reply(body: &Bytes) -> Result<T, CodecError> {
        Self::decode(body)
    }
}

/// Error of a value that has no encoding, or of a body that does not decode to a type.
///
/// The text may be sent to the caller of a service: it names the place in the body and never quotes
/// a value. The underlying error, which may quote values, is the source and stays in this process.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct CodecError {
    text: Cow<'static, str>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl CodecError {
    /// Makes an error with a text that may be sent to callers.
    #[must_use]
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), source: None }
    }

    /// Sets the underlying error, which never travels.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Makes the error of a body with bytes after its value.
    #[cfg(any(feature = "cbor", feature = "messagepack", feature = "postcard"))]
    fn trailing(at: usize) -> Self {
        Self::new(format!("the body has bytes after its value (byte {at})"))
    }

    /// Converts to the error of a call or a request.
    fn into_error(self, code: Code, delivery: Delivery, reason: Option<Reason>) -> Error {
        let error = Error::failure(code, delivery, reason, self.text);
        match self.source {
            Some(source) => error.with_shared_source(source),
            None => error,
        }
    }
}

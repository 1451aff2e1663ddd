//! Codecs: the default, a list for a method, and codecs of the application.

#![cfg(feature = "json")]

use rr_core::codec::{Codec, CodecError, Decode, Encode, Json, OctetStream, Text};
use rr_core::{
    Bytes, CallError, Code, Context, Delivery, Error, HandlerExt, Headers, Reason, Reply,
    RequesterExt, Router,
};
use serde::{Deserialize, Serialize};

use crate::everywhere::everywhere;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    items: Vec<String>,
}

#[cfg(any(feature = "cbor", feature = "messagepack", feature = "postcard", feature = "form"))]
fn order() -> Order {
    Order { id: 7, items: vec!["tea".to_owned(), "milk & honey".to_owned()] }
}

async fn echo(order: Order) -> Result<Reply<Order>, Error> {
    Ok(Reply::new(order).header("x-seen", "yes"))
}

async fn upper(_: Context, text: String) -> Result<String, Error> {
    Ok(text.to_uppercase())
}

async fn reverse(bytes: Bytes) -> Result<Vec<u8>, Error> {
    Ok(bytes.iter().rev().copied().collect())
}

/// Codec of the application: numbers as four bytes, most significant first.
#[derive(Clone, Copy)]
struct BigEndian;

impl Codec for BigEndian {
    const CONTENT_TYPE: &'static str = "application/x-big-endian";
}

impl Encode<u32> for BigEndian {
    fn encode(value: &u32) -> Result<Bytes, CodecError> {
        Ok(Bytes::copy_from_slice(&value.to_be_bytes()))
    }
}

impl Decode<u32> for BigEndian {
    fn decode(body: &Bytes) -> Result<u32, CodecError> {
        let bytes = body.as_ref().try_into();
        let bytes = bytes.map_err(|_| CodecError::new("the body is not four bytes"))?;
        Ok(u32::from_be_bytes(bytes))
    }
}

async fn version((): ()) -> Result<&'static str, Error> {
    Ok("1.0")
}

async fn double(n: u32) -> Result<u32, Error> {
    Ok(n * 2)
}

fn router() -> Router {
    Router::new()
        .route("text.upper", upper.accepts(Text).safe())
        .route("bytes.reverse", reverse.accepts(OctetStream))
        .route("text.version", version.accepts(Text))
        .route("math.double", double.accepts((Json, BigEndian)))
        .route("orders.json", echo)
}

/// Returns the content type of a reply; on NATS, JSON is not named.
fn content_type<'a>(url: &str, headers: &'a Headers) -> &'a str {
    let default = if url.starts_with("nats:") { "application/json" } else { "none" };
    headers.get("content-type").unwrap_or(default)
}

#[tokio::test]
async fn text_bytes_and_codecs_of_the_application_travel_on_every_transport() {
    everywhere("codecs", router, async |url, client| {
        let ctx = Context::background();
        let text: String = client.codec(Text).call(&ctx, "text.upper", "tea").await.unwrap();
        assert_eq!(text, "TEA", "{url}");
        let call = client.codec(Text).call(&ctx, "text.upper", "ä").safe();
        let reply: Reply<String> = call.reply().await.unwrap();
        assert_eq!(reply.headers().get("content-type"), Some("text/plain"), "{url}");
        let version: String = client.codec(Text).call(&ctx, "text.version", &()).await.unwrap();
        assert_eq!(version, "1.0", "{url}");
        let bytes = client.codec(OctetStream);
        let reversed: Vec<u8> =
            bytes.call(&ctx, "bytes.reverse", [1, 2, 0].as_slice()).await.unwrap();
        assert_eq!(reversed, [0, 2, 1], "{url}");
        let four: u32 = client.codec(BigEndian).call(&ctx, "math.double", &2).await.unwrap();
        let as_json: u32 = client.call(&ctx, "math.double", &2).await.unwrap();
        assert_eq!((four, as_json), (4, 4), "{url}");
        // Without a content type, a request is JSON.
        let raw = client.call_raw(&ctx, "math.double", "21").await.unwrap();
        assert_eq!(raw.body, "42", "{url}");
        assert_eq!(content_type(url, &raw.headers), "application/json", "{url}");
    })
    .await;
}

#[tokio::test]
async fn a_codec_that_a_method_does_not_have_is_refused_with_the_list() {
    everywhere("codec-refusals", router, async |url, client| {
        let ctx = Context::background();
        let outcome = client.codec(Text).call::<String>(&ctx, "math.double", "2").await;
        let Err(CallError::Rr(error)) = outcome else { panic!("{url}: {outcome:?}") };
        let known = (error.code(), error.delivery(), error.reason());
        let expected = (Code::Unimplemented, Delivery::Rejected, Some(&Reason::CODEC));
        assert_eq!(known, expected, "{url}: {error}");
        let as_json = client.call::<String>(&ctx, "text.upper", "tea").await;
        let Err(CallError::Rr(refused)) = as_json else { panic!("{url}: {as_json:?}") };
        assert_eq!(refused.reason(), Some(&Reason::CODEC), "{url}: {refused}");
        assert!(refused.message().contains("send text/plain"), "{url}: {refused}");
        let list = "send application/json or application/x-big-endian";
        assert!(error.message().contains(list), "{url}: {error}");
        let outcome = client.codec(BigEndian).call::<u32>(&ctx, "orders.json", &2).await;
        let Err(CallError::Rr(error)) = outcome else { panic!("{url}: {outcome:?}") };
        assert_eq!(error.reason(), Some(&Reason::CODEC), "{url}: {error}");
        let short = client.call_raw(&ctx, "math.double", "1");
        let error = short.header("content-type", "application/x-big-endian").await.unwrap_err();
        assert_eq!((error.code(), error.delivery()), (Code::InvalidArgument, Delivery::Rejected));
        assert_eq!(error.message(), "the body is not four bytes", "{url}");
    })
    .await;
}

/// Sends an order in a codec to a method that also accepts JSON, and checks the reply.
#[cfg(any(feature = "cbor", feature = "messagepack", feature = "postcard", feature = "form"))]
async fn round_trip<C>(name: &str, codec: C)
where
    C: Codec + Copy + Encode<Order> + Decode<Order>,
{
    let router = || Router::new().route("orders.echo", echo.accepts((Json, codec)));
    everywhere(name, router, async |url, client| {
        let ctx = Context::background();
        let call = client.codec(codec).call(&ctx, "orders.echo", &order());
        let reply: Reply<Order> = call.reply().await.expect("the order is echoed");
        assert_eq!(content_type(url, reply.headers()), C::REPLY_CONTENT_TYPE, "{url}");
        assert_eq!(reply.headers().get("x-seen"), Some("yes"), "{url}");
        assert_eq!(reply.into_value(), order(), "{url}");
    })
    .await;
    // Bodies that end early or go on are refused before the handler runs.
    let local = rr_core::Local::new(router());
    let whole = C::encode(&order()).expect("an order can be encoded");
    for body in [whole.slice(..whole.len() / 2), [&whole[..], &[0, 7]].concat().into()] {
        let ctx = Context::background();
        let call = local.call_raw(&ctx, "orders.echo", body);
        let outcome = call.header("content-type", C::CONTENT_TYPE).await;
        if let Err(error) = &outcome {
            let known = (error.code(), error.delivery());
            assert_eq!(known, (Code::InvalidArgument, Delivery::Rejected), "{name}: {error}");
        }
        assert!(outcome.is_err() || name == "form", "{name}: {outcome:?}");
    }
}

#[cfg(feature = "cbor")]
#[tokio::test]
async fn cbor_round_trips() {
    round_trip("cbor", rr_core::codec::Cbor).await;
}

#[cfg(feature = "messagepack")]
#[tokio::test]
async fn messagepack_round_trips() {
    round_trip("messagepack", rr_core::codec::MessagePack).await;
}

#[cfg(feature = "postcard")]
#[tokio::test]
async fn postcard_round_trips() {
    round_trip("postcard", rr_core::codec::Postcard).await;
}

#[cfg(feature = "form")]
#[tokio::test]
async fn a_form_is_answered_in_json() {
    round_trip("form", rr_core::codec::Form).await;
}

#[cfg(feature = "protobuf")]
mod protobuf {
    use prost::Message;
    use rr_core::codec::Protobuf;

    use super::*;

    #[derive(Clone, PartialEq, Message)]
    struct Ping {
        #[prost(uint32, tag = "1")]
        count: u32,
        #[prost(string, repeated, tag = "2")]
        names: Vec<String>,
    }

    async fn ping(ping: Ping) -> Result<Ping, Error> {
        Ok(Ping { count: ping.count + 1, names: ping.names })
    }

    #[tokio::test]
    async fn messages_of_prost_need_no_serde() {
        let router = || Router::new().route("ping", ping.accepts(Protobuf).safe());
        everywhere("protobuf", router, async |url, client| {
            let ctx = Context::background();
            let sent = Ping { count: 1, names: vec!["a".to_owned()] };
            let reply: Ping = client.codec(Protobuf).call(&ctx, "ping", &sent).await.unwrap();
            assert_eq!((reply.count, reply.names), (2, vec!["a".to_owned()]), "{url}");
            let call = client.call_raw(&ctx, "ping", "\u{ff}\u{ff}");
            let error = call.header("content-type", "application/proto").await.unwrap_err();
            let known = (error.code(), error.delivery());
            assert_eq!(known, (Code::InvalidArgument, Delivery::Rejected), "{url}: {error}");
        })
        .await;
    }
}

/// A list of lists, as deep as the sender likes.
#[cfg(any(feature = "cbor", feature = "messagepack"))]
#[derive(Debug, Serialize, Deserialize)]
struct Nested(Vec<Self>);

#[cfg(any(feature = "cbor", feature = "messagepack"))]
#[tokio::test(start_paused = true)]
async fn a_body_that_is_nested_too_deep_is_refused() {
    async fn nested(_: Nested) -> Result<(), Error> {
        Ok(())
    }
    let mut codecs: Vec<(&str, u8)> = Vec::new();
    // A list of one element, in the bytes of each format.
    if cfg!(feature = "cbor") {
        codecs.push(("application/cbor", 0x81));
    }
    if cfg!(feature = "messagepack") {
        codecs.push(("application/msgpack", 0x91));
    }
    let mut router = Router::new();
    #[cfg(feature = "cbor")]
    {
        router = router.route(
            "application/cbor".replace('/', "-").as_str(),
            nested.accepts(rr_core::codec::Cbor),
        );
    }
    #[cfg(feature = "messagepack")]
    {
        let target = "application/msgpack".replace('/', "-");
        router = router.route(&target, nested.accepts(rr_core::codec::MessagePack));
    }
    let local = rr_core::Local::new(router);
    for (content_type, list) in codecs {
        let ctx = Context::background();
        let target = content_type.replace('/', "-");
        let call = local.call_raw(&ctx, target.as_str(), vec![list; 100_000]);
        let error = call.header("content-type", content_type).await.unwrap_err();
        let known = (error.code(), error.delivery());
        assert_eq!(known, (Code::InvalidArgument, Delivery::Rejected), "{content_type}: {error}");
    }
}

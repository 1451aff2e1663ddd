//! Methods in other codecs than JSON.

use rr_core::codec::{self, Codec, CodecError, Decode, Encode, OctetStream, Text};
use rr_core::{Bytes, Code, Context, Error, RequesterExt, Router, async_trait, service};

use super::support::{Recorder, ctx, rigs};

/// Numbers as decimal digits, for a type that serde does not know.
#[derive(Clone, Copy, Debug)]
struct Digits;

#[derive(Debug, PartialEq)]
struct Number(u32);

impl Codec for Digits {
    const CONTENT_TYPE: &'static str = "application/x-digits";
}

impl Encode<Number> for Digits {
    fn encode(value: &Number) -> Result<Bytes, CodecError> {
        Ok(value.0.to_string().into())
    }
}

impl Decode<Number> for Digits {
    fn decode(body: &Bytes) -> Result<Number, CodecError> {
        let text = std::str::from_utf8(body).ok().and_then(|text| text.parse().ok());
        text.map(Number).ok_or_else(|| CodecError::new("the body is not a number"))
    }
}

#[service("encoded")]
trait Encoded {
    #[rr(codec = [Text, codec::Json])]
    async fn shout(&self, ctx: &Context, text: String) -> Result<String, Error>;

    #[rr(codec = OctetStream)]
    async fn reverse(&self, ctx: &Context, bytes: Vec<u8>) -> Result<Vec<u8>, Error>;

    #[rr(codec = Digits)]
    async fn double(&self, ctx: &Context, number: Number) -> Result<Number, Error>;
}

struct Plainly;

#[async_trait]
impl Encoded for Plainly {
    async fn shout(&self, _: &Context, text: String) -> Result<String, Error> {
        Ok(text.to_uppercase())
    }

    async fn reverse(&self, _: &Context, mut bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
        bytes.reverse();
        Ok(bytes)
    }

    async fn double(&self, _: &Context, number: Number) -> Result<Number, Error> {
        Ok(Number(number.0 * 2))
    }
}

#[tokio::test]
async fn the_client_sends_the_first_codec_and_the_server_accepts_all() {
    let recorder = Recorder::default();
    let router = || Router::new().with(recorder.clone()).merge(EncodedServer::new(Plainly));
    let ctx = ctx();
    for rig in rigs("service-codecs", router).await {
        let client = EncodedClient::new(std::sync::Arc::clone(&rig.requester));
        assert_eq!(client.shout(&ctx, "abc".to_owned()).await.unwrap(), "ABC", "{}", rig.name);
        assert_eq!(recorder.latest().body, "abc");
        assert_eq!(client.reverse(&ctx, vec![1, 2, 255]).await.unwrap(), [255, 2, 1]);
        assert_eq!(recorder.latest().body, &[1, 2, 255][..]);
        assert_eq!(client.double(&ctx, Number(21)).await.unwrap(), Number(42));
        assert_eq!(recorder.latest().body, "21");
        let call = rig.requester.call::<String>(&ctx, EncodedClient::SHOUT, "abc");
        assert_eq!(call.await.unwrap(), "ABC", "{}", rig.name);
        let call = rig.requester.call_raw(&ctx, EncodedClient::DOUBLE, "21");
        let error = call.header("content-type", "text/plain").await.unwrap_err();
        assert_eq!(error.code(), Code::Unimplemented, "{}", rig.name);
    }
}

#[test]
fn the_description_lists_the_content_types() {
    let types = |method| EncodedClient::description().method(method).unwrap().content_types;
    assert_eq!(types("shout"), ["text/plain", "application/json"]);
    assert_eq!(types("reverse"), ["application/octet-stream"]);
    assert_eq!(types("double"), ["application/x-digits"]);
}

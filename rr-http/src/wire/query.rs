//! The query of a Connect GET.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use rr_spi::wire::percent_decode;

/// URL-safe base64 with optional padding, as the Connect protocol requires of readers.
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Parameters of a Connect GET.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) version: Option<String>,
    pub(crate) encoding: Option<String>,
    pub(crate) compression: Option<String>,
    pub(crate) message: Bytes,
}

/// Reads a query: parameters in any order, unknown ones ignored.
///
/// # Errors
///
/// A description of what is malformed.
pub(crate) fn decode_query(query: &str) -> Result<Query, &'static str> {
    let mut read = Query::default();
    let mut message = None;
    let mut base64 = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let slot = match key {
            "connect" => &mut read.version,
            "encoding" => &mut read.encoding,
            "compression" => &mut read.compression,
            "base64" => &mut base64,
            "message" if message.is_none() => {
                message = Some(unescape(value).ok_or("malformed escape in `message`")?);
                continue;
            }
            "message" => return Err("`message` is repeated"),
            _ => continue,
        };
        let value = unescape(value).and_then(|bytes| String::from_utf8(bytes).ok());
        if slot.replace(value.ok_or("malformed escape in the query")?).is_some() {
            return Err("a parameter is repeated");
        }
    }
    let message = message.unwrap_or_default();
    read.message = match base64.as_deref() {
        Some("1") => URL_SAFE.decode(message).map_err(|_| "`message` is no base64")?.into(),
        None | Some("0") => message.into(),
        Some(_) => return Err("`base64` is neither 0 nor 1"),
    };
    Ok(read)
}

/// Decodes percent-escapes, and `+` as a space, as forms write it.
fn unescape(text: &str) -> Option<Vec<u8>> {
    percent_decode(&text.replace('+', " ")).map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_come_in_any_order_and_unknown_ones_are_ignored() {
        let read = decode_query("x=1&message=%7B%22a%22:+1%7D&connect=v1&encoding=json").unwrap();
        assert_eq!(read.message, r#"{"a": 1}"#);
        assert_eq!((read.version.as_deref(), read.encoding.as_deref()), (Some("v1"), Some("json")));
        assert_eq!(decode_query("").unwrap(), Query::default());
    }

    #[test]
    fn base64_is_url_safe_with_optional_padding() {
        for text in ["_w==", "_w", "_w%3D%3D"] {
            let read = decode_query(&format!("base64=1&message={text}")).unwrap();
            assert_eq!(read.message, &[255][..], "{text}");
        }
        for bad in ["base64=1&message=/w", "base64=2", "message=a&message=b", "message=%4"] {
            assert!(decode_query(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn decode_never_panics(query in "[a-z0-9=&%+_/-]{0,60}") {
            let _ = decode_query(&query);
        }

        #[test]
        fn a_percent_encoded_message_round_trips(message in prop::collection::vec(any::<u8>(), 0..40)) {
            let escaped: String = message.iter().map(|byte| format!("%{byte:02x}")).collect();
            let read = decode_query(&format!("message={escaped}")).unwrap();
            prop_assert_eq!(&read.message[..], &message[..]);
        }
    }
}

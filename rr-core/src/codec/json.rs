//! JSON codec.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Codec, CodecError, Decode, Encode};

/// JSON codec, the default.
///
/// Unit is encoded as `{}`. An empty body, `null` and `{}` all decode to unit.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a marker type has nothing to add")]
pub struct Json;

impl Codec for Json {
    const CONTENT_TYPE: &'static str = "application/json";
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + ?Sized> Encode<T> for Json {
    fn encode(value: &T) -> Result<Bytes, CodecError> {
        let encoded = serde_json::to_vec(value).map_err(|source| {
            CodecError::new("the value cannot be encoded as JSON").with_source(source)
        })?;
        // The only zero-sized values that encode as `null` are unit and unit structs.
        if encoded == b"null" && size_of_val(value) == 0 {
            return Ok(Bytes::from_static(b"{}"));
        }
        Ok(encoded.into())
    }
}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned> Decode<T> for Json {
    fn decode(body: &Bytes) -> Result<T, CodecError> {
        let error = match serde_json::from_slice(body) {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if size_of::<T>() == 0 && is_unit(body) {
            let unit = serde_json::from_slice(b"null").or_else(|_| serde_json::from_slice(b"{}"));
            return unit.map_err(|error| describe::<T>(body, error));
        }
        if body.is_empty() {
            return Err(CodecError::new("the body is empty"));
        }
        Err(describe::<T>(body, error))
    }
}

fn is_unit(body: &[u8]) -> bool {
    matches!(body.trim_ascii(), b"" | b"null" | b"{}")
}

/// Describes the place and the reason of a decoding failure, without quoting a value.
fn describe<T: DeserializeOwned>(body: &[u8], error: serde_json::Error) -> CodecError {
    let kind = match error.classify() {
        serde_json::error::Category::Data => "JSON of another shape",
        serde_json::error::Category::Eof => "JSON that ends early",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "not JSON",
    };
    let mut text = format!("the body is {kind}");
    if let Some(path) = path_of_mismatch::<T>(body) {
        text.push_str(&format!(" at `{path}`"));
    }
    if let Some(reason) = quotable(&error.to_string()) {
        text.push_str(&format!(": {reason}"));
    }
    text.push_str(&format!(" (line {}, column {})", error.line(), error.column()));
    CodecError::new(text).with_source(error)
}

/// Returns the part of serde's reason that comes from the type, such as ``missing field `id` `` or
/// `expected u8`; `None` if there is none. The rest of a reason may quote the body.
fn quotable(reason: &str) -> Option<&str> {
    let reason = &reason[..reason.rfind(" at line ").unwrap_or(reason.len())];
    let starts_with = |known: &[&str]| known.iter().any(|known| reason.starts_with(known));
    if starts_with(&["missing field `", "duplicate field `"]) {
        return Some(reason);
    }
    let is_mismatch = starts_with(&[
        "invalid type: ",
        "invalid value: ",
        "invalid length ",
        "unknown field `",
        "unknown variant `",
    ]);
    // The quoted part of the body comes before it.
    let at = reason.rfind(", expected ").filter(|_| is_mismatch)?;
    Some(&reason[at + ", ".len()..])
}

/// Returns the path of the failure, such as `items[1].price`; `None` for the whole body. Decodes a
/// second time, at a cost that only failed bodies have.
fn path_of_mismatch<T: DeserializeOwned>(body: &[u8]) -> Option<String> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let failed = serde_path_to_error::deserialize::<_, T>(&mut json).err()?;
    let path = failed.path().to_string();
    (path != ".").then_some(path)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    fn decode<T: DeserializeOwned>(body: &Bytes) -> Result<T, CodecError> {
        Json::decode(body)
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Empty {}

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Unit;

    #[test]
    fn unit_is_written_as_an_object_and_read_leniently() {
        assert_eq!(Json::encode(&()).unwrap(), "{}");
        assert_eq!(Json::encode(&Unit).unwrap(), "{}");
        assert_eq!(Json::encode(&None::<u8>).unwrap(), "null");
        for unit in ["", " ", "null", "{}"] {
            let body = Bytes::from_static(unit.as_bytes());
            decode::<()>(&body).unwrap();
            assert_eq!(decode::<Unit>(&body).unwrap(), Unit);
            assert_eq!(decode::<Empty>(&body).unwrap(), Empty {});
            assert!(decode::<u8>(&body).is_err());
        }
        assert!(decode::<()>(&"7".into()).is_err());
    }

    #[test]
    fn decode_errors_do_not_quote_the_body() {
        let error = decode::<u8>(&"\"secret\"".into()).unwrap_err().to_string();
        assert_eq!(error, "the body is JSON of another shape: expected u8 (line 1, column 8)");
        let error = decode::<u8>(&r#""x, expected secret""#.into()).unwrap_err().to_string();
        assert!(!error.contains("secret") && error.contains(": expected u8"), "{error}");
    }

    #[test]
    fn decode_errors_name_what_the_type_expects() {
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Kind {
            Tea,
            Coffee,
        }
        let error = decode::<Vec<Kind>>(&r#"["tea", "secret"]"#.into()).unwrap_err().to_string();
        assert!(error.contains("`[1]`: expected `tea` or `coffee`"), "{error}");
        assert!(!error.contains("secret"), "{error}");
        let kinds = decode::<Vec<Kind>>(&r#"["tea", "coffee"]"#.into()).unwrap();
        assert!(matches!(kinds[..], [Kind::Tea, Kind::Coffee]));
    }

    #[test]
    fn reasons_that_a_deserializer_words_itself_are_not_quoted() {
        assert_eq!(quotable("no tea, expected secret at line 1 column 2"), None);
        assert_eq!(quotable("trailing characters at line 1 column 2"), None);
    }
}

//! Bodies of requests and replies: JSON, with the same leniency for unit as the codec of rr-core.

use rr_spi::{Error, Request, Response, wire};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::failure::Refusal;
use super::report;

const JSON: &str = "application/json";

/// Decodes a body; the error names the type and the reason.
pub(super) fn decode<T: DeserializeOwned>(request: &Request) -> Result<T, String> {
    let decoded = serde_json::from_slice(&request.body);
    decoded.or_else(|error| unit(request).ok_or(error)).map_err(|error| {
        let mut text = format!("the body is not a `{}`: {error}", short_name::<T>());
        if let Some(other) = request.headers.get(wire::CONTENT_TYPE).filter(|given| !is_json(given))
        {
            text.push_str(&format!(" (its content type is `{other}`)"));
        }
        text
    })
}

/// Decodes the input of a request for a test.
///
/// # Panics
///
/// When the body cannot be decoded.
#[track_caller]
pub(super) fn input<T: DeserializeOwned>(request: &Request) -> T {
    decode(request).unwrap_or_else(|text| panic!("{}: {text}", report::shown(request)))
}

/// Returns the value of a type without content, which several bodies mean.
fn unit<T: DeserializeOwned>(request: &Request) -> Option<T> {
    let is_unit = matches!(request.body.trim_ascii(), b"" | b"null" | b"{}");
    if size_of::<T>() > 0 || !is_unit {
        return None;
    }
    [Value::Null, Value::Object(serde_json::Map::new())]
        .into_iter()
        .find_map(|value| serde_json::from_value(value).ok())
}

/// Encodes a reply.
pub(super) fn encode(value: &(impl Serialize + ?Sized)) -> Result<Response, Error> {
    let encoded = serde_json::to_vec(value).map_err(|error| {
        Refusal::NoAnswer.error(format!("the reply cannot be encoded as JSON: {error}"))
    })?;
    if encoded == b"null" && size_of_val(value) == 0 {
        return Ok(Response::new("{}"));
    }
    Ok(Response::new(encoded))
}

/// Names the content type of an encoded reply, if the request does not imply it.
pub(super) fn typed(mut response: Response, request: &Request) -> Response {
    let implied = request.headers.get(wire::CONTENT_TYPE).is_some_and(is_json);
    if !implied && !response.headers.contains(wire::CONTENT_TYPE) {
        // Cannot fail: name and value are well-formed.
        let _ = response.headers.insert(wire::CONTENT_TYPE, JSON);
    }
    response
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or(content_type).trim();
    kind.eq_ignore_ascii_case(JSON)
}

/// Returns the name of a type without the paths in it.
fn short_name<T>() -> String {
    let (mut short, mut token) = (String::new(), String::new());
    for letter in std::any::type_name::<T>().chars() {
        match letter {
            ':' => token.clear(),
            _ if letter.is_alphanumeric() || letter == '_' => token.push(letter),
            _ => {
                short.push_str(&std::mem::take(&mut token));
                short.push(letter);
            }
        }
    }
    short + &token
}

#[cfg(test)]
mod tests {
    use rr_spi::Target;

    use super::*;

    fn request(body: &'static str) -> Request {
        Request::new(Target::parse("a.b").unwrap(), body)
    }

    #[test]
    fn unit_has_several_bodies_and_one_encoding() {
        for body in ["", "null", "{}", " {} "] {
            assert_eq!(decode(&request(body)), Ok(()), "{body}");
            assert!(decode::<u8>(&request(body)).is_err(), "{body}");
        }
        assert_eq!(encode(&()).unwrap().body, "{}");
        assert_eq!(encode(&None::<u8>).unwrap().body, "null");
    }

    #[test]
    fn a_body_of_another_shape_is_named_with_the_type() {
        let error = decode::<Vec<Option<Value>>>(&request("7")).unwrap_err();
        assert!(error.starts_with("the body is not a `Vec<Option<Value>>`: "), "{error}");
        let mut packed = request("\u{1}");
        packed.headers.insert(wire::CONTENT_TYPE, "application/msgpack").unwrap();
        let error = decode::<u8>(&packed).unwrap_err();
        assert!(error.ends_with("(its content type is `application/msgpack`)"), "{error}");
    }

    #[test]
    fn a_reply_states_its_type_unless_the_request_implies_it() {
        let mut json = request("1");
        json.headers.insert(wire::CONTENT_TYPE, "Application/JSON; charset=utf-8").unwrap();
        assert_eq!(typed(Response::new("1"), &json).headers.get(wire::CONTENT_TYPE), None);
        let reply = typed(Response::new("1"), &request("1"));
        assert_eq!(reply.headers.get(wire::CONTENT_TYPE), Some(JSON));
    }
}

//! Operations of a method: its POST, and its GET if it is safe.

use rr_spi::Error;
use rr_spi::wire::{IDEMPOTENCY_KEY, RR_CODE, RR_DEDUP, RR_DELIVERY, RR_REASON, RR_RETRY_AFTER_MS};
use serde_json::{Map, Value, json};

use super::components::{Components, Place};
use super::described::{JSON, Method};
use super::errors;

/// Header of the Connect protocol with the milliseconds that a call may take.
const TIMEOUT: &str = "connect-timeout-ms";

/// Content type of HTML forms, which have the members of the JSON.
const FORM: &str = "application/x-www-form-urlencoded";

/// Operations of one method, without what differs between its names.
#[derive(Debug)]
pub(super) struct Operations {
    post: Value,
    get: Option<Value>,
}

/// Kind of a name of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Own,
    Alias,
}

impl Operations {
    /// Makes the operations of a method, whose definitions become components.
    pub(super) fn of(
        service: &str,
        method: &Method,
        components: &mut Components,
    ) -> Result<Self, Error> {
        let input = components.add(&method.input, Place::Input)?;
        let mut common = json!({ "tags": [service], "responses": responses(method, components)? });
        if !method.docs.is_empty() {
            common["summary"] = method.docs.lines().next().into();
            common["description"] = method.docs.as_str().into();
        }
        let get = method.is_safe().then(|| {
            let mut get = common.clone();
            get["parameters"] = query(method, &input);
            get
        });
        let mut post = common;
        post["parameters"] = match method.is_keyed() {
            true => json!([parameter(TIMEOUT), parameter(IDEMPOTENCY_KEY)]),
            false => json!([parameter(TIMEOUT)]),
        };
        post["requestBody"] = json!({
            "required": !may_be_empty(&input),
            "content": content(&method.content_types, &input),
        });
        Ok(Self { post, get })
    }

    /// Returns the operations of one name of the method.
    pub(super) fn path_item(&self, target: &str, name: Name) -> Value {
        let named = |operation: &Value, identifier: String| {
            let mut operation = operation.clone();
            operation["operationId"] = identifier.into();
            if name == Name::Alias {
                operation["deprecated"] = true.into();
            }
            operation
        };
        let mut item = json!({ "post": named(&self.post, target.to_owned()) });
        if let Some(get) = &self.get {
            // Targets have no colon, so that the identifier is not that of another method.
            item["get"] = named(get, format!("{target}:get"));
        }
        item
    }
}

/// Returns the parameters that operations refer to.
pub(super) fn parameters() -> Value {
    json!({
        TIMEOUT: {
            "name": TIMEOUT,
            "in": "header",
            "description": "Milliseconds that the call may take.",
            "schema": { "type": "integer", "minimum": 0, "maximum": 9_999_999_999_u64 },
        },
        IDEMPOTENCY_KEY: {
            "name": IDEMPOTENCY_KEY,
            "in": "header",
            "description": "Identifies the request when it is repeated: a quoted string, such as \
                            `\"order-17\"`, or a bare token of visible ASCII characters.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 512 },
        },
    })
}

/// Returns the headers that responses refer to.
pub(super) fn headers() -> Value {
    let text = |docs: &str| json!({ "description": docs, "schema": { "type": "string" } });
    json!({
        RR_CODE: {
            "description": "Code of the error.",
            "schema": { "$ref": "#/components/schemas/rr.Code" },
        },
        RR_REASON: text("Reason of the error."),
        RR_DELIVERY: {
            "description": "Whether the handler ran; absent means `unknown`.",
            "schema": { "type": "string", "enum": ["rejected", "processed", "unknown"] },
        },
        RR_RETRY_AFTER_MS: {
            "description": "Milliseconds until the call may be repeated; negative means never.",
            "schema": { "type": "integer" },
        },
        RR_DEDUP: {
            "description": "Whether duplicates of the request are suppressed, and whether this reply \
                            is a stored one.",
            "schema": { "type": "string", "enum": ["on", "replayed"] },
        },
    })
}

fn parameter(name: &str) -> Value {
    json!({ "$ref": format!("#/components/parameters/{name}") })
}

/// Returns whether an empty body is decoded as the input: that of a method without arguments.
fn may_be_empty(input: &Value) -> bool {
    *input == json!({ "type": "object" })
}

/// Returns the parameters of a GET (docs/src/wire.md#responses).
fn query(method: &Method, input: &Value) -> Value {
    let fixed = |name: &str, value: &str, is_required: Value| {
        let schema = json!({ "type": "string", "enum": [value] });
        json!({ "name": name, "in": "query", "required": is_required, "schema": schema })
    };
    let mut message = json!({ "name": "message", "in": "query", "required": !may_be_empty(input) });
    let mut parameters = Vec::new();
    if method.accepts_json() {
        message["description"] = "Input as JSON text, percent-encoded.".into();
        message["content"] = json!({ JSON: { "schema": input } });
        parameters.extend([message, fixed("encoding", "json", false.into())]);
    } else {
        message["description"] = "Encoded input in URL-safe base64.".into();
        message["schema"] = json!({ "type": "string", "contentEncoding": "base64url" });
        parameters.extend([message, fixed("base64", "1", true.into())]);
        // A request without an encoding is decoded by the first codec.
        let encodings = method.content_types.iter();
        let encodings: Vec<_> =
            encodings.filter_map(|known| known.strip_prefix("application/")).collect();
        if !encodings.is_empty() {
            let schema = json!({ "type": "string", "enum": encodings });
            parameters.push(json!({ "name": "encoding", "in": "query", "schema": schema }));
        }
    }
    parameters.push(fixed("connect", "v1", false.into()));
    parameters.push(parameter(TIMEOUT));
    parameters.into()
}

fn responses(method: &Method, components: &mut Components) -> Result<Value, Error> {
    let output = components.add(&method.output, Place::Output)?;
    let error = errors::schema_of(method.error.as_ref(), components)?;
    let header = |name: &str| json!({ "$ref": format!("#/components/headers/{name}") });
    let mut success = json!({
        "description": "The method's reply.",
        "content": content(method.reply_content_types(), &output),
    });
    let mut failed: Map<_, _> = [RR_CODE, RR_REASON, RR_DELIVERY, RR_RETRY_AFTER_MS]
        .into_iter()
        .map(|name| (name.to_owned(), header(name)))
        .collect();
    if method.is_keyed() {
        success["headers"] = json!({ RR_DEDUP: header(RR_DEDUP) });
        failed.insert(RR_DEDUP.to_owned(), header(RR_DEDUP));
    }
    Ok(json!({
        "200": success,
        "default": {
            "description": "The call failed. The status follows from the code of the error.",
            "headers": failed,
            "content": { JSON: { "schema": error } },
        },
    }))
}

/// Returns the media types of a body. A schema describes JSON, and forms with the same members.
fn content(types: &[String], schema: &Value) -> Value {
    let media = |kind: &String| match kind.as_str() {
        JSON | FORM => (kind.clone(), json!({ "schema": schema })),
        _ => (kind.clone(), json!({})),
    };
    types.iter().map(media).collect::<Map<_, _>>().into()
}

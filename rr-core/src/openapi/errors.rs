//! Schemas of the error document.

use rr_spi::{Code, Error};
use serde_json::{Value, json};

use super::components::{Components, Place};
use super::described::AppErrorType;

/// Returns the components that every document has.
pub(super) fn components() -> [(&'static str, Value); 3] {
    let detail = json!({
        "type": "object",
        "description": "Detail of an error.",
        "required": ["type", "value"],
        "properties": {
            "type": { "type": "string" },
            "value": value(),
            "debug": { "description": "The value as JSON, for people." },
        },
    });
    let items = json!({ "$ref": "#/components/schemas/rr.Detail" });
    let codes = Code::ALL.map(Code::as_str);
    [
        ("rr.Code", json!({ "type": "string", "enum": codes })),
        ("rr.Detail", detail),
        ("rr.Error", document("Connect's error document.", &items)),
    ]
}

/// Returns the schema of the error document of a method.
pub(super) fn schema_of(
    error: Option<&AppErrorType>,
    components: &mut Components,
) -> Result<Value, Error> {
    let Some(AppErrorType { kind, schema }) = error else {
        return Ok(json!({ "$ref": "#/components/schemas/rr.Error" }));
    };
    let debug = components.add(schema, Place::Error)?;
    let items = json!({
        "type": "object",
        "required": ["type", "value"],
        "properties": {
            "type": { "type": "string", "const": kind },
            "value": value(),
            "debug": { "oneOf": [debug] },
        },
    });
    let docs = format!(
        "Connect's error document. The detail is the application error `{kind}`; other failures have \
         no details, unless middleware adds some."
    );
    Ok(components.name(&format!("rr.Error.{kind}"), document(&docs, &items)))
}

fn document(docs: &str, items: &Value) -> Value {
    json!({
        "type": "object",
        "description": docs,
        "required": ["code"],
        "properties": {
            "code": { "$ref": "#/components/schemas/rr.Code" },
            "message": { "type": "string" },
            "details": { "type": "array", "items": items },
        },
    })
}

fn value() -> Value {
    json!({
        "type": "string",
        "description": "The value in standard base64, unpadded.",
        "contentEncoding": "base64",
    })
}

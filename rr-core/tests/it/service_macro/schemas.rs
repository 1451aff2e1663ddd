//! Schemas in the description of a service.

use rr_core::schema::JsonSchema;
use rr_core::{AppError, CallError, Context, Error, Reply, service};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A type without a schema.
#[derive(Debug, Serialize, Deserialize)]
struct Opaque {
    anything: u8,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "rr_core::schema::schemars")]
struct Node {
    label: String,
    #[serde(default)]
    children: Vec<Self>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "rr_core::schema::schemars")]
struct Nothing;

type Maybe = Option<u8>;

#[derive(Debug, thiserror::Error, Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "rr_core::schema::schemars")]
enum TreeError {
    #[error("too deep")]
    TooDeep { limit: u32 },
    #[serde(skip)]
    #[error(transparent)]
    Call(#[from] Error),
}

impl AppError for TreeError {
    const TYPE: &'static str = "trees.TreeError";

    fn failed_call(&self) -> Option<&Error> {
        match self {
            Self::Call(error) => Some(error),
            Self::TooDeep { .. } => None,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct OpaqueError(u8);

impl AppError for OpaqueError {
    const TYPE: &'static str = "trees.OpaqueError";
}

#[service("trees.v1")]
trait Trees {
    async fn unit(&self, ctx: &Context) -> Result<Nothing, Error>;
    async fn grow(&self, ctx: &Context, tree: Node) -> Result<Reply<Node>, TreeError>;
    async fn several(
        &self,
        ctx: &Context,
        node: Node,
        r#type: String,
        depth: Option<u8>,
        width: Maybe,
        opaque: Opaque,
    ) -> Result<Option<u8>, CallError<TreeError>>;
    async fn opaque(&self, ctx: &Context, value: Opaque) -> Result<Opaque, CallError<OpaqueError>>;
    async fn plain(&self, ctx: &Context, value: Vec<Opaque>) -> Result<u8, CallError>;
}

fn method(name: &str) -> Value {
    TreesClient::description().method(name).unwrap().to_json()
}

fn definition(schema: &Value, name: &str) -> Value {
    assert_eq!(schema["$ref"], format!("#/$defs/{name}"));
    schema["$defs"][name].clone()
}

#[test]
fn a_type_with_a_schema_is_described_with_its_definitions() {
    let grow = method("grow");
    let decoded = definition(&grow["input"], "Node");
    assert_eq!(decoded["properties"]["children"]["items"], json!({"$ref": "#/$defs/Node"}));
    assert_eq!(decoded["required"], json!(["label"]));
    // The value of a `Reply`, as the server encodes it.
    let encoded = definition(&grow["output"], "Node");
    assert_eq!(encoded["required"], json!(["label", "children"]));
}

#[test]
fn a_type_without_a_schema_may_be_anything() {
    assert_eq!(method("opaque")["input"], json!(true));
    assert_eq!(method("opaque")["output"], json!(true));
    assert_eq!(method("plain")["input"], json!(true));
}

#[test]
fn unit_is_an_object_as_the_codec_encodes_it() {
    assert_eq!(method("unit")["input"], json!({"type": "object"}));
    assert_eq!(method("unit")["output"], json!({"type": "object"}));
}

#[test]
fn several_arguments_are_an_object_and_all_but_options_are_required() {
    let several = method("several");
    let input = &several["input"];
    assert_eq!(input["type"], "object");
    assert_eq!(input["required"], json!(["node", "type", "opaque"]));
    assert_eq!(input["properties"]["node"], json!({"$ref": "#/$defs/Node"}));
    assert_eq!(input["properties"]["depth"]["type"], json!(["integer", "null"]));
    assert_eq!(input["properties"]["opaque"], json!(true));
    assert_eq!(input["properties"].as_object().unwrap().len(), 5);
    assert_eq!(several["output"]["type"], json!(["integer", "null"]));
}

#[test]
fn an_application_error_is_described_with_its_type_name() {
    for name in ["grow", "several"] {
        let error = &method(name)["error"];
        assert_eq!(error["type"], "trees.TreeError");
        let variants = definition(&error["schema"], "TreeError")["oneOf"].clone();
        // The variant that serde skips is never sent.
        assert_eq!(variants.as_array().unwrap().len(), 1, "{variants}");
        assert_eq!(variants[0]["required"], json!(["TooDeep"]));
    }
    assert_eq!(method("opaque")["error"], json!({"type": "trees.OpaqueError", "schema": true}));
    assert_eq!(method("unit").get("error"), None);
    assert_eq!(method("plain").get("error"), None);
}

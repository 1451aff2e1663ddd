//! Descriptions of services, read from their JSON.

use rr_spi::Error;
use serde::Deserialize;
use serde_json::Value;

/// Content type of bodies that a schema describes.
pub(super) const JSON: &str = "application/json";

/// Service with its methods.
#[derive(Debug, Deserialize)]
pub(super) struct Service {
    #[serde(default)]
    pub(super) docs: String,
    #[serde(default)]
    pub(super) methods: Vec<Method>,
}

/// Method of a service.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Method {
    pub(super) target: String,
    #[serde(default)]
    pub(super) docs: String,
    #[serde(default)]
    pub(super) idempotency: String,
    #[serde(default)]
    pub(super) aliases: Vec<String>,
    #[serde(default = "json_alone")]
    pub(super) content_types: Vec<String>,
    reply_content_types: Option<Vec<String>>,
    #[serde(default = "anything")]
    pub(super) input: Value,
    #[serde(default = "anything")]
    pub(super) output: Value,
    pub(super) error: Option<AppErrorType>,
}

/// Application error of a method.
#[derive(Debug, Deserialize)]
pub(super) struct AppErrorType {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default = "anything")]
    pub(super) schema: Value,
}

impl Service {
    /// Reads the description of a service.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when a member has another type than the wire reference says.
    pub(super) fn read(name: &str, description: &Value) -> Result<Self, Error> {
        serde_path_to_error::deserialize(description).map_err(|error| {
            super::malformed(
                format!("malformed description of `{name}`: {error}"),
                "the wire reference lists the members of a description and their types",
            )
        })
    }
}

impl Method {
    /// Returns the content types of replies.
    pub(super) fn reply_content_types(&self) -> &[String] {
        self.reply_content_types.as_deref().unwrap_or(&self.content_types)
    }

    /// Returns whether the method is declared safe, so that it may be called with GET.
    pub(super) fn is_safe(&self) -> bool {
        self.idempotency == "safe"
    }

    /// Returns whether the method takes an idempotency key.
    pub(super) fn is_keyed(&self) -> bool {
        self.idempotency == "keyed"
    }

    /// Returns whether requests may be JSON.
    pub(super) fn accepts_json(&self) -> bool {
        self.content_types.iter().any(|content_type| content_type == JSON)
    }
}

fn json_alone() -> Vec<String> {
    vec![JSON.to_owned()]
}

fn anything() -> Value {
    Value::Bool(true)
}

//! Descriptions of services.

use std::time::Duration;

use rr_spi::Declared;
use serde_json::{Value, json};

use super::schemas::Schemas;

/// Description of a service that `#[service]` made of a trait.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ServiceDescription {
    /// Name of the service, such as `orders.v1`.
    pub name: &'static str,
    /// Doc comment of the trait; empty without one.
    pub docs: &'static str,
    /// Methods, in the order of the trait.
    pub methods: &'static [MethodDescription],
}

/// Description of one method of a service.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct MethodDescription {
    /// Name of the method, such as `place`.
    pub name: &'static str,
    /// Target of its calls, such as `orders.v1.place`.
    pub target: &'static str,
    /// Doc comment of the method; empty without one.
    pub docs: &'static str,
    /// Declared idempotency of the method.
    pub idempotency: Declared,
    /// Further names of the method, which the server answers too.
    pub aliases: &'static [&'static str],
    /// Longest time that the client waits; `None` leaves it to the context.
    pub timeout: Option<Duration>,
    /// Content types of requests that the server accepts; the client sends the first.
    pub content_types: &'static [&'static str],
    /// Content types of the replies to them, in the same order.
    pub reply_content_types: &'static [&'static str],
    /// Schemas of the types, with the feature `schema`.
    schemas: Schemas,
}

impl ServiceDescription {
    /// Finds a method by its name or an alias.
    #[must_use]
    pub fn method(&self, name: &str) -> Option<&'static MethodDescription> {
        self.methods.iter().find(|method| method.name == name || method.aliases.contains(&name))
    }

    /// Returns the description as JSON, in the form of `/.well-known/rr`.
    ///
    /// With the feature `schema`, each method has the schemas of its types. They are made anew by
    /// each call of this function.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let methods: Vec<_> = self.methods.iter().map(MethodDescription::to_json).collect();
        json!({ "name": self.name, "docs": self.docs, "methods": methods })
    }
}

impl MethodDescription {
    /// Returns the description as JSON; see [`ServiceDescription::to_json`].
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut method = json!({
            "name": self.name,
            "target": self.target,
            "docs": self.docs,
            "idempotency": match self.idempotency {
                Declared::Safe => "safe",
                Declared::Idempotent => "idempotent",
                Declared::Keyed => "keyed",
                _ => "unspecified",
            },
            "aliases": self.aliases,
            "contentTypes": self.content_types,
            "replyContentTypes": self.reply_content_types,
        });
        if let Some(timeout) = self.timeout {
            let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            // A timeout of less than a millisecond is not shown as none.
            method["timeoutMs"] = millis.max(1).into();
        }
        self.schemas.add_to(&mut method);
        method
    }
}

/// Makes the description of a service.
#[must_use]
pub const fn describe_service(
    name: &'static str,
    docs: &'static str,
    methods: &'static [MethodDescription],
) -> ServiceDescription {
    ServiceDescription { name, docs, methods }
}

/// Makes the description of a method.
#[must_use]
#[expect(clippy::too_many_arguments, reason = "generated code alone calls it")]
pub const fn describe_method(
    name: &'static str,
    target: &'static str,
    docs: &'static str,
    idempotency: Declared,
    aliases: &'static [&'static str],
    timeout: Option<Duration>,
    content_types: &'static [&'static str],
    reply_content_types: &'static [&'static str],
    schemas: Schemas,
) -> MethodDescription {
    MethodDescription {
        name,
        target,
        docs,
        idempotency,
        aliases,
        timeout,
        content_types,
        reply_content_types,
        schemas,
    }
}

//! Descriptions of services.

use std::time::Duration;

use rr_spi::Declared;

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
}

impl ServiceDescription {
    /// Finds a method by its name or an alias.
    #[must_use]
    pub fn method(&self, name: &str) -> Option<&'static MethodDescription> {
        self.methods.iter().find(|method| method.name == name || method.aliases.contains(&name))
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
pub const fn describe_method(
    name: &'static str,
    target: &'static str,
    docs: &'static str,
    idempotency: Declared,
    aliases: &'static [&'static str],
    timeout: Option<Duration>,
    content_types: &'static [&'static str],
) -> MethodDescription {
    MethodDescription { name, target, docs, idempotency, aliases, timeout, content_types }
}

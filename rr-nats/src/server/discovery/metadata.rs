//! Metadata of endpoints, made from the descriptions of services. ADR-32 allows texts only.

use rr_spi::Routes;
use serde_json::{Map, Value};

/// Metadata of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    /// Short facts: documentation, idempotency, the name behind an alias, the type of the error.
    pub(super) facts: Map<String, Value>,
    /// JSON Schemas, each as one text.
    pub(super) schemas: Map<String, Value>,
}

impl Metadata {
    /// Reads the description of a method. A method that is not described has no metadata.
    pub(super) fn of(routes: &Routes, service: &str, method: &str) -> Self {
        let mut metadata = Self::default();
        let Some(described) = find(routes, service, method) else { return metadata };
        let mut fact = |name: &str, value: Option<&str>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                metadata.facts.insert(name.to_owned(), value.into());
            }
        };
        fact("rr-docs", described["docs"].as_str().map(first_line));
        fact("rr-idempotency", described["idempotency"].as_str());
        let name = described["name"].as_str();
        fact("rr-alias-of", name.filter(|name| *name != method));
        fact("rr-error-type", described["error"]["type"].as_str());
        let schemas = [
            ("rr-input", &described["input"]),
            ("rr-output", &described["output"]),
            ("rr-error", &described["error"]["schema"]),
        ];
        for (name, schema) in schemas {
            // `true` allows anything and tells nothing.
            if schema.is_object() {
                metadata.schemas.insert(name.to_owned(), schema.to_string().into());
            }
        }
        metadata
    }
}

/// Returns the first line of the documentation of a service; empty without one.
pub(super) fn docs_of_service(routes: &Routes, service: &str) -> String {
    let of_service = routes.descriptions().filter(|(described, _)| *described == service);
    let mut docs = of_service.filter_map(|(_, description)| description["docs"].as_str());
    docs.find(|docs| !docs.is_empty()).map_or_else(String::new, |docs| first_line(docs).to_owned())
}

/// Finds a method by its name, else by an alias.
fn find<'a>(routes: &'a Routes, service: &str, method: &str) -> Option<&'a Value> {
    let methods = |routes: &'a Routes| {
        let of_service = routes.descriptions().filter(move |(described, _)| *described == service);
        of_service.filter_map(|(_, description)| description["methods"].as_array()).flatten()
    };
    let is_alias = |described: &Value| {
        described["aliases"].as_array().into_iter().flatten().any(|alias| alias == method)
    };
    let by_name = methods(routes).find(|described| described["name"] == method);
    by_name.or_else(|| methods(routes).find(|described| is_alias(described)))
}

fn first_line(docs: &str) -> &str {
    docs.trim_start().lines().next().unwrap_or_default().trim_end()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn routes(description: Value) -> Routes {
        let mut routes = Routes::new();
        routes.describe("orders.v1", description).unwrap();
        routes
    }

    #[test]
    fn metadata_is_texts_also_of_schemas() {
        let routes = routes(json!({
            "docs": "Orders.\nMore.",
            "methods": [{
                "name": "find",
                "docs": "\nFinds an order. \nMore.",
                "idempotency": "safe",
                "aliases": ["get"],
                "input": {"type": "integer"},
                "output": true,
                "error": {"type": "orders.NoOrder", "schema": {"type": "object"}},
            }],
        }));
        assert_eq!(docs_of_service(&routes, "orders.v1"), "Orders.");
        assert_eq!(docs_of_service(&routes, "orders"), "");
        let Metadata { facts, schemas } = Metadata::of(&routes, "orders.v1", "get");
        let expected = json!({
            "rr-docs": "Finds an order.",
            "rr-idempotency": "safe",
            "rr-alias-of": "find",
            "rr-error-type": "orders.NoOrder",
        });
        assert_eq!(Value::from(facts), expected);
        let expected =
            json!({"rr-input": r#"{"type":"integer"}"#, "rr-error": r#"{"type":"object"}"#});
        assert_eq!(Value::from(schemas), expected);
        assert!(!Metadata::of(&routes, "orders.v1", "find").facts.contains_key("rr-alias-of"));
        assert!(Metadata::of(&routes, "orders.v1", "other").facts.is_empty());
    }

    #[test]
    fn descriptions_of_another_shape_give_no_metadata() {
        for description in [
            json!({}),
            json!({"docs": 7, "methods": {"find": 7}}),
            json!({"methods": [7, null, {"name": "find", "docs": [], "aliases": 7, "error": 7}]}),
        ] {
            let routes = routes(description);
            assert_eq!(docs_of_service(&routes, "orders.v1"), "");
            let Metadata { facts, schemas } = Metadata::of(&routes, "orders.v1", "find");
            assert!(facts.is_empty() && schemas.is_empty());
        }
    }
}

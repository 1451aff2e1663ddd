//! OpenAPI documents of services.

mod components;
mod described;
mod errors;
mod operation;

use rr_spi::{Code, Delivery, Error, Routes, Target};
use serde_json::{Map, Value, json};

use crate::Router;
use components::Components;
use described::{Method, Service};
use operation::Operations;

/// Makes an OpenAPI 3.1 document of the services of a router: everything that `#[service]` describes.
///
/// Routes that are added by hand have no description and are not part of the document.
///
/// The document describes the calls as a server over HTTP answers them:
///
/// * Each method is a POST of `/service/method`, such as `/orders.v1/place`. Its body and its reply
///   are described as JSON; the other content types of the method are listed without a schema.
/// * A method that is declared safe is also a GET. Its input is the query parameter `message`, as JSON
///   that is percent-encoded: a generated client must encode the parameter as JSON text. If the method
///   does not accept JSON, `message` is URL-safe base64, with `base64=1` and the encoding.
/// * Every failure is the response `default`, whose body is Connect's error document. A method with
///   an application error describes its value in `details[].debug`, the member that shows the value
///   as JSON. A server omits `debug` if the value is too large or too deeply nested.
/// * An alias of a method is a separate path that is marked as deprecated.
/// * Header parameters are the timeout of the call and, for a keyed method, the idempotency key.
///
/// Definitions of schemas become components. If two different definitions have one name, the name of
/// the second gets the suffix `Input`, `Output` or `Error`, or a number.
///
/// The document has no `servers`: paths are relative to where the document is. Add `servers` if the
/// URL of the server has a path.
///
/// # Errors
///
/// `InvalidArgument`, not sent, when a description is malformed: a member of another type, a schema
/// that refers to a definition that it does not have, or two descriptions of one target. A
/// description that `#[service]` made is malformed only if a `JsonSchema` written by hand is.
///
/// # Examples
///
/// ```
/// use rr_core::{Context, Error, Router, async_trait, openapi, service};
///
/// #[service("orders.v1")]
/// trait Orders {
///     /// Returns the item of an order.
///     #[rr(safe)]
///     async fn find(&self, ctx: &Context, id: u64) -> Result<String, Error>;
/// }
///
/// struct Shop;
///
/// #[async_trait]
/// impl Orders for Shop {
///     async fn find(&self, _ctx: &Context, id: u64) -> Result<String, Error> {
///         Ok(format!("item {id}"))
///     }
/// }
///
/// let router = Router::from(OrdersServer::new(Shop));
/// let document = openapi(&router, "Orders", "1.0.0")?;
/// let post = &document["paths"]["/orders.v1/find"]["post"];
/// assert_eq!(post["summary"], "Returns the item of an order.");
/// // Then: `serve(url, router)`.
/// # Ok::<(), Error>(())
/// ```
pub fn openapi(described: &impl Described, title: &str, version: &str) -> Result<Value, Error> {
    let (mut paths, mut tags, mut components) = (Map::new(), Map::new(), Components::new());
    for (name, description) in described.routes().descriptions() {
        let service = Service::read(name, description)?;
        for method in &service.methods {
            add_method(&mut paths, &mut components, name, method)?;
        }
        let tag = tags.entry(name).or_insert_with(|| json!({ "name": name }));
        if !service.docs.is_empty() {
            tag["description"] = service.docs.into();
        }
    }
    let tags: Vec<_> = tags.into_iter().map(|(_, tag)| tag).collect();
    Ok(json!({
        "openapi": "3.1.0",
        "info": { "title": title, "version": version },
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": components.into_schemas(),
            "parameters": operation::parameters(),
            "headers": operation::headers(),
        },
    }))
}

/// Value whose services are described: a [`Router`], or [`Routes`](crate::transport::Routes). Sealed.
pub trait Described: sealed::Sealed {}

impl Described for Router {}

impl Described for Routes {}

mod sealed {
    use rr_spi::Routes;

    use crate::Router;

    pub trait Sealed {
        /// Returns the routes, for their descriptions.
        fn routes(&self) -> &Routes;
    }

    impl Sealed for Router {
        fn routes(&self) -> &Routes {
            self.bare_routes()
        }
    }

    impl Sealed for Routes {
        fn routes(&self) -> &Routes {
            self
        }
    }
}

/// Adds the paths of a method: that of its name, and one for each alias.
fn add_method(
    paths: &mut Map<String, Value>,
    components: &mut Components,
    service: &str,
    method: &Method,
) -> Result<(), Error> {
    let operations = Operations::of(service, method, components)?;
    let target = Target::parse(&method.target)?;
    let mut add = |target: &Target, name| {
        let path = match target.service() {
            "" => format!("/{}", target.method()),
            service => format!("/{service}/{}", target.method()),
        };
        match paths.insert(path, operations.path_item(target.as_str(), name)) {
            None => Ok(()),
            Some(_) => Err(malformed(
                format!("`{target}` is described twice"),
                "give each method and each alias of a service its own name",
            )),
        }
    };
    add(&target, operation::Name::Own)?;
    for alias in &method.aliases {
        let name = match target.service() {
            "" => alias.clone(),
            service => format!("{service}.{alias}"),
        };
        add(&Target::parse(&name)?, operation::Name::Alias)?;
    }
    Ok(())
}

fn malformed(text: String, hint: &'static str) -> Error {
    Error::failure(Code::InvalidArgument, Delivery::NotSent, None, text).with_hint(hint)
}

#[cfg(test)]
mod tests;

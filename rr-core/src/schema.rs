//! Schemas of the types of services.
//!
//! With the feature `schema`, the description of a service that [`#[service]`](macro@crate::service)
//! made has a JSON Schema (draft 2020-12) of the input, the output and the application error of each
//! method. The description is what [`ServiceDescription::to_json`](crate::call::ServiceDescription::to_json)
//! returns.
//!
//! A type gets its schema by deriving [`JsonSchema`]. A type without it gets the schema `true`, which
//! allows anything: the feature adds no bound to the types of a service, also when another crate
//! turns the feature on.
//!
//! * A method with several arguments takes an object whose members have their names. An argument of
//!   the type `Option<T>` may be left out.
//! * The schema of an input describes what the server decodes, and the other schemas what it encodes:
//!   a member with `#[serde(default)]` is required in a reply and may be left out of a request.
//! * Each schema is a separate document, with the definitions that it refers to in `$defs`.
//! * An error has a schema if it is an [`AppError`](crate::AppError), or the
//!   [`CallError`](crate::CallError) of one. The description also names its type.
//!
//! [`openapi`](crate::openapi()) makes an OpenAPI document of the described services of a router.
//!
//! # Examples
//!
//! ```
//! use rr_core::{Context, Error, schema::JsonSchema, service};
//! use serde::{Deserialize, Serialize};
//! use serde_json::json;
//!
//! #[derive(Debug, Serialize, Deserialize, JsonSchema)]
//! // A crate that depends on schemars itself does not need this line.
//! #[schemars(crate = "rr_core::schema::schemars")]
//! struct Order {
//!     item: String,
//! }
//!
//! #[service("orders.v1")]
//! trait Orders {
//!     async fn place(&self, ctx: &Context, order: Order) -> Result<u64, Error>;
//! }
//!
//! let description = OrdersClient::description().to_json();
//! let place = &description["methods"][0];
//! assert_eq!(place["input"]["$ref"], "#/$defs/Order");
//! assert_eq!(place["input"]["$defs"]["Order"]["required"], json!(["item"]));
//! assert_eq!(place["output"]["type"], "integer");
//! ```

pub use schemars::{self, JsonSchema};

pub use crate::openapi::Described;

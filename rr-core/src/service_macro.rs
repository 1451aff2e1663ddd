//! Items that the code of `#[service]` is made of: options of a client, descriptions, and what the
//! generated code calls.

mod call_options;
mod client;
mod description;
mod errors;
mod schemas;
mod server;

pub use call_options::{CallOptions, ReplyHeaders};
pub use description::{MethodDescription, ServiceDescription};

/// Items that the code of `#[service]` refers to, besides those of the user. They may change in any
/// release.
pub mod generated {
    pub use rr_spi::{Context, Declared, Requester, Routes, async_trait};
    pub use serde;

    pub use super::call_options::CallOptions;
    pub use super::client::{Client, Method, Outcome, Sent, call, call_reply, prepare, sent};
    pub use super::description::{
        MethodDescription, ServiceDescription, describe_method, describe_service,
    };
    pub use super::errors::{
        Failed, FromAppError, FromCallError, FromError, IntoOwnError, LeaveHandler, Leaving,
    };
    pub use super::schemas::Schemas;
    #[cfg(feature = "schema")]
    pub use super::schemas::{
        Any, ErrorProbe, ErrorSchema, Generator, NoErrorType, OfAppError, OfCallError, OfType,
        Optional, Probe, Required, TypedAppError, TypedCallError, object,
    };
    pub use super::server::{Routing, run_to_end};
    pub use crate::__rr_schemas as schemas;
    pub use crate::codec::{Codec, Json};
    pub use crate::router::Router;
}

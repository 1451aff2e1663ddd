//! Schemas of the types of a method, for its description.
//!
//! The generated code passes the types to the macro `schemas!`, which expands to nothing without the
//! feature `schema`. With the feature, it finds the schema of each type by method resolution, as
//! `errors.rs` finds conversions: a type without `JsonSchema` has the schema `true`. The feature
//! therefore adds no bound to a type of a service.

#[cfg(feature = "schema")]
mod probe;

#[cfg(feature = "schema")]
pub use probe::{
    Any, ErrorProbe, ErrorSchema, Generator, NoErrorType, OfAppError, OfCallError, OfType,
    Optional, Probe, Required, TypedAppError, TypedCallError, object,
};

use serde_json::Value;

/// Sources of the schemas of one method: functions that make them.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Schemas {
    #[cfg(feature = "schema")]
    input: fn(&mut Generator) -> Value,
    #[cfg(feature = "schema")]
    output: fn(&mut Generator) -> Value,
    #[cfg(feature = "schema")]
    error: fn(&mut Generator) -> Option<ErrorSchema>,
}

#[cfg(feature = "schema")]
impl Schemas {
    /// Makes the sources.
    #[must_use]
    pub const fn new(
        input: fn(&mut Generator) -> Value,
        output: fn(&mut Generator) -> Value,
        error: fn(&mut Generator) -> Option<ErrorSchema>,
    ) -> Self {
        Self { input, output, error }
    }

    /// Adds the schemas to the description of a method. Each schema is a separate document, with
    /// the definitions that it refers to.
    pub(super) fn add_to(self, method: &mut Value) {
        // The server decodes inputs and encodes everything else, which serde may treat differently.
        let mut decoded = Generator::of_decoded();
        let input = (self.input)(&mut decoded);
        method["input"] = decoded.finish(input);
        let mut encoded = Generator::of_encoded();
        let output = (self.output)(&mut encoded);
        method["output"] = encoded.finish(output);
        let mut encoded = Generator::of_encoded();
        if let Some(ErrorSchema { kind, schema }) = (self.error)(&mut encoded) {
            method["error"]["type"] = kind.into();
            method["error"]["schema"] = encoded.finish(schema);
        }
    }
}

#[cfg(not(feature = "schema"))]
impl Schemas {
    /// Makes the sources of no schemas.
    #[must_use]
    pub const fn none() -> Self {
        Self {}
    }

    /// Adds nothing.
    pub(super) fn add_to(self, _method: &mut Value) {}
}

/// Makes the sources of the schemas of a method.
#[cfg(feature = "schema")]
#[doc(hidden)]
#[macro_export]
macro_rules! __rr_schemas {
    (input: (), $($rest:tt)*) => {
        $crate::__service::schemas!(input: (()), $($rest)*)
    };
    (input: ($input:ty), $($rest:tt)*) => {
        $crate::__service::schemas!(@by $crate::__service::schemas!(@of $input), $($rest)*)
    };
    (input: { $($name:literal: $kind:ty),* }, $($rest:tt)*) => {
        $crate::__service::schemas!(
            @by |generator: &mut $crate::__service::Generator| {
                #[allow(unused_imports)]
                use $crate::__service::{Any as _, OfType as _, Optional as _, Required as _};
                let fields = [$((
                    $name,
                    (&&$crate::__service::Probe::<$kind>::NEW).schema(generator),
                    (&&$crate::__service::Probe::<$kind>::NEW).is_required(),
                )),*];
                $crate::__service::object(fields)
            },
            $($rest)*
        )
    };
    (@by $input:expr, output: $output:ty, error: $error:ty) => {
        $crate::__service::Schemas::new(
            $input,
            $crate::__service::schemas!(@of $output),
            |generator: &mut $crate::__service::Generator| {
                #[allow(unused_imports)]
                use $crate::__service::{
                    NoErrorType as _, OfAppError as _, OfCallError as _, TypedAppError as _,
                    TypedCallError as _,
                };
                (&&&&&$crate::__service::ErrorProbe::<$error>::NEW).schema(generator)
            },
        )
    };
    (@of $kind:ty) => {
        |generator: &mut $crate::__service::Generator| {
            #[allow(unused_imports)]
            use $crate::__service::{Any as _, OfType as _};
            (&&$crate::__service::Probe::<$kind>::NEW).schema(generator)
        }
    };
}

/// Makes the sources of no schemas.
#[cfg(not(feature = "schema"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __rr_schemas {
    ($($types:tt)*) => {
        $crate::__service::Schemas::none()
    };
}

//! Probes: what is known of a type, found by method resolution. It tries the implementation for the
//! most references first and takes the first one whose bounds hold.

use std::fmt;
use std::marker::PhantomData;

use rr_spi::AppError;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::error::CallError;

/// Generator of the schemas of one document.
pub struct Generator(SchemaGenerator);

impl Generator {
    /// Makes a generator for values that the server decodes.
    pub(super) fn of_decoded() -> Self {
        Self(SchemaSettings::draft2020_12().for_deserialize().into_generator())
    }

    /// Makes a generator for values that the server encodes.
    pub(super) fn of_encoded() -> Self {
        Self(SchemaSettings::draft2020_12().for_serialize().into_generator())
    }

    /// Adds the definitions to a schema.
    pub(super) fn finish(mut self, mut schema: Value) -> Value {
        let definitions = self.0.take_definitions(true);
        if let (false, Value::Object(members)) = (definitions.is_empty(), &mut schema) {
            members.insert("$defs".to_owned(), definitions.into());
        }
        schema
    }

    fn schema_of<T: JsonSchema>(&mut self) -> Value {
        // The JSON codec encodes unit and unit structs as `{}`, not as `null`.
        if size_of::<T>() == 0 && T::json_schema(&mut self.0).get("type") == Some(&json!("null")) {
            return json!({ "type": "object" });
        }
        self.0.subschema_for::<T>().to_value()
    }
}

impl fmt::Debug for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Generator").finish()
    }
}

/// Makes the schema of several arguments: an object with a member for each.
#[must_use]
pub fn object<const N: usize>(fields: [(&'static str, Value, bool); N]) -> Value {
    let required = fields.iter().filter(|(_, _, is_required)| *is_required);
    let required: Vec<_> = required.map(|(name, _, _)| *name).collect();
    let fields = fields.into_iter().map(|(name, schema, _)| (name.to_owned(), schema));
    let properties: Map<_, _> = fields.collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

/// Probe of the type of an argument or of a reply.
#[derive(Debug)]
pub struct Probe<T>(PhantomData<fn() -> T>);

impl<T> Probe<T> {
    /// The probe.
    pub const NEW: Self = Self(PhantomData);
}

/// First choice: the schema of the type.
pub trait OfType {
    /// Returns the schema.
    fn schema(&self, generator: &mut Generator) -> Value;
}

impl<T: JsonSchema> OfType for &Probe<T> {
    fn schema(&self, generator: &mut Generator) -> Value {
        generator.schema_of::<T>()
    }
}

/// Last choice: anything.
pub trait Any {
    /// Returns the schema of anything.
    fn schema(&self, generator: &mut Generator) -> Value;
}

impl<T> Any for Probe<T> {
    fn schema(&self, _: &mut Generator) -> Value {
        Value::Bool(true)
    }
}

/// First choice: an argument that may be left out.
pub trait Optional {
    /// Returns false.
    fn is_required(&self) -> bool;
}

impl<T> Optional for &Probe<Option<T>> {
    fn is_required(&self) -> bool {
        false
    }
}

/// Last choice: an argument that is required.
pub trait Required {
    /// Returns true.
    fn is_required(&self) -> bool;
}

impl<T> Required for Probe<T> {
    fn is_required(&self) -> bool {
        true
    }
}

/// Type name of an application error, and the schema of its value.
#[derive(Debug)]
pub struct ErrorSchema {
    pub(super) kind: &'static str,
    pub(super) schema: Value,
}

/// Probe of the error type of a method.
#[derive(Debug)]
pub struct ErrorProbe<E>(PhantomData<fn() -> E>);

impl<E> ErrorProbe<E> {
    /// The probe.
    pub const NEW: Self = Self(PhantomData);

    fn app_error<A: AppError>(schema: Value) -> Option<ErrorSchema> {
        // The error of calls that expect none has no name.
        (!A::TYPE.is_empty()).then_some(ErrorSchema { kind: A::TYPE, schema })
    }
}

macro_rules! choices {
    ($($(#[$docs:meta])* $name:ident($($bounds:tt)*) for $probe:ty => $result:expr;)+) => {$(
        $(#[$docs])*
        pub trait $name {
            /// Returns the type name and the schema; `None` without an application error.
            fn schema(&self, generator: &mut Generator) -> Option<ErrorSchema>;
        }

        impl<E: $($bounds)*> $name for $probe {
            fn schema(&self, generator: &mut Generator) -> Option<ErrorSchema> {
                let result: fn(&mut Generator) -> _ = $result;
                result(generator)
            }
        }
    )+};
}

choices! {
    /// First choice: an application error with a schema.
    TypedAppError(AppError + JsonSchema) for &&&&ErrorProbe<E> =>
        |generator| ErrorProbe::<E>::app_error::<E>(generator.schema_of::<E>());
    /// Second choice: an application error without a schema.
    OfAppError(AppError) for &&&ErrorProbe<E> =>
        |_| ErrorProbe::<E>::app_error::<E>(Value::Bool(true));
    /// Third choice: the error of typed calls, of an application error with a schema.
    TypedCallError(AppError + JsonSchema) for &&ErrorProbe<CallError<E>> =>
        |generator| ErrorProbe::<E>::app_error::<E>(generator.schema_of::<E>());
    /// Fourth choice: the error of typed calls, of an application error without a schema.
    OfCallError(AppError) for &ErrorProbe<CallError<E>> =>
        |_| ErrorProbe::<E>::app_error::<E>(Value::Bool(true));
    /// Last choice: no application error.
    NoErrorType(Sized) for ErrorProbe<E> => |_| None;
}

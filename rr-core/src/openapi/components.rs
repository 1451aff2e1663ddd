//! Component schemas: the definitions of all schemas, under names that do not collide.

use std::collections::{BTreeMap, BTreeSet};

use rr_spi::Error;
use rr_spi::wire::percent_decode;
use serde_json::{Map, Value, json};

use super::errors;

/// Maximum depth of a schema. A deeper one would exhaust the stack.
const DEPTH_MAX: usize = 128;

/// Keywords whose members are schemas by name, so that `$ref` is a name among them.
const MAPS: [&str; 4] = ["$defs", "dependentSchemas", "patternProperties", "properties"];

/// Keywords whose values are data, in which `$ref` refers to nothing.
const DATA: [&str; 5] = ["const", "default", "enum", "example", "examples"];

/// Place of a schema in a method, which tells definitions of one name apart.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Input,
    Output,
    Error,
}

impl Place {
    fn suffix(self) -> &'static str {
        match self {
            Self::Input => "Input",
            Self::Output => "Output",
            Self::Error => "Error",
        }
    }
}

/// Component schemas of one document.
#[derive(Debug)]
pub(super) struct Components {
    schemas: Map<String, Value>,
    /// Components by the name and the text of a definition. The text includes all definitions that
    /// it refers to: only then do equal texts have equal meanings.
    known: BTreeMap<(String, String), String>,
}

impl Components {
    /// Makes the components of a document, with those of errors.
    pub(super) fn new() -> Self {
        let schemas = errors::components().map(|(name, schema)| (name.to_owned(), schema));
        Self { schemas: schemas.into_iter().collect(), known: BTreeMap::new() }
    }

    /// Returns the component schemas.
    pub(super) fn into_schemas(self) -> Map<String, Value> {
        self.schemas
    }

    /// Moves the definitions of a schema to the components, and returns the schema without them.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, not sent, when the schema is neither an object nor a boolean, is nested too
    /// deep, or refers to a definition that it does not have.
    pub(super) fn add(&mut self, schema: &Value, place: Place) -> Result<Value, Error> {
        let mut schema = match schema {
            // Some generators of clients do not read `true`.
            Value::Bool(true) => json!({}),
            Value::Bool(false) | Value::Object(_) => schema.clone(),
            _ => return Err(malformed("a schema is neither an object nor a boolean")),
        };
        let definitions = match schema.as_object_mut().and_then(|members| members.remove("$defs")) {
            None => Map::new(),
            Some(Value::Object(definitions)) => definitions,
            Some(_) => return Err(malformed("`$defs` of a schema is not an object")),
        };
        let references = references(&definitions)?;
        let mut names = BTreeMap::new();
        let mut added = Vec::new();
        for name in definitions.keys() {
            let reached = reached(name, &references);
            let whole: BTreeMap<_, _> =
                reached.iter().map(|name| (name, &definitions[*name])).collect();
            let key = (name.clone(), json!(whole).to_string());
            let component = if let Some(known) = self.known.get(&key) {
                known.clone()
            } else {
                let component = self.free_name(name, place.suffix());
                // Takes the name until the definition is written below.
                self.schemas.insert(component.clone(), Value::Null);
                added.push((name.clone(), component.clone()));
                self.known.insert(key, component.clone());
                component
            };
            names.insert(name.clone(), component);
        }
        for (name, component) in added {
            let mut definition = definitions[&name].clone();
            rewrite(&mut definition, &names)?;
            self.schemas.insert(component, definition);
        }
        rewrite(&mut schema, &names)?;
        Ok(schema)
    }

    /// Adds a component without references to definitions, and returns the reference to it. An equal
    /// component is added once.
    pub(super) fn name(&mut self, name: &str, schema: Value) -> Value {
        let key = (name.to_owned(), schema.to_string());
        let component = if let Some(known) = self.known.get(&key) {
            known.clone()
        } else {
            let component = self.free_name(name, "");
            self.schemas.insert(component.clone(), schema);
            self.known.insert(key, component.clone());
            component
        };
        json!({ "$ref": format!("#/components/schemas/{component}") })
    }

    /// Returns the first name that is free: the name, with the suffix, with a number.
    fn free_name(&self, name: &str, suffix: &str) -> String {
        // Names of components match `[a-zA-Z0-9._-]+` (OpenAPI 3.1 §4.8.7).
        let fits = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-');
        let name: String = name.chars().map(|char| if fits(char) { char } else { '_' }).collect();
        let name = if name.is_empty() { "Unnamed".to_owned() } else { name };
        let suffixed = format!("{name}{suffix}");
        let numbered = (2_u64..).map(|number| format!("{suffixed}{number}"));
        let mut names = [name, suffixed.clone()].into_iter().chain(numbered);
        let free = names.find(|name| !self.schemas.contains_key(name));
        // There are more numbers than components.
        free.unwrap_or(suffixed)
    }
}

/// Returns the definitions that each definition refers to.
fn references(
    definitions: &Map<String, Value>,
) -> Result<BTreeMap<String, BTreeSet<String>>, Error> {
    let mut all = BTreeMap::new();
    for (name, definition) in definitions {
        if !(definition.is_object() || definition.is_boolean()) {
            let shown = name.escape_debug();
            let text = format!("the definition `{shown}` is neither an object nor a boolean");
            return Err(malformed(&text));
        }
        let mut found = BTreeSet::new();
        visit(&mut definition.clone(), DEPTH_MAX, &mut |reference| {
            if let Some((definition, _)) = parse(reference)? {
                found.insert(definition);
            }
            Ok(())
        })?;
        all.insert(name.clone(), found);
    }
    Ok(all)
}

/// Returns a definition and all that it refers to, directly or not.
fn reached<'a>(
    name: &'a String,
    references: &'a BTreeMap<String, BTreeSet<String>>,
) -> BTreeSet<&'a String> {
    let (mut reached, mut next) = (BTreeSet::from([name]), vec![name]);
    while let Some(name) = next.pop() {
        let found = references.get(name).into_iter().flatten();
        // One that is missing is an error of the rewriting.
        for found in found.filter(|found| references.contains_key(*found)) {
            if reached.insert(found) {
                next.push(found);
            }
        }
    }
    reached
}

/// Makes the references of a schema refer to components.
fn rewrite(schema: &mut Value, names: &BTreeMap<String, String>) -> Result<(), Error> {
    visit(schema, DEPTH_MAX, &mut |reference| {
        let Some((name, rest)) = parse(reference)? else { return Ok(()) };
        let component = names.get(&name).ok_or_else(|| {
            let shown = name.escape_debug();
            malformed(&format!("a schema refers to `{shown}`, which is not among its `$defs`"))
        })?;
        *reference = format!("#/components/schemas/{component}{rest}");
        Ok(())
    })
}

/// Visits every reference of a schema.
fn visit(
    schema: &mut Value,
    depth: usize,
    on_reference: &mut dyn FnMut(&mut String) -> Result<(), Error>,
) -> Result<(), Error> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(malformed("a schema is nested more than 128 levels deep"));
    };
    match schema {
        Value::Array(schemas) => {
            schemas.iter_mut().try_for_each(|schema| visit(schema, depth, on_reference))
        }
        Value::Object(members) => members.iter_mut().try_for_each(|(keyword, value)| match value {
            _ if DATA.contains(&keyword.as_str()) => Ok(()),
            Value::String(reference) if keyword == "$ref" => on_reference(reference),
            Value::Object(schemas) if MAPS.contains(&keyword.as_str()) => {
                schemas.values_mut().try_for_each(|schema| visit(schema, depth, on_reference))
            }
            value => visit(value, depth, on_reference),
        }),
        _ => Ok(()),
    }
}

/// Returns the definition that a reference names, and what follows in the pointer (RFC 6901). `None`
/// for a reference to another document.
fn parse(reference: &str) -> Result<Option<(String, String)>, Error> {
    let Some(pointer) = reference.strip_prefix('#') else { return Ok(None) };
    let Some(pointer) = pointer.strip_prefix("/$defs/") else {
        let shown = reference.escape_debug();
        return Err(malformed(&format!("a schema refers to `{shown}` within itself")));
    };
    let (name, rest) = match pointer.find('/') {
        Some(at) => pointer.split_at(at),
        None => (pointer, ""),
    };
    let decoded = percent_decode(name).and_then(|bytes| String::from_utf8(bytes.into_owned()).ok());
    let Some(decoded) = decoded else {
        return Err(malformed(&format!("a schema has the malformed reference `{name}`")));
    };
    Ok(Some((decoded.replace("~1", "/").replace("~0", "~"), rest.to_owned())))
}

fn malformed(text: &str) -> Error {
    super::malformed(
        text.to_owned(),
        "a schema written by hand refers to definitions as `#/$defs/Name`, which `SchemaGenerator::subschema_for` returns",
    )
}

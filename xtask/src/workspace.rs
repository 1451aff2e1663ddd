//! What cargo knows about the workspace, as far as the commands need it.

use serde_json::Value;

use crate::command::{Outcome, cargo, output};

/// One package of the workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    /// Path of its `Cargo.toml`.
    pub(crate) manifest: String,
    /// Whether it is meant for a registry.
    pub(crate) published: bool,
    /// Names of its features, as declared.
    pub(crate) features: Vec<String>,
    pub(crate) targets: Vec<Target>,
}

/// One library, binary, example or test of a package.
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) source: String,
    pub(crate) required_features: Vec<String>,
}

impl Package {
    /// Features that a user may name: all but `default` and those that start with `_`.
    pub(crate) fn public_features(&self) -> Vec<&str> {
        let names = self.features.iter().map(String::as_str);
        names.filter(|name| *name != "default" && !name.starts_with('_')).collect()
    }

    /// Targets of one kind, such as `lib` or `example`.
    pub(crate) fn targets_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Target> {
        self.targets.iter().filter(move |target| target.kind == kind)
    }
}

/// Reads all packages of the workspace.
pub(crate) fn packages() -> Outcome<Vec<Package>> {
    let text = output(&mut cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&text)
        .map_err(|error| format!("`cargo metadata` printed no JSON: {error}"))?;
    Ok(array(&metadata["packages"]).map(package).collect())
}

/// Returns the package of this name.
pub(crate) fn find<'a>(packages: &'a [Package], name: &str) -> Outcome<&'a Package> {
    let found = packages.iter().find(|package| package.name == name);
    found.ok_or_else(|| format!("the workspace has no package `{name}`"))
}

fn package(value: &Value) -> Package {
    let features = value["features"].as_object();
    Package {
        name: text(&value["name"]),
        manifest: text(&value["manifest_path"]),
        // `publish = false` reads as an empty list of registries; the default is null.
        published: value["publish"].is_null(),
        features: features.map(|map| map.keys().cloned().collect()).unwrap_or_default(),
        targets: array(&value["targets"]).map(target).collect(),
    }
}

fn target(value: &Value) -> Target {
    Target {
        name: text(&value["name"]),
        kind: text(&value["kind"][0]),
        source: text(&value["src_path"]),
        required_features: array(&value["required-features"]).map(text).collect(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_package_is_read_from_metadata() {
        let package = package(&json!({
            "name": "a",
            "publish": [],
            "features": { "default": [], "http": [], "_serve": [] },
            "targets": [
                { "name": "one", "kind": ["example"], "src_path": "x", "required-features": ["http"] },
                { "name": "a", "kind": ["lib"], "src_path": "y" },
            ],
        }));
        assert!(!package.published);
        assert_eq!(package.public_features(), ["http"]);
        let examples: Vec<_> = package.targets_of("example").collect();
        assert_eq!(examples.len(), 1);
        assert_eq!(examples[0].required_features, ["http"]);
    }
}

//! Which tests and examples need a nats-server.

use std::fs;
use std::path::{Path, PathBuf};

use crate::workspace::{Package, Target};

/// The package whose tests need it.
pub(crate) const PACKAGE: &str = "rr-nats";

/// The module of unit tests elsewhere that need it.
pub(crate) const MODULE: &str = "nats_server";

/// Whether anything in the workspace needs a nats-server.
pub(crate) fn any(packages: &[Package]) -> bool {
    packages.iter().any(|package| package.name == PACKAGE)
        || packages.iter().flat_map(|package| &package.targets).any(needs_server)
}

/// Whether a test or an example needs one: it says so in its name or in its features, or its
/// sources start one.
pub(crate) fn needs_server(target: &Target) -> bool {
    let runs = ["test", "example"].contains(&target.kind.as_str());
    let says = |name: &str| name.contains("nats");
    runs && (says(&target.name)
        || target.required_features.iter().any(|feature| says(feature))
        || sources(&target.source).iter().any(|path| starts_server(path)))
}

/// The file of a target, or all files beside it when it has a folder of its own.
fn sources(root: &str) -> Vec<PathBuf> {
    let root = PathBuf::from(root);
    let Some(folder) = root.parent().filter(|_| root.ends_with("main.rs")) else {
        return vec![root];
    };
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).collect()
}

fn starts_server(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.contains("NatsServer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(kind: &str, name: &str, features: &[&str]) -> Target {
        Target {
            name: name.to_owned(),
            kind: kind.to_owned(),
            source: "no-such-file.rs".to_owned(),
            required_features: features.iter().map(|&feature| feature.to_owned()).collect(),
        }
    }

    #[test]
    fn a_name_or_a_feature_says_that_a_server_is_needed() {
        assert!(needs_server(&target("example", "ping_nats", &[])));
        assert!(needs_server(&target("test", "conformance", &["nats"])));
        assert!(!needs_server(&target("test", "conformance", &["http"])));
        assert!(!needs_server(&target("lib", "rr_nats", &[])));
    }
}

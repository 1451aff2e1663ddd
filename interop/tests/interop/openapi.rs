//! The OpenAPI document of a service: a validator accepts it, and a generated client calls the service.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::check::{Outcome, command, printed};
use crate::scripts::{holds, node, python};
use crate::server::Server;

#[test]
fn python_validator_of_openapi() -> Outcome {
    holds(4, python("openapi_validator.py").arg(document()?))
}

#[test]
fn node_client_generated_from_openapi() -> Outcome {
    let document = document()?;
    let server = Server::start("described", described().args(["serve", "http://127.0.0.1:0"]))?;
    holds(10, node("openapi_client.mjs").arg(server.url()).arg(document))
}

/// Writes the document of the service to a file.
fn document() -> Outcome<PathBuf> {
    written("catalog.json", &printed(described().arg("openapi"))?)
}

/// Writes a document to a file of this name.
pub(crate) fn written(name: &str, document: &str) -> Outcome<PathBuf> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, document).map_err(|error| format!("cannot write the document: {error}"))?;
    Ok(path)
}

/// The program of the described service.
pub(crate) fn described() -> Command {
    command(env!("CARGO_BIN_EXE_described"))
}

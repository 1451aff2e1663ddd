//! The peers of Python and Node, installed below `target/interop`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{Outcome, command, root, run};

/// What Node's scripts are made of.
const NODE_FILES: [&str; 18] = [
    "admin_page.mjs",
    "checks.mjs",
    "connect_client.mjs",
    "generated.mjs",
    "https_client.mjs",
    "https_server.mjs",
    "nats_client.mjs",
    "nats_described.mjs",
    "nats_responder.mjs",
    "node_fetch.mjs",
    "openapi_calls.ts",
    "openapi_client.mjs",
    "orders_calls.ts",
    "orders_client.mjs",
    "package.json",
    "page.html",
    "page.mjs",
    "services.mjs",
];

/// Creates the virtual environment with httpx, nats-py and the validator of OpenAPI, unless it is there in the pinned versions.
pub(super) fn install_python(folder: &Path) -> Outcome {
    let requirements = scripts().join("requirements.txt");
    let (environment, stamp) = (folder.join("venv"), folder.join("venv/requirements.txt"));
    if same(&requirements, &stamp) {
        println!("{} is up to date", shown(&environment));
        return Ok(());
    }
    run(command("python3", ["-m", "venv"]).arg(&environment)).map_err(|error| {
        format!("{error}\nif the module is missing: apt-get install python3-venv")
    })?;
    run(command(python(folder), ["-m", "pip", "install", "--quiet", "--requirement"])
        .arg(&requirements))?;
    copy(&requirements, &stamp)
}

/// Installs the clients of Connect and NATS and the generator of clients beside the scripts, unless they are there in the pinned versions.
pub(super) fn install_node(folder: &Path) -> Outcome {
    let folder = folder.join("node");
    fs::create_dir_all(&folder).map_err(|error| format!("cannot create a folder: {error}"))?;
    // Modules are looked up from where the script is.
    for script in NODE_FILES {
        copy(&scripts().join(script), &folder.join(script))?;
    }
    let lock = scripts().join("package-lock.json");
    let stamp = folder.join("node_modules/installed.json");
    if same(&lock, &stamp) {
        println!("{} is up to date", shown(&folder));
        return Ok(());
    }
    copy(&lock, &folder.join("package-lock.json"))?;
    let mut npm = command("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
    run(npm.current_dir(&folder))?;
    copy(&lock, &stamp)
}

pub(super) fn python(folder: &Path) -> PathBuf {
    folder.join("venv/bin/python")
}

pub(super) fn scripts() -> PathBuf {
    root().join("interop/peers")
}

pub(super) fn same(one: &Path, other: &Path) -> bool {
    matches!((fs::read(one), fs::read(other)), (Ok(one), Ok(other)) if one == other)
}

pub(super) fn copy(from: &Path, to: &Path) -> Outcome {
    let copied = fs::copy(from, to).map(|_| ());
    copied.map_err(|error| format!("cannot copy {} to {}: {error}", shown(from), shown(to)))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

//! Debian's packages, unpacked below a folder and not installed.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::command::{Outcome, command, run, succeeds};

/// Whether packages can be unpacked here.
pub(crate) fn is_here() -> bool {
    succeeds(&mut command("dpkg", ["--version"]))
}

/// Downloads packages and unpacks them into `folder`, which is emptied first.
pub(crate) fn unpack(packages: &[&str], folder: &Path) -> Outcome {
    if !is_here() {
        return Err("there is no dpkg: Debian's packages are for Debian".to_owned());
    }
    empty(folder)?;
    let mut download = command("apt-get", ["download", "--quiet=2"]);
    fetch(download.args(packages).current_dir(folder))?;
    extract(folder)
}

/// Downloads a package and what it depends on that the system has not, and unpacks all into `folder`.
pub(crate) fn unpack_whole(package: &str, folder: &Path) -> Outcome {
    if !is_here() {
        return Err("there is no dpkg: Debian's packages are for Debian".to_owned());
    }
    empty(&folder.join("partial"))?;
    let mut download = command("apt-get", ["install", "--download-only", "--quiet=2", "--yes"]);
    // Nothing is installed, so that no lock and no rights are needed.
    download.args(["--no-install-recommends", "--option", "Debug::NoLocking=1", "--option"]);
    download.arg(format!("Dir::Cache::archives={}", folder.display())).arg(package);
    fetch(&mut download)?;
    extract(folder)
}

/// Runs a download, once more with fresh lists if it fails: a machine that never asked has no list of packages, or
/// an old one.
fn fetch(apt: &mut Command) -> Outcome {
    // Its own user may not write here, of which it would warn.
    apt.args(["--option", "APT::Sandbox::User=root"]);
    if run(apt).is_ok() {
        return Ok(());
    }
    run(&mut command("apt-get", ["update", "--quiet=2"]))?;
    run(apt)
}

fn extract(folder: &Path) -> Outcome {
    let archives =
        fs::read_dir(folder).map_err(|error| format!("cannot list a folder: {error}"))?;
    for archive in archives.filter_map(Result::ok).map(|entry| entry.path()) {
        if archive.extension().is_some_and(|extension| extension == "deb") {
            println!("{}", archive.file_name().unwrap_or_default().to_string_lossy());
            run(command("dpkg", ["-x"]).arg(&archive).arg(folder))?;
            // Some are as large as what is in them. One that stays does no harm.
            let _ = fs::remove_file(&archive);
        }
    }
    Ok(())
}

/// Makes a folder empty, or makes it.
pub(crate) fn empty(folder: &Path) -> Outcome {
    // It fails when there is none, which is as good.
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder)
        .map_err(|error| format!("cannot create {}: {error}", folder.display()))
}

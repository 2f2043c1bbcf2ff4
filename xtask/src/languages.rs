//! Test guests in languages whose compilers are no part of the toolchain: Python and JavaScript.
//!
//! Each language's tool comes from its own package manager, once, into `target/guest-tools`, at a version
//! named here. A guest is built again only when its source, the WIT or that version has changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{run, say};

const FOLDER: &str = "tests/guests/languages";
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";
const COMPONENTIZE_QJS: &str = "componentize-qjs@0.4.5";

/// A guest: its world, which is its name, its source, and what builds it.
struct Guest {
    world: &'static str,
    source: &'static str,
    tool: &'static str,
    build: fn(&Place, &Path) -> Result<()>,
}

const GUESTS: [Guest; 2] = [
    Guest { world: "python", source: "python.py", tool: COMPONENTIZE_PY, build: python },
    Guest { world: "javascript", source: "javascript.js", tool: COMPONENTIZE_QJS, build: javascript },
];

/// Where things are.
struct Place {
    sources: PathBuf,
    tools: PathBuf,
    wit: PathBuf,
}

/// Builds every guest that is not there as it should be, into `dist/NAME.wasm`.
///
/// # Errors
/// When a tool cannot be installed, or refuses a guest.
pub(crate) fn build(root: &Path) -> Result<()> {
    let tools = root.join("target/guest-tools");
    let place = Place { sources: root.join(FOLDER), wit: tools.join("wit"), tools };
    let dist = place.sources.join("dist");
    fs::create_dir_all(&dist)?;
    let contract = root.join("wit/plugin.wit");
    for guest in GUESTS {
        let mut inputs = guest.tool.as_bytes().to_vec();
        for file in [&contract, &place.sources.join("guest.wit"), &place.sources.join(guest.source)] {
            inputs.extend(fs::read(file).with_context(|| file.display().to_string())?);
        }
        let (built, made_of) =
            (dist.join(format!("{}.wasm", guest.world)), dist.join(format!("{}.inputs", guest.world)));
        if built.is_file() && fs::read(&made_of).is_ok_and(|old| old == inputs) {
            continue;
        }
        say(&format!("{FOLDER}: {} with {}", guest.source, guest.tool));
        let deps = place.wit.join("deps/plugin");
        fs::create_dir_all(&deps)?;
        fs::copy(&contract, deps.join("plugin.wit"))?;
        fs::copy(place.sources.join("guest.wit"), place.wit.join("guest.wit"))?;
        (guest.build)(&place, &built)?;
        fs::write(&made_of, inputs)?;
    }
    Ok(())
}

fn python(place: &Place, built: &Path) -> Result<()> {
    let folder = place.tools.join(COMPONENTIZE_PY.replace("==", "-"));
    let tool = folder.join("bin/componentize-py");
    if !tool.is_file() {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv"]).arg(&folder);
        run::run(venv)?;
        let mut pip = Command::new(folder.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", COMPONENTIZE_PY]);
        run::run(pip)?;
    }
    // The tool leaves compiled modules beside what it reads.
    fs::copy(place.sources.join("python.py"), folder.join("python.py"))?;
    let mut command = Command::new(tool);
    command.current_dir(&folder).arg("--wit-path").arg(&place.wit);
    command.args(["--world", "python", "--quiet", "componentize", "python", "--output"]).arg(built);
    run::run(command)
}

fn javascript(place: &Place, built: &Path) -> Result<()> {
    let folder = place.tools.join(COMPONENTIZE_QJS.replace('@', "-"));
    let tool = folder.join("node_modules/.bin/componentize-qjs");
    if !tool.is_file() {
        fs::create_dir_all(&folder)?;
        let mut npm = Command::new("npm");
        npm.current_dir(&folder).args(["install", "--silent", "--no-audit", "--no-fund", COMPONENTIZE_QJS]);
        run::run(npm)?;
    }
    let mut command = Command::new(tool);
    command.arg("--js").arg(place.sources.join("javascript.js")).arg("--wit").arg(&place.wit);
    command.args(["--world", "javascript", "--sync", "--output"]).arg(built);
    run::run(command)
}

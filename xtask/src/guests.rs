//! Building guests for wasm, wherever a compiler for them can be had, and the SDK's bindings.
//!
//! | way | when |
//! | --- | --- |
//! | rustup's target | the toolchain has `wasm32-unknown-unknown`, or rustup can add it |
//! | Debian's compiler with `-Zbuild-std` | its packages are there, or this is root on Debian and they can be installed |
//!
//! Core modules are enough: the gateway makes components of them when it loads them. Whether anything has to
//! be built is cargo's to know; a module is copied to `dist` only when it changed.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::{exchanges, run, say};

const TARGET: &str = "wasm32-unknown-unknown";
/// Long enough to fetch 30 MiB over a slow line, short enough for a machine without one.
const TARGET_ADD_TIMEOUT: Duration = Duration::from_secs(120);
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
/// The oldest minor version of Debian's compiler that knows the edition and the flags used here.
const DEBIAN_MINOR_MIN: u32 = 90;

const HELP: &str = "no compiler for wasm32-unknown-unknown; install one of\n  \
    rustup target add wasm32-unknown-unknown\n  \
    apt-get install rustc-web cargo-web rust-web-src    (Debian)";

/// The generator of the SDK's bindings, and the phases that have a world of their own.
const GENERATOR_VERSION: &str = "0.63.0";
const PHASES: [&str; 8] = [
    "lifecycle",
    "request-mapper",
    "cache-policy",
    "signer",
    "token-source",
    "classifier",
    "response-mapper",
    "error-mapper",
];

/// What compiles guests.
enum Toolchain {
    /// The toolchain of this repository.
    Rustup,
    /// Debian's compiler, which builds the standard library along; rust-lld is in that folder.
    Debian { linker: PathBuf },
}

/// Builds every guest of a workspace (`plugins`, `tests/guests`) into its `dist/NAME.wasm`.
///
/// # Errors
/// When there is no compiler for wasm and none can be installed, or when a guest does not compile.
pub(crate) fn build_guests(root: &Path, workspace: &str) -> Result<()> {
    let folder = root.join(workspace);
    let names = packages(&folder)?;
    let toolchain = choose(root)?;
    let mut cargo = match &toolchain {
        Toolchain::Rustup => {
            say(&format!("{workspace}: rustup's {TARGET}"));
            Command::new("cargo")
        }
        Toolchain::Debian { linker } => {
            say(&format!("{workspace}: Debian's rustc with -Zbuild-std (the first time takes minutes)"));
            let mut cargo = Command::new(DEBIAN_CARGO);
            cargo.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1").env("PATH", path_with(linker)?);
            cargo.env_remove("RUSTUP_TOOLCHAIN");
            cargo
        }
    };
    // Beside the sources whatever the caller's target folder is, so that a change of way finds what is there.
    cargo.current_dir(&folder).env("CARGO_TARGET_DIR", folder.join("target"));
    cargo.args(["build", "--quiet", "--release", "--target", TARGET]);
    if matches!(toolchain, Toolchain::Debian { .. }) {
        cargo.arg("-Zbuild-std=std,panic_abort");
    }
    run::run(cargo)?;
    collect(&folder, &names)
}

/// The names of a workspace's packages: one per folder with a manifest.
fn packages(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let manifest = entry?.path().join("Cargo.toml");
        if !manifest.is_file() {
            continue;
        }
        let text = fs::read_to_string(&manifest)?;
        let name = text.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
        names.push(name.with_context(|| format!("{} names no package", manifest.display()))?.to_owned());
    }
    names.sort();
    Ok(names)
}

/// Copies what was built and changed to `dist`, with its recorded exchanges, and removes what is not built any more.
fn collect(folder: &Path, names: &[String]) -> Result<()> {
    let dist = folder.join("dist");
    fs::create_dir_all(&dist)?;
    for name in names {
        let module = format!("{}.wasm", name.replace('-', "_"));
        let built = fs::read(folder.join("target").join(TARGET).join("release").join(&module))
            .with_context(|| format!("`{name}` was not built: is it a cdylib?"))?;
        let built = exchanges::embed(built, &folder.join(name).join("exchanges"))?;
        write_changed(&dist.join(format!("{name}.wasm")), &built)?;
    }
    for entry in fs::read_dir(&dist)? {
        let path = entry?.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_some_and(|extension| extension == "wasm") && !names.contains(&stem) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Writes a file unless it has these contents; says whether it did.
fn write_changed(path: &Path, contents: &[u8]) -> Result<bool> {
    if fs::read(path).is_ok_and(|old| old == contents) {
        return Ok(false);
    }
    fs::write(path, contents).with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(true)
}

fn choose(root: &Path) -> Result<Toolchain> {
    if has_target(root) || (add_target(root) && has_target(root)) {
        return Ok(Toolchain::Rustup);
    }
    if !debian_is_ready() {
        install_debian();
    }
    ensure!(debian_is_ready(), HELP);
    let linker =
        linker(root).context("Debian's rustc needs rust-lld, which neither rustup nor Debian has here")?;
    Ok(Toolchain::Debian { linker })
}

fn has_target(root: &Path) -> bool {
    sysroot("rustc", root)
        .is_some_and(|sysroot| sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir())
}

/// Whether rustup added the target. It is quiet: without a network this is no news to anybody.
fn add_target(root: &Path) -> bool {
    let mut command = Command::new("rustup");
    command.args(["target", "add", TARGET]).current_dir(root).stdin(Stdio::null()).stdout(Stdio::null());
    let Ok(mut child) = command.stderr(Stdio::piped()).spawn() else { return false };
    let (done, ended) = mpsc::channel();
    if let Some(mut stderr) = child.stderr.take() {
        // The pipe closes when rustup ends, which is a wait with a limit that the standard library has.
        std::thread::spawn(move || {
            let _ = stderr.read_to_end(&mut Vec::new());
            let _ = done.send(());
        });
    }
    if ended.recv_timeout(TARGET_ADD_TIMEOUT).is_err() {
        let _ = child.kill();
    }
    child.wait().is_ok_and(|status| status.success())
}

fn debian_is_ready() -> bool {
    let recent = output(Command::new(DEBIAN_RUSTC).arg("--version")).is_some_and(|text| is_recent(&text));
    let has_source = sysroot(DEBIAN_RUSTC, Path::new("/"))
        .is_some_and(|sysroot| sysroot.join("lib/rustlib/src/rust/library/std/Cargo.toml").is_file());
    recent && has_source && Path::new(DEBIAN_CARGO).is_file()
}

/// Whether a line such as `rustc 1.96.0 (…)` is of a version that will do.
fn is_recent(version: &str) -> bool {
    let minor = version.strip_prefix("rustc 1.").and_then(|rest| rest.split('.').next()?.parse().ok());
    minor.is_some_and(|minor: u32| minor >= DEBIAN_MINOR_MIN)
}

/// Installs Debian's packages where that can be done without asking.
fn install_debian() {
    let is_root = output(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0");
    if !is_root || !Path::new("/usr/bin/apt-get").is_file() {
        return;
    }
    say(&format!("installing {}", DEBIAN_PACKAGES.join(" ")));
    for args in [&["update"][..], &["install", "-y"]] {
        let packages = if args.len() > 1 { &DEBIAN_PACKAGES[..] } else { &[] };
        let mut apt = Command::new("/usr/bin/apt-get");
        apt.arg("-qq")
            .args(args)
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null());
        // Whether it worked is asked once, by who called.
        let _ = apt.status();
    }
}

/// The folder of a rust-lld that is really there: Debian has a link whose goal is in another package.
fn linker(root: &Path) -> Option<PathBuf> {
    let of_rustup = sysroot("rustc", root).into_iter().flat_map(|sysroot| {
        let hosts = fs::read_dir(sysroot.join("lib/rustlib")).into_iter().flatten().flatten();
        hosts.map(|host| host.path().join("bin"))
    });
    of_rustup.chain([PathBuf::from("/usr/bin")]).find(|folder| folder.join("rust-lld").is_file())
}

fn path_with(linker: &Path) -> Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths([linker.to_path_buf()].into_iter().chain(std::env::split_paths(&path)))?)
}

/// The folder of a compiler's libraries. Asked at the top of the repository, which may pin a toolchain.
fn sysroot(rustc: &str, root: &Path) -> Option<PathBuf> {
    output(Command::new(rustc).args(["--print", "sysroot"]).current_dir(root)).map(|text| text.trim().into())
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// Writes the SDK's bindings anew from `wit/`, with the generator on PATH or named by `WIT_BINDGEN`.
///
/// # Errors
/// When the generator is missing, of another version, or does not like the WIT.
pub(crate) fn regenerate_bindings() -> Result<()> {
    let root = run::root()?;
    let generator = std::env::var("WIT_BINDGEN").unwrap_or_else(|_| "wit-bindgen".into());
    let version = output(Command::new(&generator).arg("--version")).unwrap_or_default();
    if version.split_whitespace().last() != Some(GENERATOR_VERSION) {
        bail!("needs `cargo install wit-bindgen-cli --version {GENERATOR_VERSION} --locked`");
    }
    let fresh = root.join("target/bindings");
    fs::create_dir_all(&fresh)?;
    generate(&generator, &root, &fresh, "imports", &["--generate-all"])?;
    for phase in PHASES {
        let rust_name = phase.replace('-', "_");
        let macro_name = format!("export_{rust_name}");
        let module = format!("bascule_plugin::generated::{rust_name}_world");
        let mut args = vec!["--pub-export-macro", "--export-macro-name", &macro_name];
        args.extend(["--default-bindings-module", &module]);
        generate(&generator, &root, &fresh, &format!("{phase}-world"), &args)?;
    }
    let mut changed = 0;
    for entry in fs::read_dir(&fresh)? {
        let entry = entry?;
        let committed = root.join("plugin-sdk/src/generated").join(entry.file_name());
        changed += usize::from(write_changed(&committed, &fs::read(entry.path())?)?);
    }
    say(&format!("{changed} files of bindings changed"));
    Ok(())
}

/// The bindings of one world. All share the types of `imports`; records without bodies can be compared.
fn generate(generator: &str, root: &Path, out: &Path, world: &str, args: &[&str]) -> Result<()> {
    let mut command = Command::new(generator);
    command.arg("rust").arg(root.join("wit")).args(["-w", world, "--format"]).args(args);
    command.args(["--runtime-path", "wit_bindgen::rt", "-d", "PartialEq", "-d", "Eq"]);
    let (with_bodies, shared): (&[&str], &[&str]) = match world {
        "imports" => (&["reply", "http-response"], &[]),
        "lifecycle-world" => {
            (&["mapping", "mapped-request", "outgoing-body"], &["context", "log", "config", "clock"])
        }
        _ => {
            (&["mapping", "mapped-request", "outgoing-body"], &["context", "log", "config", "clock", "types"])
        }
    };
    for name in with_bodies {
        command.args(["--additional-derive-ignore", name]);
    }
    for name in shared {
        let module = format!("crate::generated::imports::bascule::plugin::{name}");
        command.arg("--with").arg(format!("bascule:plugin/{name}@0.1.0={module}"));
    }
    command.arg("--out-dir").arg(out);
    run::run(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_compilers_of_debian_will_not_do() {
        assert!(is_recent("rustc 1.96.0 (ac68faa20 2026-05-25)"));
        assert!(!is_recent("rustc 1.63.0"));
        assert!(!is_recent("rustc"));
    }

    #[test]
    fn every_folder_with_a_manifest_is_a_guest() {
        let names = packages(&run::root().unwrap().join("plugins")).unwrap();
        assert_eq!(names, ["aws-sigv4", "github", "openweather"]);
    }
}

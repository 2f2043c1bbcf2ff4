//! Embeds the shipped plugins that `cargo xtask plugins` has built into `plugins/dist/`.
//!
//! Without them the build succeeds all the same; `builtin:NAME` then says how to build them.

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// The plugins that Bascule ships.
const SHIPPED: &[&str] = &["aws-sigv4", "github", "openweather"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../plugins/dist");
    let out = PathBuf::from(env::var("OUT_DIR")?).join("shipped.rs");
    let mut table = String::from("&[\n");
    for name in SHIPPED {
        let file = root.join(format!("{name}.wasm"));
        println!("cargo::rerun-if-changed={}", file.display());
        let octets = match file.canonicalize() {
            Ok(file) => format!("Some(include_bytes!({:?}))", show(&file)),
            Err(_) => "None".to_owned(),
        };
        writeln!(table, "    ({name:?}, {octets}),")?;
    }
    table.push_str("]\n");
    fs::write(out, table)?;
    Ok(())
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

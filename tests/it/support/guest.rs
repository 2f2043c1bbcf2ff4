//! Plugins for the tests.

/// The path of a test guest, for `source`.
pub fn guest(name: &str) -> String {
    let path = format!("{}/guests/dist/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    assert!(
        std::path::Path::new(&path).is_file(),
        "{path} is missing: build the guests first (`cargo xtask plugins`)"
    );
    path
}

/// The octets of a shipped plugin.
pub fn shipped(name: &str) -> Vec<u8> {
    let path = format!("{}/../plugins/dist/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error} (`cargo xtask plugins` builds it)"))
}

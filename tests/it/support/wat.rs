//! Guests written as WebAssembly text, for what no compiled guest does.
//!
//! An answer lies in the guest's memory from the start: [`Image`] lays it out as the canonical ABI
//! wants it, and the guest returns its address.

use std::{fmt::Write, fs, path::Path};
use wit_component::StringEncoding;
use wit_parser::Resolve;

/// Memory, and an allocator that never frees.
pub const RUNTIME: &str = r#"
  (memory (export "memory") 4)
  (global $next (mut i32) (i32.const 65536))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
    (global.set $next (i32.add (local.get $at) (local.get 3)))
    (local.get $at))
"#;

/// The parameters of the signer's function.
pub const SIGN: &str = r#"(export "bascule:plugin/signer@0.1.0#sign")
  (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)"#;
/// Those of the request mapper's.
pub const MAP_REQUEST: &str = r#"(export "bascule:plugin/request-mapper@0.1.0#map-request")
  (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)"#;
/// Those of the response mapper's.
pub const MAP_RESPONSE: &str = r#"(export "bascule:plugin/response-mapper@0.1.0#map-response")
  (param i32 i32 i32 i32 i32 i32) (result i32)"#;
/// Those of the classifier's.
pub const CLASSIFY: &str = r#"(export "bascule:plugin/classifier@0.1.0#classify")
  (param i32 i32 i32 i32 i32) (result i32)"#;
/// Those of the error mapper's.
pub const MAP_ERROR: &str = r#"(export "bascule:plugin/error-mapper@0.1.0#map-error")
  (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)"#;
/// Those of the cache policy's.
pub const KEY_MATERIAL: &str = r#"(export "bascule:plugin/cache-policy@0.1.0#key-material")
  (param i32) (result i32)"#;
/// Those of the token source's.
pub const FETCH_TOKEN: &str = r#"(export "bascule:plugin/token-source@0.1.0#fetch-token")
  (param i32 i32) (result i32)"#;

/// Writes a guest that exports one phase to `NAME.wasm` in the folder. `world` are the further items of
/// its world, `module` the parts of its module.
pub fn write_guest(folder: &Path, name: &str, world: &str, module: &str) {
    let mut resolve = Resolve::default();
    resolve.push_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")).unwrap();
    let text = format!("package test:guest; world guest {{ {world} }}");
    let package = resolve.push_str("guest.wit", &text).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    let mut octets = wat::parse_str(format!("(module {module})")).unwrap();
    wit_component::embed_component_metadata(&mut octets, &resolve, world, StringEncoding::UTF8).unwrap();
    fs::write(folder.join(format!("{name}.wasm")), octets).unwrap();
}

/// A guest whose one phase traps at once.
pub fn write_trapping(folder: &Path, name: &str, phase: &str, function: &str) {
    let world = format!("export bascule:plugin/{phase}@0.1.0;");
    write_guest(folder, name, &world, &format!("{RUNTIME} (func {function} unreachable)"));
}

/// A version of a plugin: a signer that adds the header `x-version` with that value.
pub fn write_version(folder: &Path, name: &str, version: &str) {
    let mut image = Image::new();
    let (header, value) = (image.text("x-version"), image.text(version));
    let field = image.words(&[header[0], header[1], 0, value[0], value[1], 0, 0, 0, 0, 0, 0, 0]);
    // ok({ headers: one, query: none })
    let patch = image.words(&[0, field, 1, 0, 0]);
    let module = format!(
        r#"(import "bascule:plugin/types@0.1.0" "[resource-drop]body" (func $drop (param i32)))
  {RUNTIME} {}
  (func {SIGN}
    (if (local.get 14) (then (call $drop (local.get 15))))
    (i32.const {patch}))"#,
        image.segment()
    );
    let world = "import bascule:plugin/types@0.1.0; export bascule:plugin/signer@0.1.0;";
    write_guest(folder, name, world, &module);
}

/// Puts recorded exchanges behind what is in a guest's file.
pub fn append_exchanges(folder: &Path, name: &str, exchanges: &serde_json::Value) {
    let path = folder.join(format!("{name}.wasm"));
    let mut octets = fs::read(&path).unwrap();
    let document = exchanges.to_string();
    let content = [&[17][..], b"bascule:exchanges", document.as_bytes()].concat();
    // A custom section; its size in LEB128 takes three octets.
    let size = content.len();
    let digits = [size & 0x7f | 0x80, (size >> 7) & 0x7f | 0x80, size >> 14];
    octets.push(0);
    octets.extend(digits.map(|digit| u8::try_from(digit).unwrap()));
    octets.extend(content);
    fs::write(path, octets).unwrap();
}

/// Octets at known addresses, as a data segment.
pub struct Image {
    octets: Vec<u8>,
}

impl Image {
    const BASE: u32 = 4096;

    pub fn new() -> Self {
        Self { octets: Vec::new() }
    }

    /// The address of these octets, a multiple of eight.
    pub fn put(&mut self, octets: &[u8]) -> u32 {
        self.octets.resize(self.octets.len().next_multiple_of(8), 0);
        let at = Self::BASE + u32::try_from(self.octets.len()).unwrap();
        self.octets.extend_from_slice(octets);
        at
    }

    /// Address and length, as the ABI has strings and lists of octets.
    pub fn text(&mut self, text: &str) -> [u32; 2] {
        [self.put(text.as_bytes()), u32::try_from(text.len()).unwrap()]
    }

    /// The address of these words.
    pub fn words(&mut self, words: &[u32]) -> u32 {
        self.put(&words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>())
    }

    /// A list of headers: address and length.
    pub fn headers(&mut self, headers: &[(&str, &str)]) -> [u32; 2] {
        let words: Vec<u32> =
            headers.iter().flat_map(|(name, value)| [self.text(name), self.text(value)].concat()).collect();
        [self.words(&words), u32::try_from(headers.len()).unwrap()]
    }

    pub fn segment(&self) -> String {
        let mut text = format!("(data (i32.const {}) \"", Self::BASE);
        self.octets.iter().for_each(|octet| write!(text, "\\{octet:02x}").unwrap());
        text + "\")"
    }
}

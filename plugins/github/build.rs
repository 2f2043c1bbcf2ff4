//! Keeps the stack at 64 KiB, so that an instance fits two pages of memory.
//!
//! Only for wasm: native linkers do not know the option.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32") {
        println!("cargo::rustc-link-arg-cdylib=-zstack-size=65536");
    }
}

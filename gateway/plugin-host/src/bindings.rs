//! The Rust side of `wit/plugin.wit`, generated; nothing else lives here.
//!
//! One `bindgen!` on the world that has every interface serves all plugins: the host links by
//! imported interface and finds exported phases one by one, so the generated whole-world types are
//! never used. `http.send` is the one import that waits. Bodies and keys are host types behind handles. Nothing here decides what a plugin may do.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "everything",
    imports: { default: trappable, "bascule:plugin/http.send": async | trappable },
    exports: { default: async },
    with: {
        "bascule:plugin/types.body": crate::body::HostBody,
        "bascule:plugin/crypto.key": crate::crypto::Key,
    },
});

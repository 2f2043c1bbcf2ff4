//! WASI 0.2 for components that were made with it, with nothing behind it.
//!
//! Python, JavaScript and Go bring a standard library that imports `wasi:*` whether it is used or not. It is
//! linked for them alone, and every answer is the one of an empty machine:
//!
//! | package | what a plugin finds |
//! | --- | --- |
//! | `wasi:cli` | no environment, no arguments, an ended input; output becomes log lines ([`console`]) |
//! | `wasi:clocks` | the time of `clock.now`, which stands still but for waits, and waits end at once ([`clocks`]) |
//! | `wasi:random` | the host's source, with the grant `random`; without it the plugin is not loaded |
//! | `wasi:filesystem` | no folder, so no file |
//! | `wasi:sockets` | every socket and look-up is denied before there is one |
//! | `wasi:io` | streams and polls of the above |
//!
//! Nothing here waits, so that a plugin that sleeps costs no time. `wasi:http` is not offered: requests go
//! through `bascule:plugin/http`.
//!
//! Backends ([`crate::backend`]) find the same machine with three things more: their configuration as environment
//! variables, clocks that go, since they set timers beside the answers that they wait for, and `wasi:http`.

mod clocks;
mod console;
mod random;

use std::borrow::Cow;
use std::sync::Arc;

use parking_lot::Mutex;
use wasmtime::Engine;
use wasmtime::component::{Component, HasData, HasSelf, Linker, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliCtxView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksCtxView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::{cli, clocks as clock, filesystem, io, random as rand, sockets};
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsCtxView};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

use crate::backend::Role;
use crate::state::State;
use console::{Console, Pipe, Source};

/// The packages that are linked, in any patch of 0.2.
const PACKAGES: [&str; 6] = ["cli", "clocks", "filesystem", "io", "random", "sockets"];

/// What one instance has of WASI; made when it first asks for something.
pub(crate) struct Wasi {
    ctx: WasiCtx,
    console: Arc<Mutex<Console>>,
    /// How long the guest has waited, in nanoseconds: what its clocks have moved.
    waited: u64,
}

impl Wasi {
    fn new(environment: &[(String, String)]) -> Self {
        let console = Arc::new(Mutex::new(Console::default()));
        let ctx = WasiCtxBuilder::new()
            .stdin(MemoryInputPipe::new(bytes::Bytes::new()))
            .stdout(Pipe::new(&console, Source::Stdout))
            .stderr(Pipe::new(&console, Source::Stderr))
            .envs(environment)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        Self { ctx, console, waited: 0 }
    }
}

/// Whether an import is one that is linked for all.
pub(crate) fn offers(interface: &str) -> bool {
    of_0_2(interface).is_some_and(|path| PACKAGES.contains(&path.split('/').next().unwrap_or_default()))
}

/// Whether an import is one that backends have besides.
pub(crate) fn is_http(interface: &str) -> bool {
    matches!(of_0_2(interface), Some("http/types" | "http/outgoing-handler"))
}

/// Whether an export is the one that makes a backend.
pub(crate) fn is_handler(interface: &str) -> bool {
    of_0_2(interface) == Some("http/incoming-handler")
}

/// Package and interface, when it is one of WASI in any patch of 0.2.
fn of_0_2(interface: &str) -> Option<&str> {
    let (path, version) = interface.strip_prefix("wasi:")?.split_once('@')?;
    version.strip_prefix("0.2.")?.parse::<u32>().is_ok().then_some(path)
}

/// Whether an import is of the package that takes the grant `random`.
pub(crate) fn is_random(interface: &str) -> bool {
    interface.starts_with("wasi:random/")
}

/// The linker for a component: the host's own, with WASI when it imports that; for a backend WASI alone, with
/// `wasi:http`.
pub(crate) fn linker_for<'a>(
    engine: &Engine,
    linker: &'a Linker<State>,
    component: &Component,
    role: &Role,
) -> wasmtime::Result<Cow<'a, Linker<State>>> {
    if let Role::Backend { .. } = role {
        let mut linker = Linker::new(engine);
        add_to_linker(&mut linker)?;
        let view: fn(&mut State) -> WasiClocksCtxView<'_> = |state| {
            let (wasi, table) = state.wasi();
            WasiClocksCtxView { ctx: wasi.ctx.clocks(), table }
        };
        clock::wall_clock::add_to_linker::<State, WasiClocks>(&mut linker, view)?;
        clock::monotonic_clock::add_to_linker::<State, WasiClocks>(&mut linker, view)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        return Ok(Cow::Owned(linker));
    }
    if !component.component_type().imports(engine).any(|(name, _)| name.starts_with("wasi:")) {
        return Ok(Cow::Borrowed(linker));
    }
    let mut linker = linker.clone();
    add_to_linker(&mut linker)?;
    clock::wall_clock::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    clock::monotonic_clock::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    Ok(Cow::Owned(linker))
}

impl State {
    fn wasi(&mut self) -> (&mut Wasi, &mut ResourceTable) {
        let environment = &self.shared.environment;
        (self.wasi.get_or_insert_with(|| Box::new(Wasi::new(environment))), &mut self.table)
    }

    /// Logs what the guest has written, if anything. To be called when the phase is over.
    pub(crate) fn log_console(&mut self) -> wasmtime::Result<()> {
        let Some(wasi) = &self.wasi else { return Ok(()) };
        let lines = wasi.console.lock().take();
        lines.into_iter().try_for_each(|line| self.log_line(line))
    }
}

struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

/// All but the clocks.
fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    io::error::add_to_linker::<State, Table>(linker, |state| &mut state.table)?;
    io::poll::add_to_linker::<State, Table>(linker, |state| &mut state.table)?;
    io::streams::add_to_linker::<State, Table>(linker, |state| &mut state.table)?;
    rand::random::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    rand::insecure::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    rand::insecure_seed::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    add_cli(linker)?;
    filesystem::types::add_to_linker::<State, WasiFilesystem>(linker, files)?;
    filesystem::preopens::add_to_linker::<State, WasiFilesystem>(linker, files)?;
    add_sockets(linker)
}

fn add_cli(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let view: fn(&mut State) -> WasiCliCtxView<'_> = |state| {
        let (wasi, table) = state.wasi();
        WasiCliCtxView { ctx: wasi.ctx.cli(), table }
    };
    cli::exit::add_to_linker::<State, WasiCli>(linker, view)?;
    cli::environment::add_to_linker::<State, WasiCli>(linker, view)?;
    cli::stdin::add_to_linker::<State, WasiCli>(linker, view)?;
    cli::stdout::add_to_linker::<State, WasiCli>(linker, view)?;
    cli::stderr::add_to_linker::<State, WasiCli>(linker, view)?;
    cli::terminal_input::add_to_linker::<State, WasiCli>(linker, view)?;
    cli::terminal_output::add_to_linker::<State, WasiCli>(linker, view)?;
    cli::terminal_stdin::add_to_linker::<State, WasiCli>(linker, view)?;
    cli::terminal_stdout::add_to_linker::<State, WasiCli>(linker, view)?;
    cli::terminal_stderr::add_to_linker::<State, WasiCli>(linker, view)
}

fn add_sockets(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let view: fn(&mut State) -> WasiSocketsCtxView<'_> = |state| {
        let (wasi, table) = state.wasi();
        WasiSocketsCtxView { ctx: wasi.ctx.sockets(), table }
    };
    sockets::tcp::add_to_linker::<State, WasiSockets>(linker, view)?;
    sockets::tcp_create_socket::add_to_linker::<State, WasiSockets>(linker, view)?;
    sockets::udp::add_to_linker::<State, WasiSockets>(linker, view)?;
    sockets::udp_create_socket::add_to_linker::<State, WasiSockets>(linker, view)?;
    sockets::instance_network::add_to_linker::<State, WasiSockets>(linker, view)?;
    sockets::network::add_to_linker::<State, WasiSockets>(linker, &Default::default(), view)?;
    sockets::ip_name_lookup::add_to_linker::<State, WasiSockets>(linker, view)
}

fn files(state: &mut State) -> WasiFilesystemCtxView<'_> {
    let (wasi, table) = state.wasi();
    WasiFilesystemCtxView { ctx: wasi.ctx.filesystem(), table }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_of_0_2_are_offered_and_nothing_else() {
        for name in ["wasi:cli/environment@0.2.0", "wasi:sockets/tcp@0.2.12", "wasi:random/insecure@0.2.6"] {
            assert!(offers(name), "{name}");
        }
        for name in [
            "wasi:http/outgoing-handler@0.2.0",
            "wasi:cli/environment@0.3.0",
            "wasi:cli/environment@0.2.0-rc",
            "wasi:cli/environment",
            "acme:cli/environment@0.2.0",
        ] {
            assert!(!offers(name), "{name}");
        }
        assert!(is_http("wasi:http/outgoing-handler@0.2.12") && !is_http("wasi:http/outgoing-handler@0.3.0"));
        assert!(is_handler("wasi:http/incoming-handler@0.2.0") && !is_handler("wasi:http/handler@0.3.0"));
        assert!(is_random("wasi:random/insecure-seed@0.2.0") && !is_random("wasi:clocks/wall-clock@0.2.0"));
    }
}

//! Compiling under bounds: how large, how long, how many at a time.
//!
//! A compiler cannot be interrupted, so it runs in a thread that is given up when its time is over; the
//! thread keeps its place until it is through, so that given-up ones cannot pile up. Its memory grows
//! with the code, and faster than that within one function: hence the caps on functions. No call waits
//! for it: plugins are compiled when they are loaded.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use wasmparser::{Parser, Payload};
use wasmtime::Engine;

use crate::error::LoadError;

/// Functions of all core modules of a component. A Python component has 30,000.
const FUNCTIONS_MAX: u64 = 200_000;

/// Octets of one function. The interpreter loop of CPython has 200 KiB; the time for one function grows
/// with the square of its size.
const FUNCTION_BYTES_MAX: u64 = 1 << 20;

/// Compilations at a time. Each one uses all CPUs by itself.
const AT_A_TIME: usize = 2;

/// Compiles, within limits.
pub(crate) struct Compiler {
    limit: Duration,
    places: Arc<Places>,
}

struct Places {
    free: Mutex<usize>,
    freed: Condvar,
}

/// A place, given back when the compiler is through.
struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.free.lock() += 1;
        self.0.freed.notify_one();
    }
}

impl Compiler {
    /// `limit` is for one compilation, the wait for a place included.
    pub(crate) fn new(limit: Duration) -> Self {
        let places = Places { free: Mutex::new(AT_A_TIME), freed: Condvar::new() };
        Self { limit, places: Arc::new(places) }
    }

    /// The machine code of a component. Blocks for as long as the limit allows.
    ///
    /// # Errors
    /// [`LoadError::TooComplex`], [`LoadError::CompileTimeout`], and [`LoadError::Compile`] when the engine
    /// refuses the component.
    pub(crate) fn compile(&self, engine: &Engine, component: &[u8]) -> Result<Vec<u8>, LoadError> {
        check_functions(component)?;
        let timeout = || LoadError::CompileTimeout { limit: self.limit };
        let deadline = Instant::now() + self.limit;
        let place = self.place(deadline).ok_or_else(timeout)?;
        let (done, result) = mpsc::channel();
        let (engine, component) = (engine.clone(), component.to_vec());
        let compile = move || {
            let _place = place;
            // Whoever waited for it may have given up.
            let _ = done.send(engine.precompile_component(&component));
        };
        let failed = |source| LoadError::Compile { source };
        let builder = thread::Builder::new().name("bascule-compile".to_owned());
        builder.spawn(compile).map_err(|error| failed(error.into()))?;
        match result.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(code) => code.map_err(|error| failed(error.into())),
            Err(RecvTimeoutError::Timeout) => Err(timeout()),
            Err(RecvTimeoutError::Disconnected) => Err(failed("the compiler broke down".into())),
        }
    }

    fn place(&self, deadline: Instant) -> Option<Place> {
        let mut free = self.places.free.lock();
        while *free == 0 {
            if self.places.freed.wait_until(&mut free, deadline).timed_out() && *free == 0 {
                return None;
            }
        }
        *free -= 1;
        Some(Place(Arc::clone(&self.places)))
    }
}

fn check_functions(component: &[u8]) -> Result<(), LoadError> {
    let mut functions = 0;
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.map_err(|error| LoadError::Malformed { source: error.into() })?;
        let Payload::CodeSectionEntry(body) = payload else { continue };
        functions += 1;
        let size = body.range().len() as u64;
        if size > FUNCTION_BYTES_MAX {
            return Err(LoadError::TooComplex { what: "octets in one function", limit: FUNCTION_BYTES_MAX });
        }
        if functions > FUNCTIONS_MAX {
            return Err(LoadError::TooComplex { what: "functions", limit: FUNCTIONS_MAX });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(functions: usize, octets: usize) -> Vec<u8> {
        let function = format!("(func {})", "nop ".repeat(octets));
        wat::parse_str(format!("(component (core module {}))", function.repeat(functions))).unwrap()
    }

    #[test]
    fn too_many_and_too_large_functions_are_refused_before_they_are_compiled() {
        let compiler = Compiler::new(Duration::from_secs(120));
        let compile = |component: &[u8]| compiler.compile(&Engine::default(), component);
        compile(&component(3, 10)).unwrap();
        let error = compile(&component(1, 2 << 20)).unwrap_err();
        assert!(matches!(error, LoadError::TooComplex { what: "octets in one function", .. }));
        let error = compile(&component(200_001, 0)).unwrap_err();
        assert!(matches!(error, LoadError::TooComplex { what: "functions", limit: 200_000 }), "{error}");
    }

    #[test]
    fn a_compilation_that_takes_too_long_is_given_up() {
        let compiler = Compiler::new(Duration::ZERO);
        let error = compiler.compile(&Engine::default(), &component(3, 10)).unwrap_err();
        assert!(matches!(error, LoadError::CompileTimeout { limit: Duration::ZERO }));
    }

    #[test]
    fn a_given_up_compilation_keeps_its_place_until_it_is_through() {
        let mut compiler = Compiler::new(Duration::from_secs(120));
        let held: Vec<Place> = (0..AT_A_TIME).filter_map(|_| compiler.place(Instant::now())).collect();
        assert_eq!(held.len(), AT_A_TIME);
        compiler.limit = Duration::from_millis(20);
        let error = compiler.compile(&Engine::default(), &component(1, 1)).unwrap_err();
        assert!(matches!(error, LoadError::CompileTimeout { .. }));
        drop(held);
        compiler.limit = Duration::from_secs(120);
        compiler.compile(&Engine::default(), &component(1, 1)).unwrap();
    }
}

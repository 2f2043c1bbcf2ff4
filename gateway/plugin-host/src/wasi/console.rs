//! What a guest writes to its output and error streams, as lines for the log.
//!
//! The streams cannot reach the log's budget, so lines are kept until the phase is over, under a cap of
//! their own, and logged then: output as `info`, errors as `warn`. The last line of errors explains a trap
//! that follows, since that is where languages write why they end.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::bindings::bascule::plugin::log::{Host, Level};
use crate::state::State;

/// Octets of lines that are kept for the end of a phase. The log's own budget is smaller by default; this
/// bounds the host's memory whatever that is.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// Octets that a guest may write at a time.
const PERMIT_BYTES: usize = 4 << 10;

/// Which of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Stdout,
    Stderr,
}

/// A line as it was written, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    source: Source,
    text: Vec<u8>,
}

/// What has been written and not logged yet.
#[derive(Debug, Default)]
pub(super) struct Console {
    lines: Vec<Line>,
    /// The lines that have no end yet.
    out: Vec<u8>,
    err: Vec<u8>,
    kept: usize,
    /// Octets that were not kept.
    cut: usize,
}

impl Console {
    fn write(&mut self, source: Source, octets: &[u8]) {
        for &octet in octets {
            if self.kept >= KEPT_BYTES_MAX {
                self.cut = self.cut.saturating_add(1);
                continue;
            }
            self.kept += 1;
            match octet {
                b'\n' => self.end_line(source),
                _ => self.open(source).push(octet),
            }
        }
    }

    fn open(&mut self, source: Source) -> &mut Vec<u8> {
        match source {
            Source::Stdout => &mut self.out,
            Source::Stderr => &mut self.err,
        }
    }

    fn end_line(&mut self, source: Source) {
        let text = std::mem::take(self.open(source));
        if !text.trim_ascii().is_empty() {
            self.lines.push(Line { source, text });
        }
    }

    /// Everything written, unended lines last, and room for as much again.
    pub(super) fn take(&mut self) -> Vec<Line> {
        self.end_line(Source::Stdout);
        self.end_line(Source::Stderr);
        self.kept = 0;
        let cut = std::mem::take(&mut self.cut);
        if cut > 0 {
            let text = format!("{cut} octets of output dropped").into_bytes();
            self.lines.push(Line { source: Source::Stderr, text });
        }
        std::mem::take(&mut self.lines)
    }
}

impl State {
    /// Logs a line within the budget of the call.
    pub(super) fn log_line(&mut self, line: Line) -> wasmtime::Result<()> {
        let text = String::from_utf8_lossy(&line.text).trim_end().to_owned();
        let level = match line.source {
            Source::Stdout => Level::Info,
            Source::Stderr => {
                // Rust's advice about backtraces follows the reason of a panic, and explains nothing.
                if !text.starts_with("note: ") {
                    self.log.remember(&text);
                }
                Level::Warn
            }
        };
        if self.enabled(level)? { self.write(level, text, Vec::new()) } else { Ok(()) }
    }
}

/// One of the two streams. Never full, never closed.
#[derive(Clone)]
pub(super) struct Pipe {
    console: Arc<Mutex<Console>>,
    source: Source,
}

impl Pipe {
    pub(super) fn new(console: &Arc<Mutex<Console>>, source: Source) -> Self {
        Self { console: Arc::clone(console), source }
    }
}

impl IsTerminal for Pipe {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Pipe {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    /// For WASI 0.3, which is not linked.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::empty())
    }
}

impl OutputStream for Pipe {
    fn write(&mut self, octets: Bytes) -> StreamResult<()> {
        self.console.lock().write(self.source, &octets);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT_BYTES)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Pipe {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(console: &mut Console) -> Vec<(Source, String)> {
        let text = |line: Line| (line.source, String::from_utf8(line.text).unwrap());
        console.take().into_iter().map(text).collect()
    }

    #[test]
    fn lines_come_whole_from_each_stream_and_empty_ones_not_at_all() {
        let mut console = Console::default();
        console.write(Source::Stdout, b"one\ntw");
        console.write(Source::Stderr, b"oh\n\n \n");
        console.write(Source::Stdout, b"o");
        let expected = [(Source::Stdout, "one"), (Source::Stderr, "oh"), (Source::Stdout, "two")];
        assert_eq!(texts(&mut console), expected.map(|(source, text)| (source, text.to_owned())));
        assert_eq!(texts(&mut console), []);
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_rest_counted() {
        let mut console = Console::default();
        for _ in 0..100 {
            console.write(Source::Stdout, &[b'x'; 4096]);
        }
        let lines = texts(&mut console);
        assert_eq!(lines[0].1.len(), KEPT_BYTES_MAX);
        let cut = 100 * 4096 - KEPT_BYTES_MAX;
        assert_eq!(lines[1], (Source::Stderr, format!("{cut} octets of output dropped")));
        console.write(Source::Stdout, b"again");
        assert_eq!(texts(&mut console), [(Source::Stdout, "again".to_owned())]);
    }
}

//! Exit statuses, after sysexits(3).

use crate::app::StartError;
use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

/// How a verb ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// All is well.
    Success,
    /// The verb's own "no".
    Failure,
    /// The words do not fit.
    Usage,
    /// An address cannot be had.
    Unavailable,
    /// A bug.
    Bug,
    /// The drain deadline passed.
    Drain,
    /// The configuration is bad: a supervisor must not restart.
    Config,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::Unavailable => 69,
            Exit::Bug => 70,
            Exit::Drain => 75,
            Exit::Config => 78,
        })
    }
}

/// Writes a result to standard output. A reader who has left (`| head`) is no failure.
pub(super) fn print(text: &str) -> Exit {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Exit::Success,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Success,
        Err(_) => Exit::Failure,
    }
}

/// Writes a diagnostic to standard error.
pub(super) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Shows why there is no gateway.
pub(super) fn start_failed(error: &StartError) -> Exit {
    match error {
        StartError::Configuration(problems) => {
            complain(&problems.render_human(io::stderr().is_terminal()));
            Exit::Config
        }
        StartError::Listen(text) => {
            complain(&format!("error: {text}"));
            Exit::Unavailable
        }
        StartError::Internal(text) => {
            complain(&format!("error: {text}"));
            Exit::Bug
        }
    }
}

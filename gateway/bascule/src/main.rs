//! The `bascule` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    bascule::cli::main()
}

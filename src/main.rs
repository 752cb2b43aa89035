//! The `intramuros` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    intramuros::cli::main()
}

//! The binary `fairkey`; everything is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    fairkey_cli::main()
}

//! The `homing` program: a runtime around [`homing::cli`].

use std::process::ExitCode;

use homing::cli::{self, Output};

/// A delivery makes some hundred small allocations, freed on other threads than they were made on.
/// This allocator takes a fifth less CPU for them than that of glibc.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::complete();
    let (mut stdout, mut stderr) = (std::io::stdout(), std::io::stderr());
    let mut output = Output::of_process(&mut stdout, &mut stderr);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return cli::not_started(&error, &mut output),
    };
    let code = runtime.block_on(cli::main(std::env::args_os(), &mut output));
    // A read of standard input cannot be cancelled; waiting for it would wait for a key.
    runtime.shutdown_background();
    code
}

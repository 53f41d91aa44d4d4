//! The operator's command `sallyport`. Every command, exit code and example: docs/OPERATIONS.md.

mod address;
mod api;
mod audit;
mod aws_fault;
mod cli;
mod commands;
mod console;
mod deployment;
#[cfg(test)]
mod documents;
mod environment;
mod failure;
mod logs;
mod output;
mod proxy;
mod terminal;

use std::process::ExitCode;

use cli::Invocation;
use failure::{Exit, Failure};

fn main() -> ExitCode {
    let invocation = match Invocation::read(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(refusal) => return refusal.show().into(),
    };
    let format = invocation.format;
    run(invocation).unwrap_or_else(|failure| format.failure(&failure)).into()
}

fn run(invocation: Invocation) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::dependency("runtime", error.to_string()))?;
    let format = invocation.format;
    let answer = runtime.block_on(commands::run(invocation))?;
    format.answer(&answer)
}

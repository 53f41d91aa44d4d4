//! `sallyport runbook`: the pages of ops/runbooks, which the binary carries, to read and to run.

mod run;
mod shell;
mod show;
mod transcript;
mod variables;

use clap::Subcommand;
use sallyport_runbooks::{Malformed, Page};

use crate::{
    cli::Target,
    failure::Failure,
    output::{Answer, Format},
};

#[derive(Debug, Subcommand)]
pub(crate) enum RunbookCommand {
    /// List the pages: alarms first, by severity.
    List,
    /// Show a page with its steps numbered.
    Show {
        /// The page: the alarm's name without the stack's, or a procedure's.
        name: String,
    },
    /// Print the variables that the pages' commands use, as lines for a shell: `eval "$(sallyport runbook env)"`.
    Env,
    /// Run a page's commands, each after a yes.
    Run(run::Options),
}

impl RunbookCommand {
    /// # Errors
    /// There is no such page; a step failed; there is nobody to confirm.
    pub(crate) async fn run(self, target: &Target, format: Format) -> Result<Answer, Failure> {
        match self {
            Self::List => show::list(),
            Self::Show { name } => show::show(&name),
            Self::Env => variables::print(target).await,
            Self::Run(options) => options.run(target, format).await,
        }
    }
}

/// # Errors
/// There is no such page.
fn page(name: &str) -> Result<Page, Failure> {
    sallyport_runbooks::page(name).map_err(unreadable)?.ok_or_else(|| {
        Failure::not_found(
            "runbook_not_found",
            format!("there is no runbook {name}: `sallyport runbook list` shows them"),
        )
    })
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function of `map_err`")]
fn unreadable(error: Malformed) -> Failure {
    Failure::dependency("runbook_unreadable", error.to_string())
}

//! `sallyport completions`.

use std::fmt;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::{cli, failure::Failure, output::Answer};

#[derive(Debug, Args)]
pub(crate) struct CompletionsCommand {
    /// The shell that will read the script.
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Serialize)]
struct Completions {
    shell: Shell,
    script: String,
}

impl fmt::Display for Completions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.script)
    }
}

impl CompletionsCommand {
    /// # Errors
    /// The script is not text: never.
    pub(crate) fn run(&self) -> Result<Answer, Failure> {
        let shell = match self.shell {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Zsh => clap_complete::Shell::Zsh,
            Shell::Fish => clap_complete::Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut cli::definition(), "sallyport", &mut script);
        let script = String::from_utf8(script);
        let mut script = script.map_err(|error| Failure::dependency("output_failed", error.to_string()))?;
        if matches!(self.shell, Shell::Zsh) {
            // A shell whose start does not call compinit has no compdef yet.
            let init = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }";
            script = script.replace("    compdef _sallyport", &format!("    {init}\n    compdef _sallyport"));
        }
        Answer::of(&Completions { shell: self.shell, script })
    }
}

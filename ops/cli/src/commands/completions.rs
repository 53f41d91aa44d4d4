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

/// Values that arguments without a name take, such as the modes of `mode set`: clap writes them for fish of options alone.
fn values_without_a_name(definition: &clap::Command) -> String {
    let mut lines = String::new();
    for command in definition.get_subcommands() {
        let using = format!("__fish_sallyport_using_subcommand {}", command.get_name());
        lines.push_str(&values_of(command, &using));
        for verb in command.get_subcommands() {
            let using = format!("{using}; and __fish_seen_subcommand_from {}", verb.get_name());
            lines.push_str(&values_of(verb, &using));
        }
    }
    lines
}

fn values_of(command: &clap::Command, condition: &str) -> String {
    let mut lines = String::new();
    for argument in command.get_positionals() {
        let values = argument.get_possible_values();
        let values: Vec<_> = values
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(clap::builder::PossibleValue::get_name)
            .collect();
        if !values.is_empty() {
            lines.push_str(&format!(
                "complete -c sallyport -n \"{condition}\" -f -a \"{}\"\n",
                values.join(" ")
            ));
        }
    }
    lines
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
        if matches!(self.shell, Shell::Fish) {
            script.push_str(&values_without_a_name(&cli::definition()));
        }
        if matches!(self.shell, Shell::Zsh) {
            // A shell whose start does not call compinit has no compdef yet.
            let init = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }";
            script = script.replace("    compdef _sallyport", &format!("    {init}\n    compdef _sallyport"));
        }
        Answer::of(&Completions { shell: self.shell, script })
    }
}

//! The command line: what is asked for, and where.

use std::ffi::OsString;

use clap::{Args, CommandFactory as _, Parser, error::ErrorKind};

use crate::{
    commands::Command,
    failure::{Exit, Failure},
    output::{Format, usage},
};

/// Operates a Sallyport deployment: accounts, clients, keys, configuration, migrations.
#[derive(Debug, Parser)]
#[command(name = "sallyport", version, propagate_version = true, max_term_width = 110)]
#[command(
    after_help = "Exit codes: 0 done, 1 a dependency failed, 2 usage, 3 not found, 4 exists already or \
                        changed meanwhile, 5 a check found faults."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Answer in JSON; errors as {"error":{"code","message"}} on stderr.
    #[arg(long, global = true, help_heading = "Output")]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

/// Which deployment, and as whom.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Deployment")]
pub(crate) struct Target {
    /// CloudFormation stack whose outputs name tables and secret. Without it the SALLYPORT_* variables do.
    #[arg(long, global = true, value_name = "NAME", env = "SALLYPORT_STACK", value_parser = stack_name)]
    pub(crate) stack: Option<String>,
    /// Profile of the AWS configuration.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// AWS region.
    #[arg(long, global = true, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// One address for all AWS services, such as an emulator's.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// Address of DynamoDB alone.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) endpoint_dynamodb: Option<String>,
    /// Address of Secrets Manager alone.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) endpoint_secrets: Option<String>,
}

/// A shell's variable that is not set leaves an empty name, and without a name it would be another deployment.
fn stack_name(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() {
        Err("the name is empty: is the shell's variable set?")
    } else {
        Ok(text.to_owned())
    }
}

/// For every command that changes something.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Change {
    /// Say what would be done, and change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// A command line that was understood.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) target: Target,
    pub(crate) format: Format,
    pub(crate) command: Command,
}

/// A command line that asks for help, or that was not understood.
#[derive(Debug)]
pub(crate) struct Refusal {
    error: clap::Error,
    format: Format,
}

impl Invocation {
    /// # Errors
    /// [`Refusal`], which shows itself.
    pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, Refusal> {
        let arguments: Vec<_> = arguments.into_iter().collect();
        match Cli::try_parse_from(&arguments) {
            Ok(cli) => Ok(Self { target: cli.target, format: Format::of(cli.json), command: cli.command }),
            Err(error) => {
                // The parser gave up before it could say whether JSON was wanted.
                let json = arguments
                    .iter()
                    .take_while(|argument| *argument != "--")
                    .any(|argument| argument == "--json");
                Err(Refusal { error, format: Format::of(json) })
            }
        }
    }
}

impl Refusal {
    pub(crate) fn show(&self) -> Exit {
        let wants_help = matches!(self.error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
        // A value that does not read is a matter of a line; what was not understood at all is shown with what would be.
        let of_value = matches!(self.error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue);
        if (self.format == Format::Json && !wants_help) || of_value {
            return self.format.failure(&Failure::usage("usage", self.first_line()));
        }
        if wants_help {
            // Without stdout there is nobody to tell.
            drop(self.error.print());
            return Exit::Done;
        }
        usage(&self.error.render().to_string());
        Exit::Usage
    }

    pub(crate) fn first_line(&self) -> String {
        let text = self.error.render().to_string();
        let paragraph = text.split("\n\n").next().unwrap_or_default();
        let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        line.trim_start_matches("error: ").to_owned()
    }
}

/// The definition of the command line, for completion scripts.
pub(crate) fn definition() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use super::*;

    fn read(line: &str) -> Result<Invocation, Refusal> {
        Invocation::read(line.split(' ').map(OsString::from))
    }

    fn refusal(line: &str) -> String {
        read(line).unwrap_err().first_line()
    }

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }

    #[test]
    fn the_deployment_is_named_before_or_after_the_command() {
        for line in ["sallyport --stack prod --json keys list", "sallyport keys list --stack prod --json"] {
            let invocation = read(line).unwrap();
            assert_eq!(invocation.target.stack.as_deref(), Some("prod"));
            assert_eq!(invocation.format, Format::Json);
        }
    }

    #[test]
    fn what_is_not_understood_is_told_in_a_line() {
        insta::assert_snapshot!(refusal("sallyport user show nobody"), @"invalid value 'nobody' for '<EMAIL>': not an e-mail address");
        insta::assert_snapshot!(refusal("sallyport user create a@example.com"), @"the following required arguments were not provided: <--password-stdin|--generate>");
        insta::assert_snapshot!(refusal("sallyport client add Billing"), @"invalid value 'Billing' for '<ID>': 1 to 64 of a-z, 0-9 and -");
        insta::assert_snapshot!(refusal("sallyport keys init --algorithm HS256"), @"invalid value 'HS256' for '--algorithm <ALGORITHM>' [possible values: ES256, RS256]");
        insta::assert_snapshot!(refusal("sallyport client list --dry-run"), @"unexpected argument '--dry-run' found");
    }

    #[test]
    fn every_command_says_what_it_does() {
        fn silent(command: &clap::Command, path: &str, found: &mut Vec<String>) {
            let path = format!("{path} {}", command.get_name());
            if command.get_about().is_none() {
                found.push(path.clone());
            }
            for argument in command.get_arguments().filter(|argument| argument.get_help().is_none()) {
                found.push(format!("{path} {}", argument.get_id()));
            }
            for child in command.get_subcommands() {
                silent(child, &path, found);
            }
        }
        let mut found = Vec::new();
        silent(&definition(), "", &mut found);
        assert!(found.is_empty(), "without a description: {found:?}");
    }

    /// Every Markdown file that tells somebody what to type.
    fn documents(path: &Path, found: &mut Vec<PathBuf>) {
        if path.is_dir() {
            fs::read_dir(path).unwrap().for_each(|entry| documents(&entry.unwrap().path(), found));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path.to_owned());
        }
    }

    /// The command lines of a document: in its code spans, which may go over a line's end, and in its code blocks.
    fn lines(text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for (number, part) in text.split("```").enumerate() {
            if number % 2 == 1 {
                lines.extend(part.lines().map(str::to_owned));
            } else {
                // A paragraph at a time, so that a backtick that stands alone turns around no more than that.
                let spans = part.split("\n\n").flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2));
                lines.extend(spans.map(|span| span.split_whitespace().collect::<Vec<_>>().join(" ")));
            }
        }
        lines
    }

    /// The words from `sallyport` to where the shell has the rest.
    fn words(line: &str) -> Option<Vec<String>> {
        let line = line.split(" #").next()?;
        let line = [" | ", " < ", " > ", ";", " && ", " \\"]
            .iter()
            .fold(line, |line, end| line.split(end).next().unwrap_or_default());
        let rest = match line.split_once("-p sallyport -- ") {
            Some((_, rest)) => rest,
            None => line.trim_start_matches("$ ").strip_prefix("sallyport ")?,
        };
        // Quotes hold words together, as in a shell.
        let mut words = vec![String::new()];
        let mut quote = None;
        for character in rest.chars() {
            match (character, quote) {
                ('"' | '\'', None) => quote = Some(character),
                (_, Some(open)) if character == open => quote = None,
                (' ', None) => words.push(String::new()),
                _ => words.last_mut()?.push(character),
            }
        }
        words.retain(|word| !word.is_empty());
        Some(words.into_iter().map(|word| word.trim_matches(['[', ']']).to_owned()).collect())
    }

    /// A word that stands for one of the reader's, in the form that is asked for.
    fn filled(word: &str) -> String {
        let stands_for = word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_' || byte == b'-');
        match word {
            "EMAIL" => "ada@example.com".to_owned(),
            "CODE" => "123456".to_owned(),
            "ADDRESS" => "203.0.113.7".to_owned(),
            "INCIDENT" => "inc_01l5iiv3k0ab29fg".to_owned(),
            "BASE32" => "JBSWY3DPEHPK3PXP".to_owned(),
            "N" | "MS" | "SECONDS" => "1".to_owned(),
            _ if stands_for => word.to_ascii_lowercase(),
            // An identifier such as `fac_…`.
            _ if word.ends_with("_…") => word.replace('…', &"A".repeat(22)),
            _ => word.replace('…', "x"),
        }
    }

    /// `bash|zsh|fish` are three command lines.
    fn alternatives(words: &[String]) -> Vec<Vec<String>> {
        words.iter().fold(vec![vec!["sallyport".to_owned()]], |lines, word| {
            let choices = word.split('|').map(filled);
            choices
                .flat_map(|choice| {
                    lines.iter().map(move |line| [line.clone(), vec![choice.clone()]].concat())
                })
                .collect()
        })
    }

    #[test]
    fn every_command_line_in_the_documents_is_understood() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut paths = Vec::new();
        for place in ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs"] {
            documents(&root.join(place), &mut paths);
        }
        let (mut understood, mut refused) = (0, Vec::new());
        for path in paths {
            let text = fs::read_to_string(&path).unwrap();
            // `client …` speaks of commands, and is none.
            let given = lines(&text).into_iter().filter(|line| !line.ends_with(" …"));
            for line in given.filter_map(|line| words(&line)).flat_map(|words| alternatives(&words)) {
                match Cli::try_parse_from(&line).map_err(|error| error.kind()) {
                    // A group of commands may be named.
                    Ok(_)
                    | Err(
                        ErrorKind::DisplayHelp
                        | ErrorKind::DisplayVersion
                        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
                    ) => understood += 1,
                    Err(kind) => refused.push(format!("{}: {}: {kind:?}", path.display(), line.join(" "))),
                }
            }
        }
        assert!(refused.is_empty(), "{}", refused.join("\n"));
        assert!(understood > 40, "{understood}");
    }
}

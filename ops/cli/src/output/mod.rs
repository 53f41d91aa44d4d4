//! The one place that prints: answers to stdout, failures to stderr, as text for people or as JSON.

mod command;
mod table;
mod time;

use std::{
    borrow::Cow,
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
};

use sallyport_core::flags::BlockSubject;
use serde::Serialize;
use serde_json::json;

pub(crate) use self::{
    command::{on_account, word},
    table::{Facts, Table, cut, plain},
    time::{Since, ago, moment, parse_since, parse_span, span},
};
use crate::failure::{Exit, Failure};

/// What a command has to say.
#[derive(Debug)]
pub(crate) struct Answer {
    text: String,
    json: String,
    pub(crate) exit: Exit,
}

impl Answer {
    /// `Display` is for people, `Serialize` for scripts: both of one report.
    ///
    /// # Errors
    /// The report does not serialise.
    pub(crate) fn of<R: Display + Serialize>(report: &R) -> Result<Self, Failure> {
        let json = serde_json::to_string_pretty(report)
            .map_err(|error| Failure::dependency("output_failed", error.to_string()))?;
        Ok(Self { text: report.to_string(), json, exit: Exit::Done })
    }

    #[must_use]
    pub(crate) fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
}

impl Format {
    pub(crate) fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }

    /// Prints an answer and says how the process ends.
    ///
    /// # Errors
    /// stdout is full, or was never open. That is a failure: what was to be shown once is lost. A reader that has read enough,
    /// such as `head`, is none.
    pub(crate) fn answer(self, answer: &Answer) -> Result<Exit, Failure> {
        // Whatever a report is made of, callers' and operators' words among it: a terminal gets none that it obeys.
        let text = match self {
            Self::Text => Cow::Owned(plain_lines(&answer.text)),
            Self::Json => Cow::Borrowed(&answer.json),
        };
        let mut stdout = io::stdout().lock();
        let written = stdout
            .write_all(text.trim_end().as_bytes())
            .and_then(|()| stdout.write_all(b"\n"))
            .and_then(|()| stdout.flush());
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::dependency("output_failed", format!("the answer could not be written: {error}")))
            }
            _ => Ok(answer.exit),
        }
    }

    /// Prints a line of a command that takes its time, for people only: JSON is one document, at the end.
    pub(crate) fn progress(self, line: &str) {
        if self == Self::Text {
            // The answer at the end says whether stdout still takes what it is given.
            drop(writeln!(io::stdout().lock(), "{}", plain_lines(line)));
        }
    }

    /// Prints a failure and says how the process ends.
    pub(crate) fn failure(self, failure: &Failure) -> Exit {
        let message = plain(&failure.message);
        let line = match self {
            Self::Text => format!("error: {message}\n"),
            Self::Json => {
                format!("{}\n", json!({"error": {"code": failure.code, "message": message}}))
            }
        };
        // Without stderr there is nobody to tell; the exit code says it all the same.
        drop(io::stderr().lock().write_all(line.as_bytes()));
        failure.exit
    }
}

/// A line about something that is waited for. At a terminal it is written over; elsewhere it is written when what it says has
/// changed. JSON is one document, at the end.
pub(crate) struct StatusLine {
    format: Format,
    terminal: bool,
    last: String,
}

impl StatusLine {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, terminal: io::stdout().is_terminal(), last: String::new() }
    }

    /// Shows what is so, and what changes with every look.
    pub(crate) fn show(&mut self, state: &str, rest: &str) {
        if self.format != Format::Text {
            return;
        }
        let line = plain(&format!("{state}{rest}"));
        let mut stdout = io::stdout().lock();
        // The answer at the end says whether stdout still takes what it is given.
        if self.terminal {
            drop(write!(stdout, "\r\x1b[K{line}").and_then(|()| stdout.flush()));
        } else if self.last != state {
            drop(writeln!(stdout, "{line}").and_then(|()| stdout.flush()));
        }
        state.clone_into(&mut self.last);
    }

    /// Leaves the line for what is written next.
    pub(crate) fn end(&self) {
        if self.terminal && !self.last.is_empty() {
            drop(write!(io::stdout().lock(), "\r\x1b[K"));
        }
    }
}

/// A text of lines without what a terminal would obey, but for their ends and tabs.
fn plain_lines(text: &str) -> String {
    let plain_words = |line: &str| line.split('\t').map(plain).collect::<Vec<_>>().join("\t");
    text.split('\n').map(plain_words).collect::<Vec<_>>().join("\n")
}

/// Prints what is wrong with a command line: what was typed stands in it.
pub(crate) fn usage(text: &str) {
    // Without stderr there is nobody to tell; the exit code says it all the same.
    drop(io::stderr().lock().write_all(plain_lines(text).as_bytes()));
}

/// Lines about work that takes a while, on stderr; scripts that asked for JSON are told the end of it alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress(Format);

impl Progress {
    pub(crate) const fn new(format: Format) -> Self {
        Self(format)
    }

    pub(crate) fn tell(self, line: &str) {
        if self.0 == Format::Text {
            // Without stderr nobody is waiting for it.
            drop(writeln!(io::stderr().lock(), "{}", plain(line)));
        }
    }
}

/// Who is blocked, for people.
pub(crate) fn subject_words(subject: BlockSubject) -> String {
    match subject {
        BlockSubject::Network(network) => network.to_string(),
        account @ BlockSubject::Account(_) => account.to_string(),
    }
}

/// A mode as commands take it.
pub(crate) fn mode_words(name: impl Display) -> String {
    name.to_string().replace('.', " ")
}

/// `1 session`, `2 sessions`, `2 addresses`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = if noun.ends_with('s') { "es" } else { "s" };
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}{plural}") }
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn a_noun_is_counted_in_its_plural() {
        let told = [(1, "session"), (2, "session"), (0, "address"), (1, "address"), (21, "address")];
        let told = told.map(|(number, noun)| count(number, noun));
        assert_eq!(told, ["1 session", "2 sessions", "0 addresses", "1 address", "21 addresses"]);
    }
}

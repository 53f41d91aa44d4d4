//! What was done, in Markdown: for a file, for an incident.

use std::{fs::File, io::Write as _, path::Path};

use sallyport_core::clock::Timestamp;
use sallyport_runbooks::{Page, Step};

use crate::{failure::Failure, output::moment};

/// Written as it happens, so that a transcript ends where its run ended.
pub(super) struct Transcript {
    text: String,
    file: Option<File>,
}

impl Transcript {
    /// # Errors
    /// The file can't be created.
    pub(super) fn begin(
        page: &Page,
        operator: &str,
        now: Timestamp,
        file: Option<&Path>,
    ) -> Result<Self, Failure> {
        let file = file.map(File::create).transpose().map_err(unwritable)?;
        let mut transcript = Self { text: String::new(), file };
        transcript.push(&format!(
            "# {}: {}\n\nBy {operator}, {}.\n",
            page.name,
            page.front.title,
            moment(now)
        ))?;
        Ok(transcript)
    }

    /// # Errors
    /// The file can't be written.
    pub(super) fn step(
        &mut self,
        step: &Step,
        at: Timestamp,
        outcome: &str,
        output: &str,
    ) -> Result<(), Failure> {
        let mut text = format!("\n## Step {}, {}: {outcome}\n\n", step.number, step.section);
        // A line of the output that is a fence would end ours.
        let fence = if output.contains("```") { "~~~~" } else { "```" };
        text.push_str(&format!("{}\n\n{fence}console\n", moment(at)));
        for line in step.commands.lines() {
            text.push_str(&format!("$ {line}\n"));
        }
        if !output.is_empty() {
            text.push_str(output.trim_end());
            text.push('\n');
        }
        text.push_str(&format!("{fence}\n"));
        self.push(&text)
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn push(&mut self, text: &str) -> Result<(), Failure> {
        self.text.push_str(text);
        match &mut self.file {
            Some(file) => file.write_all(text.as_bytes()).map_err(unwritable),
            None => Ok(()),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function of `map_err`")]
fn unwritable(error: std::io::Error) -> Failure {
    Failure::dependency("transcript_failed", format!("the transcript can't be written: {error}"))
}

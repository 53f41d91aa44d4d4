//! What was done, in Markdown: for a file, for an incident.

use std::{fs::File, io::Write as _, path::Path};

use sallyport_core::clock::Timestamp;
use sallyport_operations::incidents::{self, IncidentError, IncidentId, LONGEST_TEXT};
use sallyport_runbooks::{Page, Step};

use crate::{cli::Target, deployment::Deployment, failure::Failure, output::moment};

/// Of one line in a note.
const LONGEST_LINE: usize = 500;
/// Notes of one run: a timeline is read by people.
const MOST_NOTES: usize = 10;

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
        // The incident's own timeline, in a note of its timeline, would grow with every page that is run for it.
        let shows_incident =
            step.commands.lines().any(|line| line.trim().starts_with("sallyport incident show"));
        if shows_incident {
            text.push_str("(the incident, as its timeline tells it)\n");
        } else if !output.is_empty() {
            text.push_str(output.trim_end());
            text.push('\n');
        }
        text.push_str(&format!("{fence}\n"));
        self.push(&text)
    }

    /// Writes it into the timeline of the incident, in as many notes as it takes.
    ///
    /// # Errors
    /// There is no such incident; storage.
    pub(super) async fn keep(&self, target: &Target, incident: IncidentId) -> Result<(), Failure> {
        let deployment = Deployment::find(target).await?;
        let (now, random, origin) = (deployment.now(), deployment.random(), Deployment::origin()?);
        for note in notes(&self.text) {
            match incidents::note(&deployment.store, now, random, incident, &note, &origin).await {
                // A run that was made twice within a second, to the letter, is in the timeline already.
                Ok(_) | Err(IncidentError::NoteExists) => {}
                Err(IncidentError::NotFound) => {
                    let message = format!("the transcript has no incident to go to: there is no {incident}");
                    return Err(Failure::not_found("incident_not_found", message));
                }
                Err(error) => {
                    let message = format!("the transcript was not added to {incident}: {error}");
                    return Err(Failure::dependency("transcript_failed", message));
                }
            }
        }
        Ok(())
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

/// The transcript in pieces that a timeline takes, cut between lines, in order.
fn notes(text: &str) -> Vec<String> {
    let mut notes: Vec<String> = vec![String::new()];
    let mut length = 0;
    for line in text.lines() {
        let line: String = line.chars().take(LONGEST_LINE).chain(['\n']).collect();
        let characters = line.chars().count();
        if length + characters > LONGEST_TEXT {
            notes.push(String::new());
            length = 0;
        }
        length += characters;
        if let Some(note) = notes.last_mut() {
            note.push_str(&line);
        }
    }
    if notes.len() > MOST_NOTES {
        notes.truncate(MOST_NOTES);
        notes.push("The rest of the transcript is in the operator's file, if one was asked for.".to_owned());
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_is_cut_between_lines_into_what_a_timeline_takes() {
        let text: String = (0..1_000).map(|number| format!("line {number:04}\n")).collect();
        let cut = notes(&text);
        assert!(cut.len() == 3 && cut.iter().all(|note| note.chars().count() <= LONGEST_TEXT));
        assert_eq!(cut.concat(), text);
        assert_eq!(notes(&"x".repeat(9_000)).concat().len(), LONGEST_LINE + 1);
        assert_eq!(notes(&text.repeat(10)).len(), MOST_NOTES + 1);
    }
}

//! What a game came to, in Markdown, to keep.

use std::{fmt, time::Duration};

use sallyport_core::clock::Timestamp;
use serde::Serialize;

use crate::output::moment;

#[derive(Debug, Serialize)]
pub(super) struct Scored {
    pub(super) game: &'static str,
    pub(super) breaks: &'static str,
    /// Every stage passed.
    pub(super) passed: bool,
    /// Epoch milliseconds, by the backend's clock.
    pub(super) began_at: u64,
    pub(super) stages: Vec<Stage>,
    pub(super) incident: Option<String>,
    /// All that fired while it lasted.
    pub(super) fired: Vec<String>,
    pub(super) transcript: Vec<Told>,
    /// The draft, in Markdown.
    pub(super) postmortem: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Stage {
    /// `detection`, `page`, `mitigation`, `recovery`.
    pub(super) name: &'static str,
    pub(super) passed: bool,
    /// Seconds since the fault, by the backend's clock.
    pub(super) after_seconds: Option<u64>,
    pub(super) what: String,
}

/// A line of the transcript.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    /// Epoch milliseconds, by the backend's clock.
    pub(super) at: u64,
    pub(super) what: String,
    /// The command with what it printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output: Option<String>,
}

/// The score, for a terminal.
impl fmt::Display for Scored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Game day: {}\n", self.game)?;
        writeln!(f, "- Broken: {}.", self.breaks)?;
        writeln!(f, "- Began: {}, by the backend's clock.", moment(Timestamp::from_millis(self.began_at)))?;
        writeln!(f, "- Incident: {}.", self.incident.as_deref().unwrap_or("none"))?;
        writeln!(
            f,
            "- Fired: {}.\n",
            if self.fired.is_empty() { "nothing".to_owned() } else { self.fired.join(", ") }
        )?;
        writeln!(f, "| stage | result | after | what |\n|---|---|---|---|")?;
        for stage in &self.stages {
            let result = if stage.passed { "passed" } else { "failed" };
            let after = stage.after_seconds.map_or_else(|| "-".to_owned(), clock);
            writeln!(f, "| {} | {result} | {after} | {} |", stage.name, stage.what)?;
        }
        let passed = self.stages.iter().filter(|stage| stage.passed).count();
        writeln!(f, "\nScore: {passed} of {}.", self.stages.len())
    }
}

/// The score with all that happened and was said, and the draft of the post-mortem.
pub(super) struct Report<'a>(pub(super) &'a Scored);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scored = self.0;
        let name = scored.game;
        writeln!(f, "{scored}\nWritten by `sallyport gameday run {name} --report FILE`.\n\n## Transcript\n")?;
        writeln!(f, "Minutes and seconds since the fault.")?;
        for told in &scored.transcript {
            let after = Duration::from_millis(told.at.saturating_sub(scored.began_at)).as_secs();
            match &told.output {
                None => writeln!(f, "\n**{}** {}", clock(after), told.what)?,
                Some(output) => {
                    writeln!(f, "\n**{}**\n", clock(after))?;
                    fenced(f, "console", output)?;
                }
            }
        }
        if let (Some(postmortem), Some(incident)) = (&scored.postmortem, &scored.incident) {
            writeln!(f, "\n## Post-mortem draft\n\n`sallyport incident postmortem {incident}` prints:\n")?;
            fenced(f, "markdown", postmortem)?;
        }
        Ok(())
    }
}

fn clock(seconds: u64) -> String {
    format!("{} min {} s", seconds / 60, seconds % 60)
}

/// Tildes, and more of them than the text has: what was printed may hold fences itself.
fn fenced(f: &mut fmt::Formatter<'_>, language: &str, text: &str) -> fmt::Result {
    let longest = text.split(|character| character != '~').map(str::len).max().unwrap_or_default();
    let fence = "~".repeat(longest.max(2) + 1);
    writeln!(f, "{fence}{language}")?;
    for line in text.lines() {
        writeln!(f, "{}", line.trim_end())?;
    }
    writeln!(f, "{fence}")
}

//! What a game came to, in Markdown, to keep.

use std::fmt;

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
            let after = stage
                .after_seconds
                .map_or_else(|| "-".to_owned(), |after| format!("{} min {} s", after / 60, after % 60));
            writeln!(f, "| {} | {result} | {after} | {} |", stage.name, stage.what)?;
        }
        let passed = self.stages.iter().filter(|stage| stage.passed).count();
        writeln!(f, "\nScore: {passed} of {}.", self.stages.len())
    }
}

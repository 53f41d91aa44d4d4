//! `sallyport runbook run`.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
};

use clap::Args;
use sallyport_core::{clock::Clock as _, incidents::IncidentId};
use sallyport_runbooks::{Page, SECTIONS, Step, shell as syntax};
use serde::Serialize;

use super::{page, shell, transcript::Transcript, variables};
use crate::{
    cli::{Change, Target},
    deployment::{OperatorClock, operator},
    environment::variable,
    failure::{Exit, Failure},
    output::{Answer, Format, count},
};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The page: the alarm's name without the stack's, or a procedure's.
    name: String,
    /// Ask nothing, and run every step, those too that a page offers as a choice: for drills.
    #[arg(long)]
    yes: bool,
    /// Run only the steps of this section (hyphens do for spaces); may be given several times.
    #[arg(long, value_name = "HEADING", value_parser = section)]
    section: Vec<String>,
    /// Begin with this step: where the run before stopped.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    from: usize,
    /// A variable of the commands, such as EMAIL=ada@example.com; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// The incident that this is done for: its id is INCIDENT, and the transcript becomes a note of it.
    #[arg(long, value_name = "ID")]
    incident: Option<IncidentId>,
    /// Write the transcript to this file.
    #[arg(long, value_name = "FILE")]
    transcript: Option<PathBuf>,
    #[command(flatten)]
    change: Change,
}

fn section(text: &str) -> Result<String, String> {
    let words = text.replace('-', " ");
    let found = SECTIONS.iter().find(|section| section.eq_ignore_ascii_case(&words));
    found.map(|section| (*section).to_owned()).ok_or_else(|| format!("one of {}", SECTIONS.join(", ")))
}

fn assignment(text: &str) -> Result<(String, String), &'static str> {
    let named =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    match text.split_once('=') {
        Some((name, value)) if named(name) => Ok((name.to_owned(), value.to_owned())),
        _ => Err("NAME=VALUE, the name in capitals"),
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Done,
    Failed,
    /// The operator passed over it.
    Declined,
    /// It needs AWS, and no stack is named.
    CloudOnly,
    /// A dry run.
    NotRun,
}

#[derive(Debug, Serialize)]
struct Played {
    number: usize,
    section: String,
    name: String,
    commands: String,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<i32>,
    expected: Vec<i32>,
    #[serde(skip_serializing_if = "String::is_empty")]
    output: String,
}

#[derive(Debug, Serialize)]
struct Report {
    runbook: String,
    /// No step failed, and the operator did not stop.
    ok: bool,
    dry_run: bool,
    steps: Vec<Played>,
    #[serde(skip)]
    stopped: Option<usize>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |outcome| self.steps.iter().filter(|step| step.outcome == outcome).count();
        if self.dry_run {
            let steps = count(self.steps.len(), "step");
            return writeln!(f, "{}: would run {steps}; nothing was run", self.runbook);
        }
        write!(f, "{}: {} done", self.runbook, count(number(Outcome::Done), "step"))?;
        for (outcome, word) in [(Outcome::Declined, "passed over"), (Outcome::CloudOnly, "for AWS only")] {
            if number(outcome) > 0 {
                write!(f, ", {} {word}", number(outcome))?;
            }
        }
        writeln!(f)?;
        if let Some(failed) = self.steps.iter().find(|step| step.outcome == Outcome::Failed) {
            let exit = failed.exit.unwrap_or_default();
            writeln!(f, "step {} failed with {exit}; go on with --from {0}", failed.number)?;
        } else if let Some(step) = self.stopped {
            writeln!(f, "stopped before step {step}; go on with --from {step}")?;
        }
        Ok(())
    }
}

/// What the operator wants done with a step.
enum Reply {
    Run,
    PassOver,
    Stop,
}

impl Options {
    /// # Errors
    /// There is no such page or step; a variable is missing; nobody is there to confirm.
    pub(super) async fn run(self, target: &Target, format: Format) -> Result<Answer, Failure> {
        let page = page(&self.name)?;
        let steps: Vec<&Step> = page
            .steps()
            .filter(|step| step.number >= self.from)
            .filter(|step| self.section.is_empty() || self.section.contains(&step.section))
            .collect();
        if steps.is_empty() {
            let last = page.steps().count();
            return Err(Failure::not_found(
                "step_not_found",
                format!("{} has {last} steps, and none there", self.name),
            ));
        }
        let mut variables = variables::of_deployment(target).await?;
        if let Some(incident) = &self.incident {
            variables.insert(variables::INCIDENT.to_owned(), incident.to_string());
        }
        variables.extend(self.set.iter().cloned());
        let in_cloud = target.stack.is_some();
        if !self.change.dry_run {
            self.ready(&steps, &variables, in_cloud, format)?;
        }
        let clock = OperatorClock::of(target).await;
        let report = self.play(&page, &steps, &variables, in_cloud, clock, format);
        let (report, transcript) = report?;
        if let (Some(incident), false) = (self.incident, self.change.dry_run) {
            transcript.keep(target, incident).await?;
        }
        let failed = report.steps.iter().any(|step| step.outcome == Outcome::Failed);
        Ok(Answer::of(&report)?.exit(if failed { Exit::Dependency } else { Exit::Done }))
    }

    /// Whether there is somebody to ask, and everything that the commands name: a run that stops for a variable at its
    /// third step has done two already.
    fn ready(
        &self,
        steps: &[&Step],
        variables: &BTreeMap<String, String>,
        in_cloud: bool,
        format: Format,
    ) -> Result<(), Failure> {
        if !self.yes && (format == Format::Json || !io::stdin().is_terminal()) {
            return Err(Failure::usage(
                "nobody_confirms",
                "each step waits for a yes: run it at a terminal and without --json, or pass --yes or --dry-run",
            ));
        }
        let missing: Vec<_> = steps
            .iter()
            .filter(|step| in_cloud || !step.cloud)
            .flat_map(|step| syntax::variables(&step.commands))
            .filter(|name| !variables.contains_key(name) && variable(name).is_none())
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Failure::usage(
            "variable_missing",
            format!(
                "set {} in the environment, or with --set {}=…",
                missing.join(", "),
                missing.join("=… --set ")
            ),
        ))
    }

    fn play(
        &self,
        page: &Page,
        steps: &[&Step],
        variables: &BTreeMap<String, String>,
        in_cloud: bool,
        clock: OperatorClock,
        format: Format,
    ) -> Result<(Report, Transcript), Failure> {
        let file = self.transcript.as_deref().filter(|_| !self.change.dry_run);
        let mut transcript = Transcript::begin(page, &operator(), clock.now(), file)?;
        let mut report = Report {
            runbook: page.name.clone(),
            ok: true,
            dry_run: self.change.dry_run,
            steps: Vec::new(),
            stopped: None,
        };
        let mut reading = Reading { page, section: None, format };
        for step in steps {
            reading.up_to(step);
            let at = clock.now();
            let (outcome, exit, output) = if self.change.dry_run {
                (Outcome::NotRun, None, String::new())
            } else if step.cloud && !in_cloud {
                format.progress("  passed over: it needs AWS (--stack)");
                (Outcome::CloudOnly, None, String::new())
            } else {
                match self.confirm()? {
                    Reply::Stop => {
                        report.stopped = Some(step.number);
                        report.ok = false;
                        break;
                    }
                    Reply::PassOver => (Outcome::Declined, None, String::new()),
                    Reply::Run => {
                        let ended = shell::run(&step.commands, variables, format, !self.yes)?;
                        let outcome =
                            if step.expect.contains(&ended.exit) { Outcome::Done } else { Outcome::Failed };
                        (outcome, Some(ended.exit), ended.output)
                    }
                }
            };
            let word = match outcome {
                Outcome::Done => format!("exit {}", exit.unwrap_or_default()),
                Outcome::Failed => format!("failed with {}", exit.unwrap_or_default()),
                Outcome::Declined => "passed over".to_owned(),
                Outcome::CloudOnly => "needs AWS".to_owned(),
                Outcome::NotRun => "not run".to_owned(),
            };
            transcript.step(step, at, &word, &output)?;
            report.steps.push(Played {
                number: step.number,
                section: step.section.clone(),
                name: step.name.clone(),
                commands: step.commands.clone(),
                outcome,
                exit,
                expected: step.expect.clone(),
                output,
            });
            if outcome == Outcome::Failed {
                report.ok = false;
                break;
            }
        }
        if report.ok && self.section.is_empty() {
            reading.finish();
        }
        format.progress("");
        Ok((report, transcript))
    }

    fn confirm(&self) -> Result<Reply, Failure> {
        if self.yes {
            return Ok(Reply::Run);
        }
        let failed = |error: io::Error| Failure::dependency("stdin_failed", error.to_string());
        loop {
            let mut stderr = io::stderr();
            stderr
                .write_all(b"  run it? [y]es, [n]o, [q]uit: ")
                .and_then(|()| stderr.flush())
                .map_err(failed)?;
            let mut line = String::new();
            if io::stdin().read_line(&mut line).map_err(failed)? == 0 {
                return Ok(Reply::Stop);
            }
            match line.trim().to_ascii_lowercase().as_str() {
                "y" | "yes" => return Ok(Reply::Run),
                "n" | "no" => return Ok(Reply::PassOver),
                "q" | "quit" => return Ok(Reply::Stop),
                _ => {}
            }
        }
    }
}

/// Shows the page as the run goes through it: prose is half of it, and some sections are prose alone.
struct Reading<'a> {
    page: &'a Page,
    /// Where the reader is.
    section: Option<usize>,
    format: Format,
}

impl Reading<'_> {
    fn up_to(&mut self, step: &Step) {
        let index = self.page.sections.iter().position(|section| section.title == step.section);
        if self.section != index {
            // A run that begins in the middle does not read what is before.
            let silent = match (self.section, step.number) {
                (Some(section), _) => Some(section + 1),
                (None, 1) => Some(0),
                (None, _) => index,
            };
            self.leave();
            if let (Some(from), Some(to)) = (silent, index) {
                self.prose(from, to);
            }
            self.format.progress(&format!("\n## {}", step.section));
            self.section = index;
        }
        if !step.lead.is_empty() {
            self.format.progress(&format!("\n{}", step.lead));
        }
        self.format.progress(&format!("\nstep {}", step.number));
        for line in step.commands.lines() {
            self.format.progress(&format!("  $ {line}"));
        }
    }

    fn finish(&mut self) {
        self.leave();
        if let Some(section) = self.section {
            self.prose(section + 1, self.page.sections.len());
        }
    }

    /// What stands after the last step of the section.
    fn leave(&self) {
        let rest =
            self.section.and_then(|section| self.page.sections.get(section)).map(|section| &section.rest);
        if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
            self.format.progress(&format!("\n{rest}"));
        }
    }

    /// Sections without steps.
    fn prose(&self, from: usize, to: usize) {
        for section in self.page.sections.get(from..to).unwrap_or_default() {
            if section.steps.is_empty() {
                self.format.progress(&format!("\n## {}\n\n{}", section.title, section.text));
            }
        }
    }
}

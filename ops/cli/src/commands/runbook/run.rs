//! `sallyport runbook run`.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
};

use clap::Args;
use sallyport_core::clock::Clock as _;
use sallyport_operations::incidents::IncidentId;
use sallyport_runbooks::{Page, SECTIONS, Step, shell as syntax};
use serde::Serialize;

use super::{page, shell, transcript::Transcript, variables};
use crate::{
    cli::{Change, Target},
    deployment::{OperatorClock, operator},
    environment::variable,
    failure::{Exit, Failure},
    output::{Answer, Format, count, plain},
    terminal,
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
    /// It failed, and the operator ran it again.
    Repeated,
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
    /// The step before which the run stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<usize>,
    /// What that step needs, and nobody has set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
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
        for failed in self.steps.iter().filter(|step| step.outcome == Outcome::Failed) {
            let exit = failed.exit.unwrap_or_default();
            write!(f, "step {} failed with {exit}", failed.number)?;
            if self.steps.last().is_some_and(|last| last.number == failed.number) {
                write!(f, "; go on with --from {}", failed.number)?;
            }
            writeln!(f)?;
        }
        if let (Some(step), false) = (self.stopped, self.missing.is_empty()) {
            let (names, set) = (self.missing.join(", "), assignments(&self.missing));
            writeln!(f, "stopped before step {step}, which needs {names}; go on with --from {step} {set}")?;
        } else if let Some(step) = self.stopped {
            writeln!(f, "stopped before step {step}; go on with --from {step}")?;
        }
        Ok(())
    }
}

/// Options that set these variables. The token would stand in the list of processes.
fn assignments(names: &[String]) -> String {
    let set = |name: &String| match name.as_str() {
        variables::METRICS_TOKEN => format!("(and {name} in the environment)"),
        _ => format!("--set {name}=…"),
    };
    names.iter().map(set).collect::<Vec<_>>().join(" ")
}

/// What the operator wants done about a step that failed.
enum Again {
    Run,
    GoOn,
    Stop,
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
        let report = self.play(&page, &steps, variables, in_cloud, clock, format);
        let (report, transcript) = report?;
        if let (Some(incident), false) = (self.incident, self.change.dry_run) {
            transcript.keep(target, incident).await?;
        }
        let exit = if report.steps.iter().any(|step| step.outcome == Outcome::Failed) {
            Exit::Dependency
        } else if report.missing.is_empty() {
            Exit::Done
        } else {
            Exit::Usage
        };
        Ok(Answer::of(&report)?.exit(exit))
    }

    /// Whether there is somebody to ask. What a later step needs an earlier one may be there to find out, so a variable is asked
    /// for at its step; only where nobody is asked, and the first step that would run lacks one, is nothing begun.
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
        let Some(first) = steps.iter().find(|step| in_cloud || !step.cloud).filter(|_| self.yes) else {
            return Ok(());
        };
        let missing = unset(first, variables);
        if missing.is_empty() {
            return Ok(());
        }
        let (number, names, set) = (first.number, missing.join(", "), assignments(&missing));
        Err(Failure::usage(
            "variable_missing",
            format!(
                "step {number} needs {names}, and nothing was run: set it in the environment, or pass {set}"
            ),
        ))
    }

    fn play(
        &self,
        page: &Page,
        steps: &[&Step],
        mut variables: BTreeMap<String, String>,
        in_cloud: bool,
        clock: OperatorClock,
        format: Format,
    ) -> Result<(Report, Transcript), Failure> {
        let file = self.transcript.as_deref().filter(|_| !self.change.dry_run);
        let mut transcript = Transcript::begin(page, &operator()?, clock.now(), file)?;
        let mut report = Report {
            runbook: page.name.clone(),
            ok: true,
            dry_run: self.change.dry_run,
            steps: Vec::new(),
            stopped: None,
            missing: Vec::new(),
        };
        let mut reading = Reading { page, section: None, format };
        'steps: for step in steps {
            reading.up_to(step);
            let mut repeated = false;
            loop {
                let at = clock.now();
                let (outcome, exit, output) = if self.change.dry_run {
                    (Outcome::NotRun, None, String::new())
                } else if step.cloud && !in_cloud {
                    format.progress("  passed over: it needs AWS (--stack)");
                    (Outcome::CloudOnly, None, String::new())
                } else {
                    let missing = unset(step, &variables);
                    if self.yes && !missing.is_empty() {
                        (report.stopped, report.missing, report.ok) = (Some(step.number), missing, false);
                        break 'steps;
                    }
                    let reply = if repeated { Reply::Run } else { self.confirm(&missing, &mut variables)? };
                    match reply {
                        Reply::Stop => {
                            report.stopped = Some(step.number);
                            report.ok = false;
                            break 'steps;
                        }
                        Reply::PassOver => (Outcome::Declined, None, String::new()),
                        Reply::Run => {
                            let ended = shell::run(&step.commands, &variables, format, !self.yes)?;
                            let outcome = if step.expect.contains(&ended.exit) {
                                Outcome::Done
                            } else {
                                Outcome::Failed
                            };
                            (outcome, Some(ended.exit), ended.output)
                        }
                    }
                };
                transcript.step(step, at, &word(outcome, exit), &output)?;
                let again = match (outcome, exit) {
                    (Outcome::Failed, Some(exit)) => self.after_failure(step, exit, &mut variables)?,
                    _ => Again::GoOn,
                };
                let outcome = if matches!(again, Again::Run) { Outcome::Repeated } else { outcome };
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
                report.ok &= outcome != Outcome::Failed;
                match again {
                    Again::Run => repeated = true,
                    Again::GoOn => break,
                    Again::Stop => break 'steps,
                }
            }
        }
        if report.ok && self.section.is_empty() {
            reading.finish();
        }
        format.progress("");
        Ok((report, transcript))
    }

    /// Asks whether to run a step again that failed: as it was, or with other values of its variables.
    fn after_failure(
        &self,
        step: &Step,
        exit: i32,
        variables: &mut BTreeMap<String, String>,
    ) -> Result<Again, Failure> {
        if self.yes {
            return Ok(Again::Stop);
        }
        let names: Vec<_> = syntax::variables(&step.commands).into_iter().collect();
        let change = if names.is_empty() { "" } else { " [c]hange its values," };
        loop {
            let question = format!("failed with {exit}: [r]etry,{change} [n]ext step, [q]uit");
            let Some(answer) = prompt(&question)? else { return Ok(Again::Stop) };
            match answer.to_ascii_lowercase().as_str() {
                "r" | "retry" => return Ok(Again::Run),
                "c" | "change" if !names.is_empty() => {
                    for name in &names {
                        change_value(name, variables)?;
                    }
                    return Ok(Again::Run);
                }
                "n" | "next" => return Ok(Again::GoOn),
                "q" | "quit" => return Ok(Again::Stop),
                _ => {}
            }
        }
    }

    /// Asks for what the step needs besides, and whether to run it.
    fn confirm(
        &self,
        missing: &[String],
        variables: &mut BTreeMap<String, String>,
    ) -> Result<Reply, Failure> {
        if self.yes {
            return Ok(Reply::Run);
        }
        for name in missing {
            let Some(answer) = asked(name)? else { return Ok(Reply::Stop) };
            match answer.to_ascii_lowercase().as_str() {
                "" | "n" | "no" => return Ok(Reply::PassOver),
                "q" | "quit" => return Ok(Reply::Stop),
                _ => drop(variables.insert(name.clone(), answer)),
            }
        }
        loop {
            let Some(answer) = prompt("run it? [y]es, [n]o, [q]uit")? else { return Ok(Reply::Stop) };
            match answer.to_ascii_lowercase().as_str() {
                "y" | "yes" => return Ok(Reply::Run),
                "n" | "no" => return Ok(Reply::PassOver),
                "q" | "quit" => return Ok(Reply::Stop),
                _ => {}
            }
        }
    }
}

/// How a step ended, for the transcript.
fn word(outcome: Outcome, exit: Option<i32>) -> String {
    let exit = exit.unwrap_or_default();
    match outcome {
        Outcome::Done => format!("exit {exit}"),
        Outcome::Failed | Outcome::Repeated => format!("failed with {exit}"),
        Outcome::Declined => "passed over".to_owned(),
        Outcome::CloudOnly => "needs AWS".to_owned(),
        Outcome::NotRun => "not run".to_owned(),
    }
}

/// What the step's commands name, and nobody has set.
fn unset(step: &Step, variables: &BTreeMap<String, String>) -> Vec<String> {
    let set = |name: &String| variables.contains_key(name) || variable(name).is_some();
    syntax::variables(&step.commands).into_iter().filter(|name| !set(name)).collect()
}

/// What is to stand for the variable; `None` where the terminal was closed.
fn asked(name: &str) -> Result<Option<String>, Failure> {
    let question = format!("{name} is not set: its value, or [n]o, [q]uit");
    if name == variables::METRICS_TOKEN {
        // A secret is not left on the screen.
        let typed = terminal::hidden_line(&format!("  {question}: ")).map_err(stdin_failed)?;
        let typed = std::str::from_utf8(typed.expose()).map_err(|_| {
            Failure::dependency(
                "stdin_failed",
                "what was typed is not UTF-8: check the encoding of the terminal",
            )
        })?;
        return Ok(Some(typed.trim().to_owned()));
    }
    prompt(&question)
}

/// Asks for another value of a variable; an empty answer keeps the one that it has.
fn change_value(name: &str, variables: &mut BTreeMap<String, String>) -> Result<(), Failure> {
    if name == variables::METRICS_TOKEN {
        if let Some(answer) = asked(name)?.filter(|answer| !answer.is_empty()) {
            variables.insert(name.to_owned(), answer);
        }
        return Ok(());
    }
    let held = variables.get(name).cloned().or_else(|| variable(name)).unwrap_or_default();
    if let Some(answer) = prompt(&format!("{name} [{held}]"))?.filter(|answer| !answer.is_empty()) {
        variables.insert(name.to_owned(), answer);
    }
    Ok(())
}

/// A line of the terminal; `None` where it was closed.
fn prompt(question: &str) -> Result<Option<String>, Failure> {
    let mut stderr = io::stderr();
    let told = write!(stderr, "  {}: ", plain(question)).and_then(|()| stderr.flush());
    told.map_err(stdin_failed)?;
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line).map_err(stdin_failed)?;
    Ok((read > 0).then(|| line.trim().to_owned()))
}

#[expect(clippy::needless_pass_by_value, reason = "used as a function of `map_err`")]
fn stdin_failed(error: io::Error) -> Failure {
    Failure::dependency("stdin_failed", error.to_string())
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

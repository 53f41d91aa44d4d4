//! `sallyport runbook list` and `show`.

use std::fmt;

use sallyport_runbooks::{Page, Step};
use serde::Serialize;

use super::{page, unreadable};
use crate::{
    failure::Failure,
    output::{Answer, Table},
};

#[derive(Serialize)]
struct Listed {
    runbooks: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    name: String,
    kind: &'static str,
    severity: &'static str,
    title: String,
    alarms: Vec<String>,
    owner: String,
    /// Whose rights suffice for every step: of which policy, or `administrator`.
    rights: &'static str,
    steps: usize,
    /// A day; absent when the page was never drilled.
    last_drilled: Option<String>,
}

impl Entry {
    fn of(page: &Page) -> Self {
        Self {
            name: page.name.clone(),
            kind: page.front.kind.name(),
            severity: page.front.severity.name(),
            title: page.front.title.clone(),
            alarms: page.front.alarms.clone(),
            owner: page.front.owner.clone(),
            rights: page.front.rights.name(),
            steps: page.steps().count(),
            last_drilled: page.front.last_drilled.clone(),
        }
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["page", "kind", "severity", "title", "steps", "last drilled"]);
        for entry in &self.runbooks {
            table.row([
                entry.name.clone(),
                entry.kind.to_owned(),
                entry.severity.to_owned(),
                entry.title.clone(),
                entry.steps.to_string(),
                entry.last_drilled.clone().unwrap_or_else(|| "never".to_owned()),
            ]);
        }
        write!(f, "{table}")
    }
}

pub(super) fn list() -> Result<Answer, Failure> {
    let mut pages = sallyport_runbooks::pages().map_err(unreadable)?;
    pages.sort_by_key(|page| (page.front.kind.name(), page.front.severity, page.name.clone()));
    Answer::of(&Listed { runbooks: pages.iter().map(Entry::of).collect() })
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    entry: Entry,
    sections: Vec<ShownSection>,
    #[serde(skip)]
    text: String,
}

#[derive(Serialize)]
struct ShownSection {
    title: String,
    /// Markdown.
    text: String,
    steps: Vec<ShownStep>,
}

/// A step, as JSON shows it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ShownStep {
    pub(super) number: usize,
    pub(super) section: String,
    pub(super) name: String,
    pub(super) commands: String,
    pub(super) cloud: bool,
    pub(super) expect: Vec<i32>,
}

impl From<&Step> for ShownStep {
    fn from(step: &Step) -> Self {
        Self {
            number: step.number,
            section: step.section.clone(),
            name: step.name.clone(),
            commands: step.commands.clone(),
            cloud: step.cloud,
            expect: step.expect.clone(),
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

pub(super) fn show(name: &str) -> Result<Answer, Failure> {
    let page = page(name)?;
    let sections = page.sections.iter().map(|section| ShownSection {
        title: section.title.clone(),
        text: section.text.clone(),
        steps: section.steps.iter().map(ShownStep::from).collect(),
    });
    Answer::of(&Shown { entry: Entry::of(&page), sections: sections.collect(), text: text(&page) })
}

/// The page as it reads in a terminal: fences give way to the step's number, which `--from` takes.
fn text(page: &Page) -> String {
    let front = &page.front;
    let drilled = front.last_drilled.as_deref().unwrap_or("never");
    let minutes = front.severity.response_minutes();
    let mut text = format!(
        "{}\n{} {}, {}: acknowledge within {minutes} min; last drilled: {drilled}\nRights that suffice: {}\n",
        front.title,
        front.severity.name(),
        front.kind.name(),
        front.owner,
        front.rights.name(),
    );
    for section in &page.sections {
        text.push_str(&format!("\n## {}\n", section.title));
        for step in &section.steps {
            push_paragraph(&mut text, &step.lead);
            let place = if step.cloud { " (AWS only)" } else { "" };
            text.push_str(&format!("\n  step {}{place}\n", step.number));
            for line in step.commands.lines() {
                text.push_str(&format!("    $ {line}\n"));
            }
        }
        push_paragraph(&mut text, &section.rest);
    }
    text
}

fn push_paragraph(text: &mut String, paragraph: &str) {
    if !paragraph.is_empty() {
        text.push_str(&format!("\n{paragraph}\n"));
    }
}

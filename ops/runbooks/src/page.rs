//! A page: front matter, sections, steps.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::front::Front;

/// The sections of every page, in this order. Somebody who was woken finds each at the same place.
pub const SECTIONS: [&str; 9] = [
    "Meaning",
    "Impact",
    "First five minutes",
    "Diagnosis",
    "Mitigation",
    "Verification",
    "Rollback",
    "Escalation",
    "Afterwards",
];

/// A page that reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Of the file, without `.md`.
    pub name: String,
    /// What it says about itself.
    pub front: Front,
    /// The Markdown after the front matter.
    pub body: String,
    /// Its sections, in the order of [`SECTIONS`].
    pub sections: Vec<Section>,
}

/// A part of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The heading.
    pub title: String,
    /// All of it, Markdown.
    pub text: String,
    /// What a machine can run, in order.
    pub steps: Vec<Step>,
    /// The prose after the last step.
    pub rest: String,
}

/// A fenced block of commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Counted through the page, from 1.
    pub number: usize,
    /// The heading that it stands under.
    pub section: String,
    /// `name=…`, or else the first words of the first command.
    pub name: String,
    /// The prose before it, since the heading or the step before.
    pub lead: String,
    /// What the shell is given.
    pub commands: String,
    /// Only AWS can answer it.
    pub cloud: bool,
    /// Exit codes that are no failure.
    pub expect: Vec<i32>,
}

/// A page that does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("runbook {page}: {problem}")]
pub struct Malformed {
    page: String,
    problem: String,
}

impl Page {
    /// # Errors
    /// Front matter, headings or a block are not as they should be; the text says which.
    pub fn parse(name: &str, text: &str) -> Result<Self, Malformed> {
        let malformed = |problem: String| Malformed { page: name.to_owned(), problem };
        let (front, body) = text
            .strip_prefix("---\n")
            .and_then(|rest| rest.split_once("\n---\n"))
            .ok_or_else(|| malformed("no front matter".to_owned()))?;
        let front = Front::parse(front).map_err(|problem| malformed(format!("front matter: {problem}")))?;
        let sections = sections(body).map_err(malformed)?;
        let found: Vec<_> = sections.iter().map(|section| section.title.as_str()).collect();
        if found != SECTIONS {
            return Err(malformed(format!("its sections are {found:?}, and not {SECTIONS:?}")));
        }
        let silent = sections.iter().find(|section| section.text.trim().is_empty());
        if let Some(section) = silent {
            return Err(malformed(format!("nothing stands under {}", section.title)));
        }
        Ok(Self { name: name.to_owned(), front, body: body.trim().to_owned(), sections })
    }

    /// All steps, in order.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.sections.iter().flat_map(|section| &section.steps)
    }
}

/// What stands between two marks of a page.
struct Mark {
    range: Range<usize>,
    what: What,
}

enum What {
    Heading(String),
    Block { info: String, code: String },
}

/// Headings and blocks with where they stand.
fn marks(body: &str) -> Vec<Mark> {
    let mut marks = Vec::new();
    let mut heading = None;
    let mut block = None;
    for (event, range) in Parser::new_ext(body, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { level: HeadingLevel::H2, .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(HeadingLevel::H2)) => {
                if let Some(title) = heading.take() {
                    marks.push(Mark { range, what: What::Heading(title) });
                }
            }
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                block = Some((info.to_string(), String::new()));
            }
            Event::End(TagEnd::CodeBlock) => {
                if let Some((info, code)) = block.take() {
                    marks.push(Mark { range, what: What::Block { info, code } });
                }
            }
            Event::Text(text) | Event::Code(text) => {
                if let Some(title) = &mut heading {
                    title.push_str(&text);
                } else if let Some((_, code)) = &mut block {
                    code.push_str(&text);
                }
            }
            _ => {}
        }
    }
    marks
}

fn sections(body: &str) -> Result<Vec<Section>, String> {
    let mut sections: Vec<Section> = Vec::new();
    // Where the section's text begins, and the prose before the next step.
    let (mut beginning, mut prose, mut number) = (0, 0, 0);
    let cut = |range: Range<usize>| body.get(range).unwrap_or_default().trim().to_owned();
    for Mark { range, what } in marks(body) {
        match what {
            What::Heading(title) => {
                if let Some(section) = sections.last_mut() {
                    section.text = cut(beginning..range.start);
                    section.rest = cut(prose..range.start);
                }
                sections.push(Section { title, text: String::new(), steps: Vec::new(), rest: String::new() });
                (beginning, prose) = (range.end, range.end);
            }
            What::Block { info, code } => {
                let mut words = info.split_whitespace();
                if words.next() != Some("sh") {
                    continue;
                }
                let Some(section) = sections.last_mut() else {
                    return Err("a block stands before the first section".to_owned());
                };
                number += 1;
                let lead = cut(prose..range.start);
                section.steps.push(step(number, &section.title, lead, &code, words)?);
                prose = range.end;
            }
        }
    }
    if let Some(section) = sections.last_mut() {
        section.text = cut(beginning..body.len());
        section.rest = cut(prose..body.len());
    }
    Ok(sections)
}

fn step<'a>(
    number: usize,
    section: &str,
    lead: String,
    code: &str,
    attributes: impl Iterator<Item = &'a str>,
) -> Result<Step, String> {
    let commands = code.trim().to_owned();
    let mut step = Step {
        number,
        section: section.to_owned(),
        name: first_words(&commands),
        // A block in a list is indented; its closing fence may be all that is left of the item.
        lead,
        commands,
        cloud: false,
        expect: vec![0],
    };
    for attribute in attributes {
        match attribute.split_once('=') {
            None if attribute == "cloud" => step.cloud = true,
            Some(("name", name)) => name.clone_into(&mut step.name),
            Some(("expect", codes)) => {
                let codes: Result<Vec<i32>, _> = codes.split(',').map(str::parse).collect();
                step.expect = codes.map_err(|_| format!("step {number}: {attribute} names no exit codes"))?;
            }
            _ => return Err(format!("step {number}: unknown attribute {attribute}")),
        }
    }
    if step.commands.is_empty() {
        return Err(format!("step {number} holds no command"));
    }
    Ok(step)
}

/// `sallyport mode set`, `curl`: the program and its verbs.
fn first_words(commands: &str) -> String {
    let line = commands.lines().find(|line| !line.trim_start().starts_with('#')).unwrap_or_default();
    let plain = |word: &&str| {
        word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') && !word.starts_with('-')
    };
    line.split_whitespace().take_while(plain).take(3).collect::<Vec<_>>().join(" ")
}

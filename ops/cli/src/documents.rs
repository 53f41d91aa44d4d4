//! Runbooks and docs/OPERATIONS.md against the command line: what they tell an operator to type is understood.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
};

use sallyport_runbooks::shell;

use crate::cli::Invocation;

const OPERATIONS: &str = include_str!("../../../docs/OPERATIONS.md");
const OPENAPI: &str = include_str!("../../../functions/keys/openapi.json");
/// One line per command, step and bullet of the source document: its line there, what it is, and its words.
const SOURCE: &str = include_str!("../../runbooks/source.txt");

/// What stands in a command for what the operator fills in.
const PLACEHOLDERS: [(&str, &str); 11] = [
    ("EMAIL", "ada@example.com"),
    ("ADDRESS", "203.0.113.7"),
    ("INCIDENT", "inc_01l5iiv3k0ab29fg"),
    ("ID", "inc_01l5iiv3k0ab29fg"),
    ("NAME", "service-down"),
    ("REASON", "because"),
    ("TEXT", "a note"),
    ("NUMBER", "2"),
    ("KEY", "refresh:1"),
    ("FILE", "file.txt"),
    ("TIME", "2h"),
];

/// The command's complaint about a line, if it has any.
fn refused(words: &[String]) -> Option<String> {
    let words = words.iter().map(|word| {
        let filled = PLACEHOLDERS.iter().find(|(name, _)| name == word).map(|(_, value)| (*value).to_owned());
        OsString::from(filled.unwrap_or_else(|| word.clone()))
    });
    Invocation::read(words).err().map(|refusal| refusal.first_line())
}

fn check(place: &str, block: &str, findings: &mut Vec<String>) -> usize {
    let mut checked = 0;
    match shell::commands(block) {
        Ok(commands) => {
            for command in commands.iter().filter(|command| command[0] == "sallyport") {
                checked += 1;
                if let Some(complaint) = refused(command) {
                    findings.push(format!("{place}: `{}`: {complaint}", command.join(" ")));
                }
            }
        }
        Err(problem) => findings.push(format!("{place}: `{block}`: {problem}")),
    }
    checked
}

/// What stands in backticks, outside of fences.
fn inline(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_command_of_every_runbook_is_understood() {
    let mut findings = Vec::new();
    let mut checked = 0;
    for page in sallyport_runbooks::pages().unwrap() {
        for step in page.steps() {
            checked += check(&format!("{} step {}", page.name, step.number), &step.commands, &mut findings);
        }
        let prose = page.sections.iter().flat_map(|section| {
            section.steps.iter().map(|step| step.lead.as_str()).chain([section.rest.as_str()])
        });
        for code in prose.flat_map(inline).filter(|code| code.starts_with("sallyport ")) {
            checked += check(&page.name, code, &mut findings);
        }
    }
    assert!(findings.is_empty(), "{} findings\n{}", findings.len(), findings.join("\n"));
    assert!(checked > 300, "{checked}");
}

/// Rows of docs/OPERATIONS.md, "From the source document": lines of that document, and the counterpart.
fn rows() -> BTreeMap<u32, String> {
    let (_, chapter) = OPERATIONS.split_once("\n## From the source document\n").unwrap();
    let chapter = chapter.split("\n## ").next().unwrap();
    let mut rows = BTreeMap::new();
    for line in chapter.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| line ")) {
        // A bar within a command is escaped.
        let line = line.replace("\\|", "\0");
        let cells: Vec<_> =
            line.trim_matches('|').split('|').map(|cell| cell.trim().replace('\0', "|")).collect();
        assert_eq!(cells.len(), 3, "{line}");
        for number in cells[0].split(", ") {
            let twice = rows.insert(number.parse().unwrap(), cells[2].clone());
            assert!(twice.is_none(), "line {number} has two rows");
        }
    }
    rows
}

#[test]
fn everything_of_the_source_document_has_its_counterpart() {
    let rows = rows();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let mut lines = BTreeSet::new();
    for line in SOURCE.lines() {
        let (number, rest) = line.split_once(' ').unwrap();
        *kinds.entry(rest.split(' ').next().unwrap()).or_default() += 1;
        let number: u32 = number.parse().unwrap();
        assert!(rows.contains_key(&number), "no row for: {line}");
        lines.insert(number);
    }
    assert_eq!(kinds, BTreeMap::from([("bullet", 100), ("command", 73), ("step", 94)]));
    let unknown: Vec<_> = rows.keys().filter(|number| !lines.contains(number)).collect();
    assert!(unknown.is_empty(), "rows for nothing: {unknown:?}");
}

#[test]
fn every_counterpart_exists() {
    let paths: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
    let pages: BTreeSet<_> = sallyport_runbooks::names().collect();
    let mut findings = Vec::new();
    for (number, here) in rows() {
        let place = format!("line {number}");
        let mut found = 0;
        for code in inline(&here) {
            let program = code.split(' ').next().unwrap_or_default();
            match program {
                "sallyport" => found += check(&place, code, &mut findings),
                "curl" => {
                    let path = code.split_once("$SALLYPORT_URL").map(|(_, rest)| rest.split(' ').next());
                    let path = path.flatten().unwrap_or_default();
                    if paths["paths"].get(path).is_none() {
                        findings.push(format!("{place}: no route {path}"));
                    }
                    found += 1;
                }
                "sam" | "cargo" | "aws" | "tests/run" | "tests/bench/run" | "tests/conformance/run" => {
                    found += 1;
                }
                _ => {}
            }
        }
        for link in here.split("](../ops/runbooks/").skip(1) {
            let page = link.split(".md)").next().unwrap_or_default();
            if !pages.contains(page) {
                findings.push(format!("{place}: no page {page}"));
            }
            found += 1;
        }
        if found == 0 {
            findings.push(format!("{place}: neither command nor page: {here}"));
        }
    }
    assert!(findings.is_empty(), "{} findings\n{}", findings.len(), findings.join("\n"));
}

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{collections::BTreeSet, fs, path::Path};

use super::*;

const PAGE: &str = "---
title: A thing broke
kind: alarm
severity: warning
alarms: [thing-broke]
owner: on-call engineer
rights: responder
last_drilled: never
---

## Meaning

It broke.

## Impact

Some.

## First five minutes

1. Look.

   ```sh name=look expect=0,5
   sallyport config validate
   ```

2. Ask AWS.

   ```sh cloud
   aws sts get-caller-identity
   ```

   Then think.

## Diagnosis

None.

## Mitigation

None.

## Verification

```sh
curl -fsS \"$SALLYPORT_URL/health/ready\"
```

## Rollback

None.

## Escalation

None.

## Afterwards

None.
";

#[test]
fn a_page_is_read_into_sections_and_steps() {
    let page = Page::parse("thing-broke", PAGE).unwrap();
    assert_eq!(page.front.title, "A thing broke");
    assert_eq!((page.front.kind, page.front.severity), (Kind::Alarm, Severity::Warning));
    assert_eq!(page.front.last_drilled, None);
    let steps: Vec<_> = page.steps().collect();
    assert_eq!(steps.len(), 3);
    assert_eq!((steps[0].number, steps[0].name.as_str(), steps[0].cloud), (1, "look", false));
    assert_eq!(steps[0].expect, [0, 5]);
    assert_eq!(steps[0].lead, "1. Look.");
    assert_eq!(steps[0].commands, "sallyport config validate");
    assert_eq!((steps[1].cloud, steps[1].name.as_str()), (true, "aws sts get-caller-identity"));
    assert_eq!(steps[1].lead, "2. Ask AWS.");
    assert_eq!(page.sections[2].rest, "Then think.");
    assert_eq!((steps[2].section.as_str(), steps[2].expect.as_slice()), ("Verification", [0].as_slice()));
}

#[test]
fn a_page_that_is_not_as_the_others_is_refused() {
    for (from, to) in [
        ("## Rollback\n\nNone.\n\n", ""),
        ("## Rollback\n\nNone.", "## Rollback"),
        ("severity: warning", "severity: high"),
        ("alarms: [thing-broke]", "alarms: []"),
        ("kind: alarm", "kind: alarm\nreviewed: yesterday"),
        ("last_drilled: never\n", ""),
        ("expect=0,5", "expect=maybe"),
        ("sh cloud", "sh clod"),
        ("---\ntitle", "title"),
    ] {
        let text = PAGE.replacen(from, to, 1);
        assert_ne!(text, PAGE);
        assert!(Page::parse("thing-broke", &text).is_err(), "{from} → {to}");
    }
}

#[test]
fn every_page_reads_and_keeps_to_simple_commands() {
    let known: BTreeSet<_> = shell::SAMPLES.iter().map(|(name, _)| (*name).to_owned()).collect();
    let pages = pages().unwrap();
    assert!(pages.len() > 40, "{}", pages.len());
    for page in &pages {
        assert!(page.steps().any(|step| !step.cloud), "{} has no step that can be drilled", page.name);
        for step in page.steps() {
            let place = format!("{} step {}", page.name, step.number);
            let commands =
                shell::commands(&step.commands).unwrap_or_else(|problem| panic!("{place}: {problem}"));
            for command in commands {
                let program = command[0].as_str();
                assert!(
                    ["sallyport", "aws", "curl", "jq", "grep", "date", "test"].contains(&program),
                    "{place}: {program}"
                );
                assert!(
                    program != "aws" || step.cloud,
                    "{place}: aws answers in the cloud only: mark the block"
                );
            }
            let unknown: Vec<_> = shell::variables(&step.commands).difference(&known).cloned().collect();
            assert!(unknown.is_empty(), "{place}: {unknown:?} are not documented");
        }
    }
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for page in pages().unwrap() {
        for link in page.body.split("](").skip(1) {
            let target = link.split(')').next().unwrap().split('#').next().unwrap();
            let outside = target.starts_with("https://");
            assert!(outside || root.join(target).exists(), "{}: {target}", page.name);
        }
    }
}

#[test]
fn a_page_is_short_enough_for_somebody_who_was_woken() {
    for page in pages().unwrap() {
        let lines = page.body.lines().count();
        assert!(lines <= 150, "{}: {lines} lines", page.name);
    }
}

#[test]
fn pages_are_found_by_the_name_of_their_file() {
    let on_disk: BTreeSet<_> = fs::read_dir(env!("CARGO_MANIFEST_DIR"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".md").map(str::to_owned))
        .collect();
    assert_eq!(names().map(str::to_owned).collect::<BTreeSet<_>>(), on_disk);
    assert!(page("no-such-page").unwrap().is_none());
}

#[test]
fn every_alarm_of_the_template_has_its_page_of_the_same_severity_and_first_command() {
    let template = include_str!("../../../infra/alarms.yaml");
    let mut alarms = BTreeSet::new();
    for alarm in template.split("AlarmName: !Sub \"${Deployment}-").skip(1) {
        let field = |name: &str| alarm.split_once(name).unwrap().1.lines().next().unwrap().trim();
        let name = alarm.split('"').next().unwrap();
        let page = page(name).unwrap().unwrap_or_else(|| panic!("{name} has no page"));
        assert_eq!(page.front.alarms, [name], "{name}");
        assert_eq!(page.front.severity.name(), field("Severity: "), "{name}");
        let early = page.sections[2..5].iter().flat_map(|section| &section.steps);
        let first = field("First: ");
        assert!(
            early.clone().any(|step| step.commands.contains(first)),
            "{name} does not begin with {first}"
        );
        alarms.insert(name.to_owned());
    }
    let pages: BTreeSet<_> = pages().unwrap().into_iter().flat_map(|page| page.front.alarms).collect();
    assert_eq!(pages, alarms);
}

#[test]
fn a_block_is_cut_where_its_commands_end() {
    let block = "one 'two\nlines' \\\n  goes on\n# a comment's quote\nthree |\n  four\n\nfive \"$(six\nseven)\" # end\n";
    let found = shell::statements(block);
    assert_eq!(found, ["one 'two\nlines' \\\n  goes on", "three |\n  four", "five \"$(six\nseven)\" "]);
    assert_eq!(shell::statements("a#b\necho \\'"), ["a#b", "echo \\'"]);
}

#[test]
fn every_page_is_cut_into_as_many_commands_as_it_has_lines_of_them() {
    for page in pages().unwrap() {
        for step in page.steps() {
            let of_statements: usize =
                shell::statements(&step.commands).iter().map(|one| shell::commands(one).unwrap().len()).sum();
            assert_eq!(of_statements, shell::commands(&step.commands).unwrap().len(), "{}", page.name);
        }
    }
}

/// During an attack fifty events are two seconds of refused sign-ins: what the reader looks for is not among them.
#[test]
fn a_page_that_reads_security_events_says_which() {
    let choices = ["--kind", "--severity", "--limit"];
    for page in pages().unwrap() {
        for step in page.steps() {
            for line in shell::commands(&step.commands).unwrap() {
                let reads =
                    line.starts_with(&["sallyport".to_owned(), "logs".to_owned(), "events".to_owned()]);
                let chosen = line.iter().any(|word| choices.contains(&word.as_str()));
                assert!(!reads || chosen, "{}: {}", page.name, line.join(" "));
            }
        }
    }
}

/// The first thing to know is whether it succeeded.
#[test]
fn an_attack_is_looked_at_by_who_got_in_before_by_who_failed() {
    for name in [
        "failure-spike",
        "credential-stuffing",
        "lockouts-rising",
        "mfa-bypass-attempts",
        "page-attack",
        "security-incident",
    ] {
        let page = page(name).unwrap().unwrap();
        let lines: Vec<_> = page
            .steps()
            .flat_map(|step| shell::commands(&step.commands).unwrap())
            .map(|line| line.join(" "))
            .collect();
        let at =
            |what: &str| lines.iter().position(|line| line.starts_with(&format!("sallyport top {what}")));
        let entered = at("entered").unwrap_or(usize::MAX);
        let others = ["addresses", "accounts"].iter().filter_map(|what| at(what)).min();
        assert!(others.is_none_or(|other| entered < other), "{name}");
    }
}

/// What anybody can cause, as often as he likes. Among the newest fifty of it nothing else is seen.
const FLOODS: [&str; 5] =
    ["login.refused", "login.locked_out", "login.pool_reopened", "mfa.refused", "mfa.locked_out"];

#[test]
fn a_kind_that_may_be_a_flood_is_read_by_a_command_of_its_own() {
    for page in pages().unwrap() {
        for step in page.steps() {
            for line in shell::commands(&step.commands).unwrap() {
                let kinds: Vec<_> =
                    line.windows(2).filter(|two| two[0] == "--kind").map(|two| two[1].as_str()).collect();
                let floods = kinds.iter().any(|kind| FLOODS.contains(kind));
                assert!(kinds.len() < 2 || !floods, "{}: {}", page.name, line.join(" "));
            }
        }
    }
}

/// Whoever follows a page wants it done: a rehearsal alone mends nothing.
#[test]
fn what_a_page_rehearses_it_also_says_how_to_do() {
    for page in pages().unwrap() {
        for step in page.steps().filter(|step| ["Mitigation", "Rollback"].contains(&step.section.as_str())) {
            for line in shell::commands(&step.commands).unwrap() {
                if !line.iter().any(|word| word == "--dry-run") {
                    continue;
                }
                let verbs: Vec<_> =
                    line.iter().take_while(|word| !word.starts_with('-')).take(3).cloned().collect();
                let verbs = verbs.join(" ");
                // In a block, or in a sentence.
                let done = page.body.match_indices(&verbs).any(|(at, _)| {
                    let rest = page.body.get(at + verbs.len()..).unwrap_or_default();
                    let rest = rest.split(['\n', '`']).next().unwrap_or_default();
                    !rest.contains("--dry-run")
                });
                assert!(done, "{}: only rehearses `{verbs}`", page.name);
            }
        }
    }
}

/// A code, an id or an address of an example is nobody's: it comes from a variable.
#[test]
fn a_page_checks_no_code_of_an_example() {
    for page in pages().unwrap() {
        for step in page.steps() {
            for line in shell::commands(&step.commands).unwrap() {
                let checks = line.starts_with(&["sallyport", "totp", "check"].map(str::to_owned));
                let sample = shell::SAMPLES.iter().find(|(name, _)| *name == "CODE").map(|(_, code)| *code);
                assert!(
                    !checks || line.get(3).map(String::as_str) == sample,
                    "{}: {}",
                    page.name,
                    line.join(" ")
                );
            }
        }
    }
}

/// The version of the command line before ends with 255 what the present one ends with 254.
#[test]
fn what_aws_refuses_is_expected_of_both_versions_of_its_command_line() {
    for page in pages().unwrap() {
        for step in page.steps() {
            assert_eq!(
                step.expect.contains(&254),
                step.expect.contains(&255),
                "{} step {}",
                page.name,
                step.number
            );
        }
    }
}

//! `sallyport incident postmortem`: what the timeline knows, and the questions that it cannot answer.

use std::{fmt, time::Duration};

use sallyport_operations::incidents::{EntryKind, Figures, Incident, IncidentId, figures, measures_of};
use serde::Serialize;

use super::{EntryReport, Report, find, show::FiguresReport};
use crate::{
    cli::Target,
    deployment::Deployment,
    failure::Failure,
    output::{Answer, moment, plain, span},
};

#[derive(Serialize)]
struct Draft {
    incident: String,
    figures: FiguresReport,
    markdown: String,
}

impl fmt::Display for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.markdown)
    }
}

/// # Errors
/// There is no such incident; AWS.
pub(super) async fn run(target: &Target, id: IncidentId) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let (incident, timeline) = find(&deployment, id).await?;
    let measures = measures_of(&deployment.store, &incident, deployment.now()).await?;
    let measured = figures(&incident, &timeline, &measures);
    let entries = EntryReport::all(&timeline, &measures);
    let diagnosis = timeline.iter().find(|entry| entry.kind == EntryKind::Diagnosed);
    let markdown = draft(&incident, measured, &entries, diagnosis.map(|entry| entry.text.as_str()));
    Answer::of(&Draft { incident: id.to_string(), figures: FiguresReport::of(measured), markdown })
}

/// Characters of an entry in the timeline's table; `incident show` has the rest of a runbook's transcript.
const LONGEST_CELL: usize = 300;

/// A cell of a Markdown table: one line, and no bar of its own.
fn cell(text: &str) -> String {
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let line = lines.join("; ");
    match line.char_indices().nth(LONGEST_CELL) {
        Some((end, _)) => format!("{}…", words(line.get(..end).unwrap_or_default())),
        None => words(&line),
    }
}

/// A line as it was written: what Markdown or HTML would obey in it is escaped.
fn words(line: &str) -> String {
    let characters: Vec<char> = plain(line).chars().collect();
    let start = characters.iter().position(|character| *character != ' ').unwrap_or_default();
    let digits = characters.iter().skip(start).take_while(|character| character.is_ascii_digit()).count();
    let is_letter = |index: Option<usize>| {
        index.and_then(|index| characters.get(index)).is_some_and(|character| character.is_alphanumeric())
    };
    let mut escaped = String::new();
    for (index, character) in characters.iter().enumerate() {
        let obeyed = match character {
            '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '&' | '|' | '~' => true,
            '_' => !(is_letter(index.checked_sub(1)) && is_letter(Some(index + 1))),
            // A heading, a list, a rule.
            '#' | '-' | '+' | '=' => index == start,
            '.' | ')' => digits > 0 && index == start + digits,
            _ => false,
        };
        if obeyed {
            escaped.push('\\');
        }
        escaped.push(*character);
    }
    escaped
}

/// The name of an alarm: as code, where it is a name.
fn code(name: &str) -> String {
    let is_name = |character: char| character.is_ascii_alphanumeric() || "-_./".contains(character);
    if !name.is_empty() && name.chars().all(is_name) { format!("`{name}`") } else { cell(name) }
}

fn draft(incident: &Incident, figures: Figures, timeline: &[EntryReport], diagnosis: Option<&str>) -> String {
    let report = Report::of(incident);
    let took = |duration: Option<Duration>| duration.map_or_else(|| "not yet".to_owned(), span);
    let target = span(incident.severity.response());
    let lines = |text: &str| text.lines().map(words).collect::<Vec<_>>().join("\n");
    let summary = report.summary.as_deref().map_or_else(|| "_Not resolved yet._".to_owned(), lines);
    let alarms: Vec<_> = report.alarms.iter().map(|alarm| code(&alarm.name)).collect();
    let rows: String = timeline
        .iter()
        .map(|entry| {
            let (at, by) = (moment(entry.time), cell(&entry.by));
            format!("| {at} | {} | {by} | {} |\n", entry.kind.replace('_', " "), cell(&entry.text))
        })
        .collect();
    let first_look = diagnosis.map_or_else(
        || "_None was attached._\n".to_owned(),
        |text| text.lines().map(|line| format!("- {}\n", words(line))).collect(),
    );
    let late = figures.acknowledged.is_none_or(|took| took > incident.severity.response());
    let in_time = if late { "**late**" } else { "in time" };
    format!(
        "# Post-mortem: {cause}, {opened}\n\
        \n\
        > Draft, filled from the incident's timeline. It is blameless: it asks what made the mistake possible and the\n\
        > right step hard, not whose it was. Replace what stands in _italics_.\n\
        \n\
        | | |\n|---|---|\n\
        | incident | `{id}` |\n\
        | severity | {severity} |\n\
        | state | {state} |\n\
        | alarms | {alarms} |\n\
        | answered by | {answered} |\n\
        \n\
        ## Summary\n\n{summary}\n\
        \n\
        ## Impact\n\n\
        _Who met what, from when to when, how many: requests, sign-ins, accounts. Was data lost or seen?_\n\
        \n\
        ## Figures\n\n\
        | what | how long | |\n|---|---|---|\n\
        | to detect (the alarm's periods, to the incident) | {detected} | |\n\
        | to acknowledge | {acknowledged} | {in_time}: the target is {target} |\n\
        | to mitigate | {mitigated} | |\n\
        | to resolve | {resolved} | |\n\
        | escalations, reminders, reopenings | {escalations}, {reminders}, {reopenings} | |\n\
        \n\
        ## Timeline (UTC)\n\n\
        | at | what | by | |\n|---|---|---|---|\n{rows}\
        \n\
        ## First diagnosis\n\n{first_look}\
        \n\
        ## Causes\n\n\
        _Why did it happen, why did that happen, … until an answer can be acted on. What had changed?_\n\
        \n\
        ## What went well\n\n- _What shortened it?_\n\
        \n\
        ## What went badly\n\n- _What lengthened it? Did the alarm ring soon enough, did the runbook's commands work?_\n\
        \n\
        ## Where we were lucky\n\n- _What could have made it worse?_\n\
        \n\
        ## Actions\n\n\
        | action | kind | owner | due | ticket |\n|---|---|---|---|---|\n\
        | _Prevent it_ | prevent | _who_ | _when_ | |\n\
        | _Detect it sooner_ | detect | _who_ | _when_ | |\n\
        | _End it sooner_ | mitigate | _who_ | _when_ | |\n\
        | _Put the runbook right_ | document | _who_ | _when_ | |\n",
        cause = cell(incident.cause.as_str()),
        opened = moment(incident.opened_at),
        id = report.id,
        severity = report.severity,
        state = report.state,
        alarms = alarms.join(", "),
        answered = cell(report.acknowledged_by.as_deref().unwrap_or("nobody")),
        detected = span(figures.detected),
        acknowledged = took(figures.acknowledged),
        mitigated = took(figures.mitigated),
        resolved = took(figures.resolved),
        escalations = figures.escalations,
        reminders = figures.reminders,
        reopenings = figures.reopenings,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_wrote_is_no_markdown_and_no_html() {
        for (text, shown) in [
            ("top error codes: rate_limited 3, a-b (1.5 %)", "top error codes: rate_limited 3, a-b (1.5 %)"),
            ("<img src=x onerror=y>", "\\<img src=x onerror=y\\>"),
            ("[a](javascript:b) ![c](d)", "\\[a\\](javascript:b) !\\[c\\](d)"),
            ("_a_ **b** `c` ~~d~~ &lt;", "\\_a\\_ \\*\\*b\\*\\* \\`c\\` \\~\\~d\\~\\~ \\&lt;"),
            ("# a", "\\# a"),
            (" - a", " \\- a"),
            ("12. a", "12\\. a"),
            ("1.5 a", "1\\.5 a"),
            ("a|b\\", "a\\|b\\\\"),
            ("a\u{1b}[31m\u{202e}\r", "a\u{fffd}\\[31m\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(words(text), shown, "{text:?}");
        }
        assert_eq!(code("sallyport-prod-high_error.rate"), "`sallyport-prod-high_error.rate`");
        assert_eq!(code("a`|\nb"), "a\\`\\|; b");
    }
}

//! `sallyport migrate validate`.

use std::{collections::BTreeMap, fmt};

use aws_sdk_dynamodb::types::AttributeValue;
use sallyport_aws::validate_item;
use sallyport_core::store::StoreError;
use serde::Serialize;

use crate::{
    aws_fault,
    deployment::Deployment,
    failure::{Exit, Failure},
    output::{Answer, Progress, Table, count, plain},
};

type Item = std::collections::HashMap<String, AttributeValue>;

/// Corrupt items that are listed; all are counted.
const LISTED: usize = 100;

#[derive(Debug, Default, Serialize)]
struct Validated {
    ok: bool,
    tables: Vec<TableReport>,
    /// The first hundred.
    corrupt: Vec<Corrupt>,
}

#[derive(Debug, Serialize)]
struct TableReport {
    table: &'static str,
    items: usize,
    corrupt: usize,
    /// How many items have which format; `none` for those that say nothing.
    formats: BTreeMap<String, usize>,
}

/// An item that does not read: where it is, and which attribute is at fault. Never a value.
#[derive(Debug, Serialize)]
struct Corrupt {
    table: &'static str,
    key: String,
    problem: String,
}

impl Validated {
    fn table(&mut self, table: &'static str) -> &mut TableReport {
        let at = self.tables.iter().position(|report| report.table == table).unwrap_or_else(|| {
            self.tables.push(TableReport { table, items: 0, corrupt: 0, formats: BTreeMap::new() });
            self.tables.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "the position was just found, or just made")]
        &mut self.tables[at]
    }

    fn take(&mut self, table: &'static str, key_attributes: &[&str], item: &Item) {
        let verdict = validate_item(table, item);
        let report = self.table(table);
        report.items += 1;
        *report.formats.entry(format_of(item)).or_default() += 1;
        let problem = match verdict {
            Ok(()) => return,
            Err(StoreError::Corrupt { problem, .. }) => problem,
            Err(other) => other.to_string(),
        };
        report.corrupt += 1;
        if self.corrupt.len() < LISTED {
            self.corrupt.push(Corrupt { table, key: key_of(key_attributes, item), problem });
        }
    }
}

fn format_of(item: &Item) -> String {
    item.get("v").and_then(|value| value.as_n().ok()).cloned().unwrap_or_else(|| "none".to_owned())
}

fn key_of(attributes: &[&str], item: &Item) -> String {
    let parts = attributes.iter().filter_map(|name| item.get(*name).and_then(|value| value.as_s().ok()));
    parts.map(String::as_str).collect::<Vec<_>>().join(" / ")
}

impl fmt::Display for Validated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["table", "items", "corrupt", "formats"]);
        for report in &self.tables {
            let formats = report.formats.iter().map(|(format, items)| format!("{format}: {items}"));
            table.row([
                report.table.to_owned(),
                report.items.to_string(),
                report.corrupt.to_string(),
                formats.collect::<Vec<_>>().join(", "),
            ]);
        }
        write!(f, "{table}")?;
        if !self.corrupt.is_empty() {
            writeln!(f)?;
        }
        for corrupt in &self.corrupt {
            writeln!(f, "corrupt: {}: {}: {}", corrupt.table, plain(&corrupt.key), plain(&corrupt.problem))?;
        }
        let all: usize = self.tables.iter().map(|report| report.corrupt).sum();
        let more = all.saturating_sub(self.corrupt.len());
        if more > 0 {
            writeln!(f, "and {} more", count(more, "item"))?;
        }
        Ok(())
    }
}

pub(super) async fn run(deployment: &Deployment, progress: Progress) -> Result<Answer, Failure> {
    let tables = &deployment.tables;
    let mut report = Validated::default();
    let all: [(&'static str, &str, &[&str]); 6] = [
        ("users", &tables.users, &["pk", "sk"]),
        ("sessions", &tables.sessions, &["user_id"]),
        ("throttle", &tables.throttle, &["key"]),
        ("outbox", &tables.outbox, &["pk", "sk"]),
        ("audit", &tables.audit, &["pk", "sk"]),
        ("ops", &tables.ops, &["pk", "sk"]),
    ];
    for (table, name, keys) in all {
        report.table(table);
        let mut pages = deployment
            .connection
            .dynamodb
            .scan()
            .table_name(name)
            .consistent_read(true)
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| aws_fault::from_sdk("scan a table", &error))?;
            page.items().iter().for_each(|item| report.take(table, keys, item));
            progress.tell(&format!("{table}: {} read", count(report.table(table).items, "item")));
        }
    }
    report.ok = report.tables.iter().all(|table| table.corrupt == 0);
    let exit = if report.ok { Exit::Done } else { Exit::Findings };
    Ok(Answer::of(&report)?.exit(exit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(pairs: &[(&str, AttributeValue)]) -> Item {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn a_corrupt_item_is_named_by_key_and_attribute_and_shows_no_value() {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let number = |number: &str| AttributeValue::N(number.to_owned());
        let mut report = Validated::default();
        report.take(
            "users",
            &["pk", "sk"],
            &item(&[
                ("pk", text("USER#usr_AAAAAAAAAAAAAAAAAAAAAA")),
                ("sk", text("PROFILE")),
                ("v", number("1")),
                ("email", text("top secret")),
                ("created_at", number("1")),
            ]),
        );
        report.take(
            "ops",
            &["pk", "sk"],
            &item(&[("pk", text("MIGRATION")), ("sk", text("1")), ("v", number("1"))]),
        );
        report.take("ops", &["pk", "sk"], &item(&[("pk", text("MIGRATION")), ("sk", text("2"))]));
        insta::assert_snapshot!(report, @r"
        TABLE  ITEMS  CORRUPT  FORMATS
        users  1      1        1: 1
        ops    2      1        1: 1, none: 1

        corrupt: users: USER#usr_AAAAAAAAAAAAAAAAAAAAAA / PROFILE: attribute email: does not read
        corrupt: ops: MIGRATION / 2: attribute v: missing
        ");
    }
}

//! The deployment's own figures. Each is asked for by itself: one that can't be had leaves the others alone.

use std::{fmt::Display, time::Duration};

use sallyport_core::{
    clock::Timestamp,
    flags::ReadFlags as _,
    keyring::{KeyState, KeyringDocument, KeyringSource as _, Stored},
};
use sallyport_operations::{
    gauge,
    incidents::ListIncidents as _,
    recovery::{Proof, Proofs as _},
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Area, ReviewCommand, counts};
use crate::{
    api::Api,
    aws_fault,
    cli::Target,
    deployment::{Deployment, TABLES, name},
    failure::Failure,
    output::{ago, count, mode_words, span},
};

/// A signing key that is older should have been rotated: the alarm's own threshold.
pub(in crate::commands) const OLDEST_KEY_DAYS: u64 = 90;
/// The maintenance function looks every day, and restores every week: two of them missed are worth a look.
const VERIFIED_WITHIN: Duration = Duration::from_secs(2 * 24 * 60 * 60);
const PROVEN_WITHIN: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// A page that was not played for longer is a guess.
const OLDEST_DRILL_DAYS: i64 = 90;

#[derive(Debug, Serialize)]
pub(super) struct Figure {
    pub(super) area: Area,
    pub(super) name: String,
    /// `null` when it could not be had.
    value: Value,
    /// For people.
    #[serde(skip)]
    pub(super) text: String,
    /// Out of the ordinary, or not to be had.
    pub(super) attention: bool,
    /// Why it could not be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl Figure {
    pub(super) fn new(
        area: Area,
        name: impl Into<String>,
        value: impl Into<Value>,
        text: impl Display,
    ) -> Self {
        let (name, value) = (name.into(), value.into());
        Self { area, name, value, text: text.to_string(), attention: false, problem: None }
    }

    pub(super) fn attention(mut self, attention: bool) -> Self {
        self.attention = attention;
        self
    }

    pub(super) fn missing(area: Area, name: impl Into<String>, failure: &Failure) -> Self {
        Self {
            area,
            name: name.into(),
            value: Value::Null,
            text: format!("not available: {}", failure.message),
            attention: true,
            problem: Some(failure.message.clone()),
        }
    }
}

pub(super) async fn of(
    deployment: &Deployment,
    target: &Target,
    period: ReviewCommand,
    now: Timestamp,
) -> Vec<Figure> {
    // The health is asked by a request, which is none of those to be counted.
    let mut figures = counts::of(target, period, now).await;
    figures.push(health(deployment).await);
    figures.push(incidents(deployment, period, now).await);
    figures.extend(flags(deployment, now).await);
    for (table, variable) in TABLES {
        let name = deployment.settings.get(variable).unwrap_or_default();
        figures.push(size(deployment, table, name).await);
    }
    figures.push(sessions(deployment, now).await);
    figures.extend(keys(deployment, now).await);
    figures.push(proof(deployment, now, Proof::BACKUP_VERIFY, "backup verified", VERIFIED_WITHIN).await);
    figures.push(proof(deployment, now, Proof::RETENTION, "retention kept", VERIFIED_WITHIN).await);
    figures.push(proof(deployment, now, Proof::RESTORE_DRILL, "restore proven", PROVEN_WITHIN).await);
    if period == ReviewCommand::Monthly {
        figures.push(drills(now));
    }
    figures.sort_by_key(|figure| figure.area);
    figures
}

/// Whether it answers those who ask from here.
async fn health(deployment: &Deployment) -> Figure {
    let asked = async {
        let issuer = deployment.settings.get(name::ISSUER).ok_or_else(|| {
            let message = format!("{} does not say where it answers", name::ISSUER);
            Failure::usage("no_deployment", message)
        })?;
        Api::at(issuer, deployment.connection.ca_bundle.as_deref())?.get("/health/ready").await
    };
    match asked.await {
        Ok(answer) => {
            let unready = answer.unready();
            let ready = unready.is_none();
            let text = unready.unwrap_or_else(|| format!("ready, in {} ms", answer.took.as_millis()));
            Figure::new(Area::Application, "health", json!({"ready": ready}), text).attention(!ready)
        }
        Err(failure) => Figure::missing(Area::Application, "health", &failure),
    }
}

async fn incidents(deployment: &Deployment, period: ReviewCommand, now: Timestamp) -> Figure {
    let (seconds, words) = period.span();
    let since = now.minus(Duration::from_secs(seconds));
    let asked = tokio::try_join!(deployment.store.open_incidents(), deployment.store.incidents_since(since));
    match asked {
        Ok((open, recent)) => {
            let ids: Vec<_> = open.iter().map(|incident| incident.id.to_string()).collect();
            let shown = if ids.is_empty() { String::new() } else { format!(": {}", ids.join(", ")) };
            let text = format!("{} open{shown}; {} opened in {words}", open.len(), recent.len());
            let value = json!({"open": ids, "opened": recent.len()});
            Figure::new(Area::Service, "incidents", value, text).attention(!open.is_empty())
        }
        Err(error) => Figure::missing(Area::Service, "incidents", &error.into()),
    }
}

async fn flags(deployment: &Deployment, now: Timestamp) -> Vec<Figure> {
    let flags = match deployment.store.flags().await {
        Ok(flags) => flags,
        Err(error) => return vec![Figure::missing(Area::Service, "modes", &error.into())],
    };
    let modes: Vec<_> = flags.modes_at(now).map(|(name, mode)| (name.to_string(), mode)).collect();
    let names: Vec<_> = modes.iter().map(|(name, _)| name.clone()).collect();
    let text = match modes.as_slice() {
        [] => "none".to_owned(),
        some => {
            let ends = some
                .iter()
                .map(|(name, mode)| format!("{}, ends {}", mode_words(name), ago(mode.expires_at, now)));
            ends.collect::<Vec<_>>().join("; ")
        }
    };
    let blocks = flags.blocks_at(now).count();
    vec![
        Figure::new(Area::Service, "modes", names, text).attention(!modes.is_empty()),
        Figure::new(Area::Security, "blocks", blocks, blocks),
    ]
}

async fn size(deployment: &Deployment, table: &'static str, name: &str) -> Figure {
    let area = if matches!(table, "sessions" | "throttle") { Area::Sessions } else { Area::Database };
    let asked = deployment.connection.dynamodb.describe_table().table_name(name).send().await;
    let answer = match asked {
        Ok(answer) => answer,
        Err(error) => {
            return Figure::missing(area, table, &aws_fault::from_sdk("describe the table", &error));
        }
    };
    let Some(description) = answer.table() else {
        let failure = Failure::dependency("aws_error", "the answer describes no table");
        return Figure::missing(area, table, &failure);
    };
    let state = description.table_status().map_or("unknown", |status| status.as_str());
    let (items, bytes) =
        (description.item_count().unwrap_or_default(), description.table_size_bytes().unwrap_or_default());
    let value = json!({"state": state, "items": items, "bytes": bytes});
    // DynamoDB counts every six hours or so.
    let text = format!("{state}, about {items} items, {}", size_in_words(bytes));
    Figure::new(area, table, value, text).attention(state != "ACTIVE")
}

fn size_in_words(bytes: i64) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= 2 * unit {
            return format!("{} {name}", bytes / unit);
        }
    }
    format!("{bytes} B")
}

async fn keys(deployment: &Deployment, now: Timestamp) -> Vec<Figure> {
    let document = match deployment.secret.read().await {
        Ok(Stored::Filled(document)) => document,
        Ok(Stored::Empty) => {
            let failure =
                Failure::dependency("keyring_empty", "the keyring is empty: run `sallyport keys init`");
            return vec![Figure::missing(Area::Security, "keyring", &failure)];
        }
        Err(error) => return vec![Figure::missing(Area::Security, "keyring", &Failure::from(error))],
    };
    let Ok(document) = serde_json::from_str::<KeyringDocument>(document.expose()) else {
        // serde's own words could quote what it read, and that is keys.
        let failure = Failure::dependency("keyring_unusable", "the keyring does not read");
        return vec![Figure::missing(Area::Security, "keyring", &failure)];
    };
    let mut figures = Vec::new();
    let mut age = |name: &str, created_at: Option<u64>, limit: Option<u64>| {
        let Some(created_at) = created_at else {
            let failure = Failure::dependency("keyring_unusable", "no key of this kind is current");
            return figures.push(Figure::missing(Area::Security, name, &failure));
        };
        let age = now.since(Timestamp::from_seconds(created_at));
        let days = age.as_secs() / 86_400;
        let figure = Figure::new(Area::Security, name, json!({"age_seconds": age.as_secs()}), span(age));
        figures.push(figure.attention(limit.is_some_and(|limit| days >= limit)));
    };
    let signing = document.signing.iter().find(|key| key.state == KeyState::Current);
    age("signing key", signing.map(|key| key.created_at), Some(OLDEST_KEY_DAYS));
    for (name, entries) in [
        ("refresh key", &document.refresh),
        ("device key", &document.device),
        ("pepper", &document.pepper),
        ("seed key", &document.aead),
    ] {
        let current = entries.iter().find(|key| key.state == KeyState::Current);
        age(name, current.map(|key| key.created_at), None);
    }
    figures
}

/// Counted by the ends of the sessions, exact to five minutes.
async fn sessions(deployment: &Deployment, now: Timestamp) -> Figure {
    match gauge::active_sessions(&deployment.store, now).await {
        Ok(number) => Figure::new(Area::Sessions, "active sessions", number, number),
        Err(error) => Figure::missing(Area::Sessions, "active sessions", &error.into()),
    }
}

async fn proof(
    deployment: &Deployment,
    now: Timestamp,
    name: &str,
    figure: &'static str,
    within: Duration,
) -> Figure {
    match deployment.store.proof(name).await {
        Ok(Some(proof)) => {
            let age = now.since(proof.at);
            let result = if proof.ok { "" } else { ", and failed" };
            let value = json!({"at": proof.at.seconds(), "ok": proof.ok});
            let text = format!("{}{result}", ago(proof.at, now));
            Figure::new(Area::Database, figure, value, text).attention(!proof.ok || age > within)
        }
        Ok(None) => Figure::new(Area::Database, figure, Value::Null, "never").attention(true),
        Err(error) => Figure::missing(Area::Database, figure, &error.into()),
    }
}

/// Pages that nobody has played for long, as far as this binary knows.
fn drills(now: Timestamp) -> Figure {
    let pages = match sallyport_runbooks::pages() {
        Ok(pages) => pages,
        Err(error) => {
            let failure = Failure::dependency("runbook_unreadable", error.to_string());
            return Figure::missing(Area::Service, "runbook drills", &failure);
        }
    };
    let all = pages.len();
    let stale: Vec<_> = pages
        .into_iter()
        .filter(|page| {
            page.front.last_drilled.as_deref().is_none_or(|day| days_since(day, now) > OLDEST_DRILL_DAYS)
        })
        .map(|page| page.name)
        .collect();
    let text = format!("{} of {}, not drilled for {OLDEST_DRILL_DAYS} days", stale.len(), count(all, "page"));
    let attention = !stale.is_empty();
    Figure::new(Area::Service, "runbook drills", json!({"pages": all, "stale": stale}), text)
        .attention(attention)
}

/// A day that does not read lies as far back as can be.
fn days_since(day: &str, now: Timestamp) -> i64 {
    let today = jiff::Timestamp::from_second(i64::try_from(now.seconds()).unwrap_or_default())
        .map(|now| now.strftime("%Y-%m-%d").to_string().parse::<jiff::civil::Date>());
    match (day.parse::<jiff::civil::Date>(), today) {
        (Ok(day), Ok(Ok(today))) => today.duration_since(day).as_hours() / 24,
        _ => i64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_the_unit_that_reads() {
        let shown = [0, 2_047, 2_048, 5 << 20, 3 << 30].map(size_in_words);
        assert_eq!(shown, ["0 B", "2047 B", "2 KiB", "5 MiB", "3 GiB"]);
    }

    #[test]
    fn days_are_counted_from_midnight() {
        let now = Timestamp::from_seconds(1_785_506_531);
        assert_eq!(days_since("2026-07-31", now), 0);
        assert_eq!(days_since("2026-05-01", now), 91);
        assert_eq!(days_since("some day", now), i64::MAX);
    }
}

//! docs/LOGGING.md against what the functions write.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use sallyport_core::audit::EventKind;
use sallyport_operations::metrics::{Kind, METRICS, is_rare};

use crate::{logs::alone, prelude::*};

/// Who writes only when started or triggered: their own suites see it.
const BY_OTHERS: [&str; 4] = ["keys, at start", "responder", "maintenance", "smoke"];

/// What the local server and its embedded database say of themselves, in the functions' log.
const LOCAL: [&str; 2] = ["a batch of the stream comes again", "error response"];

/// What every line has.
const COMMON: [&str; 3] = ["timestamp", "level", "message"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn document() -> Result<String> {
    Ok(std::fs::read_to_string(root().join("docs/LOGGING.md"))?)
}

/// The rows of the first table of a section, by cells.
fn table(document: &str, section: &str) -> Vec<Vec<String>> {
    let (_, rest) = document.split_once(&format!("\n## {section}\n")).unwrap();
    let section = rest.split("\n## ").next().unwrap_or_default();
    let rows =
        section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    rows.skip(2)
        .map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

fn in_backticks(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Messages with their fields; "those of" another row are that row's.
fn messages(document: &str) -> BTreeMap<String, Documented> {
    let mut messages = BTreeMap::<String, Documented>::new();
    for row in table(document, "Messages") {
        let message = row[0].trim_matches('`').to_owned();
        let described = row.get(4).map(String::as_str).unwrap_or_default();
        let mut fields: BTreeSet<_> = in_backticks(described).into_iter().collect();
        if let Some(rest) = described.strip_prefix("those of `") {
            let other = rest.split('`').next().unwrap_or_default();
            fields.remove(other);
            fields.extend(messages[other].fields.iter().cloned());
        }
        let elsewhere = BY_OTHERS.iter().any(|others| row[2].starts_with(others));
        messages.insert(message, Documented { fields, elsewhere });
    }
    messages
}

struct Documented {
    fields: BTreeSet<String>,
    /// Not by what the traffic here does.
    elsewhere: bool,
}

fn names(rows: &[Vec<String>]) -> BTreeSet<String> {
    rows.iter().map(|row| row[0].trim_matches('`').to_owned()).collect()
}

/// What happens in a day, and on a bad one.
async fn traffic(backend: &Backend) -> Result<()> {
    let actor = backend.actor();
    for path in [
        "/.well-known/jwks.json",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/openapi.json",
        "/health/live",
        "/health/ready",
        "/health/db",
        "/nowhere",
    ] {
        actor.get(path).await?;
    }
    actor.ask("GET", "/metrics").bearer("scrape-0123456789").send().await?.expect(200)?;
    actor.ask("OPTIONS", "/api/v1/auth/login").header("origin", "https://evil.example.com").send().await?;
    let mut account = backend.account().await?;
    let mut session = actor.log_in(&account).await?;
    session.add_totp(backend, &mut account).await?;
    session.try_reauthenticate(&json!({"password": "not it"})).await?.expect(401)?;
    let pending = actor.begin_log_in(&account).await?;
    pending.challenge(&account.factor().id).await?.expect(409)?;
    let wrong = account.factor().wrong_code_at(backend.now());
    for _ in 0..6 {
        pending.try_verify(&account.factor().id, &wrong).await?;
    }
    pending.verify_with_recovery_code(&account.recovery_codes[0]).await?;
    let client = backend.client().await?;
    actor.introspect(&client, &session.access_token).await?.expect(200)?;
    actor.revoke(&client, "unknown").await?.expect(200)?;
    backend.fault(json!({"kind": "refuse", "table": "sessions"})).await?;
    actor.introspect(&client, &session.access_token).await?.expect(503)?;
    backend.heal().await?;
    let spent = session.clone();
    session.refresh().await?;
    backend.advance(60).await?;
    spent.try_refresh().await?.expect(401)?;
    lock(backend, &account.email).await?;

    backend.fault(json!({"kind": "error_500", "count": 1})).await?;
    backend.actor().try_log_in("nobody@example.com", "not it").await?.expect(401)?;
    backend.fault(json!({"kind": "refuse"})).await?;
    backend.actor().try_log_in("nobody@example.com", "not it").await?.expect(503)?;
    actor.get("/health/ready").await?.expect(503)?;
    let foreign = actor.ask("GET", "/health/ready").header("origin", "https://evil.example.com");
    foreign.send().await?.expect(503)?;
    backend.heal().await?;
    backend.keyring_fault(json!({"kind": "refuse"})).await?;
    backend.advance(3600).await?;
    backend.actor().try_log_in("nobody@example.com", "not it").await?.expect(401)?;
    actor.ask("GET", "/metrics").bearer("scrape-0123456789").send().await?.expect(200)?;
    backend.heal().await?;
    backend.fault(json!({"kind": "refuse", "table": "ops"})).await?;
    backend.advance(60).await?;
    actor.get("/.well-known/jwks.json").await?;
    backend.actor().try_log_in("nobody@example.com", "not it").await?;
    actor.get("/status").await?;
    backend.heal().await?;
    let weak = json!({"metrics_token": "scrape-0123456789", "smtp_password": "short"}).to_string();
    backend.write_secret_past_everything("SALLYPORT_PROVIDERS_SECRET", &weak).await?;
    backend.advance(60).await?;
    actor.ask("GET", "/metrics").bearer("scrape-0123456789").send().await?.expect(200)?;
    backend.set_mode("maintenance", 60).await?;
    backend.advance(10).await?;
    backend.actor().try_log_in("nobody@example.com", "not it").await?.expect(503).map(drop)
}

/// All lines of a process whose second backend found no keyring.
async fn lines() -> Result<Vec<Value>> {
    let providers = BTreeMap::from([("metrics_token".to_owned(), "scrape-0123456789".to_owned())]);
    let backend = Backend::start_as(local::Options { providers, ..local::Options::default() }).await?;
    traffic(&backend).await?;
    let away = json!({"kind": "refuse", "service": "secretsmanager"}).to_string();
    let second =
        Backend::start_as(local::Options { faults: vec![away], ..local::Options::default() }).await?;
    second.actor().get("/.well-known/jwks.json").await?.expect(503)?;
    let lines = backend.logs().await?;
    Ok(lines.into_iter().map(|line| line["line"].clone()).collect())
}

#[test]
fn every_message_and_field_that_is_written_is_documented_and_the_other_way_round() -> Result<()> {
    alone("logging::every_message_and_field_that_is_written_is_documented_and_the_other_way_round", async {
        let document = document()?;
        let documented = messages(&document);
        let explained = names(&table(&document, "Fields"));
        let mut seen = BTreeMap::<String, BTreeSet<String>>::new();
        for line in lines().await? {
            let Some(message) = line["message"].as_str().filter(|message| !LOCAL.contains(message)) else {
                continue;
            };
            let fields = line.as_object().unwrap().keys().filter(|name| !COMMON.contains(&name.as_str()));
            seen.entry(message.to_owned()).or_default().extend(fields.cloned());
        }
        for (message, fields) in &seen {
            let allowed =
                documented.get(message).with_context(|| format!("{message:?} is not documented"))?;
            let unknown: Vec<_> = fields.difference(&allowed.fields).collect();
            ensure!(unknown.is_empty(), "not documented of {message:?}: {unknown:?}");
        }
        for (message, Documented { fields, elsewhere }) in &documented {
            if *elsewhere {
                continue;
            }
            let written = seen.get(message).with_context(|| format!("{message:?} is never written"))?;
            // A fault has no code where nothing of ours gave the answer; a refusal has no session.
            let never: Vec<_> = fields.difference(written).collect();
            ensure!(never.is_empty(), "never written of {message:?}: {never:?}");
        }
        let used: BTreeSet<_> =
            documented.values().flat_map(|row| row.fields.clone()).chain(COMMON.map(str::to_owned)).collect();
        assert_eq!(used, explained, "the table of fields");
        Ok(())
    })
}

#[test]
fn every_wide_event_has_documented_metrics_with_their_dimensions_and_nothing_else() -> Result<()> {
    alone("logging::every_wide_event_has_documented_metrics_with_their_dimensions_and_nothing_else", async {
        let mut seen = BTreeSet::new();
        for line in lines().await?.iter().filter(|line| line.get("_aws").is_some()) {
            let mut of_line = BTreeSet::new();
            for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
                assert_eq!(directive["Namespace"], "Sallyport");
                for named in directive["Metrics"].as_array().unwrap() {
                    let name = named["Name"].as_str().unwrap();
                    let metric = METRICS.iter().find(|metric| metric.name == name);
                    let metric = metric.with_context(|| format!("{name} is not in the list"))?;
                    let dimensions = if metric.by_function && line[name] != 0 {
                        json!([["deployment"], ["deployment", "function"]])
                    } else {
                        json!([["deployment"]])
                    };
                    assert_eq!(directive["Dimensions"], dimensions, "{name}");
                    let unit = if metric.kind == Kind::Time { json!("Milliseconds") } else { Value::Null };
                    assert_eq!(named["Unit"], unit, "{name}");
                    assert!(line[name].is_number(), "{name} in {line}");
                    assert!(of_line.insert(name.to_owned()), "{name} stands twice in {line}");
                }
            }
            let mut members: BTreeSet<_> = line.as_object().unwrap().keys().cloned().collect();
            // Streams trigger functions here too, whose lines are of no request.
            let of_request: &[&str] =
                if of_line.contains("invocations") { &[] } else { &["route", "status", "request_id"] };
            for name in ["_aws", "deployment", "function"].iter().chain(of_request) {
                assert!(members.remove(*name), "{name} in {line}");
            }
            members.remove("code");
            // What is no metric where it is nothing, and is there all the same for whoever asks the logs.
            members.retain(|name| line[name] != 0 || !is_rare(name));
            assert_eq!(members, of_line, "members that are no metrics in {line}");
            seen.extend(of_line);
        }
        let scheduled = [
            "invocations",
            "invocation_failures",
            "active_sessions",
            "signing_key_age_days",
            "restore_proof_age_hours",
            "tables_without_recovery",
            "unheard_alarm_topics",
            "rotation_failures",
            "incidents_open",
            "incidents_opened",
            "notifications_sent",
            "notification_failures",
            "session_records",
        ];
        let never: Vec<_> = METRICS
            .iter()
            .filter(|metric| metric.kind != Kind::Rare)
            .map(|metric| metric.name)
            .filter(|name| !scheduled.contains(name) && !seen.contains(*name))
            .collect();
        ensure!(never.is_empty(), "no request was measured by {never:?}");
        Ok(())
    })
}

#[test]
fn the_table_of_metrics_is_the_list_in_the_code() -> Result<()> {
    let rows: Vec<_> = METRICS
        .iter()
        .map(|metric| {
            let unit = if metric.kind == Kind::Time { "Milliseconds" } else { "none" };
            let dimensions =
                if metric.by_function { "deployment; deployment, function" } else { "deployment" };
            let added = match metric.kind {
                Kind::Count => "sum",
                Kind::Rare => "sum, if any",
                Kind::Time => "percentiles",
                Kind::Level => "last, largest",
                Kind::Floor => "last, smallest",
            };
            let rest = [unit, dimensions, added, metric.meaning].map(str::to_owned);
            std::iter::once(format!("`{}`", metric.name)).chain(rest).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(table(&document()?, "Metrics"), rows);
    Ok(())
}

#[test]
fn the_table_of_security_events_is_the_list_in_the_code() -> Result<()> {
    let documented: Vec<_> = table(&document()?, "Security events")
        .into_iter()
        .map(|row| (row[0].trim_matches('`').to_owned(), row[1].clone()))
        .collect();
    let kinds: Vec<_> = EventKind::ALL
        .iter()
        .map(|kind| (kind.as_str().to_owned(), kind.severity().as_str().to_owned()))
        .collect();
    assert_eq!(documented, kinds);
    Ok(())
}

#[test]
fn the_access_log_has_the_documented_fields() -> Result<()> {
    let template = std::fs::read_to_string(root().join("template.yaml"))?;
    let (_, format) = template.split_once("Format: >-\n").context("the format of the access log")?;
    let fields: Vec<_> = format
        .split("- !Ref")
        .next()
        .unwrap_or_default()
        .split("\":\"$context")
        .filter_map(|part| part.rsplit('"').next())
        .collect();
    let fields: BTreeSet<_> = fields[..fields.len() - 1].iter().map(|&name| name.to_owned()).collect();
    assert_eq!(names(&table(&document()?, "Access log")), fields);
    Ok(())
}

/// The last text of every call of a macro of `tracing`.
fn messages_in(directory: &Path, found: &mut BTreeSet<String>) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            messages_in(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path)?;
            for call in text.split("tracing::").skip(1) {
                let Some((level, rest)) = call.split_once("!(") else { continue };
                if !["trace", "debug", "info", "warn", "error"].contains(&level) {
                    continue;
                }
                let arguments = rest.split(");").next().unwrap_or_default();
                if let Some(message) = arguments.rsplit('"').nth(1) {
                    found.insert(message.to_owned());
                }
            }
        }
    }
    Ok(())
}

#[test]
fn every_message_in_the_sources_is_documented() -> Result<()> {
    // These are told by macros of their own, at several levels.
    let mut found = BTreeSet::from(["request", "request failed", "security event"].map(str::to_owned));
    for directory in
        ["shared/aws/src", "shared/core/src", "shared/lambda/src", "shared/operations/src", "functions"]
    {
        messages_in(&root().join(directory), &mut found)?;
    }
    let mut documented: BTreeSet<_> = messages(&document()?).into_keys().collect();
    // What a message says of several things is documented for each of them.
    let (patterns, found): (BTreeSet<_>, BTreeSet<_>) =
        found.into_iter().partition(|message: &String| message.starts_with("{}"));
    for pattern in patterns {
        let rest = pattern.trim_start_matches("{}").to_owned();
        let before = documented.len();
        documented.retain(|message| !message.ends_with(&rest));
        ensure!(documented.len() < before, "{pattern:?} is not documented");
    }
    assert_eq!(found, documented);
    Ok(())
}

/// What the testkit's own check of every suite rests on.
#[test]
fn a_secret_that_is_logged_is_found() -> Result<()> {
    alone("logging::a_secret_that_is_logged_is_found", async {
        let backend = Backend::start().await?;
        let account = backend.account().await?;
        let session = backend.actor().log_in(&account).await?;
        assert!(backend.leaks().is_empty());
        for secret in [&account.password, &account.email, &session.access_token, &session.refresh_token] {
            tracing_line(secret);
            let found = backend.leaks();
            assert!(found.iter().any(|leak| leak.starts_with(secret.as_str())), "{secret} in {found:?}");
        }
        // What was put there on purpose must not fail this test when the backend ends.
        backend.console("DELETE", "logs", None).await?.expect(204).map(drop)
    })
}

fn tracing_line(secret: &str) {
    tracing::warn!(target: "request", secret, "a mistake");
}

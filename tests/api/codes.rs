//! Every documented code is given by some route, in the words of its documents.

use std::collections::{BTreeMap, BTreeSet};

use sallyport_lambda::{Code, Problem};

use crate::prelude::*;

/// The pages of docs/errors.
fn documented() -> Result<BTreeSet<String>> {
    let pages = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors");
    let mut codes = BTreeSet::new();
    for page in std::fs::read_dir(pages)? {
        let name = page?.file_name().into_string().unwrap_or_default();
        if let Some(code) = name.strip_suffix(".md") {
            codes.insert(code.to_owned());
        }
    }
    Ok(codes)
}

fn page(code: &str) -> Result<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/errors/{code}.md"));
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// The example of a code's page.
fn example(code: &str) -> Result<Value> {
    let page = page(code)?;
    let (_, rest) = page.split_once("```json\n").context("an example")?;
    let (text, _) = rest.split_once("```").context("its end")?;
    Ok(serde_json::from_str(text)?)
}

/// What is the same in every answer with the code. A wait is the same where the code alone decides it.
fn words(code: Code, body: &Value) -> Value {
    let mut words = json!({});
    for member in ["type", "title", "status", "detail", "code"] {
        words[member] = body[member].clone();
    }
    if Problem::new(code).retry_after.is_some() {
        words["retry_after"] = body["retry_after"].clone();
    }
    words
}

/// Those of the service.
fn spoken(code: Code) -> Value {
    let mut words = json!({
        "type": format!("https://github.com/sallyport/sallyport/blob/main/docs/errors/{}.md", code.as_str()),
        "title": code.title(),
        "status": code.status().as_u16(),
        "detail": code.detail(),
        "code": code.as_str(),
    });
    if let Some(seconds) = Problem::new(code).retry_after {
        words["retry_after"] = json!(seconds);
    }
    words
}

/// Every object that has the members of a problem.
fn problems<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(members) => {
            if members.get("code").is_some_and(Value::is_string)
                && members.get("title").is_some_and(Value::is_string)
            {
                found.push(value);
            }
            members.values().for_each(|member| problems(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| problems(item, found)),
        _ => {}
    }
}

#[derive(Default)]
struct Seen(BTreeMap<String, u16>);

impl Seen {
    fn note(&mut self, answer: &Answer) {
        let (status, code) = answer.outcome();
        if let Some(before) = self.0.insert(code.clone(), status) {
            assert_eq!(before, status, "{code} has one status");
        }
        let body = answer.json();
        let documented = example(&code).unwrap();
        let known = Code::ALL.iter().copied().find(|known| known.as_str() == code).unwrap();
        assert_eq!(words(known, &body), words(known, &documented), "docs/errors/{code}.md");
        for member in ["retry_after", "errors"] {
            let given = [body.get(member).is_some(), documented.get(member).is_some()];
            assert_eq!(given[0], given[1], "docs/errors/{code}.md: {member}");
        }
    }
}

#[test]
fn each_code_has_a_page_and_each_page_a_code() -> Result<()> {
    let codes: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    assert_eq!(documented()?, codes);
    Ok(())
}

#[test]
fn the_documents_word_an_error_as_the_service_does() -> Result<()> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let list = std::fs::read_to_string(root.join("docs/API.md"))?;
    for &code in Code::ALL {
        let (name, status) = (code.as_str(), code.status().as_u16());
        assert_eq!(words(code, &example(name)?), spoken(code), "docs/errors/{name}.md");
        let heading = format!("`{status}` · {}", code.title());
        assert!(page(name)?.lines().any(|line| line == heading), "docs/errors/{name}.md: {heading}");
        let row = format!("| [`{name}`](errors/{name}.md) | {status} | {} |", code.title());
        assert!(list.lines().any(|line| line == row), "docs/API.md: {row}");
    }

    let openapi: Value =
        serde_json::from_str(&std::fs::read_to_string(root.join("functions/keys/openapi.json"))?)?;
    let mut examples = Vec::new();
    problems(&openapi["components"]["responses"], &mut examples);
    let mut named = BTreeSet::new();
    for example in examples {
        let name = example["code"].as_str().unwrap_or_default();
        let code = Code::ALL.iter().copied().find(|code| code.as_str() == name);
        let code = code.with_context(|| format!("functions/keys/openapi.json: {example}"))?;
        if example["status"] == 504 {
            // In the gateway's words: tests/deploy/test_template.py has them.
            continue;
        }
        assert_eq!(words(code, example), spoken(code), "functions/keys/openapi.json");
        named.insert(name);
    }
    assert_eq!(named.len(), Code::ALL.len(), "an example of each: {named:?}");
    Ok(())
}

#[tokio::test]
async fn each_code_is_reached_with_its_status() -> Result<()> {
    let backend = Backend::start().await?;
    let mut seen = Seen::default();
    let account = backend.account_with_totp().await?;
    let factor = account.factor().clone();
    let actor = backend.actor();
    requests_that_do_not_read(&backend, &mut seen).await?;

    seen.note(&actor.try_log_in("nobody@example.com", "x").await?);
    let pending = actor.begin_log_in(&account).await?;
    seen.note(&pending.challenge(&factor.id).await?);
    seen.note(&pending.challenge("fac_AAAAAAAAAAAAAAAAAAAAAA").await?);
    seen.note(&pending.try_verify(&factor.id, &factor.wrong_code_at(backend.now())).await?);
    let session = pending.verify_with_totp(&backend, &account).await?;
    seen.note(&pending.try_verify("recovery", &account.recovery_codes[0]).await?);
    seen.note(&session.try_confirm(&factor.id, "123456").await?);
    let mut many = account.clone();
    for _ in 0..4 {
        session.add_totp(&backend, &mut many).await?;
    }
    seen.note(&session.try_enrol_totp("Sixth").await?);

    let plain = backend.account().await?;
    let mut rotated = backend.actor().log_in(&plain).await?;
    let spent = rotated.clone();
    rotated.refresh().await?;
    backend.advance(60).await?;
    seen.note(&spent.try_refresh().await?);
    seen.note(&rotated.try_refresh().await?);

    let old = backend.actor().log_in(&plain).await?;
    backend.advance(601).await?;
    let mut old = Session::of(&old.actor, &old.try_refresh().await?)?;
    seen.note(&old.list_factors().await?);
    backend.fault(json!({"kind": "refuse", "table": "sessions"})).await?;
    seen.note(&old.try_refresh().await?);
    backend.heal().await?;
    old.refresh().await?;

    lock(&backend, &plain.email).await?;
    seen.note(&backend.actor().try_log_in(&plain.email, &plain.password).await?);
    exhaust(&mut seen).await?;
    corrupt(&backend, &mut seen).await?;
    contend(&backend, &mut seen).await?;
    no_keyring(&mut seen).await?;
    shut(&backend, &mut seen).await?;

    let expected: BTreeMap<_, _> =
        Code::ALL.iter().map(|code| (code.as_str().to_owned(), code.status().as_u16())).collect();
    assert_eq!(seen.0, expected);
    Ok(())
}

async fn requests_that_do_not_read(backend: &Backend, seen: &mut Seen) -> Result<()> {
    let actor = backend.actor();
    let login = || actor.ask("POST", "/api/v1/auth/login");
    seen.note(&login().body("application/json", "{").send().await?);
    seen.note(&login().send().await?);
    seen.note(&login().body("application/json", vec![b' '; 16 * 1024 + 1]).send().await?);
    seen.note(&login().json(&json!({})).send().await?);
    seen.note(&actor.get("/nowhere").await?);
    seen.note(&actor.get("/api/v1/auth/login").await?);
    seen.note(&actor.get("/api/v1/mfa/factors").await?);
    let cookies = json!({"email": "a@example.com", "password": "x", "token_delivery": "cookie"});
    seen.note(&login().json(&cookies).send().await?);
    Ok(())
}

/// An item that somebody has damaged is a fault of its own, neither absent nor an outage.
async fn corrupt(backend: &Backend, seen: &mut Seen) -> Result<()> {
    let account = backend.account().await?;
    let item = json!({
        "TableName": backend.environment()["SALLYPORT_USERS_TABLE"],
        "Item": {"pk": {"S": format!("EMAIL#{}", account.email)}, "sk": {"S": "LOGIN"}, "v": {"N": "1"}},
    });
    backend.write_past_everything("PutItem", &item).await?;
    let answer = backend.actor().try_log_in(&account.email, &account.password).await?;
    assert_eq!(answer.outcome(), outcome(500, "internal_error"));
    for inner in [account.email.as_str(), "EMAIL#", "sallyport-local", "attribute", "missing"] {
        assert!(!answer.text().contains(inner), "{}", answer.text());
    }
    seen.note(&answer);
    Ok(())
}

/// A write that meets another one every time.
async fn contend(backend: &Backend, seen: &mut Seen) -> Result<()> {
    backend.fault(json!({"kind": "conflict", "count": 1_000_000})).await?;
    seen.note(&backend.actor().try_log_in("nobody@example.com", "x").await?);
    backend.heal().await
}

/// An address that asks too often.
async fn exhaust(seen: &mut Seen) -> Result<()> {
    let backend = Backend::with(&[("SALLYPORT_ADDRESS_LIMIT", "2")]).await?;
    let actor = backend.actor();
    // Its window may end in between, on a busy machine more than once.
    for number in 0..30 {
        let answer = actor.try_log_in(&format!("nobody{number}@example.com"), "x").await?;
        seen.note(&answer);
        if answer.code() == "rate_limited" {
            break;
        }
    }
    Ok(())
}

async fn shut(backend: &Backend, seen: &mut Seen) -> Result<()> {
    let actor = backend.actor();
    backend.block_prefix(&format!("{}/32", actor.address()), 600).await?;
    backend.set_mode("maintenance", 600).await?;
    backend.advance(5).await?;
    seen.note(&actor.try_refresh("spr_forged").await?);
    seen.note(&backend.actor().try_refresh("spr_forged").await?);
    Ok(())
}

async fn no_keyring(seen: &mut Seen) -> Result<()> {
    let options = local::Options {
        faults: vec![json!({"kind": "refuse", "service": "secretsmanager"}).to_string()],
        ..local::Options::default()
    };
    let backend = Backend::start_as(options).await?;
    seen.note(&backend.actor().get("/.well-known/jwks.json").await?);
    Ok(())
}

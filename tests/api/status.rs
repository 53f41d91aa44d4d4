//! `GET /status`: the public page and its JSON.

use crate::{
    incidents::{hear, invoke, sns, tick},
    prelude::*,
};

async fn shown(backend: &Backend) -> Result<Value> {
    // One look serves ten seconds.
    backend.advance(11).await?;
    Ok(backend.actor().get("/status").await?.expect(200)?.json())
}

async fn page(backend: &Backend) -> Result<Answer> {
    backend.advance(11).await?;
    let browser = backend.actor();
    let accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    browser.ask("GET", "/status").header("accept", accept).send().await?.expect(200)
}

#[tokio::test]
async fn a_service_that_works_says_so() -> Result<()> {
    let backend = Backend::start().await?;
    let answer = backend.actor().get("/status").await?.expect(200)?;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "public, max-age=30");
    assert!(answer.header("vary").contains("Accept"), "{}", answer.header("vary"));
    let body = answer.json();
    assert_eq!((&body["status"], &body["incidents"]), (&json!("operational"), &json!([])));
    let services: Vec<_> = body["services"].as_array().unwrap().iter().map(|one| &one["status"]).collect();
    assert_eq!(services, ["up"; 4]);
    Ok(())
}

#[tokio::test]
async fn an_incident_is_told_in_public_words() -> Result<()> {
    let backend = Backend::start().await?;
    let (_, id) = hear(&backend, "high-error-rate", "ALARM").await?;
    hear(&backend, "restore-proof-old", "ALARM").await?;
    let body = shown(&backend).await?;
    assert_eq!(body["status"], "disruption");
    assert_eq!(body["incidents"].as_array().map(Vec::len), Some(1), "what concerns nobody is not told");
    let states: Vec<_> = body["services"].as_array().unwrap().iter().map(|one| &one["status"]).collect();
    assert_eq!(states, ["impaired", "impaired", "impaired", "up"]);
    let incident = &body["incidents"][0];
    assert_eq!(
        (&incident["id"], &incident["progress"], &incident["resolved_at"]),
        (&json!(id), &json!("detected"), &Value::Null)
    );
    for text in [body.to_string(), page(&backend).await?.text()] {
        for inner in
            ["error-rate", "high", "SEV", "availability", "Threshold", "alarm", "ops", "arn:", "dynamo"]
        {
            assert!(!text.to_lowercase().contains(&inner.to_lowercase()), "{inner}: {text}");
        }
    }
    backend.advance(60).await?;
    hear(&backend, "high-error-rate", "OK").await?;
    let body = shown(&backend).await?;
    assert_eq!(
        (&body["status"], &body["incidents"][0]["progress"]),
        (&json!("degraded"), &json!("monitoring"))
    );
    backend.advance_days(8).await?;
    assert_eq!(
        shown(&backend).await?["incidents"][0]["id"],
        json!(id),
        "what goes on is shown however old it is"
    );
    Ok(())
}

#[tokio::test]
async fn what_does_not_answer_is_an_outage_and_the_page_answers_all_the_same() -> Result<()> {
    let backend = Backend::start().await?;
    backend.fault(json!({"kind": "refuse", "table": "throttle"})).await?;
    let body = shown(&backend).await?;
    assert_eq!(body["status"], "outage");
    let states: Vec<_> = body["services"].as_array().unwrap().iter().map(|one| &one["status"]).collect();
    assert_eq!(states, ["down", "down", "up", "up"]);
    backend.fault(json!({"kind": "refuse", "table": "ops"})).await?;
    let body = shown(&backend).await?;
    assert_eq!((&body["status"], &body["incidents"]), (&json!("outage"), &Value::Null));
    assert!(page(&backend).await?.text().contains("read at the moment"));
    backend.heal().await?;
    assert_eq!(shown(&backend).await?["status"], "operational");
    Ok(())
}

/// Elements that stand open at each moment, as a parser of XML without namespaces would see them.
fn check_nesting(html: &str) -> Vec<String> {
    const VOID: [&str; 2] = ["meta", "!doctype"];
    let (mut open, mut seen) = (Vec::new(), Vec::new());
    let mut rest = html;
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, after) = after.split_once('>').unwrap();
        rest = after;
        let name = tag.split([' ', '\n']).next().unwrap();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "{tag}");
        } else if !VOID.contains(&name) {
            open.push(name.to_owned());
            seen.push(name.to_owned());
            if name == "style" {
                rest = &rest[rest.find("</style>").unwrap()..];
            }
        }
    }
    assert!(open.is_empty(), "{open:?}");
    seen
}

#[tokio::test]
async fn the_page_is_one_document_that_loads_nothing() -> Result<()> {
    let backend = Backend::start().await?;
    for alarm in ["service-down", "slow-responses", "failure-spike"] {
        hear(&backend, alarm, "ALARM").await?;
    }
    let answer = page(&backend).await?;
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    let policy = answer.header("content-security-policy").to_owned();
    for part in ["default-src 'none'", "style-src 'sha256-", "form-action 'none'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    let html = answer.text();
    let style = html.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    let hash = sha256(style.as_bytes());
    assert!(policy.contains(&format!("'sha256-{hash}'")), "{policy}");

    let elements = check_nesting(&html);
    for banned in ["script", "img", "link", "iframe", "form", "a"] {
        assert!(!elements.iter().any(|element| element == banned), "{banned}");
    }
    assert!(!html.contains(" style=") && !html.contains(" onclick="), "inline");
    assert!(html.starts_with("<!doctype html>\n<html lang=\"en\">"));
    for (element, count) in [("title", 1), ("main", 1), ("h1", 1), ("ul", 1), ("li", 4), ("article", 3)] {
        assert_eq!(elements.iter().filter(|own| *own == element).count(), count, "{element}");
    }
    assert!(html.contains("name=\"viewport\"") && html.contains("prefers-color-scheme:dark"));
    assert!(html.len() < 16 * 1024, "{}", html.len());
    Ok(())
}

fn sha256(bytes: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}

#[tokio::test]
async fn a_look_serves_everybody_for_ten_seconds() -> Result<()> {
    let backend = Backend::start().await?;
    let actor = backend.actor();
    actor.get("/status").await?.expect(200)?;
    backend.forget_calls().await?;
    for _ in 0..20 {
        actor.get("/status").await?.expect(200)?;
    }
    let calls = backend.calls().await?.into_iter().filter(|call| call["function"] == "health").count();
    assert_eq!(calls, 0);
    Ok(())
}

#[tokio::test]
async fn an_incident_of_the_last_days_stays_on_the_page() -> Result<()> {
    let backend = Backend::start().await?;
    let event = sns(&backend, "slow-responses", "ALARM");
    invoke(&backend, &event).await?.expect(200)?;
    tick(&backend).await?;
    backend.advance(60).await?;
    let (_, id) = hear(&backend, "slow-responses", "OK").await?;
    backend.resolve_incident(&id).await?;
    backend.advance_days(6).await?;
    let body = shown(&backend).await?;
    assert_eq!(
        (&body["status"], &body["incidents"][0]["progress"]),
        (&json!("operational"), &json!("resolved"))
    );
    assert!(page(&backend).await?.text().contains("This is resolved."));
    backend.advance_days(2).await?;
    assert_eq!(shown(&backend).await?["incidents"], json!([]));
    Ok(())
}

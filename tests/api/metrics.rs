//! `GET /metrics`

use std::collections::{BTreeMap, BTreeSet};

use sallyport_operations::metrics::{FUNCTIONS, METRICS};

use crate::prelude::*;

const TOKEN: &str = "scrape-4f1c0d7e9b2a";

async fn scraped() -> Result<Backend> {
    let providers = BTreeMap::from([("metrics_token".to_owned(), TOKEN.to_owned())]);
    Backend::start_as(local::Options { providers, ..local::Options::default() }).await
}

async fn scrape(backend: &Backend) -> Result<String> {
    let answer = backend.actor().ask("GET", "/metrics").bearer(TOKEN).send().await?.expect(200)?;
    assert_eq!(answer.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert_eq!(answer.header("cache-control"), "no-store");
    Ok(answer.text())
}

/// The value of the sample with these labels, apart from the deployment.
fn sample(text: &str, name: &str, label: &str) -> Option<f64> {
    let labels = if label.is_empty() {
        "{deployment=\"sallyport-local\"}".to_owned()
    } else {
        format!("{{deployment=\"sallyport-local\",{label}}}")
    };
    let start = format!("sallyport_{name}{labels} ");
    text.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok())
}

/// What an editor or a clipboard adds is not taken off, and not kept either: the operator is told where it is.
#[tokio::test]
async fn a_scrape_token_that_is_not_what_was_typed_is_refused_by_name() -> Result<()> {
    let backend = scraped().await?;
    for spoilt in ["{}\n", "{}\r\n", " {}", "{} ", "\u{feff}{}", "{}\u{a0}", "{}é"] {
        let before = refusals(&backend).await?;
        let document = json!({"metrics_token": spoilt.replace("{}", TOKEN)}).to_string();
        backend.write_secret_past_everything("SALLYPORT_PROVIDERS_SECRET", &document).await?;
        backend.advance(60).await?;
        let answer = backend.actor().ask("GET", "/metrics").bearer(TOKEN).send().await?;
        assert_eq!(answer.outcome(), outcome(404, "not_found"), "{spoilt:?}");
        assert_eq!(refusals(&backend).await?, before + 1, "{spoilt:?}");
    }
    let document = json!({"metrics_token": TOKEN}).to_string();
    backend.write_secret_past_everything("SALLYPORT_PROVIDERS_SECRET", &document).await?;
    backend.advance(60).await?;
    scrape(&backend).await.map(drop)
}

/// How often the log says that the token is refused, and what for.
async fn refusals(backend: &Backend) -> Result<usize> {
    let lines = backend.logs().await?;
    let of = |line: &&Value| {
        let line = &line["line"];
        line["message"] == "a secret of the providers is refused"
            && line["member"] == "metrics_token"
            && line["problem"].as_str().is_some_and(|problem| !problem.is_empty())
    };
    Ok(lines.iter().filter(of).count())
}

#[tokio::test]
async fn the_figures_are_called_as_the_reader_asks() -> Result<()> {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";
    let backend = scraped().await?;
    for (accept, content_type) in [
        ("*/*", OPEN_METRICS),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            OPEN_METRICS,
        ),
        ("text/plain;version=0.0.4;q=1,*/*;q=0.1", PLAIN),
        ("text/plain", PLAIN),
        ("TEXT/PLAIN; charset=utf-8", PLAIN),
        ("application/openmetrics-text;q=0, text/*", PLAIN),
        // What clients of openapi-generator send.
        ("application/problem+json", PLAIN),
    ] {
        let ask = backend.actor().ask("GET", "/metrics").bearer(TOKEN).header("accept", accept);
        let answer = ask.send().await?.expect(200)?;
        assert_eq!(answer.header("content-type"), content_type, "{accept}");
        assert!(answer.header("vary").contains("Accept"));
        assert!(answer.text().contains("# TYPE sallyport_error_rate gauge"));
    }
    Ok(())
}

#[tokio::test]
async fn without_a_scrape_token_in_the_secret_there_is_nothing_here() -> Result<()> {
    let backend = Backend::start().await?;
    for token in ["", TOKEN] {
        let answer = backend.actor().ask("GET", "/metrics").bearer(token).send().await?;
        assert_eq!(answer.outcome(), outcome(404, "not_found"));
    }
    Ok(())
}

#[tokio::test]
async fn nobody_scrapes_with_anything_but_the_token() -> Result<()> {
    let backend = scraped().await?;
    let session = backend.actor().log_in(&backend.account().await?).await?;
    let none = backend.actor().get("/metrics").await?;
    assert_eq!(none.outcome(), outcome(401, "invalid_token"));
    for token in ["scrape", &TOKEN[1..], &session.access_token, "x"] {
        let answer = backend.actor().ask("GET", "/metrics").bearer(token).send().await?;
        assert_eq!(answer.outcome(), outcome(401, "invalid_token"), "{token}");
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
    }
    let head = backend.actor().ask("HEAD", "/metrics").bearer(TOKEN).send().await?.expect(200)?;
    assert!(head.text().is_empty());
    Ok(())
}

/// The commands of the source document, past `curl`.
#[tokio::test]
async fn the_greps_of_the_runbook_find_their_lines() -> Result<()> {
    let backend = scraped().await?;
    let account = backend.account().await?;
    backend.actor().log_in(&account).await?;
    let text = scrape(&backend).await?;
    for (pattern, names) in [
        ("(response_time|error_rate|throughput)", &["response_time_seconds", "error_rate", "throughput"][..]),
        ("cache_hit_ratio", &["cache_hit_ratio"]),
    ] {
        let found: Vec<_> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter(|line| pattern.trim_matches(['(', ')']).split('|').any(|word| line.contains(word)))
            .collect();
        for name in names {
            let start = format!("sallyport_{name}{{");
            assert!(found.iter().any(|line| line.starts_with(&start)), "{name} in {found:#?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_figures_are_those_of_what_was_done() -> Result<()> {
    let backend = scraped().await?;
    let account = backend.account().await?;
    let mut session = backend.actor().log_in(&account).await?;
    backend.actor().try_log_in(&account.email, "not it").await?.expect(401)?;
    lock(&backend, "nobody@example.com").await?;
    session.refresh().await?;
    backend.fault(json!({"kind": "refuse", "table": "sessions"})).await?;
    session.try_refresh().await?.expect(503)?;
    backend.heal().await?;
    backend.actor().get("/health/ready").await?.expect(200)?;

    let text = scrape(&backend).await?;
    for (name, label, value) in [
        ("requests", "function=\"login\"", 8.0),
        ("requests", "function=\"refresh\"", 2.0),
        ("errors", "function=\"refresh\"", 1.0),
        ("login_attempts", "", 8.0),
        ("login_successes", "", 1.0),
        ("login_failures", "", 6.0),
        ("password_checks", "", 7.0),
        ("lockouts", "", 1.0),
        ("limiter_triggers", "", 1.0),
        ("refreshes", "", 2.0),
        ("refresh_failures", "", 0.0),
        ("security_events_critical", "", 0.0),
        ("ready", "", 1.0),
        ("dependencies_down", "", 0.0),
        ("authentication_success_rate", "", 0.125),
        ("throughput", "", 11.0 / 300.0),
        ("error_rate", "", 1.0 / 11.0),
    ] {
        assert_eq!(sample(&text, name, label), Some(value), "{name} in {text}");
    }
    let ratio = sample(&text, "cache_hit_ratio", "").unwrap();
    assert!(ratio > 0.5 && ratio <= 1.0, "{ratio}");
    for percentile in ["50", "95", "99"] {
        let seconds =
            sample(&text, "response_time_seconds", &format!("percentile=\"{percentile}\"")).unwrap();
        assert!(seconds > 0.0 && seconds < 10.0, "{seconds}");
    }

    backend.advance(400).await?;
    let later = scrape(&backend).await?;
    assert_eq!(sample(&later, "login_attempts", ""), Some(0.0), "the window has moved on");
    assert_eq!(sample(&later, "ready", ""), Some(1.0), "a level stays");
    Ok(())
}

#[tokio::test]
async fn a_new_scrape_token_counts_after_a_minute_and_an_outage_takes_none_away() -> Result<()> {
    let backend = scraped().await?;
    scrape(&backend).await?;
    backend.keyring_fault(json!({"kind": "refuse"})).await?;
    backend.advance(120).await?;
    scrape(&backend).await?;
    backend.heal().await
}

/// Every name is described once, of the type that it is shown with, and the functions are those that answer.
#[tokio::test]
async fn every_metric_is_described_and_every_function_is_counted() -> Result<()> {
    let backend = scraped().await?;
    let text = scrape(&backend).await?;
    for metric in METRICS {
        let described = text.lines().filter(|line| line.starts_with("# HELP "));
        // Times are in seconds there, whatever the functions count them in.
        let base = metric.name.trim_end_matches("_days").trim_end_matches("_hours");
        let name = format!("sallyport_{base}");
        let of_it = described.filter(|line| {
            line.contains(&format!(" {name} ")) || line.contains(&format!(" {name}_seconds "))
        });
        assert_eq!(of_it.count(), 1, "{name}");
    }
    let served: BTreeSet<_> = local::routes()?.into_iter().map(|route| route.function).collect();
    assert_eq!(served, BTreeSet::from(FUNCTIONS));
    Ok(())
}

//! Nothing secret is logged, kept as an event, or written down in clear.

use std::{collections::BTreeSet, process::Command};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::prelude::*;

/// The log of a process is one: the test of this name has a process of its own.
pub(crate) fn alone(name: &str, scenario: impl Future<Output = Result<()>>) -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "set by this test for itself")]
    let alone = std::env::var("SALLYPORT_ALONE").is_ok();
    if alone {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return runtime.block_on(scenario);
    }
    let run = Command::new(std::env::current_exe()?)
        .args(["--exact", name, "--nocapture"])
        .env("SALLYPORT_ALONE", "1")
        .output()?;
    let shown = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    ensure!(run.status.success() && shown.contains("1 passed"), "{shown}");
    Ok(())
}

#[test]
fn no_password_token_code_seed_or_address_is_in_the_logs_or_readable_in_the_tables() -> Result<()> {
    alone("logs::no_password_token_code_seed_or_address_is_in_the_logs_or_readable_in_the_tables", scenario())
}

#[test]
fn a_request_leaves_one_line_and_one_wide_event_whatever_its_route() -> Result<()> {
    alone("logs::a_request_leaves_one_line_and_one_wide_event_whatever_its_route", one_line_and_one_event())
}

async fn one_line_and_one_event() -> Result<()> {
    let backend = Backend::start().await?;
    let actor = backend.actor();
    // The most that the gateway lets through, with its name.
    let agent = "Mozilla/5.0 ".repeat(800);
    for route in local::routes()? {
        let path = route.path.replace("{id}", "fac_AAAAAAAAAAAAAAAAAAAAAA");
        let answer = actor.ask(&route.method, &path).header("user-agent", &agent).send().await?;
        let id = answer.header("x-request-id");
        let case = format!("{} {path} {id}", route.method);
        let logs = backend.logs().await?;
        let lines: Vec<_> =
            logs.iter().map(|line| &line["line"]).filter(|line| line["request_id"] == id).collect();
        let told = |line: &&&Value| matches!(line["message"].as_str(), Some("request" | "request failed"));
        ensure!(lines.iter().filter(told).count() == 1, "{case}: {lines:?}");
        let events: Vec<_> = lines.iter().filter(|line| !line["_aws"].is_null()).collect();
        ensure!(events.len() == 1, "{case}: {lines:?}");
        ensure!(events[0]["route"] == route.path.as_str(), "{case}: {}", events[0]);
        is_metric_event(events[0]).context(case.clone())?;
        for line in lines {
            let length = line.to_string().len();
            ensure!(length < 2048, "{case}: {length} bytes: {line}");
        }
    }
    // What no function has a route for the gateway refuses by itself.
    let count = backend.logs().await?.len();
    actor.get("/nowhere").await?.expect(404)?;
    ensure!(backend.logs().await?.len() == count, "a function was asked for a path that none has");
    Ok(())
}

/// What CloudWatch takes as metrics: names that are members with numbers, dimensions that are members with texts.
fn is_metric_event(event: &Value) -> Result<()> {
    ensure!(event["_aws"]["Timestamp"].as_u64().is_some(), "no time: {event}");
    let directives = event["_aws"]["CloudWatchMetrics"].as_array().context("no directives")?;
    let mut metrics = BTreeSet::new();
    for directive in directives {
        ensure!(directive["Namespace"] == "Sallyport", "{directive}");
        let sets = directive["Dimensions"].as_array().context("no dimensions")?;
        ensure!(!sets.is_empty() && sets.iter().all(|set| set[0] == "deployment"), "{directive}");
        for name in sets.iter().flat_map(|set| set.as_array().into_iter().flatten()) {
            let name = name.as_str().context("no name")?;
            ensure!(event[name].is_string(), "dimension {name}: {event}");
        }
        for metric in directive["Metrics"].as_array().context("no metrics")? {
            let name = metric["Name"].as_str().context("no name")?;
            ensure!(event[name].is_number(), "metric {name}: {event}");
            ensure!(metrics.insert(name), "metric {name} stands twice: {event}");
        }
    }
    ensure!(metrics.contains("requests") && metrics.contains("errors"), "{metrics:?}");
    Ok(())
}

/// What must not be seen.
#[derive(Default)]
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn add(&mut self, what: &'static str, secret: &str) {
        assert!(secret.len() >= 6, "{what}: {secret:?} is too short to look for");
        self.0.push((what, secret.to_owned()));
        if let Some(signature) = secret.rsplit('.').next().filter(|part| part.len() > 40) {
            self.0.push((what, signature.to_owned()));
        }
    }

    fn session(&mut self, session: &Session) {
        self.add("access token", &session.access_token);
        if !session.refresh_token.is_empty() {
            self.add("refresh token", &session.refresh_token);
        }
        if let Some(token) = session.actor.device_token() {
            self.add("device token", &token);
        }
    }

    /// Looks for all in texts: short ones as words, long ones anywhere.
    fn search(&self, place: &str, texts: &[String]) {
        for (what, secret) in &self.0 {
            for text in texts {
                let found = if secret.len() <= 8 {
                    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == secret)
                } else {
                    text.contains(secret)
                };
                assert!(!found, "{place} show the {what} {secret}: {text}");
            }
        }
    }
}

fn texts(lines: &[Value]) -> Vec<String> {
    lines.iter().map(Value::to_string).collect()
}

async fn scenario() -> Result<()> {
    let backend = Backend::start().await?;
    let mut secrets = Secrets::default();
    let mut account = backend.account().await?;
    secrets.add("password", &account.password.clone());
    secrets.add("wrong password", "Tr0ub4dor&3 guess");
    secrets.add("address", &account.email.clone());
    let actor = backend.actor();

    actor.try_log_in(&account.email, "Tr0ub4dor&3 guess").await?.expect(401)?;
    let session = actor.log_in(&account).await?;
    secrets.session(&session);
    let enrolment = session.enrol_totp("Phone").await?;
    secrets.add("seed", &enrolment.factor.secret);
    secrets.add("URI", &enrolment.otpauth_uri);
    let code = backend.code(&enrolment.factor).await?;
    secrets.add("code", &code);
    let confirmed = session.try_confirm(&enrolment.factor.id, &code).await?.expect(200)?;
    for code in confirmed.field("recovery_codes").as_array().unwrap() {
        secrets.add("recovery code", code.as_str().unwrap());
        account.recovery_codes.push(code.as_str().unwrap().to_owned());
    }
    account.factors.push(enrolment.factor);

    let pending = actor.begin_log_in(&account).await?;
    secrets.add("MFA token", &pending.mfa_token);
    let wrong = account.factor().wrong_code_at(backend.now());
    pending.try_verify(&account.factor().id, &wrong).await?.expect(401)?;
    let mut strong = pending.verify_with_totp(&backend, &account).await?;
    secrets.session(&strong);
    let by_code = actor.begin_log_in(&account).await?;
    by_code.verify_with_recovery_code(&account.recovery_codes[0]).await?;
    let spent = strong.clone();
    strong.refresh().await?;
    secrets.session(&strong);
    strong.reauthenticate(&json!({"password": account.password})).await?;
    secrets.session(&strong);
    for code in strong.new_recovery_codes().await?.field("recovery_codes").as_array().unwrap() {
        secrets.add("recovery code", code.as_str().unwrap());
    }

    let client = backend.client().await?;
    secrets.add("client secret", &client.secret);
    let basic = STANDARD.encode(format!("{}:{}", client.id, client.secret));
    secrets.add("client's header", &basic);
    actor.introspect(&client, &strong.access_token).await?.expect(200)?;
    backend.advance(60).await?;
    spent.try_refresh().await?.expect(401)?;
    session.log_out("global").await?;

    // Where clients put secrets that do not belong there.
    let misplaced = "misplaced-secret-0001";
    secrets.add("misplaced secret", misplaced);
    actor.get(&format!("/health/live?password={misplaced}")).await?;
    actor.get(&format!("/{misplaced}")).await?;
    actor
        .post("/api/v1/auth/login", &json!({"email": misplaced, "password": misplaced, misplaced: 1}))
        .await?;
    actor.ask("POST", "/api/v1/auth/login").body("application/json", format!("{{{misplaced}")).send().await?;
    actor.ask("GET", "/api/v1/mfa/factors").bearer(misplaced).header("cookie", misplaced).send().await?;
    actor
        .ask("DELETE", &format!("/api/v1/mfa/factors/{misplaced}"))
        .bearer(&session.access_token)
        .send()
        .await?;

    // And where the service fails.
    backend.fault(json!({"kind": "refuse"})).await?;
    actor.try_log_in(&account.email, &account.password).await?.expect(503)?;
    backend.heal().await?;

    let lines = backend.logs().await?;
    let requests = lines.iter().filter(|line| line["line"]["message"] == "request").count();
    assert!(requests > 15, "{requests} lines of requests");
    let events = lines.iter().filter(|line| line["line"]["message"] == "security event").count();
    assert!(events > 8, "{events} security events");
    assert!(lines.iter().any(|line| line["line"]["message"] == "request failed"));
    assert!(lines.iter().all(|line| line["line"].is_object()), "every line is JSON");
    secrets.search("the logs", &texts(&lines));
    secrets.search("the events", &texts(&backend.items("Audit").await?));
    secrets.search("the counters", &texts(&backend.items("Throttle").await?));
    secrets.search("the sessions", &texts(&backend.items("Sessions").await?));
    secrets.search("the messages", &texts(&backend.items("Outbox").await?));
    secrets.search("the clients", &texts(&backend.items("Ops").await?));
    // Accounts hold their address; nothing else of these.
    secrets.0.retain(|(what, _)| *what != "address");
    secrets.search("the accounts", &texts(&backend.items("Users").await?));
    Ok(())
}

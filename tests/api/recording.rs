//! Which calls each function makes: what the statements of template.yaml must allow, and no more.
//!
//! The deploy suite compares `sallyport-calls.json` in the target directory with the template, and `sallyport-items.json`,
//! which says of which kinds the items were.

use std::collections::{BTreeMap, BTreeSet};

use sallyport_operations::metrics::FUNCTIONS;
use sallyport_testkit::Receiver;

use crate::{
    incidents::{hear, set_webhook, tick},
    prelude::*,
};

#[tokio::test]
async fn a_walk_over_every_route_records_the_calls_of_each_function() -> Result<()> {
    for _ in 0..2 {
        match record().await {
            // Hundreds of requests in a row: a machine busy with other things may be too slow for one of them.
            Err(error) if error.to_string().contains("dependency_unavailable") => {}
            done => return done,
        }
    }
    record().await
}

async fn record() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let start = |memory: &'static str| {
        let variables =
            [("SALLYPORT_PASSWORD_MEMORY_KIB", memory), ("SALLYPORT_ISSUER", "https://auth.example.com")];
        let options = local::Options {
            data: Some(directory.path().to_owned()),
            environment: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..local::Options::default()
        };
        Backend::start_as(options)
    };
    let weak = start("7168").await?;
    let account = weak.account().await?;
    let mut calls = weak.calls().await?;
    weak.stop().await;
    // The second start meets a weaker hash, which the first sign-in renews.
    let backend = start("19456").await?;
    walk(&backend, account).await?;
    calls.extend(backend.calls().await?);
    calls.extend(first_start().await?);

    let mut recorded = BTreeMap::<String, BTreeSet<String>>::new();
    let mut items = BTreeMap::<String, BTreeSet<String>>::new();
    for call in &calls {
        let Some(function) = call["function"].as_str().filter(|name| *name != "operator") else { continue };
        let made = recorded.entry(function.to_owned()).or_default();
        for part in call["parts"].as_array().into_iter().flatten() {
            let table = logical(part["table"].as_str().unwrap_or_default());
            let action = part["action"].as_str().unwrap_or_default();
            made.insert(format!("dynamodb:{action} {table}"));
            if let Some(kind) = part["kind"].as_str() {
                items
                    .entry(function.to_owned())
                    .or_default()
                    .insert(format!("dynamodb:{action} {table} {kind}"));
            }
        }
        if call["service"] == "dynamodb" && call["parts"].as_array().is_none_or(Vec::is_empty) {
            // Calls about a table.
            let operation = call["operation"].as_str().unwrap_or_default();
            for table in call["tables"].as_array().into_iter().flatten() {
                made.insert(format!("dynamodb:{operation} {}", logical(table.as_str().unwrap_or_default())));
            }
        }
        if call["service"] == "secretsmanager" {
            let secret = call["secret"].as_str().unwrap_or_default().rsplit('-').next().unwrap_or_default();
            made.insert(format!(
                "secretsmanager:{} {secret}",
                call["operation"].as_str().unwrap_or_default()
            ));
        }
        if call["service"] == "lambda" {
            let invoked = call["invoked"].as_str().unwrap_or_default();
            made.insert(if call["operation"] == "Invoke" {
                // A name with its version.
                let name = invoked.rsplit(':').nth(1).unwrap_or_default();
                format!("lambda:InvokeFunction {}", name.rsplit('-').next().unwrap_or_default())
            } else {
                let name = invoked.rsplit('-').next().unwrap_or_default();
                format!("lambda:{} {name}", call["operation"].as_str().unwrap_or_default())
            });
        }
        if call["service"] == "codedeploy" {
            made.insert(format!("codedeploy:{}", call["operation"].as_str().unwrap_or_default()));
        }
    }
    let functions: Vec<_> = recorded.keys().map(String::as_str).collect();
    assert_eq!(
        functions,
        ["health", "keys", "login", "maintenance", "mfa", "refresh", "responder", "rotation", "smoke"]
    );
    for (file, recorded) in [("sallyport-calls.json", &recorded), ("sallyport-items.json", &items)] {
        std::fs::write(target_directory()?.join(file), serde_json::to_string_pretty(recorded)?)?;
    }
    Ok(())
}

/// The calls of functions that start where the keyring is empty still: the backend's own start is not recorded, so
/// another one starts over its database and keyring.
async fn first_start() -> Result<Vec<Value>> {
    let options = local::Options {
        faults: vec![json!({"kind": "refuse", "service": "secretsmanager"}).to_string()],
        ..local::Options::default()
    };
    let backend = Backend::start_as(options).await?;
    backend.heal().await?;
    let environment = [("AWS_ENDPOINT_URL".to_owned(), backend.dynamodb_url().to_owned())].into();
    let second =
        local::Backend::start(local::Options { environment, quiet: true, ..local::Options::default() })
            .await?;
    let calls = backend.calls().await?;
    second.stop().await;
    anyhow::ensure!(
        calls.iter().any(|call| call["operation"] == "PutSecretValue"),
        "the keyring was not filled at the first start"
    );
    Ok(calls)
}

/// A table as the template names it; those of a drill are scratch.
fn logical(table: &str) -> String {
    if table.contains("-drill-") {
        return "Scratch".to_owned();
    }
    let name = table.rsplit('-').next().unwrap_or_default();
    name[..1].to_uppercase() + &name[1..]
}

/// The directory that this test was built into.
fn target_directory() -> Result<std::path::PathBuf> {
    let test = std::env::current_exe()?;
    Ok(test.ancestors().nth(3).context("the test lies in target/debug/deps")?.to_owned())
}

async fn walk(backend: &Backend, mut account: Account) -> Result<()> {
    // Past the age of the copies of the keyring, so that each function fetches it once.
    backend.advance(400).await?;
    let actor = backend.actor();
    for path in
        ["/.well-known/jwks.json", "/.well-known/openid-configuration", "/openapi.json", "/health/ready"]
    {
        actor.get(path).await?.expect(200)?;
    }
    backend.console("POST", "rotate", None).await?.expect(200)?;
    for function in FUNCTIONS {
        let (deployment, execution) = (format!("d-{function}"), format!("e-{function}"));
        let hook = json!({"DeploymentId": deployment, "LifecycleEventHookExecutionId": execution});
        backend.invoke("smoke", &hook).await?.expect(200)?;
    }
    for task in [
        "key_age",
        "recovery_check",
        "topic_check",
        "backup_verify",
        "restore_drill",
        "retention",
        "session_gauge",
    ] {
        backend.console("POST", "invoke/maintenance", Some(json!({"task": task}))).await?.expect(200)?;
    }
    actor.get("/metrics").await?.expect(404)?;
    let client = backend.client().await?;

    // Passwords: right, wrong, locked, shut out and let in again, from known devices and strangers.
    let mut session = actor.log_in(&account).await?;
    actor.log_in(&account).await?;
    backend.actor().try_log_in(&account.email, "wrong").await?.expect(401)?;
    lock(backend, "nobody@example.com").await?;
    backend.advance(60).await?;
    backend.actor().try_log_in("nobody@example.com", "wrong").await?.expect(401)?;
    for _ in 0..105 {
        backend.actor().try_log_in(&account.email, "wrong").await?;
        backend.advance(31 * 60).await?;
    }
    actor.log_in(&account).await?;
    for _ in 0..11 {
        session = actor.log_in(&account).await?;
    }

    // Sessions.
    let spent = session.clone();
    session.refresh().await?;
    session.try_reauthenticate(&json!({"password": "wrong"})).await?.expect(401)?;
    session.reauthenticate(&json!({"password": account.password})).await?;
    actor.introspect(&client, &session.access_token).await?.expect(200)?;
    let mut other = backend.actor().log_in(&account).await?;
    other.log_out("others").await?.expect(204)?;
    other.refresh().await?;
    actor.revoke(&client, &other.refresh_token).await?.expect(200)?;
    let leaving = backend.account().await?;
    backend.actor().log_in(&leaving).await?.log_out("global").await?.expect(204)?;
    let mut stolen = backend.actor().log_in(&account).await?;
    let copy = stolen.clone();
    stolen.refresh().await?;
    backend.advance(60).await?;
    copy.try_refresh().await?.expect(401)?;
    spent.try_refresh().await?.expect(401)?;

    // Factors.
    let mut session = actor.log_in(&account).await?;
    session.enrol_totp("First").await?;
    let enrolment = session.enrol_totp("Second").await?;
    let wrong = enrolment.factor.wrong_code_at(backend.now());
    session.try_confirm(&enrolment.factor.id, &wrong).await?.expect(401)?;
    account.recovery_codes = session.confirm(backend, &enrolment).await?;
    account.factors.push(enrolment.factor);
    session
        .try_reauthenticate(&json!({"factor_id": account.factor().id, "code": wrong}))
        .await?
        .expect(401)?;
    session.step_up(backend, &account).await?;
    session.reauthenticate(&json!({"factor_id": "recovery", "code": account.recovery_codes[0]})).await?;
    session.list_factors().await?.expect(200)?;
    account.recovery_codes =
        serde_json::from_value(session.new_recovery_codes().await?.field("recovery_codes"))?;

    let pending = actor.begin_log_in(&account).await?;
    pending.challenge("recovery").await?.expect(409)?;
    pending.challenge(&account.factor().id).await?.expect(409)?;
    pending.try_verify("fac_AAAAAAAAAAAAAAAAAAAAAA", "123456").await?.expect(404)?;
    // Five in the pool of the known device, five in the factor's own.
    for _ in 0..10 {
        pending.try_verify(&account.factor().id, &wrong).await?.expect(401)?;
    }
    pending.try_verify(&account.factor().id, &wrong).await?.expect(429)?;
    pending.verify_with_recovery_code(&account.recovery_codes[0]).await?;
    let again = actor.begin_log_in(&account).await?;
    again.try_verify("recovery", &account.recovery_codes[0]).await?.expect(401)?;
    backend.advance(3600).await?;
    // A stranger's failures shut the pool; the known device, with its factor, opens it.
    for _ in 0..105 {
        backend.actor().try_log_in(&account.email, "wrong").await?;
        backend.advance(31 * 60).await?;
    }
    let last = actor.begin_log_in(&account).await?.verify_with_totp(backend, &account).await?;
    last.remove_factor(&account.factor().id).await?.expect(204)?;
    // What the stream holds by now is counted first.
    backend
        .console("POST", "invoke/maintenance", Some(json!({"task": "session_gauge"})))
        .await?
        .expect(200)?;
    respond(backend).await
}

/// An incident from its alarm to a page that one channel does not take, with the public page meanwhile.
async fn respond(backend: &Backend) -> Result<()> {
    let receiver = Receiver::start().await?;
    set_webhook(backend, &receiver.url, "generic").await?;
    receiver.answer("500 Internal Server Error", "", "");
    hear(backend, "service-down", "ALARM").await?;
    backend.actor().get("/status").await?.expect(200)?;
    receiver.answer("200 OK", "", "");
    backend.advance(15 * 60).await?;
    tick(backend).await?;
    Ok(())
}

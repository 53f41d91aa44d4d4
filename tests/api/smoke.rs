//! The hook of a gradual deployment: what CodeDeploy is told of versions that are sound, closed, broken or not there.

use crate::{logs::alone, prelude::*};

/// Calls the hook as CodeDeploy does.
async fn call(backend: &Backend, execution: &str) -> Result<Answer> {
    let event = json!({"DeploymentId": "d-A1B2C3D4E", "LifecycleEventHookExecutionId": execution});
    backend.invoke("smoke", &event).await
}

/// What CodeDeploy was told, by the hook's execution.
async fn told(backend: &Backend) -> Result<Value> {
    Ok(backend.console("GET", "deployments", None).await?.expect(200)?.json()["deployments"].clone())
}

fn verdict(execution: &str, status: &str) -> Value {
    json!({execution: {"deployment": "d-A1B2C3D4E", "status": status}})
}

/// The findings of a release that fails.
async fn failing(backend: &Backend) -> Result<String> {
    let done = call(backend, "e-1").await?.expect(200)?.field("result").clone();
    assert_eq!(told(backend).await?, verdict("e-1", "Failed"), "{done}");
    assert_eq!(done["passed"], false);
    done["findings"].as_str().map(str::to_owned).context("no findings")
}

/// The functions that a finding speaks against.
fn blamed(findings: &str) -> Vec<&str> {
    let against = findings.split("; ").filter(|finding| finding.contains(" instead of "));
    against.filter_map(|finding| finding.split(':').next()).collect()
}

/// A backend whose functions start under a fault, as new versions do: none has a copy of anything.
async fn started_under(fault: Value) -> Result<Backend> {
    let options = local::Options { faults: vec![fault.to_string()], ..local::Options::default() };
    Backend::start_as(options).await
}

#[tokio::test]
async fn a_release_that_answers_goes_on_and_nobody_was_touched() -> Result<()> {
    let backend = Backend::start().await?;
    let tables = ["Users", "Sessions", "Throttle", "Outbox", "Audit"];
    let items = async || -> Result<Vec<Vec<Value>>> {
        let mut all = Vec::new();
        for table in tables {
            all.push(backend.items(table).await?);
        }
        Ok(all)
    };
    let before = items().await?;
    let done = call(&backend, "e-1").await?.expect(200)?.field("result").clone();
    let findings = "keys: 200; health: 200; login: 401 invalid_token; refresh: 401 invalid_token; \
                    mfa: 401 invalid_token";
    assert_eq!(done, json!({"passed": true, "findings": findings}));
    assert_eq!(told(&backend).await?, verdict("e-1", "Succeeded"));
    assert_eq!(items().await?, before);
    let lines: Vec<_> = backend.logs().await?.into_iter().map(|line| line["line"].clone()).collect();
    for attempt in ["login_attempts", "reauthentications", "mfa_attempts", "refreshes"] {
        assert!(lines.iter().all(|line| line.get(attempt).is_none()), "{attempt}");
    }
    let counted = |name: &str| lines.iter().filter_map(|line| line[name].as_u64()).sum::<u64>();
    assert_eq!((counted("requests"), counted("errors"), counted("suspicious_activity")), (5, 0, 0));
    // Whoever refused has read the flags and the keyring before: both were in its copy.
    assert!(counted("cache_hits") >= 7, "{}", counted("cache_hits"));
    Ok(())
}

#[test]
fn one_line_names_the_deployment_and_what_every_function_answered() -> Result<()> {
    alone("smoke::one_line_names_the_deployment_and_what_every_function_answered", async {
        let backend = Backend::start().await?;
        call(&backend, "e-0").await?.expect(200)?;
        backend.function_fault(json!({"kind": "crash", "function": "login"})).await?;
        let done = call(&backend, "e-1").await?.expect(200)?.field("result").clone();
        let lines: Vec<_> = backend.logs().await?.into_iter().map(|line| line["line"].clone()).collect();
        for (message, level) in
            [("the release answers", "INFO"), ("the release does not answer as it should", "ERROR")]
        {
            let told: Vec<_> = lines.iter().filter(|line| line["message"] == message).collect();
            assert_eq!(told.len(), 1, "{message}");
            assert_eq!((&told[0]["level"], &told[0]["deployment"]), (&json!(level), &json!("d-A1B2C3D4E")));
            for function in ["keys", "health", "login", "refresh", "mfa"] {
                let findings = told[0]["findings"].as_str().unwrap_or_default();
                assert!(findings.contains(&format!("{function}: ")), "{findings}");
            }
        }
        assert!(lines.iter().any(|line| line["findings"] == done["findings"]));
        Ok(())
    })
}

#[tokio::test]
async fn a_release_goes_on_while_the_service_is_closed() -> Result<()> {
    let backend = Backend::start().await?;
    backend.set_mode("maintenance", 3600).await?;
    backend.advance(10).await?;
    let done = call(&backend, "e-1").await?.expect(200)?.field("result").clone();
    let findings = done["findings"].as_str().unwrap_or_default();
    assert!(
        findings.ends_with("login: 503 maintenance; refresh: 503 maintenance; mfa: 503 maintenance"),
        "{findings}"
    );
    assert_eq!(told(&backend).await?, verdict("e-1", "Succeeded"));
    Ok(())
}

#[tokio::test]
async fn a_release_that_does_not_reach_the_keyring_goes_back() -> Result<()> {
    let backend = started_under(json!({"kind": "refuse", "service": "secretsmanager"})).await?;
    let findings = failing(&backend).await?;
    assert_eq!(blamed(&findings), ["keys", "health", "login", "refresh", "mfa"], "{findings}");
    assert!(findings.contains("login: 503 keyring_unavailable instead of 401 invalid_token"), "{findings}");
    assert!(findings.contains("health: 503 (keyring down) instead of 200 and ready"), "{findings}");
    Ok(())
}

#[tokio::test]
async fn a_release_whose_tables_do_not_answer_goes_back_and_says_which() -> Result<()> {
    for (table, culprits) in [
        ("ops", vec!["login", "refresh", "mfa"]),
        ("users", vec!["health"]),
        ("sessions", vec!["health"]),
        ("throttle", vec!["health"]),
    ] {
        let backend = started_under(json!({"kind": "refuse", "table": table})).await?;
        let findings = failing(&backend).await?;
        assert_eq!(blamed(&findings), culprits, "{table}: {findings}");
        if culprits == ["health"] {
            assert!(findings.contains(&format!("503 ({table} down)")), "{findings}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_function_that_crashes_or_may_not_run_sends_the_release_back_and_is_named() -> Result<()> {
    for (kind, said) in [("crash", "Unhandled"), ("timeout", "Unhandled"), ("throttle", "TooManyRequests")] {
        for function in ["keys", "health", "login", "refresh", "mfa"] {
            let backend = Backend::start().await?;
            backend.function_fault(json!({"kind": kind, "function": function})).await?;
            let findings = failing(&backend).await?;
            assert_eq!(blamed(&findings), [function], "{kind}: {findings}");
            assert!(findings.contains(said), "{kind}: {findings}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_version_that_is_not_there_or_not_named_sends_the_release_back() -> Result<()> {
    let arn = |function: &str, version: u8| {
        format!(
            "{function}=arn:aws:lambda:us-east-1:000000000000:function:sallyport-local-{function}:{version}"
        )
    };
    let named = [arn("keys", 1), arn("health", 1), arn("login", 2), arn("refresh", 1)].join(",");
    let environment = [("SALLYPORT_SMOKE_VERSIONS".to_owned(), named)].into();
    let backend = Backend::start_as(local::Options { environment, ..local::Options::default() }).await?;
    let findings = failing(&backend).await?;
    assert_eq!(blamed(&findings), ["login", "mfa"], "{findings}");
    assert!(findings.contains("ResourceNotFoundException"), "{findings}");
    assert!(findings.contains("mfa: no answer instead of 401 invalid_token to GET /api/v1/mfa/factors: no version of it is named"), "{findings}");
    Ok(())
}

#[tokio::test]
async fn an_event_without_ids_is_refused_and_nobody_is_asked_or_told() -> Result<()> {
    let backend = Backend::start().await?;
    for event in [
        json!({}),
        json!({"DeploymentId": "d-1"}),
        json!({"LifecycleEventHookExecutionId": "e-1"}),
        json!({"DeploymentId": "d-1", "LifecycleEventHookExecutionId": ""}),
        json!({"DeploymentId": 1, "LifecycleEventHookExecutionId": "e-1"}),
        json!({"task": "tick"}),
    ] {
        let refused = backend.invoke("smoke", &event).await?.expect(500)?.json();
        assert_eq!(refused["error"]["code"], "unknown_event", "{event}: {refused}");
    }
    assert_eq!(told(&backend).await?, json!({}));
    assert!(backend.calls().await?.iter().all(|call| call["service"] != "lambda"));
    Ok(())
}

#[tokio::test]
async fn a_verdict_that_codedeploy_does_not_take_fails_the_call_and_the_next_one_tells_it() -> Result<()> {
    let backend = Backend::start().await?;
    for kind in ["error_500", "drop_before", "throttle"] {
        backend.fault(json!({"kind": kind, "service": "codedeploy", "count": 4})).await?;
        let failed = call(&backend, kind).await?.expect(500)?.json();
        assert_eq!(failed["error"]["code"], "dependency_unavailable", "{failed}");
        assert_eq!(told(&backend).await?.get(kind), None);
        call(&backend, kind).await?.expect(200)?;
        assert_eq!(told(&backend).await?[kind]["status"], "Succeeded");
    }
    Ok(())
}

#[tokio::test]
async fn a_verdict_whose_reply_was_lost_is_told_once_and_stands() -> Result<()> {
    let backend = Backend::start().await?;
    backend.fault(json!({"kind": "drop_after", "service": "codedeploy"})).await?;
    call(&backend, "e-1").await?.expect(200)?;
    assert_eq!(told(&backend).await?, verdict("e-1", "Succeeded"));
    // Lambda repeats a call that it lost sight of, by when the release may look different.
    backend.function_fault(json!({"kind": "crash", "function": "login"})).await?;
    call(&backend, "e-1").await?.expect(200)?;
    assert_eq!(told(&backend).await?, verdict("e-1", "Succeeded"));
    Ok(())
}

#[tokio::test]
async fn one_refused_call_of_lambda_does_not_send_a_release_back() -> Result<()> {
    let backend = Backend::start().await?;
    for kind in ["throttle", "error_500", "drop_before", "drop_after"] {
        backend.fault(json!({"kind": kind, "service": "lambda"})).await?;
        let done = call(&backend, kind).await?.expect(200)?.field("result").clone();
        assert_eq!(done["passed"], true, "{kind}: {done}");
    }
    Ok(())
}

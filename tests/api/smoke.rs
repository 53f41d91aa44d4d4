//! The hook of a deployment: what CodeDeploy is told of a version that is sound, closed, broken or not there. Each function's
//! deployment has a hook of its own; here a deployment `d-login` hands the calls of `login` to the one version that there is.

use crate::{logs::alone, prelude::*};

const FUNCTIONS: [&str; 5] = ["keys", "health", "login", "refresh", "mfa"];

/// Calls the hook as CodeDeploy does.
async fn call(backend: &Backend, deployment: &str, execution: &str) -> Result<Answer> {
    let event = json!({"DeploymentId": deployment, "LifecycleEventHookExecutionId": execution});
    backend.invoke("smoke", &event).await
}

/// What CodeDeploy was told, by the hook's execution.
async fn told(backend: &Backend) -> Result<Value> {
    Ok(backend.console("GET", "deployments", None).await?.expect(200)?.json()["deployments"].clone())
}

fn verdict(deployment: &str, execution: &str, status: &str) -> Value {
    json!({execution: {"deployment": deployment, "status": status}})
}

/// Whether the version of a function passes, and what is found of it. CodeDeploy is told the same.
async fn tried(backend: &Backend, deployment: &str) -> Result<(bool, String)> {
    let execution = format!("e-{deployment}");
    let done = call(backend, deployment, &execution).await?.expect(200)?.field("result").clone();
    let passed = done["passed"].as_bool().context("no verdict")?;
    let status = if passed { "Succeeded" } else { "Failed" };
    let told = told(backend).await?;
    assert_eq!(told[&execution], json!({"deployment": deployment, "status": status}), "{done}");
    Ok((passed, done["findings"].as_str().context("no findings")?.to_owned()))
}

/// The functions whose deployments go back, with what is found of them.
async fn refused(backend: &Backend) -> Result<Vec<(&'static str, String)>> {
    let mut refused = Vec::new();
    for function in FUNCTIONS {
        let (passed, findings) = tried(backend, &format!("d-{function}")).await?;
        if !passed {
            refused.push((function, findings));
        }
    }
    Ok(refused)
}

fn names<'a>(refused: &[(&'a str, String)]) -> Vec<&'a str> {
    refused.iter().map(|(function, _)| *function).collect()
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
    for (function, answer) in [
        ("keys", "200"),
        ("health", "200"),
        ("login", "401 invalid_token"),
        ("refresh", "401 invalid_token"),
        ("mfa", "401 invalid_token"),
    ] {
        let found = tried(&backend, &format!("d-{function}")).await?;
        assert_eq!(found, (true, format!("sallyport-local-{function}:1: {answer}")));
    }
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
fn one_line_names_the_deployment_and_what_the_version_answered() -> Result<()> {
    alone("smoke::one_line_names_the_deployment_and_what_the_version_answered", async {
        let backend = Backend::start().await?;
        call(&backend, "d-login", "e-0").await?.expect(200)?;
        backend.function_fault(json!({"kind": "crash", "function": "login"})).await?;
        let done = call(&backend, "d-login", "e-1").await?.expect(200)?.field("result").clone();
        let lines: Vec<_> = backend.logs().await?.into_iter().map(|line| line["line"].clone()).collect();
        for (message, level) in
            [("the release answers", "INFO"), ("the release does not answer as it should", "ERROR")]
        {
            let told: Vec<_> = lines.iter().filter(|line| line["message"] == message).collect();
            assert_eq!(told.len(), 1, "{message}");
            assert_eq!((&told[0]["level"], &told[0]["deployment"]), (&json!(level), &json!("d-login")));
            let findings = told[0]["findings"].as_str().unwrap_or_default();
            assert!(findings.starts_with("sallyport-local-login:1: "), "{findings}");
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
    for function in ["login", "refresh", "mfa"] {
        let (passed, findings) = tried(&backend, &format!("d-{function}")).await?;
        assert!(passed && findings.ends_with("503 maintenance"), "{findings}");
    }
    Ok(())
}

#[tokio::test]
async fn a_release_that_does_not_reach_the_keyring_goes_back() -> Result<()> {
    let backend = started_under(json!({"kind": "refuse", "service": "secretsmanager"})).await?;
    let refused = refused(&backend).await?;
    assert_eq!(names(&refused), FUNCTIONS, "{refused:?}");
    assert!(refused[1].1.contains("503 (keyring down) instead of 200 and ready"), "{refused:?}");
    assert!(refused[2].1.contains("503 keyring_unavailable instead of 401 invalid_token"), "{refused:?}");
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
        let refused = refused(&backend).await?;
        assert_eq!(names(&refused), culprits, "{table}: {refused:?}");
        if culprits == ["health"] {
            assert!(refused[0].1.contains(&format!("503 ({table} down)")), "{refused:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_function_that_crashes_or_may_not_run_sends_its_release_back_and_is_named() -> Result<()> {
    for (kind, said) in [("crash", "Unhandled"), ("timeout", "Unhandled"), ("throttle", "TooManyRequests")] {
        for function in FUNCTIONS {
            let backend = Backend::start().await?;
            backend.function_fault(json!({"kind": kind, "function": function})).await?;
            let refused = refused(&backend).await?;
            // Who asks `keys` whether the keyring reads is told nothing.
            let expected = if function == "keys" { vec!["keys", "health"] } else { vec![function] };
            assert_eq!(names(&refused), expected, "{kind}: {refused:?}");
            assert!(refused[0].1.contains(said), "{kind}: {refused:?}");
        }
    }
    Ok(())
}

/// Were it one that the environment names, an old version could be tried in place of the new one.
#[tokio::test]
async fn the_version_that_codedeploy_shifts_to_is_tried_whatever_the_environment_names() -> Result<()> {
    let environment =
        [("SALLYPORT_SMOKE_VERSIONS".to_owned(), "login=sallyport-local-login:1".to_owned())].into();
    let backend = Backend::start_as(local::Options { environment, ..local::Options::default() }).await?;
    let (passed, findings) = tried(&backend, "d-login-2").await?;
    assert!(!passed && findings.starts_with("sallyport-local-login:2: no answer"), "{findings}");
    assert!(findings.contains("ResourceNotFoundException"), "{findings}");
    Ok(())
}

#[tokio::test]
async fn a_deployment_of_nothing_that_answers_callers_goes_back() -> Result<()> {
    let backend = Backend::start().await?;
    let (passed, findings) = tried(&backend, "d-responder").await?;
    assert!(!passed && findings.ends_with("no function that answers callers"), "{findings}");
    Ok(())
}

#[tokio::test]
async fn an_event_without_ids_is_refused_and_nobody_is_asked_or_told() -> Result<()> {
    let backend = Backend::start().await?;
    for event in [
        json!({}),
        json!({"DeploymentId": "d-login"}),
        json!({"LifecycleEventHookExecutionId": "e-1"}),
        json!({"DeploymentId": "d-login", "LifecycleEventHookExecutionId": ""}),
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
async fn a_deployment_that_codedeploy_does_not_show_is_not_judged() -> Result<()> {
    let backend = Backend::start().await?;
    for kind in ["error_500", "drop_before", "throttle"] {
        let fault = json!({"kind": kind, "service": "codedeploy", "operation": "GetDeployment", "count": 4});
        backend.fault(fault).await?;
        let failed = call(&backend, "d-login", kind).await?.expect(500)?.json();
        assert_eq!(failed["error"]["code"], "dependency_unavailable", "{failed}");
        assert_eq!(told(&backend).await?.get(kind), None);
        call(&backend, "d-login", kind).await?.expect(200)?;
        assert_eq!(told(&backend).await?[kind]["status"], "Succeeded");
    }
    let failed = call(&backend, "unknown", "e-1").await?.expect(500)?.json();
    assert_eq!(failed["error"]["code"], "dependency_unavailable", "{failed}");
    assert_eq!(told(&backend).await?.get("e-1"), None);
    Ok(())
}

const TELL: &str = "PutLifecycleEventHookExecutionStatus";

#[tokio::test]
async fn a_verdict_that_codedeploy_does_not_take_fails_the_call_and_the_next_one_tells_it() -> Result<()> {
    let backend = Backend::start().await?;
    for kind in ["error_500", "drop_before", "throttle"] {
        let fault = json!({"kind": kind, "service": "codedeploy", "operation": TELL, "count": 4});
        backend.fault(fault).await?;
        let failed = call(&backend, "d-login", kind).await?.expect(500)?.json();
        assert_eq!(failed["error"]["code"], "dependency_unavailable", "{failed}");
        assert_eq!(told(&backend).await?.get(kind), None);
        call(&backend, "d-login", kind).await?.expect(200)?;
        assert_eq!(told(&backend).await?[kind]["status"], "Succeeded");
    }
    Ok(())
}

#[tokio::test]
async fn a_verdict_whose_reply_was_lost_is_told_once_and_stands() -> Result<()> {
    let backend = Backend::start().await?;
    backend.fault(json!({"kind": "drop_after", "service": "codedeploy", "operation": TELL})).await?;
    call(&backend, "d-login", "e-1").await?.expect(200)?;
    assert_eq!(told(&backend).await?, verdict("d-login", "e-1", "Succeeded"));
    // Lambda repeats a call that it lost sight of, by when the release may look different.
    backend.function_fault(json!({"kind": "crash", "function": "login"})).await?;
    call(&backend, "d-login", "e-1").await?.expect(200)?;
    assert_eq!(told(&backend).await?, verdict("d-login", "e-1", "Succeeded"));
    Ok(())
}

#[tokio::test]
async fn one_refused_call_of_lambda_does_not_send_a_release_back() -> Result<()> {
    let backend = Backend::start().await?;
    for kind in ["throttle", "error_500", "drop_before", "drop_after"] {
        backend.fault(json!({"kind": kind, "service": "lambda"})).await?;
        let done = call(&backend, "d-login", kind).await?.expect(200)?.field("result").clone();
        assert_eq!(done["passed"], true, "{kind}: {done}");
    }
    Ok(())
}

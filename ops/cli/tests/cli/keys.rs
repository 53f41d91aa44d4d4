use std::thread;

use serde_json::{Value, json};

use crate::support::{Empty, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_keyring_is_filled_once_and_its_keys_are_never_shown() -> anyhow::Result<()> {
    let empty = Empty::start().await?;
    let shell = &empty.shell;
    assert_eq!(shell.run("keys list --json")?.json(0)?["filled"], false);
    assert_eq!(
        shell.run("keys init --dry-run")?.stdout,
        "would fill the keyring with an ES256 key; nothing was changed\n"
    );
    assert_eq!(shell.run("keys list --json")?.json(0)?["filled"], false);

    let first = shell.run("keys init --json")?.json(0)?;
    assert_eq!(first["created"], true);
    let second = shell.run("keys init --algorithm RS256 --json")?.json(0)?;
    assert_eq!(
        (&second["created"], &second["kid"], &second["algorithm"]),
        (&Value::Bool(false), &first["kid"], &Value::from("ES256"))
    );

    let listed = shell.run("keys list --json")?.json(0)?;
    let kinds: Vec<_> =
        listed["keys"].as_array().into_iter().flatten().map(|key| key["kind"].clone()).collect();
    assert_eq!(kinds, ["signing", "refresh", "device", "pepper", "aead"]);
    for key in listed["keys"].as_array().into_iter().flatten() {
        let members: Vec<_> = key.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        assert_eq!(members, ["age_seconds", "algorithm", "created_at", "id", "kind", "next", "state"]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_fill_the_keyring_at_once_one_wins_and_all_see_its_keys() -> anyhow::Result<()> {
    for _ in 0..3 {
        let empty = Empty::start().await?;
        let shell = &empty.shell;
        let reports = thread::scope(|scope| {
            let runs: Vec<_> =
                (0..6).map(|_| scope.spawn(|| shell.run("keys init --json")?.json(0))).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect::<anyhow::Result<Vec<_>>>()
        })?;
        let winners: Vec<_> = reports.iter().filter(|report| report["created"] == true).collect();
        assert_eq!(winners.len(), 1, "{reports:?}");
        assert!(reports.iter().all(|report| report["kid"] == winners[0]["kid"]), "{reports:?}");
        let listed = shell.run("keys list --json")?.json(0)?;
        assert_eq!(listed["keys"][0]["id"], winners[0]["kid"]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_rsa_keyring_is_generated_where_one_is_asked_for() -> anyhow::Result<()> {
    let empty = Empty::start().await?;
    assert_eq!(empty.shell.run("keys init --algorithm rs256 --json")?.json(0)?["algorithm"], "RS256");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_keys_says_that_there_are_none() -> anyhow::Result<()> {
    let empty = Empty::start().await?;
    let run = empty.shell.run_with("user create ada@example.com --password-stdin", "correct horse")?;
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (1, "error: the keyring is empty: run `sallyport keys init` first\n")
    );
    Ok(())
}

fn states(listed: &Value, kind: &str) -> Vec<String> {
    let keys = listed["keys"].as_array().into_iter().flatten();
    keys.filter(|key| key["kind"] == kind).map(|key| key["state"].as_str().unwrap().to_owned()).collect()
}

/// The keys as listed, but for how old they are: the clock goes on between two lists.
fn without_ages(mut listed: Value) -> Value {
    for key in listed["keys"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        key.remove("age_seconds");
    }
    listed["keys"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_goes_step_by_step_and_tells_when_the_next_may_come() -> anyhow::Result<()> {
    let empty = Empty::filled().await?;
    let shell = &empty.shell;
    let before = without_ages(shell.run("keys list --json")?.json(0)?);
    let rehearsed = shell.run("keys rotate --dry-run --json")?.json(0)?;
    assert_eq!((&rehearsed["step"], &rehearsed["dry_run"]), (&json!("publish"), &json!(true)));
    assert_eq!(without_ages(shell.run("keys list --json")?.json(0)?), before);

    let published = shell.run("keys rotate --json")?.json(0)?;
    assert_eq!(published["step"], "publish");
    assert_eq!(published["changes"].as_array().map(Vec::len), Some(3));
    let listed = shell.run("keys list --json")?.json(0)?;
    assert_eq!(states(&listed, "signing"), ["current", "next"]);
    assert_eq!(states(&listed, "pepper"), ["current"]);
    let next = listed["keys"][1]["next"].as_str().unwrap_or_default();
    assert!(next.starts_with("may be used in 2 h"), "{next}");

    let (code, message) = shell.run("keys rotate --json")?.error(4)?;
    assert_eq!(code, "too_early");
    assert!(message.contains(" may be used in 2 h: "), "{message}");
    let (code, _) = shell.run("keys rotate --kind pepper --json")?.error(4)?;
    assert_eq!(code, "too_early");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_use_is_revoked_by_emergency_alone_and_another_signs_at_once() -> anyhow::Result<()> {
    let empty = Empty::filled().await?;
    let shell = &empty.shell;
    let kid = shell.run("keys list --json")?.json(0)?["keys"][0]["id"].as_str().unwrap().to_owned();
    let (code, message) = shell.run(&format!("keys revoke {kid} --json"))?.error(4)?;
    assert_eq!(code, "key_current");
    assert!(message.contains("--emergency"), "{message}");
    let rehearsed = shell.run(&format!("keys rotate --emergency {kid} --dry-run --json"))?.json(0)?;
    assert_eq!(rehearsed["dry_run"], true);
    assert_eq!(states(&shell.run("keys list --json")?.json(0)?, "signing"), ["current"]);

    let revoked = shell.run(&format!("keys rotate --emergency {kid}"))?;
    assert_eq!(revoked.code, 0, "{revoked:?}");
    assert!(revoked.stdout.contains(&format!("signing:{kid}: revoked")), "{revoked:?}");
    assert!(revoked.stdout.contains("nobody is signed out"), "{revoked:?}");
    let listed = shell.run("keys list --json")?.json(0)?;
    assert_eq!(states(&listed, "signing"), ["revoked", "current"]);

    for command in ["rotate --emergency", "revoke", "revoke --dry-run"] {
        let line = format!("keys {command} {kid}");
        let again = shell.run(&line)?;
        assert_eq!(again.code, 0, "{line}: {again:?}");
        assert!(again.stdout.ends_with(" is revoked already; nothing was changed\n"), "{line}: {again:?}");
        assert_eq!(shell.run(&format!("{line} --json"))?.json(0)?["changed"], false, "{line}");
    }
    for (line, exit, code) in [
        ("keys revoke nokey".to_owned(), 3, "key_not_found"),
        ("keys rotate --emergency pepper:1".to_owned(), 4, "key_indispensable"),
        ("keys revoke refresh:x".to_owned(), 2, "usage"),
    ] {
        assert_eq!(shell.run(&format!("{line} --json"))?.error(exit)?.0, code, "{line}");
    }
    assert_eq!(without_ages(shell.run("keys list --json")?.json(0)?), without_ages(listed));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_signing_key_is_out_of_use_in_running_functions_within_ten_seconds() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let token = |tokens: &Value| tokens["access_token"].as_str().unwrap_or_default().to_owned();
    // It names the key.
    let header = |tokens: &Value| token(tokens).split('.').next().unwrap_or_default().to_owned();
    let factors = async |tokens: &Value| world.get("/api/v1/mfa/factors", &token(tokens)).await;
    let (_, tokens) = world.sign_in(crate::support::PASSWORD).await?;
    // Every function has a copy of the keyring by now, and it is young.
    assert_eq!((factors(&tokens).await?, world.refresh(&tokens).await?), (200, 200));
    let kid = world.shell.run("keys list --json")?.json(0)?["keys"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(world.shell.run(&format!("keys rotate --emergency {kid}"))?.code, 0);

    world.post("/_local/clock", None, &json!({"advance_seconds": 10})).await?;
    assert_eq!(factors(&tokens).await?, 401);
    let (_, again) = world.sign_in(crate::support::PASSWORD).await?;
    assert_ne!(header(&again), header(&tokens));
    assert_eq!((factors(&again).await?, world.refresh(&again).await?), (200, 200));
    // A mode that is set later leaves it so.
    assert_eq!(world.shell.run("mode set degraded users --for 1h --reason drill")?.code, 0);
    let standing = world.shell.run("mode status --json")?.json(0)?;
    assert_eq!(standing["modes"].as_array().map(Vec::len), Some(1), "{standing}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kid_that_begins_with_a_hyphen_is_a_kid() -> anyhow::Result<()> {
    let empty = Empty::filled().await?;
    // No such key: but it was understood.
    for line in ["rotate --emergency -cCTE0PKLluq", "revoke -cCTE0PKLluq", "revoke -cCTE0PKLluq --dry-run"] {
        let (code, message) = empty.shell.run(&format!("keys {line} --json"))?.error(3)?;
        assert!(message.contains("-cCTE0PKLluq"), "{line}: {code} {message}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_refresh_key_signs_out_whom_it_says_and_no_one_else() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let (_, tokens) = world.sign_in(crate::support::PASSWORD).await?;
    let revoked = world.shell.run("keys rotate --emergency refresh:1")?;
    assert!(revoked.stdout.contains("ends at its next refresh"), "{revoked:?}");
    world.post("/_local/clock", None, &json!({"advance_seconds": 10})).await?;
    assert_eq!(world.refresh(&tokens).await?, 401);
    let (status, again) = world.sign_in(crate::support::PASSWORD).await?;
    assert_eq!((status, world.refresh(&again).await?), (200, 200));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_whose_replies_are_lost_is_made_once_and_told_once() -> anyhow::Result<()> {
    for operation in ["PutSecretValue", "UpdateSecretVersionStage", "DescribeSecret", "GetSecretValue"] {
        for kind in ["drop_after", "drop_before", "throttle", "error_500"] {
            let world = World::start().await?;
            let rule = json!({"service": "secretsmanager", "kind": kind, "operation": operation, "count": 1});
            world.fault(&rule).await?;
            assert_eq!(
                world.shell.run("keys rotate --json")?.json(0)?["step"],
                "publish",
                "{operation} {kind}"
            );
            let listed = world.shell.run("keys list --json")?.json(0)?;
            assert_eq!(states(&listed, "signing"), ["current", "next"], "{operation} {kind}");
        }
    }
    Ok(())
}

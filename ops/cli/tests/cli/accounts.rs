use anyhow::{Context as _, ensure};
use serde_json::json;

use crate::support::{PASSWORD, World};

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_was_created_signs_in_and_is_shown_with_its_session() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let (status, tokens) = world.sign_in(PASSWORD).await?;
    assert_eq!(status, 200);
    let shown = world.shell.run("user show Ada@Example.com --json")?.json(0)?;
    assert_eq!(shown["email"], "ada@example.com");
    assert_eq!(shown["status"], "active");
    assert_eq!(shown["verified"], true);
    assert_eq!(shown["sessions"][0]["id"], tokens["session_id"]);
    assert_eq!(shown["sessions"][0]["aal"], 1);
    let kinds: Vec<_> =
        shown["events"].as_array().into_iter().flatten().map(|event| &event["kind"]).collect();
    assert_eq!(kinds, ["login.succeeded", "account.created"]);
    assert_eq!(shown["events"][1]["actor"], "operator grace@desk");

    let text = world.shell.run("user show ada@example.com")?;
    assert_eq!(text.code, 0);
    for expected in
        ["status          active", "SESSION", "login.succeeded", "No second factor.", "No failed attempts."]
    {
        assert!(text.stdout.contains(expected), "{expected} is not in\n{}", text.stdout);
    }
    assert!(!text.stdout.contains(PASSWORD) && !text.stdout.contains("argon2"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_password_is_shown_once_and_works() -> anyhow::Result<()> {
    let world = World::start().await?;
    let created = world.shell.run("user create ada@example.com --generate --json")?.json(0)?;
    let password = created["password"].as_str().unwrap_or_default();
    assert_eq!(world.sign_in(password).await?.0, 200);
    let shown = world.shell.run("user show ada@example.com --json")?;
    assert!(!shown.stdout.contains(password));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_created_once_and_a_dry_run_creates_none() -> anyhow::Result<()> {
    let world = World::start().await?;
    let dry =
        world.shell.run_with("user create ada@example.com --password-stdin --dry-run --json", PASSWORD)?;
    assert_eq!(dry.json(0)?, json!({"email": "ada@example.com", "user_id": null, "dry_run": true}));
    assert_eq!(world.shell.run("user show ada@example.com --json")?.error(3)?.0, "account_not_found");

    let create = "user create ada@example.com --password-stdin --json";
    world.shell.run_with(create, PASSWORD)?.json(0)?;
    let (code, message) = world.shell.run_with(create, "another password")?.error(4)?;
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("account_exists", "there is an account with the address ada@example.com already",)
    );
    assert_eq!(world.sign_in(PASSWORD).await?.0, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_too_short_changes_nothing() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    for (line, stdin) in [
        ("user create eve@example.com --password-stdin --json", "1234567\n"),
        ("user create eve@example.com --password-stdin --json", ""),
        ("user set-password ada@example.com --password-stdin --json", "short"),
    ] {
        assert_eq!(world.shell.run_with(line, stdin)?.error(2)?.0, "invalid_password", "{line}");
    }
    assert_eq!(world.shell.run("user show eve@example.com --json")?.error(3)?.0, "account_not_found");
    assert_eq!(world.sign_in(PASSWORD).await?.0, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn disabling_ends_sessions_and_enabling_lets_in_again() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let (_, tokens) = world.sign_in(PASSWORD).await?;

    let dry = world.shell.run("user disable ada@example.com --dry-run --json")?.json(0)?;
    assert_eq!((&dry["changed"], &dry["sessions_ended"]), (&json!(false), &json!(1)));
    assert_eq!(world.sign_in(PASSWORD).await?.0, 200);

    let disabled = world.shell.run("user disable ada@example.com")?;
    assert_eq!(disabled.code, 0);
    assert_eq!(
        disabled.stdout,
        "disabled ada@example.com, 2 sessions ended; access tokens that are out live up to 5 minutes\n"
    );
    assert_eq!(world.refresh(&tokens).await?, 401);
    assert_eq!(world.sign_in(PASSWORD).await?.0, 401);

    let again = world.shell.run("user disable ada@example.com")?;
    assert_eq!(
        (again.code, again.stdout.as_str()),
        (0, "ada@example.com is disabled already; nothing was changed\n")
    );

    world.shell.run("user enable ada@example.com --json")?.json(0)?;
    assert_eq!(world.sign_in(PASSWORD).await?.0, 200);
    let shown = world.shell.run("user show ada@example.com --json")?.json(0)?;
    let kinds: Vec<_> =
        shown["events"].as_array().into_iter().flatten().map(|event| &event["kind"]).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "account.disabled").count(), 1, "{kinds:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_revoked_and_signing_in_goes_on() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let (_, tokens) = world.sign_in(PASSWORD).await?;
    let revoked = world.shell.run("user revoke-sessions ada@example.com --json")?.json(0)?;
    assert_eq!(revoked["sessions_ended"], 1);
    assert_eq!(world.refresh(&tokens).await?, 401);
    assert_eq!(world.sign_in(PASSWORD).await?.0, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_replaces_the_old_one_and_ends_sessions() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let (_, tokens) = world.sign_in(PASSWORD).await?;
    let set = world
        .shell
        .run_with("user set-password ada@example.com --password-stdin --json", "a brand new one\n")?;
    assert_eq!(set.json(0)?["change"], "password_set");
    assert_eq!(world.refresh(&tokens).await?, 401);
    assert_eq!(world.sign_in(PASSWORD).await?.0, 401);
    assert_eq!(world.sign_in("a brand new one").await?.0, 200);
    Ok(())
}

/// What refuses an owner and can't be listed can't be opened either: pools of devices were found through live sessions alone.
#[tokio::test(flavor = "multi_thread")]
async fn every_pool_is_listed_explained_and_opened_also_of_a_device_that_is_signed_out() -> anyhow::Result<()>
{
    let world = World::with_ada().await?;
    let (_, tokens) = world.sign_in(PASSWORD).await?;
    let (_, other) = world.sign_in(PASSWORD).await?;
    let bearer = |tokens: &serde_json::Value| tokens["access_token"].as_str().unwrap_or_default().to_owned();
    let signed_out = world.post("/api/v1/auth/logout", Some(&bearer(&tokens)), &json!({})).await?;
    assert_eq!(signed_out.0, 204);
    let known = |password: &str| json!({"email": "ada@example.com", "password": password, "device_token": tokens["device_token"]});
    // Five in the device's own pool, five with the strangers; and five in that of another device.
    for _ in 0..10 {
        assert_eq!(world.post("/api/v1/auth/login", None, &known("wrong")).await?.0, 401);
    }
    for _ in 0..5 {
        let wrong = json!({"password": "wrong"});
        let refused = world.post("/api/v1/auth/reauthenticate", Some(&bearer(&other)), &wrong).await?;
        assert_eq!(refused.0, 401);
    }
    assert_eq!(world.post("/api/v1/auth/login", None, &known(PASSWORD)).await?.0, 429);

    let shown = world.shell.run("user show ada@example.com --json")?.json(0)?;
    let pools = shown["pools"].as_array().context("no pools")?;
    let of = |gives_way: bool| pools.iter().filter(|pool| pool["gives_way"] == gives_way).count();
    assert_eq!((of(true), of(false)), (2, 1), "{shown}");
    assert!(pools.iter().all(|pool| pool["state"] == "locked"), "{shown}");
    let explained = world.shell.run("explain user ada@example.com --json")?.json(0)?;
    let causes = explained["causes"].as_array().context("no causes")?;
    assert_eq!(causes.iter().filter(|cause| cause["code"] == "locked").count(), 3, "{explained}");

    let unlocked = world.shell.run("user unlock ada@example.com --json")?.json(0)?;
    assert_eq!(unlocked["pools_cleared"], 3);
    let shown = world.shell.run("user show ada@example.com --json")?.json(0)?;
    assert_eq!(shown["pools"], json!([]));
    assert_eq!(world.post("/api/v1/auth/login", None, &known(PASSWORD)).await?.0, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lockout_is_shown_and_lifted() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let nothing = world.shell.run("user unlock ada@example.com")?;
    assert_eq!(nothing.stdout, "ada@example.com has no failed attempts; nothing was changed\n");
    for _ in 0..5 {
        assert_eq!(world.sign_in("wrong").await?.0, 401);
    }
    ensure!(world.sign_in(PASSWORD).await?.0 == 429);

    let shown = world.shell.run("user show ada@example.com --json")?.json(0)?;
    assert_eq!(shown["pools"][0]["state"], "locked");
    assert_eq!(shown["pools"][0]["failed"], 5);

    world.shell.run("user unlock ada@example.com --dry-run --json")?.json(0)?;
    ensure!(world.sign_in(PASSWORD).await?.0 == 429);
    let unlocked = world.shell.run("user unlock ada@example.com --json")?.json(0)?;
    assert_eq!(unlocked["pools_cleared"], 1);
    assert_eq!(world.sign_in(PASSWORD).await?.0, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_not_there_is_one_line_for_every_command() -> anyhow::Result<()> {
    let world = World::start().await?;
    for line in ["show", "disable", "enable", "unlock", "reset-mfa", "revoke-sessions"] {
        let run = world.shell.run(&format!("user {line} nobody@example.com"))?;
        assert_eq!((run.code, run.stdout.as_str()), (3, ""));
        assert_eq!(run.stderr, "error: there is no account with the address nobody@example.com\n");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_disabled_while_the_keyring_is_away() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    world.fault(&json!({"kind": "refuse", "service": "secretsmanager"})).await?;
    let disabled = world.shell.run("user disable ada@example.com --json")?.json(0)?;
    assert_eq!(disabled["changed"], true);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_creates_one_account_and_says_so() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.fault(&json!({"kind": "drop_after", "operation": "TransactWriteItems"})).await?;
    let created = world.shell.run_with("user create ada@example.com --password-stdin --json", PASSWORD)?;
    assert!(created.json(0)?["user_id"].is_string());
    assert_eq!(world.sign_in(PASSWORD).await?.0, 200);
    Ok(())
}

/// Enrols an authenticator for Ada, and signs her in as far as its code.
async fn with_factor(world: &World) -> anyhow::Result<serde_json::Value> {
    let (_, tokens) = world.sign_in(PASSWORD).await?;
    let bearer = tokens["access_token"].as_str();
    let (status, enrolled) = world.post("/api/v1/mfa/totp", bearer, &json!({"label": "phone"})).await?;
    ensure!(status == 201, "{enrolled}");
    let secret = enrolled["secret"].as_str().context("secret")?;
    let code = world.shell.run(&format!("totp code --secret {secret} --json"))?.json(0)?;
    let body = json!({"factor_id": enrolled["factor_id"], "code": code["code"]});
    let (status, confirmed) = world.post("/api/v1/mfa/totp/confirm", bearer, &body).await?;
    ensure!(status == 200, "{confirmed}");
    let (status, pending) = world.sign_in(PASSWORD).await?;
    ensure!(status == 200 && pending["mfa_token"].is_string(), "{pending}");
    Ok(json!({"tokens": tokens, "mfa_token": pending["mfa_token"], "codes": confirmed["recovery_codes"]}))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_who_lost_every_factor_signs_in_by_password_after_a_reset() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let none = world.shell.run("user reset-mfa ada@example.com")?;
    assert_eq!(
        (none.code, none.stdout.as_str()),
        (0, "ada@example.com has no second factor; nothing was changed\n")
    );
    let held = with_factor(&world).await?;
    let dry = world.shell.run("user reset-mfa ada@example.com --dry-run")?;
    assert_eq!(
        dry.stdout,
        "would remove all second factors of ada@example.com, 1 factor, 10 recovery codes, 1 session; nothing was changed\n"
    );
    let before = world.shell.run("user show ada@example.com --json")?.json(0)?;
    assert_eq!(
        (&before["factors"][0]["label"], &before["recovery_codes_left"]),
        (&json!("phone"), &json!(10))
    );

    let reset = world.shell.run("user reset-mfa ada@example.com --json")?.json(0)?;
    assert_eq!(
        (&reset["change"], &reset["changed"], &reset["factors_removed"], &reset["recovery_codes_removed"]),
        (&json!("mfa_reset"), &json!(true), &json!(1), &json!(10))
    );
    assert_eq!(world.refresh(&held["tokens"]).await?, 401);
    let body = json!({"mfa_token": held["mfa_token"], "factor_id": "recovery", "code": held["codes"][0]});
    let (status, refused) = world.post("/api/v1/auth/mfa/verify", None, &body).await?;
    assert_eq!((status, &refused["code"]), (401, &json!("invalid_mfa_token")), "{refused}");
    let (status, tokens) = world.sign_in(PASSWORD).await?;
    ensure!(status == 200 && tokens["refresh_token"].is_string(), "{tokens}");

    let again = world.shell.run("user reset-mfa ada@example.com --json")?.json(0)?;
    assert_eq!((&again["changed"], &again["sessions_ended"]), (&json!(false), &json!(0)));
    assert_eq!(world.refresh(&tokens).await?, 200, "what changes nothing ends no session");
    let events = world.audit().await?;
    let resets: Vec<_> = events.iter().filter(|event| event["kind"] == "mfa.reset").collect();
    assert_eq!(resets.len(), 1, "{resets:?}");
    assert_eq!(resets[0]["actor"], "operator grace@desk");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn factors_are_reset_and_recorded_once_whatever_fails_once() -> anyhow::Result<()> {
    for kind in ["drop_before", "drop_after", "error_500", "throttle", "conflict"] {
        let world = World::with_ada().await?;
        with_factor(&world).await?;
        world.fault(&json!({"kind": kind, "operation": "TransactWriteItems"})).await?;
        let reset = world.shell.run("user reset-mfa ada@example.com --json")?.json(0)?;
        assert_eq!(reset["changed"], true, "{kind}: {reset}");
        let events = world.audit().await?;
        assert_eq!(events.iter().filter(|event| event["kind"] == "mfa.reset").count(), 1, "{kind}");
        assert_eq!(world.shell.run("user show ada@example.com --json")?.json(0)?["factors"], json!([]));
    }
    Ok(())
}

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use sallyport_aws::{Clients, Endpoints};
use serde_json::{Value, json};

use crate::support::{Shell, World};

fn outcome<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().unwrap();
    &checks.iter().find(|check| check["name"] == name).unwrap_or(&Value::Null)["outcome"]
}

#[tokio::test(flavor = "multi_thread")]
async fn preflight_lets_a_mode_and_a_migration_stand_out() -> anyhow::Result<()> {
    let world = World::start().await?;
    let report = world.shell.run("deploy preflight --json")?.json(0)?;
    assert_eq!(outcome(&report, "migrations"), "ok", "a new deployment begins at the newest format");
    // An item that an older release wrote, and nothing that says what was applied.
    let lookup = |name: &str| world.shell.environment.get(name).cloned();
    let clients = Clients::connect(&Endpoints::from_lookup(&lookup), "test", &lookup)?;
    let older = clients.dynamodb.put_item().table_name("sallyport-local-audit");
    let older = older.item("pk", AttributeValue::S("DEPLOYMENT".to_owned()));
    let older = older.item("sk", AttributeValue::S("0".to_owned()));
    older.item("v", AttributeValue::N("0".to_owned())).send().await?;
    let report = world.shell.run("deploy preflight --json")?.json(0)?;
    assert_eq!(outcome(&report, "migrations"), "warning");
    world.shell.run("migrate up --json")?.json(0)?;
    world.shell.run("mode set maintenance --for 1h --reason window --json")?.json(0)?;
    let report = world.shell.run("deploy preflight --json")?.json(5)?;
    assert_eq!((outcome(&report, "migrations"), outcome(&report, "modes")), (&json!("ok"), &json!("fault")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_uses_the_api_as_callers_do() -> anyhow::Result<()> {
    let world = World::start().await?;
    let report = world.shell.run("deploy verify --within 60000 --json")?.json(0)?;
    for name in ["live", "ready", "jwks", "discovery", "openapi", "refused sign-in", "errors of others"] {
        assert_eq!(outcome(&report, name), "ok", "{name}: {report:#}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_waits_for_a_maintenance_that_has_just_ended_and_not_for_one_that_lasts() -> anyhow::Result<()>
{
    let world = World::start().await?;
    let shell = &world.shell;
    assert_eq!(shell.run("mode set maintenance --for 1h --reason upgrade")?.code, 0);
    // The functions have seen it.
    world.post("/_local/clock", None, &json!({"advance_seconds": 10})).await?;
    assert_eq!(world.sign_in("correct horse").await?.0, 503);
    assert_eq!(shell.run("mode clear maintenance")?.code, 0);
    let report = shell.run("deploy verify --within 60000 --json")?.json(0)?;
    assert_eq!(outcome(&report, "refused sign-in"), "ok", "{report:#}");

    assert_eq!(shell.run("mode set maintenance --for 1h --reason upgrade")?.code, 0);
    world.post("/_local/clock", None, &json!({"advance_seconds": 10})).await?;
    let report = shell.run("deploy verify --within 60000 --json")?.json(5)?;
    assert_eq!(outcome(&report, "refused sign-in"), "fault", "{report:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_at_the_first_fault() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.fault(&json!({"kind": "refuse", "table": "throttle"})).await?;
    let report = world.shell.run("deploy verify --watch 1h --within 60000 --json")?.json(5)?;
    assert_eq!(outcome(&report, "refused sign-in"), "fault");
    let checks = report["checks"].as_array().unwrap();
    let fix =
        checks.iter().find(|check| check["name"] == "refused sign-in").unwrap()["fix"].as_str().unwrap();
    assert!(fix.starts_with("sallyport explain request ") && !fix.ends_with(" ID"), "{fix}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_takes_too_long_is_a_fault() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.fault(&json!({"kind": "slow", "table": "users", "delay_ms": 50, "function": "login"})).await?;
    let report = world.shell.run("deploy verify --within 40 --json")?.json(5)?;
    assert_eq!(outcome(&report, "refused sign-in"), "fault");
    Ok(())
}

#[test]
fn there_is_nothing_to_verify_where_nobody_says_what() -> anyhow::Result<()> {
    let shell = Shell::new(BTreeMap::new())?;
    assert_eq!(shell.run("deploy verify --json")?.error(2)?.0, "no_deployment");
    let run = shell.run("deploy verify --url http://127.0.0.1:1 --json")?;
    assert_eq!(outcome(&run.json(5)?, "live"), "fault");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_nothing_to_roll_back_on_this_machine() -> anyhow::Result<()> {
    let world = World::start().await?;
    for line in ["deploy rollback --json", "deploy rollback --dry-run --json"] {
        let (code, message) = world.shell.run(line)?.error(4)?;
        assert_eq!(code, "nothing_to_roll_back");
        assert!(message.starts_with("nothing to roll back: a backend on this machine"), "{message}");
    }
    Ok(())
}

#[test]
fn the_template_of_a_gradual_deployment_is_written_beside_the_other() -> anyhow::Result<()> {
    let shell = Shell::new(BTreeMap::new())?;
    let directory = tempfile::tempdir()?;
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../template.yaml");
    let from = directory.path().join("template.yaml");
    std::fs::copy(&shipped, &from)?;
    let to = directory.path().join("gradual.yaml");
    let line = format!("deploy template --from {} --to {}", from.display(), to.display());
    let run = shell.run(&format!("{line} --dry-run"))?;
    assert!(run.code == 0 && run.stdout.ends_with("; nothing was changed\n") && !to.exists(), "{run:?}");
    let run = shell.run(&line)?;
    assert!(run.stdout.contains("Next: sam build --template"), "{run:?}");
    let gradual = std::fs::read_to_string(&to)?;
    assert_eq!(gradual.matches("AutoPublishAlias: live").count(), 5);
    assert_eq!(gradual.matches("DeploymentPreference:").count(), 5);
    // Without CodeDeploy it has no hook either, and nothing that an emulator refuses.
    shell.run(&format!("{line} --at-once --json"))?.json(0)?;
    let at_once = std::fs::read_to_string(&to)?;
    assert_eq!(at_once.matches("AutoPublishAlias: live").count(), 5);
    assert!(!at_once.contains("DeploymentPreference:") && !at_once.contains("CodeDeployHook_"));
    assert_eq!(shell.run("deploy template --from nowhere.yaml --json")?.error(2)?.0, "template_unusable");
    // Aliases upon aliases, the template itself, and a place where its paths lead nowhere.
    let elsewhere = tempfile::tempdir()?;
    let twice = directory.path().join("twice.yaml");
    let within = directory.path().join(".").join("template.yaml");
    for (from, to, words) in [
        (&to, &twice, "it has aliases already"),
        (&from, &from, "it would write over the template"),
        (&from, &within, "it would write over the template"),
        (&from, &elsewhere.path().join("gradual.yaml"), "paths in the template are relative"),
        (&from, &elsewhere.path().join("nowhere/gradual.yaml"), "paths in the template are relative"),
    ] {
        for options in ["", " --at-once", " --dry-run"] {
            let line =
                format!("deploy template --from {} --to {}{options} --json", from.display(), to.display());
            let (code, message) = shell.run(&line)?.error(2)?;
            assert!(code == "template_unusable" && message.contains(words), "{line}: {code} {message}");
        }
    }
    assert!(!twice.exists() && std::fs::read_to_string(&from)? == std::fs::read_to_string(&shipped)?);
    Ok(())
}

#[test]
fn a_rollback_of_nothing_that_was_named_asks_which_deployment_as_its_siblings_do() -> anyhow::Result<()> {
    let shell = Shell::new(BTreeMap::new())?.with("AWS_REGION", "us-east-1");
    for verb in ["rollback", "rollback --dry-run", "prune", "settle", "preflight", "verify"] {
        let (code, _) = shell.run(&format!("deploy {verb} --json"))?.error(2)?;
        assert_eq!(code, "no_deployment", "{verb}");
    }
    Ok(())
}

/// `migrate up` of a fresh deployment records what was not needed: it is not applied before.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_is_called_applied_once_it_is() -> anyhow::Result<()> {
    let world = World::start().await?;
    let told = || -> anyhow::Result<(String, String)> {
        let of = |report: &Value, list: &str, name: &str| {
            let found = report[list].as_array().into_iter().flatten();
            let mut found = found.filter(|one| one["step"] == name || one["name"] == name);
            found.next().map(|one| one["what"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
        };
        let preflight: Value = serde_json::from_str(&world.shell.run("deploy preflight --json")?.stdout)?;
        let setup = world.shell.run("setup --json")?.json(0)?;
        Ok((of(&preflight, "checks", "migrations"), of(&setup, "steps", "item formats")))
    };
    let (preflight, setup) = told()?;
    assert!(preflight.starts_with("none is needed") && setup.contains("is needed"), "{preflight}; {setup}");
    let up = world.shell.run("migrate up")?.stdout;
    assert!(!up.contains("already"), "{up}");
    assert_eq!(told()?, ("all are applied".to_owned(), "all are applied".to_owned()));
    Ok(())
}

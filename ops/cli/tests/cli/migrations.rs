use std::thread;

use aws_sdk_dynamodb::types::AttributeValue;
use sallyport_aws::{Clients, Endpoints};
use serde_json::{Value, json};

use crate::support::{Empty, PASSWORD, Run, World};

#[tokio::test(flavor = "multi_thread")]
async fn migrations_go_up_and_down_and_twice_is_as_good_as_once() -> anyhow::Result<()> {
    let empty = Empty::start().await?;
    let shell = &empty.shell;
    let state = || anyhow::Ok(shell.run("migrate status --json")?.json(0)?["migrations"][0]["state"].clone());
    assert_eq!(state()?, "not needed");
    assert_eq!(
        shell.run("migrate up --dry-run")?.stdout,
        "would apply 0001 (baseline: items of format 1)\nnothing was changed\n"
    );
    assert_eq!(state()?, "not needed");
    assert_eq!(
        shell.run("migrate up")?.stdout,
        "applied 0001 (baseline: items of format 1), 0 items written\n"
    );
    assert_eq!(state()?, "applied");
    assert_eq!(shell.run("migrate up")?.stdout, "everything is applied already; nothing was changed\n");
    let status = shell.run("migrate status --json")?.json(0)?;
    assert_eq!((&status["up_to_date"], &status["migrations"][0]["by"]), (&json!(true), &json!("grace@desk")));

    assert_eq!(shell.run("migrate down --to 0001 --json")?.json(0)?["migrations"], json!([]));
    shell.run("migrate down --dry-run --json")?.json(0)?;
    assert_eq!(state()?, "applied");
    assert_eq!(
        shell.run("migrate down")?.stdout,
        "reverted 0001 (baseline: items of format 1), 0 items written\n"
    );
    assert_eq!(state()?, "not needed");
    assert_eq!(
        shell.run("migrate down")?.stdout,
        "nothing is applied that could be reverted; nothing was changed\n"
    );
    assert_eq!(shell.run("migrate up --to 0999 --json")?.error(3)?.0, "migration_not_found");
    Ok(())
}

/// A new deployment begins at the newest format: nobody has to migrate it. One with an item of an older format is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_deployment_needs_no_migration_and_one_with_older_items_does() -> anyhow::Result<()> {
    let filled = Empty::filled().await?;
    let status = || filled.shell.run("migrate status --json")?.json(0);
    let told = status()?;
    assert_eq!((&told["up_to_date"], &told["migrations"][0]["state"]), (&json!(true), &json!("not needed")));
    let lookup = |name: &str| filled.shell.environment.get(name).cloned();
    let clients = Clients::connect(&Endpoints::from_lookup(&lookup), "test", &lookup)?;
    clients
        .dynamodb
        .put_item()
        .table_name("sallyport-local-audit")
        .item("pk", AttributeValue::S("DEPLOYMENT".to_owned()))
        .item("sk", AttributeValue::S("0".to_owned()))
        .item("v", AttributeValue::N("0".to_owned()))
        .send()
        .await?;
    let told = status()?;
    assert_eq!((&told["up_to_date"], &told["migrations"][0]["state"]), (&json!(false), &json!("pending")));
    filled.shell.run("migrate up --json")?.json(0)?;
    assert_eq!(status()?["migrations"][0]["state"], "applied");
    Ok(())
}

/// Runs `line` six times at once; who did it, and who found it done or being done.
fn at_once(empty: &Empty, line: &str) -> anyhow::Result<(usize, Vec<Run>)> {
    let runs: Vec<_> = thread::scope(|scope| {
        let runs: Vec<_> = (0..6).map(|_| scope.spawn(|| empty.shell.run(line))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect::<anyhow::Result<_>>()
    })?;
    let did = runs.iter().filter(|run| {
        let report: Value = serde_json::from_str(&run.stdout).unwrap_or_default();
        report["migrations"].as_array().is_some_and(|done| !done.is_empty())
    });
    Ok((did.count(), runs))
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_who_migrate_at_once_apply_once_and_revert_once() -> anyhow::Result<()> {
    let empty = Empty::start().await?;
    for line in ["migrate up --json", "migrate down --json"] {
        let (did, runs) = at_once(&empty, line)?;
        assert_eq!(did, 1, "{runs:?}");
        assert!(runs.iter().all(|run| run.code == 0 || run.code == 4), "{runs:?}");
    }
    assert_eq!(empty.shell.run("migrate status --json")?.json(0)?["migrations"][0]["state"], "not needed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_backend_writes_reads() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    assert_eq!(world.sign_in(PASSWORD).await?.0, 200);
    assert_eq!(world.sign_in("wrong").await?.0, 401);
    world.shell.run("client add billing --json")?.json(0)?;
    world.shell.run("migrate up --json")?.json(0)?;
    let report = world.shell.run("migrate validate --json")?.json(0)?;
    assert_eq!(report["corrupt"], json!([]));
    let tables: Vec<_> = report["tables"].as_array().into_iter().flatten().collect();
    for (table, least) in tables.iter().zip([2, 1, 1, 0, 3, 2]) {
        let items = table["items"].as_u64().unwrap_or_default();
        assert!(items >= least, "{table}");
        let formats = if items == 0 { json!({}) } else { json!({"1": items}) };
        assert_eq!(table["formats"], formats, "{table}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_item_is_found_by_table_key_and_attribute() -> anyhow::Result<()> {
    let filled = Empty::filled().await?;
    let lookup = |name: &str| filled.shell.environment.get(name).cloned();
    let clients = Clients::connect(&Endpoints::from_lookup(&lookup), "test", &lookup)?;
    clients
        .dynamodb
        .put_item()
        .table_name("sallyport-local-ops")
        .item("pk", AttributeValue::S("CLIENT".to_owned()))
        .item("sk", AttributeValue::S("billing".to_owned()))
        .item("v", AttributeValue::N("1".to_owned()))
        .item("secret", AttributeValue::S("in the clear".to_owned()))
        .item("created_at", AttributeValue::N("1".to_owned()))
        .send()
        .await?;
    let run = filled.shell.run("migrate validate")?;
    assert_eq!(run.code, 5);
    assert!(
        run.stdout.contains("corrupt: ops: CLIENT / billing: attribute secret: not binary\n"),
        "{}",
        run.stdout
    );
    assert!(!run.stdout.contains("in the clear"));
    Ok(())
}

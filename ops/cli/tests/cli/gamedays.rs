use serde_json::Value;

use crate::support::{Empty, Shell, World};

#[test]
fn the_games_are_listed_without_a_backend() -> anyhow::Result<()> {
    let shell = Shell::new(std::collections::BTreeMap::new())?;
    let listed = shell.run("gameday list --json")?.json(0)?;
    let names: Vec<_> = listed["games"].as_array().unwrap().iter().map(|game| &game["name"]).collect();
    assert_eq!(names, ["table-throttled", "keyring-unreachable", "stuffing", "slow-database", "expired-key"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_game_is_played_on_this_machine_alone() -> anyhow::Result<()> {
    let empty = Empty::start().await?;
    let error = |line: &str, code| empty.shell.run(line).and_then(|run| run.error(code));
    assert_eq!(error("gameday run nothing --json", 3)?.0, "game_not_found");
    assert_eq!(error("gameday run stuffing --stack prod --json", 2)?.0, "not_here");
    let elsewhere =
        Shell::new(std::collections::BTreeMap::new())?.with("SALLYPORT_ISSUER", "https://id.example.com");
    assert_eq!(elsewhere.run("gameday run stuffing --json")?.error(2)?.0, "no_deployment");
    Ok(())
}

async fn play(name: &str) -> anyhow::Result<(Value, String)> {
    let world = World::start().await?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("report.md");
    let run = world.shell.run(&format!("gameday run {name} --report {} --json", path.display()))?;
    let scored: Value = serde_json::from_str(&run.stdout).map_err(|_| anyhow::anyhow!("{run:?}"))?;
    assert_eq!(scored["passed"], true, "{scored:#}");
    assert_eq!(run.code, 0);
    Ok((scored, std::fs::read_to_string(path)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_table_is_detected_paged_mitigated_and_recovered_from() -> anyhow::Result<()> {
    let (scored, report) = play("table-throttled").await?;
    let stages: Vec<_> = scored["stages"].as_array().unwrap().iter().map(|stage| &stage["name"]).collect();
    assert_eq!(stages, ["detection", "page", "mitigation", "recovery"]);
    assert!(scored["incident"].as_str().unwrap().starts_with("inc_"));
    assert!(report.contains("# Game day: table-throttled") && report.contains("Score: 4 of 4."), "{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyring_that_nobody_can_reach_is_noticed_by_the_probe() -> anyhow::Result<()> {
    play("keyring-unreachable").await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attack_ends_at_a_block() -> anyhow::Result<()> {
    let (scored, _) = play("stuffing").await?;
    let mitigation = scored["stages"][2]["what"].as_str().unwrap();
    assert!(
        mitigation.contains("the break-in is found; `sallyport reset force gameday-victim@example.com"),
        "{mitigation}"
    );
    assert!(mitigation.contains("`sallyport block add 127.66.0.0/24 --for 24h"), "{mitigation}");
    assert!(mitigation.contains("the attacker is answered 403"), "{mitigation}");
    assert!(
        scored["stages"][2]["after_seconds"].as_u64().is_some_and(|seconds| seconds <= 6 * 60),
        "{scored}"
    );
    assert!(mitigation.ends_with("failure-spike is quiet, while the cause goes on"), "{mitigation}");
    let recovery = scored["stages"][3]["what"].as_str().unwrap();
    assert!(recovery.contains("every alarm is quiet"), "{recovery}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_database_is_noticed() -> anyhow::Result<()> {
    play("slow-database").await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_past_its_time_is_replaced_and_nobody_notices() -> anyhow::Result<()> {
    play("expired-key").await.map(drop)
}

use std::thread;

use serde_json::Value;

use crate::support::Empty;

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
        assert_eq!(members, ["age_seconds", "algorithm", "created_at", "id", "kind", "state"]);
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

use local::Options;
use sallyport_testkit::Watched;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Shell};

/// Kinds, authors and details of the events that are stored, in the order of their times.
async fn events(url: &str) -> anyhow::Result<Vec<(String, String, String)>> {
    let answer: Value = reqwest::get(format!("{url}/_local/tables/Audit")).await?.json().await?;
    let mut items = answer["items"].as_array().cloned().unwrap_or_default();
    items.sort_by_key(|item| item["sk"].as_str().map(str::to_owned));
    let text = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
    Ok(items.iter().map(|item| (text(item, "kind"), text(item, "actor"), text(item, "detail"))).collect())
}

/// Every change of the command that leaves an event, in an order in which each has something to change.
const CHANGES: [(&str, &str, &str); 10] = [
    ("user create ada@example.com --password-stdin", "account.created", ""),
    ("user disable ada@example.com", "account.disabled", ""),
    ("user enable ada@example.com", "account.enabled", ""),
    ("user unlock ada@example.com", "account.unlocked", ""),
    ("user set-password ada@example.com --password-stdin", "account.password_set", ""),
    ("user revoke-sessions ada@example.com", "account.sessions_revoked", ""),
    ("client add billing", "client.added", "billing"),
    ("client remove billing", "client.removed", "billing"),
    ("migrate up", "migration.applied", "0001"),
    ("migrate down", "migration.reverted", "0001"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_change_leaves_one_event_with_the_operators_name() -> anyhow::Result<()> {
    let backend = Watched::start(Options { quiet: true, ..Options::default() }).await?;
    let shell = Shell::new(backend.environment().clone())?;
    for (line, kind, detail) in CHANGES {
        if line.starts_with("user unlock") {
            // An attempt that failed: else there is nothing to unlock.
            let wrong = json!({"email": "ada@example.com", "password": "wrong"});
            let login = format!("{}/api/v1/auth/login", backend.url());
            assert_eq!(reqwest::Client::new().post(login).json(&wrong).send().await?.status(), 401);
        }
        let before = events(backend.url()).await?;
        let run = shell.run_with(line, PASSWORD)?;
        assert_eq!(run.code, 0, "{run:?}");
        let mut added = events(backend.url()).await?;
        added.retain(|event| !before.contains(event));
        let expected = (kind.to_owned(), "operator grace@desk".to_owned(), detail.to_owned());
        assert_eq!(added, [expected], "{line}");
    }
    // What is done already changes nothing, and leaves nothing.
    let before = events(backend.url()).await?;
    for line in ["migrate down", "keys init"] {
        assert_eq!(shell.run(line)?.code, 0, "{line}");
    }
    assert_eq!(events(backend.url()).await?, before);
    Ok(())
}

/// Everything that the command changes, as it stands in the tables; the keyring by what it answers.
async fn state(url: &str) -> anyhow::Result<Vec<Value>> {
    let mut state = Vec::new();
    for table in ["Users", "Sessions", "Audit", "Ops"] {
        state.push(reqwest::get(format!("{url}/_local/tables/{table}")).await?.json().await?);
    }
    Ok(state)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_keeps_the_letters_of_the_name_in_any_script_and_a_name_that_cant_be_kept_changes_nothing()
-> anyhow::Result<()> {
    let backend = Watched::start(Options { quiet: true, ..Options::default() }).await?;
    let shell = Shell::new(backend.environment().clone())?;
    shell.run_with("user create ada@example.com --password-stdin --json", PASSWORD)?.json(0)?;
    for (name, actor) in [
        ("Jürgen Groß", "operator Jürgen Groß@desk"),
        ("Ольга", "operator Ольга@desk"),
        ("李小龍@büro", "operator 李小龍@büro"),
        ("علی\u{200c}رضا", "operator علی\u{200c}رضا@desk"),
    ] {
        let named = Shell::new(backend.environment().clone())?.with("SALLYPORT_OPERATOR", name);
        named.run("user disable ada@example.com --json")?.json(0)?;
        named.run("user enable ada@example.com --json")?.json(0)?;
        let shown = shell.run("user show ada@example.com --events 1 --json")?.json(0)?;
        assert_eq!(
            (&shown["events"][0]["actor"], &shown["events"][0]["agent"]),
            (&json!(actor), &json!(null))
        );
        let table = shell.run("user show ada@example.com --events 1")?.stdout;
        assert!(table.contains(actor), "{table}");
    }
    let before = state(backend.url()).await?;
    for name in ["eve\u{1b}[2K", "ada\u{202e}ecarg", "gra\u{200b}ce", "two\nlines", &"ü".repeat(65)] {
        let named = Shell::new(backend.environment().clone())?.with("SALLYPORT_OPERATOR", name);
        for line in [
            "user create eve@example.com --generate",
            "user disable ada@example.com",
            "user set-password ada@example.com --password-stdin",
            "user revoke-sessions ada@example.com",
            "client add billing",
            "mode set emergency --for 1h --reason because",
            "block add 192.0.2.1 --for 1h --reason because",
            "migrate up",
        ] {
            let (code, message) = named.run_with(&format!("{line} --json"), PASSWORD)?.error(2)?;
            assert_eq!(code, "invalid_operator", "{line}: {message}");
            assert!(message.contains("SALLYPORT_OPERATOR") && !message.contains('\u{1b}'), "{message}");
        }
        assert_eq!(state(backend.url()).await?, before, "{name:?}");
        // What changes nothing needs no name.
        named.run("user show ada@example.com --json")?.json(0)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_calls_itself_is_never_who_acted() -> anyhow::Result<()> {
    let backend = Watched::start(Options { quiet: true, ..Options::default() }).await?;
    let shell = Shell::new(backend.environment().clone())?;
    shell.run_with("user create ada@example.com --password-stdin --json", PASSWORD)?.json(0)?;
    let agents = ["operator grace@desk", "function keys", "rule night", "caller", "responder", "curl/8"];
    for agent in agents {
        let wrong = json!({"email": "ada@example.com", "password": "wrong"});
        let login = reqwest::Client::new().post(format!("{}/api/v1/auth/login", backend.url()));
        let answer = login.header("user-agent", agent).json(&wrong).send().await?;
        let id = answer.headers()["x-request-id"].to_str()?.to_owned();
        let explained = shell.run(&format!("explain request {id} --json"))?.json(0)?;
        for events in [
            &shell.run("user show ada@example.com --events 1 --json")?.json(0)?["events"],
            &shell.run("explain user ada@example.com --json")?.json(0)?["events"],
            &explained["events"],
        ] {
            assert_eq!(
                (&events[0]["actor"], &events[0]["agent"]),
                (&json!("caller"), &json!(agent)),
                "{events}"
            );
        }
        let logged = shell.run("logs events --kind login.refused --json")?.json(0)?;
        assert!(!logged.to_string().contains(agent) || agent == "caller", "{logged}");
        for line in [
            "user show ada@example.com --events 1",
            "explain user ada@example.com",
            &format!("explain request {id}"),
        ] {
            let table = shell.run(line)?.stdout;
            let heading = table.lines().find(|line| line.contains("ACTOR")).unwrap_or_default().to_owned();
            let row = table.lines().skip_while(|line| !line.contains("ACTOR")).nth(1).unwrap_or_default();
            let cell = |name: &str| heading.find(name).and_then(|at| row.get(at..)).unwrap_or_default();
            assert!(cell("ACTOR").starts_with("caller "), "{table}");
            assert!(cell("AGENT").starts_with(agent), "{table}");
        }
        shell.run("user unlock ada@example.com --json")?.json(0)?;
    }
    Ok(())
}

use serde_json::json;

use crate::support::{Empty, PASSWORD, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_mode_is_set_shown_and_cleared_once() -> anyhow::Result<()> {
    let empty = Empty::start().await?;
    let run = |line: &str| empty.shell.run(line);
    assert_eq!(run("mode status")?.stdout, "No mode is set.\n");
    let set = run("mode set emergency --for 2h --reason stuffing --factor 8 --json")?.json(0)?;
    assert_eq!(
        (&set["mode"], &set["factor"], &set["by"]),
        (&json!("emergency"), &json!(8), &json!("operator grace@desk"))
    );
    let lasts = set["expires_at"].as_u64().unwrap_or_default() - set["set_at"].as_u64().unwrap_or_default();
    assert_eq!(lasts, 7_200);
    let (code, message) = run("mode set emergency --for 1h --reason again --json")?.error(4)?;
    assert_eq!(code, "mode_set");
    assert!(message.contains("by operator grace@desk") && message.contains("--replace"), "{message}");
    run("mode set emergency --for 3h --reason longer --replace --json")?.json(0)?;
    run("mode set degraded throttle --for 30m --reason slow --json")?.json(0)?;
    run("mode set degraded --component users --for 30m --reason slow --json")?.json(0)?;
    let status = run("mode status --json")?.json(0)?;
    let names: Vec<_> = status["modes"].as_array().into_iter().flatten().map(|mode| &mode["mode"]).collect();
    assert_eq!(names, ["emergency", "degraded.users", "degraded.throttle"]);
    assert_eq!(status["modes"][0]["factor"], 4);

    let cleared = run("mode clear emergency")?;
    assert_eq!(cleared.stdout, "cleared emergency; every function obeys within 10 s\n");
    let again = run("mode clear emergency")?;
    assert_eq!((again.code, again.stderr.as_str()), (3, "error: the mode emergency is not set\n"));
    run("mode clear degraded users --json")?.json(0)?;
    let text = run("mode status")?.stdout;
    assert!(text.contains("degraded throttle") && text.contains("slow") && !text.contains("users"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_checks_the_same_and_sets_nothing() -> anyhow::Result<()> {
    let empty = Empty::start().await?;
    let run = |line: &str| empty.shell.run(line);
    let dry = run("mode set maintenance --for 15m --reason window --dry-run")?;
    assert_eq!(dry.code, 0);
    assert!(
        dry.stdout.starts_with("would set maintenance, until ")
            && dry.stdout.ends_with("; nothing was changed\n"),
        "{dry:?}"
    );
    run("block add 203.0.113.0/24 --for 1h --reason stuffing --dry-run --json")?.json(0)?;
    assert_eq!(run("mode status --json")?.json(0)?, json!({"modes": [], "blocks": 0}));
    assert_eq!(run("mode clear maintenance --dry-run --json")?.error(3)?.0, "mode_not_set");
    run("mode set maintenance --for 15m --reason window --json")?.json(0)?;
    assert_eq!(
        run("mode set maintenance --for 15m --reason another --dry-run --json")?.error(4)?.0,
        "mode_set"
    );
    let same = run("mode set maintenance --for 15m --reason window --dry-run --json")?.json(0)?;
    assert_eq!(same["changed"], false);
    run("mode clear maintenance --dry-run --json")?.json(0)?;
    assert_eq!(run("mode status --json")?.json(0)?["modes"].as_array().map(Vec::len), Some(1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_of_range_is_one_line_and_changes_nothing() -> anyhow::Result<()> {
    let empty = Empty::start().await?;
    for (line, code) in [
        ("mode set maintenance --for 8d --reason x --json", "invalid_duration"),
        ("mode set maintenance --for 0s --reason x --json", "invalid_duration"),
        ("mode set emergency --for 1h --reason x --factor 1 --json", "invalid_factor"),
        ("mode set maintenance --for 1h --reason x --factor 4 --json", "invalid_factor"),
        ("mode set degraded --for 1h --reason x --json", "which_component"),
        ("mode set maintenance users --for 1h --reason x --json", "which_component"),
        ("mode set degraded outbox --for 1h --reason x --json", "usage"),
        ("mode set panic --for 1h --reason x --json", "usage"),
        ("mode set maintenance --reason x --json", "usage"),
        ("mode set maintenance --for soon --reason x --json", "usage"),
        ("block add 203.0.113.0/24 --for 91d --reason x --json", "invalid_duration"),
        ("block add 203.0.113.9/24 --for 1h --reason x --json", "usage"),
        ("block add 0.0.0.0/0 --for 1h --reason x --json", "usage"),
        ("block add nobody --for 1h --reason x --json", "usage"),
        ("block add --for 1h --reason x --json", "usage"),
        ("block add 203.0.113.9 --address 203.0.113.8 --for 1h --reason x --json", "usage"),
    ] {
        assert_eq!(empty.shell.run(line)?.error(2)?.0, code, "{line}");
    }
    assert_eq!(empty.shell.run("mode status --json")?.json(0)?, json!({"modes": [], "blocks": 0}));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_added_listed_and_removed_by_what_was_blocked() -> anyhow::Result<()> {
    let empty = Empty::start().await?;
    let run = |line: &str| empty.shell.run(line);
    assert_eq!(run("block list")?.stdout, "No blocks.\n");
    for (line, subject) in [
        ("block add 203.0.113.9 --for 24h --reason stuffing --json", "203.0.113.9/32"),
        ("block add --address 2001:db8:1:2:3::4 --for 24h --reason stuffing --json", "2001:db8:1:2::/64"),
        ("block add --prefix 198.51.100.0/24 --for 24h --reason stuffing --json", "198.51.100.0/24"),
    ] {
        assert_eq!(run(line)?.json(0)?["subject"], subject, "{line}");
    }
    let account = run("block add --account Eve@Example.com --for 24h --reason sold --json")?.json(0)?;
    let subject = account["subject"].as_str().unwrap_or_default().to_owned();
    assert!(subject.starts_with("account#") && !subject.contains("eve"), "{subject}");
    let (code, message) = run("block add eve@example.com --for 24h --reason again --json")?.error(4)?;
    assert_eq!(code, "block_exists");
    assert!(message.contains("is blocked already, until "), "{message}");
    assert_eq!(run("block list --json")?.json(0)?["blocks"].as_array().map(Vec::len), Some(4));
    assert!(run("block list")?.stdout.contains("198.51.100.0/24"));

    // As it was given, and as it is listed.
    for line in
        ["block remove 203.0.113.9", "block remove 2001:db8:1:2::/64", &format!("block remove {subject}")]
    {
        assert_eq!(run(line)?.code, 0, "{line}");
    }
    let again = run("block remove 203.0.113.9")?;
    assert_eq!((again.code, again.stderr.as_str()), (3, "error: 203.0.113.9/32 is not blocked\n"));
    assert_eq!(run("block list --json")?.json(0)?["blocks"].as_array().map(Vec::len), Some(1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_reply_is_lost_is_made_once_and_not_called_a_conflict() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.fault(&json!({"kind": "drop_after", "operation": "TransactWriteItems"})).await?;
    world.shell.run("mode set maintenance --for 1h --reason window --json")?.json(0)?;
    let events = world.audit().await?;
    let set = events.iter().filter(|event| event["kind"] == "mode.set").count();
    assert_eq!(set, 1, "{events:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_at_once_lose_nothing_of_each_other() -> anyhow::Result<()> {
    let world = std::sync::Arc::new(World::start().await?);
    let operators = (0..8).map(|number| {
        let world = std::sync::Arc::clone(&world);
        tokio::task::spawn_blocking(move || {
            world.shell.run(&format!("block add 203.0.113.{number} --for 1h --reason stuffing --json"))
        })
    });
    for operator in operators.collect::<Vec<_>>() {
        operator.await??.json(0)?;
    }
    let listed = world.shell.run("block list --json")?.json(0)?;
    assert_eq!(listed["blocks"].as_array().map(Vec::len), Some(8));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_reset_by_a_list_and_a_second_time_changes_nothing() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    world.shell.run_with("user create bob@example.com --password-stdin --json", PASSWORD)?.json(0)?;
    let (_, tokens) = world.sign_in(PASSWORD).await?;
    let list = tempfile::NamedTempFile::new()?;
    std::fs::write(
        list.path(),
        "# leaked\nada@example.com\nADA@example.com # again\n\nnobody@example.com\n",
    )?;
    let line = format!("reset force --accounts {} --reason leaked --json", list.path().display());

    let dry = world.shell.run(&format!("{line} --dry-run"))?.json(0)?;
    assert_eq!((&dry["reset"], &dry["not_found"], &dry["dry_run"]), (&json!(1), &json!(1), &json!(true)));
    assert_eq!(world.sign_in(PASSWORD).await?.0, 200);

    let done = world.shell.run(&line)?.json(0)?;
    let outcomes: Vec<_> =
        done["accounts"].as_array().into_iter().flatten().map(|one| &one["outcome"]).collect();
    assert_eq!(outcomes, ["reset", "not_found"]);
    assert_eq!(world.sign_in(PASSWORD).await?.0, 401);
    assert_eq!(world.refresh(&tokens).await?, 401);
    let events = world.audit().await?;
    let event = events.iter().find(|event| event["kind"] == "password.reset_forced");
    assert_eq!(event.map(|event| &event["detail"]), Some(&json!("leaked")));
    let again = world.shell.run(&line)?.json(0)?;
    assert_eq!((&again["reset"], &again["already"]), (&json!(0), &json!(1)));
    let again = world.shell.run("reset force ada@example.com")?.stdout;
    assert!(again.ends_with("\n\nnothing was changed\n") && !again.contains("sessions"), "{again}");
    for line in ["user show ada@example.com --events 0", "explain user ada@example.com"] {
        let shown = world.shell.run(line)?.stdout;
        assert!(
            shown.contains("reset by force 20") && shown.contains(" by operator grace@desk: leaked"),
            "{shown}"
        );
    }
    let shown = world.shell.run("user show ada@example.com --events 0 --json")?.json(0)?;
    assert_eq!(shown["password_reset"]["detail"], "leaked");

    world
        .shell
        .run_with("user set-password ada@example.com --password-stdin --json", "a brand new one")?
        .json(0)?;
    assert_eq!(world.sign_in("a brand new one").await?.0, 200);
    let (code, _) = world.shell.run("reset force nobody@example.com --json")?.error(3)?;
    assert_eq!(code, "account_not_found");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_with_a_mistake_changes_nothing_and_says_where_it_is() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let list = tempfile::NamedTempFile::new()?;
    std::fs::write(list.path(), "ada@example.com\n\nnot an address\n")?;
    let (code, message) =
        world.shell.run(&format!("reset force --accounts {} --json", list.path().display()))?.error(2)?;
    assert_eq!(code, "list_invalid");
    assert!(message.ends_with(", line 3: not an e-mail address"), "{message}");
    assert_eq!(world.shell.run("reset force --accounts /nowhere --json")?.error(2)?.0, "list_unreadable");
    assert_eq!(
        world.shell.run("reset force --since 2h --signal nothing.such --json")?.error(3)?.0,
        "signal_not_found"
    );
    assert_eq!(world.shell.run("reset force --signal login.refused --json")?.error(2)?.0, "usage");
    assert_eq!(world.sign_in(PASSWORD).await?.0, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_reset_by_the_events_of_their_accounts() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    world.shell.run_with("user create bob@example.com --password-stdin --json", PASSWORD)?.json(0)?;
    assert_eq!(world.sign_in("wrong").await?.0, 401);
    let body = json!({"email": "nobody@example.com", "password": "wrong"});
    assert_eq!(world.post("/api/v1/auth/login", None, &body).await?.0, 401);
    let none = world.shell.run("reset force --since 2h --signal suspicious_activity --json")?.json(0)?;
    assert_eq!(none["accounts"], json!([]));
    let text = world.shell.run("reset force --since 2h --signal login.refused --dry-run")?;
    assert!(text.stderr.contains("security events read"), "{text:?}");
    let done = world.shell.run("reset force --since 2h --signal login.refused --json")?.json(0)?;
    assert_eq!(done["accounts"], json!([{"email": "ada@example.com", "outcome": "reset"}]));
    let bob = json!({"email": "bob@example.com", "password": PASSWORD});
    assert_eq!(world.post("/api/v1/auth/login", None, &bob).await?.0, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_reset_of_exactly_those_who_signed_in_from_somewhere() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    for email in ["bob@example.com", "eve@example.com"] {
        world.shell.run_with(&format!("user create {email} --password-stdin --json"), PASSWORD)?.json(0)?;
    }
    assert_eq!(world.sign_in(PASSWORD).await?.0, 200);
    assert_eq!(world.sign_in_from("127.66.0.7", "bob@example.com", PASSWORD).await?, 200);
    assert_eq!(world.sign_in_from("127.66.0.7", "eve@example.com", "wrong").await?, 401);

    let everybody = world.shell.run("reset force --since 2h --signal login.succeeded")?;
    assert_eq!(everybody.code, 2);
    assert_eq!(
        everybody.stderr,
        "error: --signal login.succeeded would reset everybody: login.succeeded is no sign of an attack; say from where, by \
         --address\n"
    );
    let line = "reset force --since 2h --signal login.succeeded --json --address";
    let reset = json!([{"email": "bob@example.com", "outcome": "reset"}]);
    for place in ["127.66.0.7", "127.66.0.0/24", "192.0.2.1 --address 127.66.0.7"] {
        let dry = world.shell.run(&format!("{line} {place} --dry-run"))?.json(0)?;
        assert_eq!(dry["accounts"], reset, "{place}");
    }
    assert_eq!(world.shell.run(&format!("{line} 192.0.2.0/24"))?.json(0)?["accounts"], json!([]));
    for wrong in ["nowhere", "127.66.0.7/24", "127.0.0.0/99"] {
        assert_eq!(world.shell.run(&format!("{line} {wrong}"))?.error(2)?.0, "usage", "{wrong}");
    }
    let alone = world.shell.run("reset force ada@example.com --address 127.66.0.7 --json")?;
    assert_eq!(alone.error(2)?.0, "usage");

    assert_eq!(world.shell.run(&format!("{line} 127.66.0.0/24"))?.json(0)?["accounts"], reset);
    assert_eq!(world.sign_in_from("127.66.0.7", "bob@example.com", PASSWORD).await?, 401);
    assert_eq!(world.sign_in(PASSWORD).await?.0, 200);
    assert_eq!(world.sign_in_from("127.66.0.9", "eve@example.com", PASSWORD).await?, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_prints_of_a_mode_can_be_typed() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let (code, message) = world.shell.run("mode clear degraded --json")?.error(3)?;
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("mode_not_set", "the mode degraded is not set, of no component")
    );
    let set = world.shell.run("mode set degraded throttle --for 1h --reason slow")?.stdout;
    assert!(set.starts_with("set degraded throttle, until ") && set.contains(" (in 60 min): slow;"), "{set}");
    let again = world.shell.run("mode set degraded throttle --for 2h --reason slow")?.stderr;
    assert!(again.starts_with("error: the mode degraded throttle is set already, until "), "{again}");
    let status = world.shell.run("mode status")?.stdout;
    assert!(status.contains("degraded throttle  ") && status.contains("in 60 min"), "{status}");
    world.shell.run("mode set degraded users --for 1h --reason slow")?;
    let (code, message) = world.shell.run("mode clear degraded --json")?.error(2)?;
    assert_eq!(code, "which_component");
    for component in ["throttle", "users"] {
        assert!(message.contains(&format!("`sallyport mode clear degraded {component}`")), "{message}");
    }
    let cleared = world.shell.run("mode clear degraded throttle")?.stdout;
    assert_eq!(cleared, "cleared degraded throttle; every function obeys within 10 s\n");
    let again = world.shell.run("mode clear degraded throttle")?.stderr;
    assert_eq!(again, "error: the mode degraded throttle is not set\n");
    let status = world.shell.run("mode status --json")?.json(0)?;
    assert_eq!(status["modes"][0]["mode"], "degraded.users", "scripts compare the name");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_as_it_is_asked_for_is_set_already_and_what_differs_is_a_conflict() -> anyhow::Result<()>
{
    let empty = Empty::start().await?;
    let run = |line: &str| empty.shell.run(line);
    for (first, same, others) in [
        (
            "mode set emergency --for 2h --reason stuffing",
            [
                "--for 2h --reason stuffing",
                "--for 1h --reason stuffing",
                "--for 2h --reason stuffing --factor 4",
            ],
            [
                "--for 2h --reason again",
                "--for 3h --reason stuffing",
                "--for 2h --reason stuffing --factor 8",
            ],
        ),
        (
            "block add 203.0.113.9 --for 2h --reason stuffing",
            ["--for 2h --reason stuffing", "--for 1h --reason stuffing", "--for 5m --reason stuffing"],
            ["--for 2h --reason again", "--for 3h --reason stuffing", "--for 62m --reason again"],
        ),
    ] {
        let (command, _) = first.split_once(" --for").unwrap_or_default();
        let set = run(&format!("{first} --json"))?.json(0)?;
        assert_eq!(set["changed"], true, "{first}");
        for dry_run in ["", " --dry-run"] {
            for options in same {
                let line = format!("{command} {options}{dry_run}");
                let text = run(&line)?;
                assert_eq!(text.code, 0, "{line}: {text:?}");
                assert!(text.stdout.contains("already, until "), "{line}: {text:?}");
                assert!(text.stdout.ends_with(": stuffing; nothing was changed\n"), "{line}: {text:?}");
                let again = run(&format!("{line} --json"))?.json(0)?;
                assert_eq!((&again["changed"], &again["expires_at"]), (&json!(false), &set["expires_at"]));
            }
            for options in others {
                let line = format!("{command} {options}{dry_run}");
                let (_, message) = run(&format!("{line} --json"))?.error(4)?;
                assert!(message.contains("--replace"), "{line}: {message}");
            }
        }
    }
    Ok(())
}

/// Whoever is let in by one command must not be shut out by another block that nobody named.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_within_a_blocked_prefix_is_never_said_to_be_let_in() -> anyhow::Result<()> {
    for (narrow, wide) in [
        ("127.77.0.5", "127.77.0.0/24"),
        ("127.77.0.0/24", "127.77.0.0/16"),
        ("2001:db8:1:2::5", "2001:db8:1::/48"),
        ("2001:db8:1:2::/64", "2001:db8::/32"),
    ] {
        let world = World::start().await?;
        let run = |line: String| world.shell.run(&line);
        let listed = |who: &str| {
            if who.contains('.') && !who.contains('/') { format!("{who}/32") } else { who.to_owned() }
        };
        let (of_narrow, of_wide) = match narrow {
            "2001:db8:1:2::5" => ("2001:db8:1:2::/64".to_owned(), listed(wide)),
            _ => (listed(narrow), listed(wide)),
        };
        for (blocked, other, of_blocked, of_other) in
            [(wide, narrow, &of_wide, &of_narrow), (narrow, wide, &of_narrow, &of_wide)]
        {
            // The one is blocked, and the other is asked about.
            run(format!("block add {blocked} --for 1h --reason test --json"))?.json(0)?;
            let command = format!("sallyport block remove {of_blocked}");
            for dry_run in ["", " --dry-run"] {
                let (code, message) = run(format!("block remove {other}{dry_run} --json"))?.error(4)?;
                assert_eq!(code, "blocked_otherwise", "{other} of {blocked}");
                assert!(message.starts_with(&format!("{of_other} has no block of its own; ")), "{message}");
                assert!(message.contains(&format!("`{command}`")), "{message}");
            }
            let explained = run(format!("explain address {other} --json"))?.json(0)?;
            assert_eq!(explained["causes"][0]["commands"], json!([command]), "{explained}");
            // Both are blocked, and one is let in.
            run(format!("block add {other} --for 1h --reason test --json"))?.json(0)?;
            let both = run(format!("explain address {other} --json"))?.json(0)?;
            assert_eq!(both["causes"].as_array().map(Vec::len), Some(2), "{both}");
            let removed = run(format!("block remove {other} --json"))?.json(0)?;
            assert_eq!(removed["also_blocked"], json!([of_blocked]));
            run(format!("block add {other} --for 1h --reason test --json"))?.json(0)?;
            let text = run(format!("block remove {other}"))?.stdout;
            assert!(!text.contains("no more") && text.contains(&format!("`{command}`")), "{text}");
            // Nothing is left of either.
            let text = run(format!("block remove {blocked}"))?.stdout;
            assert_eq!(text, format!("{of_blocked} is blocked no more; every function obeys within 10 s\n"));
            assert_eq!(run(format!("block remove {other} --json"))?.error(3)?.0, "block_not_found");
        }
    }
    Ok(())
}

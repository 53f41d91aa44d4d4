use serde_json::Value;

use crate::support::{Shell, World};

fn named<'a>(listed: &'a Value, name: &str) -> &'a Value {
    let alarms = listed["alarms"].as_array().unwrap();
    alarms.iter().find(|alarm| alarm["name"] == name).unwrap_or(&Value::Null)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_on_this_machine_has_the_alarms_of_the_template_evaluated_on_what_it_did()
-> anyhow::Result<()> {
    let world = World::with_ada().await?;
    let listed = world.shell.run("alarms list --json")?.json(0)?;
    assert_eq!(listed["alarms"].as_array().map(Vec::len), Some(29));
    let down = named(&listed, "service-down");
    assert_eq!((&down["severity"], &down["first"]), (&"critical".into(), &"sallyport doctor".into()));
    assert!(down["runbook"].as_str().unwrap().ends_with("/service-down.md"), "{down}");
    assert_eq!(named(&listed, "high-error-rate")["state"], "OK");

    // Three minutes in which nothing answers.
    world.fault(&serde_json::json!({"kind": "refuse", "table": "throttle"})).await?;
    for _ in 0..3 {
        for _ in 0..21 {
            assert_eq!(world.sign_in("correct horse").await?.0, 503);
        }
        world.post("/_local/clock", None, &serde_json::json!({"advance_seconds": 60})).await?;
    }
    let firing = world.shell.run("alarms list --firing --json")?.json(0)?;
    for name in ["high-error-rate", "api-server-errors", "page-availability"] {
        assert_eq!(named(&firing, name)["state"], "ALARM", "{name}: {firing}");
    }
    assert_eq!(named(&firing, "failure-spike"), &Value::Null);
    let tested = world.shell.run("alarms test high-error-rate --json")?.json(0)?;
    assert_eq!(tested["state"], "ALARM");
    assert!(tested["detail"].as_str().unwrap().ends_with("100 100"), "{tested}");
    let page = world.shell.run("alarms test page-availability")?;
    assert!(page.stdout.contains("sallyport-local-high-error-rate"), "{}", page.stdout);
    let waited = world.shell.run("alarms wait high-error-rate --for 1s --json")?.json(5)?;
    assert_eq!((&waited["state"], &waited["quiet"]), (&"ALARM".into(), &false.into()));
    assert_eq!(waited["measured"], "newest value 100, fires at > 10", "{waited}");
    let waited = world.shell.run("alarms wait failure-spike")?;
    assert_eq!(
        (waited.code, waited.stdout.contains("failure-spike is quiet after 0 s: OK")),
        (0, true),
        "{waited:?}"
    );
    let history = world.shell.run("alarms history high-error-rate --json")?.json(0)?;
    assert!(history["changes"][0]["what"].as_str().unwrap().contains("to ALARM"), "{history}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_that_does_not_exist_is_one_line() -> anyhow::Result<()> {
    let world = World::start().await?;
    for line in ["alarms test nothing", "alarms wait nothing", "alarms history nothing"] {
        let (code, message) = world.shell.run(&format!("{line} --json"))?.error(3)?;
        assert_eq!(code, "alarm_not_found");
        assert_eq!(message, "there is no alarm nothing: `sallyport alarms list` names them");
    }
    Ok(())
}

#[test]
fn without_a_stack_or_a_backend_on_this_machine_it_says_what_to_pass() -> anyhow::Result<()> {
    let shell = Shell::new(std::collections::BTreeMap::new())?;
    assert_eq!(shell.run("alarms list --json")?.error(2)?.0, "no_deployment");
    let shell = shell.with("SALLYPORT_ISSUER", "https://auth.example.com");
    assert_eq!(shell.run("alarms list --json")?.error(2)?.0, "no_deployment");
    let shell = shell.with("SALLYPORT_ISSUER", "http://localhost:1");
    assert_eq!(shell.run("alarms list --json")?.error(1)?.0, "unreachable");
    Ok(())
}

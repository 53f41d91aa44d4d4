use serde_json::Value;

use crate::support::{Empty, World};

fn figure<'a>(review: &'a Value, name: &str) -> &'a Value {
    review["figures"].as_array().unwrap().iter().find(|figure| figure["name"] == name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_has_the_tasks_of_its_period_and_live_figures() -> anyhow::Result<()> {
    let world = World::with_ada().await?;
    for (period, tasks) in [("daily", 18), ("weekly", 18), ("monthly", 12)] {
        let review = world.shell.run(&format!("review {period} --json"))?.json(0)?;
        assert_eq!(review["tasks"].as_array().unwrap().len(), tasks, "{period}");
        let users = figure(&review, "users");
        assert_eq!(users["value"]["state"], "ACTIVE");
        assert!(users["value"]["items"].as_i64().unwrap() > 0, "{users}");
        assert!(figure(&review, "signing key")["value"]["age_seconds"].is_u64());
        assert_eq!(figure(&review, "incidents")["value"]["open"], Value::Array(Vec::new()));
    }
    let shown = world.shell.run("review daily")?.stdout;
    assert!(shown.starts_with("daily review of the environment, "), "{shown}");
    assert!(shown.contains("maintenance") && shown.contains("sallyport backup verify"), "{shown}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_figure_that_cannot_be_had_says_so_and_leaves_the_others() -> anyhow::Result<()> {
    let Empty { shell, _running } = Empty::start().await?;
    let shell = shell.with("SALLYPORT_SESSIONS_TABLE", "of-another-stack");
    let review = shell.run("review weekly --json")?.json(0)?;
    let sessions = figure(&review, "sessions");
    assert_eq!((&sessions["value"], &sessions["attention"]), (&Value::Null, &Value::from(true)));
    assert!(figure(&review, "keyring")["problem"].as_str().unwrap().contains("sallyport keys init"));
    assert_eq!(figure(&review, "users")["value"]["state"], "ACTIVE");
    Ok(())
}

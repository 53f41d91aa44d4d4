use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

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

/// An AWS with one stack of two functions behind aliases. It keeps what is asked of it, and ends with the test process.
struct Cloud {
    shell: Shell,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Cloud {
    fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                drop(Self::answer(stream, &heard));
            }
        });
        let shell =
            Shell::new(BTreeMap::new())?.with("AWS_ENDPOINT_URL", &url).with("AWS_REGION", "us-east-1");
        Ok(Self { shell, asked })
    }

    fn answer(stream: TcpStream, heard: &Mutex<Vec<String>>) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let (mut first, mut length) = (String::new(), 0);
        reader.read_line(&mut first)?;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? <= 2 {
                break;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or_default();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        let first = first.split(" HTTP").next().unwrap_or_default().to_owned();
        let answer = Self::says(&first, &body);
        heard.lock().unwrap().push(format!("{first} {body}"));
        let head = format!("HTTP/1.1 200 -\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
        reader.get_mut().write_all(format!("{head}{answer}").as_bytes())
    }

    fn says(request: &str, body: &str) -> String {
        if body.contains("Action=ListStackResources") {
            let alias = |function: &str| {
                format!(
                    "<member><ResourceType>AWS::Lambda::Alias</ResourceType><LogicalResourceId>X</LogicalResourceId>\
                     <PhysicalResourceId>arn:aws:lambda:us-east-1:1:function:prod-{function}:live</PhysicalResourceId>\
                     <LastUpdatedTimestamp>2026-01-01T00:00:00Z</LastUpdatedTimestamp>\
                     <ResourceStatus>CREATE_COMPLETE</ResourceStatus></member>"
                )
            };
            return format!(
                "<ListStackResourcesResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\">\
                 <ListStackResourcesResult><StackResourceSummaries>{}{}</StackResourceSummaries>\
                 </ListStackResourcesResult></ListStackResourcesResponse>",
                alias("keys"),
                alias("login")
            );
        }
        let of_login = request.contains("prod-login");
        let version = |number: u8, day: u8| json!({"Version": number.to_string(), "LastModified": format!("2026-07-{day:02}T14:02:11.000+0000")});
        if request.contains("/versions") {
            let newest = version(7, if of_login { 31 } else { 2 });
            let latest = json!({"Version": "$LATEST", "LastModified": "2026-07-31T14:02:11.000+0000"});
            return json!({"Versions": [latest, version(6, 1), newest]}).to_string();
        }
        json!({"Name": "live", "FunctionVersion": "7", "RevisionId": "r-1"}).to_string()
    }

    fn changes(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|request| request.starts_with("PUT ")).cloned().collect()
    }
}

#[test]
fn what_the_last_release_changed_goes_back_to_the_version_before() -> anyhow::Result<()> {
    let cloud = Cloud::start()?;
    let dry = cloud.shell.run("deploy rollback --stack prod --dry-run --json")?.json(0)?;
    let outcomes: Vec<_> = dry["steps"].as_array().unwrap().iter().map(|step| &step["outcome"]).collect();
    assert_eq!(outcomes, ["stays", "would roll back"]);
    assert_eq!(cloud.changes(), [""; 0]);

    let done = cloud.shell.run("deploy rollback --stack prod --json")?.json(0)?;
    assert_eq!((&done["steps"][1]["from"], &done["steps"][1]["to"]), (&json!(7), &json!(6)));
    assert_eq!(done["steps"][1]["outcome"], "rolled back");
    let changes = cloud.changes();
    assert_eq!(changes.len(), 1, "{changes:?}");
    let change = &changes[0];
    assert!(change.contains("/functions/prod-login/aliases/live"), "{change}");
    // Nobody else's move is undone, and no canary goes on.
    for part in [r#""FunctionVersion":"6""#, r#""RevisionId":"r-1""#, r#""AdditionalVersionWeights":{}"#] {
        assert!(change.contains(part), "{change}");
    }
    Ok(())
}

#[test]
fn the_template_of_a_gradual_deployment_is_written_beside_the_other() -> anyhow::Result<()> {
    let shell = Shell::new(BTreeMap::new())?;
    let directory = tempfile::tempdir()?;
    let from = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../template.yaml");
    let to = directory.path().join("gradual.yaml");
    let line = format!("deploy template --from {} --to {}", from.display(), to.display());
    let run = shell.run(&format!("{line} --dry-run"))?;
    assert!(run.code == 0 && run.stdout.ends_with("; nothing was changed\n") && !to.exists(), "{run:?}");
    let run = shell.run(&line)?;
    assert!(run.stdout.contains("Next: sam build --template"), "{run:?}");
    assert_eq!(std::fs::read_to_string(&to)?.matches("AutoPublishAlias: live").count(), 5);
    assert_eq!(shell.run("deploy template --from nowhere.yaml --json")?.error(2)?.0, "template_unusable");
    Ok(())
}

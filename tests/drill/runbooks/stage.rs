//! A backend with an account, callers, an incident, and an operator at a shell of the same binary that is shipped.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};
use local::Options;
use sallyport_runbooks::Page;
use sallyport_testkit::{Watched, secrets};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::faults::{ENTERED, Fault, TRIED, Traffic};

const EMAIL: &str = "ada@example.com";
const ADDRESS: &str = "203.0.113.7";
/// Where stolen passwords are tried from.
const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 66, 0, 7);
const STOLEN: &str = "stolen elsewhere";
const METRICS_TOKEN: &str = "scrape-token-of-the-drill";
const PASSWORD: &str = "correct horse battery staple";

pub(crate) struct Stage {
    backend: Watched,
    http: reqwest::Client,
    environment: BTreeMap<String, String>,
    home: tempfile::TempDir,
}

impl Stage {
    /// Everything that the page finds when it is opened.
    pub(crate) async fn set(page: &Page, fault: &Fault) -> Result<Self> {
        let providers = BTreeMap::from([("metrics_token".to_owned(), METRICS_TOKEN.to_owned())]);
        let backend = Watched::start(Options { quiet: true, providers, ..Options::default() }).await?;
        let mut environment = backend.environment().clone();
        environment.insert("SALLYPORT_URL".to_owned(), backend.url().to_owned());
        environment.insert("EMAIL".to_owned(), EMAIL.to_owned());
        environment.insert("ADDRESS".to_owned(), ADDRESS.to_owned());
        environment.insert("KEY".to_owned(), "refresh:1".to_owned());
        // What somebody reads from an authenticator who is not at it any more.
        environment.insert("CODE".to_owned(), "000000".to_owned());
        environment.insert("METRICS_TOKEN".to_owned(), METRICS_TOKEN.to_owned());
        environment.insert("COMPONENT".to_owned(), "throttle".to_owned());
        environment.insert("NOTE".to_owned(), "the pattern, as the drill saw it".to_owned());
        environment.insert("SUMMARY".to_owned(), "the drill broke it, and mended it".to_owned());
        let home = tempfile::tempdir()?;
        let mut stage =
            Self { backend, http: reqwest::Client::builder().no_proxy().build()?, environment, home };
        stage.operator(&["user", "create", EMAIL, "--password-stdin"], PASSWORD).await?;
        let request = stage.traffic(fault.traffic).await?;
        stage.environment.insert("REQUEST_ID".to_owned(), request);
        for rule in &fault.rules {
            stage.console("faults", rule).await?;
        }
        let incident = stage.hear(page, "ALARM").await?;
        stage.environment.insert("INCIDENT".to_owned(), incident);
        Ok(stage)
    }

    /// Runs the page's steps of these sections, and says which were run.
    pub(crate) async fn run(&self, page: &Page, sections: &[&str]) -> Result<BTreeSet<usize>> {
        let drilled = |section: &&&str| page.steps().any(|step| !step.cloud && step.section == ***section);
        let sections: Vec<_> = sections.iter().filter(drilled).collect();
        if sections.is_empty() {
            return Ok(BTreeSet::new());
        }
        let mut arguments = vec!["runbook", "run", &page.name, "--yes"];
        for section in &sections {
            arguments.extend(["--section", **section]);
        }
        let report = self.operator(&arguments, "").await?;
        let steps = report["steps"].as_array().context("steps")?;
        let done = steps.iter().filter(|step| step["outcome"] == "done");
        Ok(done.filter_map(|step| usize::try_from(step["number"].as_u64()?).ok()).collect())
    }

    /// Ends the fault, as AWS or a repair does.
    pub(crate) async fn lift(&self, page: &Page) -> Result<()> {
        for path in ["faults", "keyring/faults"] {
            let url = format!("{}/_local/{path}", self.backend.url());
            self.http.delete(url).send().await?.error_for_status()?;
        }
        self.hear(page, "OK").await?;
        // This alarm looks back over hours, and rings for want of data.
        let hours = if page.name == "restore-proof-old" { 4 } else { 0 };
        self.time_passes(hours).await
    }

    /// Some hours and a quarter of one, as they go by in the cloud: schedules do their work, and in the end the probe asks every
    /// minute.
    async fn time_passes(&self, hours: usize) -> Result<()> {
        for _hour in 0..hours {
            self.console("invoke/maintenance", &json!({"task": "restore_drill"})).await?;
            self.console("clock", &json!({"advance_seconds": 3600})).await?;
        }
        for _minute in 0..15 {
            self.console("clock", &json!({"advance_seconds": 60})).await?;
            self.http.get(format!("{}/health/ready", self.backend.url())).send().await?;
        }
        Ok(())
    }

    /// After the page everything answers, and nothing that it set is left.
    pub(crate) async fn is_whole(&self) -> Result<()> {
        let ready = self.http.get(format!("{}/health/ready", self.backend.url())).send().await?;
        ensure!(ready.status().is_success(), "not ready after the page: {}", ready.text().await?);
        let status = self.operator(&["mode", "status"], "").await?;
        ensure!(status["modes"] == json!([]) && status["blocks"] == 0, "left behind: {status}");
        Ok(())
    }

    async fn operator(&self, arguments: &[&str], stdin: &str) -> Result<Value> {
        secrets::password(stdin);
        arguments.iter().for_each(|argument| secrets::address(argument));
        let mut child = Command::new(env!("CARGO_BIN_EXE_sallyport"))
            .args(arguments)
            .arg("--json")
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap_or_default())
            .envs(&self.environment)
            .env("HOME", self.home.path())
            .env("SALLYPORT_OPERATOR", "drill@tests")
            .current_dir(self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        {
            use tokio::io::AsyncWriteExt as _;
            child.stdin.take().context("stdin")?.write_all(stdin.as_bytes()).await?;
        }
        let output = child.wait_with_output().await?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        if !output.status.success() {
            let steps = serde_json::from_str::<Value>(&stdout).ok();
            let failed = steps.as_ref().and_then(|report| report["steps"].as_array()?.last().cloned());
            let what = failed.map_or_else(|| format!("{stdout}{stderr}"), |step| told(&step));
            anyhow::bail!(
                "`sallyport {}` ended with {:?}: {what}",
                arguments.join(" "),
                output.status.code()
            );
        }
        serde_json::from_str(&stdout).with_context(|| format!("no JSON: {stdout}{stderr}"))
    }

    async fn post(&self, path: &str, body: &Value) -> Result<(u16, String, Value)> {
        secrets::note(body);
        let response = self.http.post(format!("{}{path}", self.backend.url())).json(body).send().await?;
        let status = response.status().as_u16();
        let id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
        let id = id.to_owned();
        let answer = response.json().await.unwrap_or(Value::Null);
        // The `code` of a problem is no code of anybody's.
        if status < 400 {
            secrets::note(&answer);
        }
        Ok((status, id, answer))
    }

    async fn console(&self, path: &str, body: &Value) -> Result<Value> {
        let (status, _, answer) = self.post(&format!("/_local/{path}"), body).await?;
        ensure!((200..300).contains(&status), "{path}: {status} {answer}");
        Ok(answer)
    }

    /// Tries stolen passwords from an address of its own: one fits.
    async fn stuff(&mut self) -> Result<()> {
        for (email, password) in [(TRIED, PASSWORD), (ENTERED, STOLEN)] {
            self.operator(&["user", "create", email, "--password-stdin"], password).await?;
        }
        let attacker = reqwest::Client::builder().no_proxy().local_address(IpAddr::V4(ATTACKER)).build()?;
        // From an address of IPv4 the name's other address cannot be reached.
        let url = format!("{}/api/v1/auth/login", self.backend.url().replace("localhost", "127.0.0.1"));
        let mut entered = 0;
        for number in 0..20 {
            let body = json!({"email": format!("victim{number}@example.com"), "password": STOLEN});
            entered += usize::from(attacker.post(&url).json(&body).send().await?.status().is_success());
        }
        ensure!(entered == 1, "{entered} accounts were entered");
        self.environment.insert("ADDRESS".to_owned(), ATTACKER.to_string());
        Ok(())
    }

    /// The page made the passwords unusable that it must, and no other.
    pub(crate) async fn has_reset(&self, fault: &Fault) -> Result<()> {
        let Some(expected) = fault.resets else { return Ok(()) };
        let mut reset = Vec::new();
        for email in [EMAIL, TRIED, ENTERED] {
            let explained = self.operator(&["explain", "user", email], "").await?;
            let causes = explained["causes"].as_array().context("causes")?;
            if causes.iter().any(|cause| cause["code"] == "no_password") {
                reset.push(email);
            }
        }
        ensure!(reset == expected, "the passwords of {reset:?} are unusable, and not those of {expected:?}");
        Ok(())
    }

    async fn sign_in(&self, email: &str, password: &str) -> Result<(u16, String, Value)> {
        self.post("/api/v1/auth/login", &json!({"email": email, "password": password})).await
    }

    /// What callers do, and the id of a request that was refused.
    async fn traffic(&mut self, traffic: Traffic) -> Result<String> {
        let (status, _, tokens) = self.sign_in(EMAIL, PASSWORD).await?;
        ensure!(status == 200, "{status} {tokens}");
        match traffic {
            Traffic::Usual => {}
            Traffic::Stuffing => self.stuff().await?,
            Traffic::Guessing => {
                for _ in 0..6 {
                    self.sign_in(EMAIL, "not the password").await?;
                }
            }
            Traffic::Codes => self.guess_codes(&tokens).await?,
            Traffic::Reuse => {
                let old = json!({"refresh_token": tokens["refresh_token"]});
                let (_, _, new) = self.post("/api/v1/auth/refresh", &old).await?;
                self.post("/api/v1/auth/refresh", &json!({"refresh_token": new["refresh_token"]})).await?;
                let (status, _, answer) = self.post("/api/v1/auth/refresh", &old).await?;
                ensure!(status == 401, "{status} {answer}");
            }
        }
        let (status, id, answer) = self.sign_in("nobody@example.com", "not a password").await?;
        ensure!(status == 401, "{status} {answer}");
        Ok(id)
    }

    /// Enrols an authenticator, and then sends codes that are wrong.
    async fn guess_codes(&self, tokens: &Value) -> Result<()> {
        let bearer = tokens["access_token"].as_str().context("access token")?;
        let url = |path: &str| format!("{}{path}", self.backend.url());
        let enrolled =
            self.http.post(url("/api/v1/mfa/totp")).bearer_auth(bearer).json(&json!({})).send().await?;
        let enrolled: Value = enrolled.error_for_status()?.json().await?;
        secrets::note(&enrolled);
        let secret = enrolled["secret"].as_str().context("secret")?;
        let code = self.http.get(url(&format!("/_local/totp?secret={secret}"))).send().await?.text().await?;
        let body = json!({"factor_id": enrolled["factor_id"], "code": code.trim()});
        secrets::note(&body);
        let confirmed = self.http.post(url("/api/v1/mfa/totp/confirm")).bearer_auth(bearer).json(&body);
        secrets::note(&confirmed.send().await?.error_for_status()?.json().await?);
        let wrong = if code.trim() == "000000" { "000001" } else { "000000" };
        let (_, _, pending) = self.sign_in(EMAIL, PASSWORD).await?;
        for _ in 0..6 {
            let body = json!({
                "mfa_token": pending["mfa_token"],
                "factor_id": enrolled["factor_id"],
                "code": wrong,
            });
            self.post("/api/v1/auth/mfa/verify", &body).await?;
        }
        Ok(())
    }

    /// Tells the responder what CloudWatch would, and returns the incident.
    async fn hear(&self, page: &Page, state: &str) -> Result<String> {
        // A procedure is begun because of something, too.
        let alarm = page.front.alarms.first().map_or("suspicious-activity", String::as_str);
        let at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string();
        let message = json!({
            "AlarmName": format!("sallyport-local-{alarm}"),
            "AlarmDescription": page.front.title,
            "AWSAccountId": "123456789012",
            "AlarmConfigurationUpdatedTimestamp": at,
            "NewStateValue": state,
            "NewStateReason": "Drill.",
            "StateChangeTime": at,
            "Region": "EU (Frankfurt)",
            "AlarmArn": format!("arn:aws:cloudwatch:eu-central-1:123456789012:alarm:sallyport-local-{alarm}"),
            "OldStateValue": if state == "ALARM" { "OK" } else { "ALARM" },
            "OKActions": [], "AlarmActions": [], "InsufficientDataActions": [],
        });
        let topic = page.front.severity.name();
        let event = json!({"Records": [{
            "EventSource": "aws:sns", "EventVersion": "1.0",
            "Sns": {
                "Type": "Notification", "MessageId": "1", "Subject": state, "Timestamp": at,
                "TopicArn": format!("arn:aws:sns:eu-central-1:123456789012:sallyport-local-{topic}"),
                "Message": message.to_string(), "MessageAttributes": {},
            },
        }]});
        let answer = self.console("invoke/responder", &event).await?;
        let incident = answer["result"]["alarms"][0]["incident"].as_str();
        incident.map(str::to_owned).with_context(|| format!("no incident: {answer}"))
    }
}

fn told(step: &Value) -> String {
    format!(
        "step {} ({}) of {} ended with {}, and not {}:\n{}\n{}",
        step["number"],
        step["name"].as_str().unwrap_or_default(),
        step["section"].as_str().unwrap_or_default(),
        step["exit"],
        step["expected"],
        step["commands"].as_str().unwrap_or_default(),
        step["output"].as_str().unwrap_or_default()
    )
}

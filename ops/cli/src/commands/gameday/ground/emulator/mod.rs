//! A stack on an emulator of AWS that runs on this machine, such as ministack.
//!
//! An emulator throttles nothing and evaluates no metric math, so the game brings both: a relay stands between the
//! functions and the emulator while it lasts, and alarms are evaluated here, over what the functions wrote to their log groups.
//! Minutes are counted: all that was measured since the last one ended belongs to the one that ends now.

mod functions;
mod keyring;
mod log_groups;
mod relay;

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use aws_sdk_lambda::primitives::Blob;
use sallyport_alarms::{Datum, Parameters};
use serde_json::Value;
use tokio::process::Command;

use self::{
    functions::Functions,
    log_groups::LogGroups,
    relay::{Fault as Rule, Relay},
};
use super::{Ground, MINUTE_MS, PAST, PUBLISHED, http};
use crate::{
    aws_fault,
    cli::Target,
    commands::gameday::games::Fault,
    deployment::{Deployment, TABLES, is_loopback, name},
    environment::variable,
    failure::Failure,
};

/// Longer than a function keeps what it knows of modes and blocks.
const SETTLED: Duration = Duration::from_secs(11);

/// Longer than `health` keeps what it knows of the keyring: minutes leap here, and its clock does not.
const FORGOTTEN: Duration = Duration::from_secs(6);

/// Variables that would send a call of the game somewhere else than to the emulator.
const SERVICES: [&str; 7] = [
    "AWS_ENDPOINT_URL_CLOUDFORMATION",
    "AWS_ENDPOINT_URL_CLOUDWATCH",
    "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_LAMBDA",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_ENDPOINT_URL_SNS",
];

/// A stack that was found, and is as it was.
pub(in super::super) struct Emulator {
    deployment: Deployment,
    profile: Option<String>,
    endpoint: String,
    stack: String,
    stage: String,
    url: String,
}

impl Emulator {
    /// # Errors
    /// The endpoint is not on this machine; there is no such stack.
    pub(in super::super) async fn find(target: &Target) -> Result<Self, Failure> {
        let endpoint = target.endpoint.clone().or_else(|| variable("AWS_ENDPOINT_URL"));
        let apart = target.endpoint_dynamodb.is_some() || target.endpoint_secrets.is_some();
        let elsewhere = SERVICES.iter().any(|name| variable(name).is_some_and(|url| !is_loopback(&url)));
        let endpoint = endpoint.filter(|url| is_loopback(url) && !apart && !elsewhere).ok_or_else(|| {
            Failure::usage(
                "not_here",
                "a game day breaks things: it is played on this machine, or with --endpoint on a stack of an \
                 emulator here, and never on AWS",
            )
        })?;
        // An endpoint that is said here wins over variables and profiles, and is used even where those are to be ignored.
        let aimed = Target { endpoint: Some(endpoint.clone()), ..target.clone() };
        let deployment = Deployment::find(&aimed).await?;
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let stack = target.stack.clone().unwrap_or_default();
        let stage = deployment.settings.get(name::STAGE).unwrap_or_default().to_owned();
        let url = match variable("SALLYPORT_URL").filter(|url| is_loopback(url)) {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => address(&deployment, &endpoint, &stack, &stage).await?,
        };
        Ok(Self { profile: target.profile.clone(), deployment, endpoint, stack, stage, url })
    }

    /// Stands between the functions and the emulator from now on.
    ///
    /// # Errors
    /// The stack is not ready; a function can't be changed.
    pub(in super::super) async fn enter(self) -> Result<Entered, Failure> {
        let lambda = &self.deployment.connection.lambda;
        functions::mend(lambda, &self.stack).await?;
        let ready = format!("{}/health/ready", self.url);
        let answer = self.caller(None)?.get(&ready).send().await;
        if !answer.is_ok_and(|answer| answer.status().is_success()) {
            let message =
                format!("the stack is not ready (a new one wants `sallyport keys init`): curl {ready}");
            return Err(Failure::conflict("not_ready", message));
        }
        let began = self.deployment.now().millis();
        let groups = LogGroups::find(&self.deployment.connection, &self.stack, began).await?;
        let relay = Relay::start(&self.endpoint).await?;
        let mut functions = Functions::divert(lambda, &self.stack, relay.url()).await?;
        if let Err(failure) = self.is_ready("does not reach this machine (an emulator in a container?)").await
        {
            functions.put_back(lambda).await?;
            return Err(failure);
        }
        Ok(Entered {
            groups,
            relay,
            functions,
            minute: began - began % MINUTE_MS,
            minute_began: now(),
            requests: Vec::new(),
            found: self,
        })
    }

    async fn is_ready(&self, otherwise: &str) -> Result<(), Failure> {
        let ready = format!("{}/health/ready", self.url);
        let answer = self.caller(None)?.get(&ready).send().await;
        if answer.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        Err(Failure::conflict("not_ready", format!("the stack {otherwise}: curl {ready}")))
    }

    /// Emulators tell no caller's address but by this header.
    fn caller(&self, address: Option<IpAddr>) -> Result<reqwest::Client, Failure> {
        let mut headers = reqwest::header::HeaderMap::new();
        if let Some(value) = address.and_then(|address| address.to_string().parse().ok()) {
            headers.insert("x-forwarded-for", value);
        }
        http(reqwest::Client::builder().default_headers(headers))
    }
}

/// Where an emulator answers for a REST API.
async fn address(
    deployment: &Deployment,
    endpoint: &str,
    stack: &str,
    stage: &str,
) -> Result<String, Failure> {
    let asked = deployment.connection.cloudformation.describe_stacks().stack_name(stack).send().await;
    let answer = asked.map_err(|error| aws_fault::from_sdk("describe the stack", &error))?;
    let outputs =
        answer.stacks().first().map(aws_sdk_cloudformation::types::Stack::outputs).unwrap_or_default();
    let api = outputs.iter().find(|output| output.output_key() == Some("ApiId"));
    let api = api.and_then(aws_sdk_cloudformation::types::Output::output_value).ok_or_else(|| {
        Failure::usage("no_deployment", format!("stack {stack} has no ApiId: set SALLYPORT_URL"))
    })?;
    Ok(format!("{endpoint}/restapis/{api}/{stage}/_user_request_"))
}

#[expect(clippy::disallowed_methods, reason = "an emulator's functions live in real time")]
fn now() -> Instant {
    Instant::now()
}

/// A stack whose functions call through the game's relay.
pub(in super::super) struct Entered {
    found: Emulator,
    groups: LogGroups,
    relay: Relay,
    functions: Functions,
    /// Epoch milliseconds: the minute that is played.
    minute: u64,
    minute_began: Instant,
    /// Statuses of the answers since the last minute: what alarms read of the gateway's own figures.
    requests: Vec<u16>,
}

impl Entered {
    fn published(&self) -> Vec<Datum> {
        let mut data = Vec::new();
        let mut publish = |metric: &str, value: f64| {
            let names = [("ApiName", &self.found.stack), ("Stage", &self.found.stage)];
            data.push(Datum {
                namespace: "AWS/ApiGateway".to_owned(),
                metric: metric.to_owned(),
                dimensions: names.map(|(name, value)| (name.to_owned(), value.clone())).into(),
                at: self.minute,
                value,
                unit: Some("Count".to_owned()),
            });
        };
        for status in &self.requests {
            publish("Count", 1.0);
            publish("5XXError", f64::from(u8::from(*status >= 500)));
        }
        data
    }
}

impl Ground for Entered {
    fn url(&self) -> &str {
        &self.found.url
    }

    fn deployment(&self) -> &str {
        &self.found.stack
    }

    fn parameters(&self) -> Parameters {
        let mut parameters = Parameters::from([
            ("Deployment".to_owned(), self.found.stack.clone()),
            ("Stage".to_owned(), self.found.stage.clone()),
        ]);
        for (parameter, variable) in PARAMETERS {
            let table = self.found.deployment.settings.get(variable);
            parameters.extend(table.map(|table| (parameter.to_owned(), table.to_owned())));
        }
        parameters
    }

    fn caller(&self, address: Option<IpAddr>) -> Result<reqwest::Client, Failure> {
        self.found.caller(address)
    }

    fn answered(&mut self, status: u16) {
        self.requests.push(status);
    }

    async fn now(&self) -> Result<u64, Failure> {
        let into = u64::try_from(now().duration_since(self.minute_began).as_millis()).unwrap_or(u64::MAX);
        Ok(self.minute + into.min(MINUTE_MS - 1))
    }

    async fn next_minute(&mut self) -> Result<(), Failure> {
        self.minute += MINUTE_MS;
        self.minute_began = now();
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), Failure> {
        tokio::time::sleep(SETTLED).await;
        Ok(())
    }

    async fn inject(&mut self, fault: Fault) -> Result<(), Failure> {
        let table = |short: &str| {
            let known = TABLES.iter().find(|(table, _)| *table == short);
            known
                .and_then(|(_, variable)| self.found.deployment.settings.get(variable))
                .unwrap_or(short)
                .to_owned()
        };
        match fault {
            Fault::Throttled(name) => self.relay.fail(Rule::Throttled { table: table(name) }),
            Fault::Slow(name, delay) => self.relay.fail(Rule::Slow { table: table(name), delay }),
            Fault::Keyring => {
                self.relay.fail(Rule::NoSecrets);
                tokio::time::sleep(FORGOTTEN).await;
            }
            Fault::Stuffing => {}
            Fault::OldKey => keyring::age(&self.found.deployment, PAST).await?,
        }
        Ok(())
    }

    async fn lift(&mut self, fault: Fault) -> Result<(), Failure> {
        self.relay.heal();
        if fault == Fault::Keyring {
            tokio::time::sleep(FORGOTTEN).await;
        }
        if fault == Fault::OldKey {
            keyring::age(&self.found.deployment, PUBLISHED).await?;
            // Its alarm looks at hours.
            self.minute += u64::try_from(PUBLISHED.as_millis()).unwrap_or_default();
        }
        Ok(())
    }

    async fn collect(&mut self) -> Result<Vec<Datum>, Failure> {
        let mut data = self.groups.read(&self.found.deployment.connection.logs).await?;
        data.extend(self.relay.published());
        data.extend(self.published());
        self.requests.clear();
        // The minute that has just ended.
        let at = self.minute.saturating_sub(MINUTE_MS);
        for datum in &mut data {
            datum.at = at;
        }
        Ok(data)
    }

    async fn invoke(&mut self, function: &str, event: &Value) -> Result<Value, Failure> {
        let stack = &self.found.stack;
        let call = self.found.deployment.connection.lambda.invoke();
        let sent = call
            .function_name(format!("{stack}-{function}"))
            .payload(Blob::new(event.to_string()))
            .send()
            .await;
        let answer = sent.map_err(|error| aws_fault::from_sdk(&format!("invoke {function}"), &error))?;
        let text = answer.payload().map(|payload| String::from_utf8_lossy(payload.as_ref()).into_owned());
        if let Some(kind) = answer.function_error() {
            let message = format!("{function} failed ({kind}): {}", text.unwrap_or_default());
            return Err(Failure::dependency("function_failed", message));
        }
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    /// Theirs is this machine's, and only the minutes of the alarms are counted.
    fn by_functions(&self, _at: u64) -> u64 {
        self.found.deployment.now().millis()
    }

    fn aim(&self, command: &mut Command) {
        for name in SERVICES {
            command.env_remove(name);
        }
        command
            .args(["--endpoint", &self.found.endpoint, "--stack", &self.found.stack])
            .args(["--region", &self.found.deployment.connection.region])
            .env("SALLYPORT_URL", &self.found.url)
            // For the shells of pages: the commands in them have no option but what they find around them.
            .env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "false")
            .env_remove("SALLYPORT_STAGE");
        if let Some(profile) = &self.found.profile {
            command.args(["--profile", profile]);
        }
    }

    async fn leave(&mut self) -> Result<(), Failure> {
        self.relay.heal();
        self.functions.put_back(&self.found.deployment.connection.lambda).await
    }
}

/// The parameters of infra/alarms.yaml that name tables.
const PARAMETERS: [(&str, &str); 6] = [
    ("UsersTable", name::USERS),
    ("SessionsTable", name::SESSIONS),
    ("ThrottleTable", name::THROTTLE),
    ("OutboxTable", name::OUTBOX),
    ("AuditTable", name::AUDIT),
    ("OpsTable", name::OPS),
];

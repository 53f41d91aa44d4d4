//! `sallyport setup`: what a new deployment needs once, in one command that may be repeated: every step looks first, and says
//! whether it did something or found it done.

use std::{
    fmt,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
};

use clap::Args;
use sallyport_core::{accounts::Email, secret::Secret};
use serde::{Serialize, Serializer};
use serde_json::json;

use super::{
    config::{self, Finding, Severity},
    keys,
    migrate::{self, Standing},
    user::{self, NewPassword},
};
use crate::{
    api::Api,
    aws_fault,
    cli::{Change, Target},
    deployment::{Connection, Deployment, name},
    failure::{Exit, Failure},
    output::{Answer, count, plain, word},
};

#[derive(Debug, Args)]
pub(crate) struct SetupCommand {
    /// Address of the first account; at a terminal it is asked for.
    #[arg(long, value_name = "EMAIL")]
    email: Option<Email>,
    /// Read the account's password from stdin; at a terminal it is asked for.
    #[arg(long, conflicts_with = "generate")]
    password_stdin: bool,
    /// Make up the account's password and show it once.
    #[arg(long)]
    generate: bool,
    /// Mail address that is told of incidents. It gets a mail to confirm.
    #[arg(long, value_name = "EMAIL")]
    subscribe: Option<Email>,
    /// Where the API answers; by default where the stack says.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    change: Change,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Done,
    /// It was so before.
    Already,
    WouldDo,
    /// There is nothing to do here, and why.
    Skipped,
    /// Somebody has to do something.
    Waits,
    Failed,
}

impl Outcome {
    const fn words(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Already => "already",
            Self::WouldDo => "would do",
            Self::Skipped => "skipped",
            Self::Waits => "waits",
            Self::Failed => "failed",
        }
    }
}

#[derive(Debug, Serialize)]
struct Step {
    step: &'static str,
    outcome: Outcome,
    what: String,
}

#[derive(Serialize)]
struct Report {
    /// No step failed, and nothing is wrong with the configuration.
    ok: bool,
    source: String,
    steps: Vec<Step>,
    findings: Vec<Finding>,
    url: Option<String>,
    /// A first call that works.
    curl: Option<String>,
    /// The one time that it is shown.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "expose")]
    password: Option<Secret<String>>,
    dry_run: bool,
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn expose<S: Serializer>(secret: &Option<Secret<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(|secret| secret.expose().as_str()).serialize(serializer)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Step { step, outcome, what } in &self.steps {
            writeln!(f, "{:<8} {step}: {}", outcome.words(), plain(what))?;
        }
        for Finding { severity, subject, problem, fix } in &self.findings {
            let word = if *severity == Severity::Error { "error" } else { "warning" };
            writeln!(f, "         {word}: {}: {}. Fix: {}.", plain(subject), plain(problem), plain(fix))?;
        }
        if let Some(password) = &self.password {
            writeln!(f, "\nThe account's password, shown this once: {}", password.expose())?;
        }
        if self.dry_run {
            return writeln!(f, "\nNothing was changed.");
        }
        if !self.ok {
            return writeln!(f, "\nMend what failed, and run it again: what is done stays done.");
        }
        if let Some(url) = &self.url {
            writeln!(f, "\nThe API answers at {url}")?;
        }
        if let Some(curl) = &self.curl {
            writeln!(f, "A first call:\n\n{curl}")?;
        }
        Ok(())
    }
}

impl SetupCommand {
    /// # Errors
    /// Nothing says which deployment; the options ask for a password that nobody can type. What fails later is a step of the
    /// answer: what was done before it, and a password that was made up, must be seen.
    pub(crate) async fn run(self, target: &Target) -> Result<Answer, Failure> {
        let deployment = Deployment::find(target).await?;
        let at_terminal = io::stdin().is_terminal();
        if self.wants_a_terminal(&deployment).await && !at_terminal {
            return Err(Failure::usage(
                "usage",
                "no terminal to ask for the password at: pass --password-stdin or --generate",
            ));
        }
        let mut setup = Setup {
            deployment: &deployment,
            target,
            change: self.change,
            steps: Vec::new(),
            findings: Vec::new(),
            password: None,
        };
        let ended = setup.steps(&self, at_terminal).await;
        let Setup { steps, findings, password, .. } = setup;
        let faulty = findings.iter().any(|finding| finding.severity == Severity::Error);
        let exit = match &ended {
            Err(failure) => failure.exit,
            Ok(_) if faulty => Exit::Findings,
            Ok(_) => Exit::Done,
        };
        let url = self.url.clone().or_else(|| deployment.settings.get(name::ISSUER).map(str::to_owned));
        let url = url.map(|url| url.trim_end_matches('/').to_owned());
        let account = ended.as_ref().ok().and_then(Option::as_ref);
        let report = Report {
            ok: exit == Exit::Done,
            source: deployment.settings.source.to_string(),
            steps,
            findings,
            curl: url.as_deref().map(|url| first_call(url, account, password.as_ref())),
            url,
            password,
            dry_run: self.change.dry_run,
        };
        Ok(Answer::of(&report)?.exit(exit))
    }
}

impl SetupCommand {
    /// Whether a password would be asked for. Where nobody can say whether the account is there, a step will say why.
    async fn wants_a_terminal(&self, deployment: &Deployment) -> bool {
        match &self.email {
            Some(email) if !self.password_stdin && !self.generate && !self.change.dry_run => {
                user::exists(deployment, email).await.is_ok_and(|is_there| !is_there)
            }
            _ => false,
        }
    }
}

/// Asks for the password unseen, in every shell: `read -s` is bash's and `read -p` means something else in zsh. Whatever ends it
/// gives the terminal back. The password is no argument, which others on the machine could read.
const ASK: &str = "(trap 'stty echo; echo >&2' EXIT; trap 'exit 1' INT; printf 'Password: ' >&2; stty -echo\n  \
                   IFS= read -r PASSWORD && export PASSWORD &&";

/// A sign-in where there is an account, the public keys where there is none. A password that was typed is asked for.
fn first_call(url: &str, account: Option<&Email>, password: Option<&Secret<String>>) -> String {
    let Some(email) = account else { return format!("curl -sS {url}/.well-known/jwks.json") };
    let head = format!("curl -sS {url}/api/v1/auth/login -H 'content-type: application/json'");
    match password {
        Some(password) => {
            let body = json!({"email": email.as_str(), "password": password.expose()}).to_string();
            format!("{head} \\\n  -d {}", word(&body))
        }
        None => format!(
            "{ASK}\n  jq -n --arg e {} '{{email: $e, password: env.PASSWORD}}') |\n  {head} -d @-",
            word(email.as_str())
        ),
    }
}

struct Setup<'a> {
    deployment: &'a Deployment,
    target: &'a Target,
    change: Change,
    steps: Vec<Step>,
    findings: Vec<Finding>,
    password: Option<Secret<String>>,
}

impl Setup<'_> {
    fn told(&mut self, step: &'static str, outcome: Outcome, what: impl Into<String>) {
        self.steps.push(Step { step, outcome, what: what.into() });
    }

    fn kept<T>(&mut self, step: &'static str, result: Result<T, Failure>) -> Result<T, Failure> {
        result.inspect_err(|failure| self.told(step, Outcome::Failed, &failure.message))
    }

    /// All steps, up to the first that fails. Returns the account that can sign in.
    async fn steps(&mut self, asked: &SetupCommand, at_terminal: bool) -> Result<Option<Email>, Failure> {
        let done = self.keyring().await;
        self.kept("keyring", done)?;
        let done = self.formats().await;
        self.kept("item formats", done)?;
        let done = self.account(asked, at_terminal).await;
        let account = self.kept("account", done)?;
        let done = self.subscriptions(asked.subscribe.as_ref()).await;
        self.kept("subscriptions", done)?;
        let done = self.configuration().await;
        self.kept("configuration", done)?;
        let done = self.api(asked.url.as_deref()).await;
        self.kept("api", done)?;
        Ok(account)
    }

    async fn keyring(&mut self) -> Result<(), Failure> {
        const STEP: &str = "keyring";
        let kid = match keys::fill(self.deployment, None, self.change).await? {
            keys::Filled::Before(kid) => {
                self.told(STEP, Outcome::Already, format!("is filled; key {kid} signs"));
                return Ok(());
            }
            keys::Filled::Now(kid) => kid,
            keys::Filled::Not(algorithm) => {
                self.told(STEP, Outcome::WouldDo, format!("fill it with an {algorithm} key"));
                return Ok(());
            }
        };
        self.told(STEP, Outcome::Done, format!("filled; key {kid} signs"));
        Ok(())
    }

    async fn formats(&mut self) -> Result<(), Failure> {
        const STEP: &str = "item formats";
        let pending = match migrate::standing(self.deployment).await? {
            Standing::Applied => {
                self.told(STEP, Outcome::Already, "all are applied");
                return Ok(());
            }
            Standing::NotNeeded => {
                self.told(STEP, Outcome::Already, "no migration is needed: it begins at the newest");
                return Ok(());
            }
            Standing::Pending(pending) => pending,
        };
        let names = pending.join(", ");
        if self.change.dry_run {
            self.told(STEP, Outcome::WouldDo, format!("apply {names}"));
            return Ok(());
        }
        migrate::apply(self.deployment).await?;
        self.told(STEP, Outcome::Done, format!("applied {names}"));
        Ok(())
    }

    async fn account(&mut self, asked: &SetupCommand, at_terminal: bool) -> Result<Option<Email>, Failure> {
        const STEP: &str = "account";
        let email = match &asked.email {
            Some(email) => Some(email.clone()),
            None if at_terminal && !self.change.dry_run => ask_for_address()?,
            None => None,
        };
        let Some(email) = email else {
            self.told(STEP, Outcome::Skipped, "none is named: pass --email EMAIL");
            return Ok(None);
        };
        if user::exists(self.deployment, &email).await? {
            self.told(STEP, Outcome::Already, format!("{email} is there; its password stays"));
            return Ok(Some(email));
        }
        if self.change.dry_run {
            self.told(STEP, Outcome::WouldDo, format!("create {email}"));
            return Ok(None);
        }
        let password = NewPassword::of(asked.generate);
        let created = match user::create(self.deployment, &email, &password).await {
            // Somebody was faster.
            Err(failure) if failure.code == "account_exists" => {
                self.told(STEP, Outcome::Already, format!("{email} is there; its password stays"));
                return Ok(Some(email));
            }
            created => created?,
        };
        self.told(STEP, Outcome::Done, format!("created {email} ({})", created.user));
        self.password = created.generated;
        Ok(Some(email))
    }

    async fn subscriptions(&mut self, subscriber: Option<&Email>) -> Result<(), Failure> {
        const STEP: &str = "subscriptions";
        let Some(stack) = &self.target.stack else {
            self.told(STEP, Outcome::Skipped, "not on this machine: alarms are the stack's");
            return Ok(());
        };
        let topics = topics(&self.deployment.connection, stack).await?;
        let Some((_, incidents)) = topics.iter().find(|(output, _)| output == "IncidentTopic") else {
            self.told(STEP, Outcome::Skipped, "the stack names no topic of incidents");
            return Ok(());
        };
        let sns = &self.deployment.connection.sns;
        if let Some(email) = subscriber {
            if listens(sns, incidents, &email.to_string()).await? {
                self.told(STEP, Outcome::Already, format!("{email} is subscribed"));
            } else if self.change.dry_run {
                self.told(STEP, Outcome::WouldDo, format!("subscribe {email} to {incidents}"));
            } else {
                let call = sns.subscribe().topic_arn(incidents).protocol("email").endpoint(email.to_string());
                call.send().await.map_err(|error| aws_fault::from_sdk("subscribe the address", &error))?;
                self.told(STEP, Outcome::Done, format!("subscribed {email}: a mail asks to confirm it"));
            }
        }
        let (mut confirmed, mut pending) = (0_u64, Vec::new());
        for (output, topic) in &topics {
            let asked = sns.get_topic_attributes().topic_arn(topic).send().await;
            let answer = asked.map_err(|error| aws_fault::from_sdk("ask the topic", &error))?;
            let number = |attribute: &str| -> u64 {
                let attributes = answer.attributes().and_then(|all| all.get(attribute));
                attributes.and_then(|number| number.parse().ok()).unwrap_or_default()
            };
            // The responder listens to the alarms for us, and needs somebody to tell.
            if output == "IncidentTopic" {
                confirmed = number("SubscriptionsConfirmed");
            }
            let waiting = usize::try_from(number("SubscriptionsPending")).unwrap_or_default();
            if waiting > 0 {
                pending.push(format!("{} of {output}", count(waiting, "subscription")));
            }
        }
        if !pending.is_empty() {
            let what = format!(
                "not confirmed: {}: open the link in the mail \"AWS Notification - Subscription Confirmation\" within two days",
                pending.join(", ")
            );
            self.told(STEP, Outcome::Waits, what);
        } else if confirmed == 0 && !(self.change.dry_run && subscriber.is_some()) {
            self.told(STEP, Outcome::Waits, "nobody is told of incidents: pass --subscribe EMAIL");
        } else if subscriber.is_none() {
            let who = count(usize::try_from(confirmed).unwrap_or_default(), "subscriber");
            self.told(STEP, Outcome::Already, format!("{who} of incidents, and none waits"));
        }
        Ok(())
    }

    async fn configuration(&mut self) -> Result<(), Failure> {
        const STEP: &str = "configuration";
        let (connection, settings) = (&self.deployment.connection, &self.deployment.settings);
        let mut parts = vec![config::settings(settings)];
        parts.push(config::tables(connection, settings).await?);
        parts.push(config::keyring(connection, settings).await?);
        let checks: usize = parts.iter().map(|part| part.checks).sum();
        let mut findings: Vec<_> = parts.into_iter().flat_map(|part| part.findings).collect();
        // At a dry run it is empty still, which was said.
        findings.retain(|finding| !(self.change.dry_run && finding.problem == "is empty"));
        let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        let what = format!(
            "{}: {}, {}",
            count(checks, "check"),
            count(errors, "error"),
            count(findings.len() - errors, "warning")
        );
        self.findings = findings;
        self.told(STEP, if errors == 0 { Outcome::Done } else { Outcome::Failed }, what);
        Ok(())
    }

    async fn api(&mut self, url: Option<&str>) -> Result<(), Failure> {
        const STEP: &str = "api";
        let Some(url) = url.or_else(|| self.deployment.settings.get(name::ISSUER)) else {
            self.told(STEP, Outcome::Skipped, "nothing says where it answers: pass --url URL");
            return Ok(());
        };
        if self.change.dry_run {
            self.told(STEP, Outcome::WouldDo, format!("ask {url}/health/ready"));
            return Ok(());
        }
        let api = Api::at(url, self.deployment.connection.ca_bundle.as_deref())?;
        let answer = api.get("/health/ready").await.map_err(|failure| Failure {
            message: format!(
                "{}; a new domain takes some minutes; --url names another address",
                failure.message
            ),
            ..failure
        })?;
        match answer.unready() {
            None => self.told(STEP, Outcome::Done, "answers, and is ready"),
            Some(what) => return Err(Failure::dependency("not_ready", format!("{what}: sallyport doctor"))),
        }
        Ok(())
    }
}

/// An empty line is nobody.
fn ask_for_address() -> Result<Option<Email>, Failure> {
    let failed = |error: io::Error| {
        Failure::dependency("stdin_failed", format!("the address could not be read: {error}"))
    };
    let mut terminal = io::stderr();
    write!(terminal, "Email of the first account (empty for none): ").map_err(failed)?;
    terminal.flush().map_err(failed)?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(failed)?;
    match line.trim() {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| Failure::usage("usage", format!("not an e-mail address: {text}"))),
    }
}

/// The stack's topics, by the outputs that name them.
async fn topics(connection: &Connection, stack: &str) -> Result<Vec<(String, String)>, Failure> {
    let asked = connection.cloudformation.describe_stacks().stack_name(stack).send().await;
    let answer = asked.map_err(|error| aws_fault::from_sdk("describe the stack", &error))?;
    let outputs =
        answer.stacks().first().map(aws_sdk_cloudformation::types::Stack::outputs).unwrap_or_default();
    let topics = outputs.iter().filter_map(|output| {
        let (key, value) = (output.output_key()?, output.output_value()?);
        key.ends_with("Topic").then(|| (key.to_owned(), value.to_owned()))
    });
    Ok(topics.collect())
}

/// Whether the address is among the topic's subscriptions, confirmed or not.
async fn listens(client: &aws_sdk_sns::Client, topic: &str, address: &str) -> Result<bool, Failure> {
    let mut token = None;
    loop {
        let asked = client.list_subscriptions_by_topic().topic_arn(topic).set_next_token(token).send().await;
        let answer = asked.map_err(|error| aws_fault::from_sdk("list the subscriptions", &error))?;
        let is_his = |known: &str| known.eq_ignore_ascii_case(address);
        if answer.subscriptions().iter().any(|subscription| subscription.endpoint().is_some_and(is_his)) {
            return Ok(true);
        }
        token = answer.next_token().map(str::to_owned);
        if token.is_none() {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_first_call_signs_in_where_somebody_can() {
        let email: Email = "ada@example.com".parse().unwrap();
        let url = "https://id.example.com";
        assert_eq!(first_call(url, None, None), "curl -sS https://id.example.com/.well-known/jwks.json");
        let generated = Secret::new("abc-def".to_owned());
        insta::assert_snapshot!(first_call(url, Some(&email), Some(&generated)), @r#"
        curl -sS https://id.example.com/api/v1/auth/login -H 'content-type: application/json' \
          -d '{"email":"ada@example.com","password":"abc-def"}'
        "#);
        // One that was typed is shown nowhere.
        insta::assert_snapshot!(first_call(url, Some(&email), None), @r#"
        (trap 'stty echo; echo >&2' EXIT; trap 'exit 1' INT; printf 'Password: ' >&2; stty -echo
          IFS= read -r PASSWORD && export PASSWORD &&
          jq -n --arg e ada@example.com '{email: $e, password: env.PASSWORD}') |
          curl -sS https://id.example.com/api/v1/auth/login -H 'content-type: application/json' -d @-
        "#);
    }
}

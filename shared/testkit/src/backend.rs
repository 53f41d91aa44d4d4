//! The whole backend, and the console that moves its clock and breaks its dependencies.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use sallyport_core::{
    accounts::{Email, Status},
    clock::Clock as _,
    flags::BlockSubject,
};
use serde_json::{Value, json};

use crate::{
    account::{Account, Factor, ServiceClient},
    actor::Actor,
    answer::Answer,
    operator::{OffsetClock, Operator},
    secrets::{self, Watch},
};

/// The one origin whose pages may call the API.
pub const APP_ORIGIN: &str = "https://app.example.com";

const DAY: u64 = 24 * 60 * 60;

/// A backend of one's own: all functions, an empty database and a fresh keyring on free ports. Dropping it ends it.
pub struct Backend {
    running: local::Backend,
    watch: Watch,
    url: String,
    http: reqwest::Client,
    operator: Operator,
    clock: Arc<OffsetClock>,
    actors: AtomicU32,
    accounts: AtomicU32,
}

impl Backend {
    /// With the local defaults and [`APP_ORIGIN`] allowed.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start() -> anyhow::Result<Self> {
        Self::with(&[]).await
    }

    /// With variables of the functions that differ, such as `SALLYPORT_ADDRESS_LIMIT`.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn with(variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        let given = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self::start_as(local::Options { environment: given.collect(), ..local::Options::default() }).await
    }

    /// With any options; ports, quiet and [`APP_ORIGIN`] are seen to.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_as(mut options: local::Options) -> anyhow::Result<Self> {
        options.quiet = true;
        let origins = options.environment.entry("SALLYPORT_ALLOWED_ORIGINS".to_owned());
        origins.or_insert_with(|| APP_ORIGIN.to_owned());
        // `tests/run` compares what all suites were answered with what is documented.
        #[expect(clippy::disallowed_methods, reason = "set for all suites at once")]
        let answers = std::env::var_os("SALLYPORT_ANSWERS");
        options.answers = options.answers.or_else(|| answers.map(Into::into));
        options.providers.values().for_each(|value| secrets::secret(value));
        let running = local::Backend::start(options).await?;
        let clock = Arc::new(OffsetClock::default());
        let operator = Operator::connect(running.environment(), Arc::clone(&clock)).await?;
        secrets::keyring(&serde_json::from_str(operator.document()).unwrap_or_default());
        // By address: callers bind addresses of 127.0.0.0/8, from which the name's other address cannot be reached.
        let url = running.url().replace("localhost", "127.0.0.1");
        let http = reqwest::Client::builder().no_proxy().build()?;
        let backend = Self {
            watch: Watch::over(running.log_lines()),
            running,
            url,
            http,
            operator,
            clock,
            actors: AtomicU32::new(1),
            accounts: AtomicU32::new(1),
        };
        // What the operator's connection has called is nobody's business.
        backend.forget_calls().await?;
        Ok(backend)
    }

    /// Where the API answers, without a trailing slash.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Host and port of the API.
    pub fn host(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// The `iss` of its tokens.
    pub fn issuer(&self) -> &str {
        self.running.environment().get("SALLYPORT_ISSUER").unwrap()
    }

    /// The variables of its functions.
    pub fn environment(&self) -> &local::Environment {
        self.running.environment()
    }

    /// Where its database answers.
    pub fn dynamodb_url(&self) -> &str {
        self.running.dynamodb_url()
    }

    /// The keyring as it is stored, private keys and all: for forging what only its thief could forge.
    pub fn keyring(&self) -> Value {
        serde_json::from_str(self.operator.document()).unwrap_or_default()
    }

    /// Waits for the calls under way and ends.
    pub async fn stop(self) {
        self.running.stop().await;
    }

    // Callers

    /// A caller from an address that nobody else calls from, who takes tokens in bodies.
    pub fn actor(&self) -> Actor {
        Actor::new(&self.url, self.next_address(), None)
    }

    /// A caller as [`Backend::actor`], of another process that serves the same data at `url`.
    pub fn actor_at(&self, url: &str) -> Actor {
        Actor::new(url, self.next_address(), None)
    }

    /// A browser that shows a page of `origin` and takes tokens as cookies.
    pub fn browser(&self, origin: &str) -> Actor {
        Actor::new(&self.url, self.next_address(), Some(origin.to_owned()))
    }

    fn next_address(&self) -> Ipv4Addr {
        let [_, b, c, d] = self.actors.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        Ipv4Addr::new(127, 1 + b, c, d)
    }

    // Accounts

    /// A new account with a password.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn account(&self) -> anyhow::Result<Account> {
        let number = self.accounts.fetch_add(1, Ordering::Relaxed);
        self.account_as(&format!("user{number:04}@example.com"), &format!("Correct horse {number:04}")).await
    }

    /// # Errors
    /// When address or password is none, when there is such an account.
    pub async fn account_as(&self, email: &str, password: &str) -> anyhow::Result<Account> {
        secrets::address(email);
        secrets::password(password);
        let user_id = self.operator.create(email, password).await?;
        Ok(Account {
            user_id,
            email: email.to_owned(),
            password: password.to_owned(),
            factors: Vec::new(),
            recovery_codes: Vec::new(),
        })
    }

    /// A new account with an authenticator app and recovery codes, enrolled by its owner and signed out again.
    ///
    /// # Errors
    /// When any step is refused.
    pub async fn account_with_totp(&self) -> anyhow::Result<Account> {
        let mut account = self.account().await?;
        let session = self.actor().log_in(&account).await?;
        session.add_totp(self, &mut account).await?;
        session.log_out("local").await?.expect(204)?;
        Ok(account)
    }

    /// # Errors
    /// When the database fails.
    pub async fn client(&self) -> anyhow::Result<ServiceClient> {
        let id = format!("service-{}", self.accounts.fetch_add(1, Ordering::Relaxed));
        let secret = self.operator.add_client(&id).await?;
        secrets::secret(&secret);
        Ok(ServiceClient { id, secret })
    }

    /// # Errors
    /// When there is no such client.
    pub async fn remove_client(&self, client: &ServiceClient) -> anyhow::Result<()> {
        self.operator.remove_client(&client.id).await
    }

    /// # Errors
    /// When there is no such account.
    pub async fn disable(&self, account: &Account) -> anyhow::Result<()> {
        self.operator.set_status(&account.email, Status::Disabled).await
    }

    /// # Errors
    /// When there is no such account.
    pub async fn enable(&self, account: &Account) -> anyhow::Result<()> {
        self.operator.set_status(&account.email, Status::Active).await
    }

    /// # Errors
    /// When there is no such account.
    pub async fn set_password(&self, account: &mut Account, password: &str) -> anyhow::Result<()> {
        secrets::password(password);
        self.operator.set_password(&account.email, password).await?;
        password.clone_into(&mut account.password);
        Ok(())
    }

    /// # Errors
    /// When there is no such account.
    pub async fn revoke_sessions(&self, account: &Account) -> anyhow::Result<()> {
        self.operator.revoke_sessions(&account.email).await
    }

    /// Whether there was a factor to remove.
    ///
    /// # Errors
    /// When there is no such account.
    pub async fn reset_factors(&self, account: &Account) -> anyhow::Result<bool> {
        self.operator.reset_factors(&account.email).await
    }

    /// # Errors
    /// When there is no such account.
    pub async fn unlock(&self, account: &Account) -> anyhow::Result<()> {
        self.operator.unlock(&account.email).await
    }

    // Incidents

    /// # Errors
    /// When there is no such incident, or somebody has it.
    pub async fn acknowledge_incident(&self, id: &str) -> anyhow::Result<()> {
        self.operator.acknowledge_incident(id).await
    }

    /// # Errors
    /// When there is no such incident, when it is over, when an alarm rings.
    pub async fn resolve_incident(&self, id: &str) -> anyhow::Result<()> {
        self.operator.resolve_incident(id).await
    }

    /// Makes an account's password unusable. `false` when there was none left.
    ///
    /// # Errors
    /// When there is no such account.
    pub async fn force_reset(&self, account: &Account) -> anyhow::Result<bool> {
        self.operator.force_reset(&account.email).await
    }

    // Modes and blocks

    /// Sets a mode, such as `maintenance` or `degraded.users`. An emergency divides by 4.
    ///
    /// # Errors
    /// When there is no such mode, when it is set already.
    pub async fn set_mode(&self, name: &str, seconds: u64) -> anyhow::Result<()> {
        self.operator.set_mode(name.parse()?, Duration::from_secs(seconds), 4).await
    }

    /// # Errors
    /// When it is not set.
    pub async fn clear_mode(&self, name: &str) -> anyhow::Result<()> {
        self.operator.clear_mode(name.parse()?).await
    }

    /// Blocks a prefix.
    ///
    /// # Errors
    /// When it is none, when it is blocked already.
    pub async fn block_prefix(&self, prefix: &str, seconds: u64) -> anyhow::Result<()> {
        let subject = BlockSubject::Network(prefix.parse()?);
        self.operator.block(subject, Duration::from_secs(seconds)).await
    }

    /// # Errors
    /// When it is not blocked.
    pub async fn unblock_prefix(&self, prefix: &str) -> anyhow::Result<()> {
        self.operator.unblock(BlockSubject::Network(prefix.parse()?)).await
    }

    /// Blocks an account, whether or not it exists.
    ///
    /// # Errors
    /// When it is blocked already.
    pub async fn block_account(&self, email: &str, seconds: u64) -> anyhow::Result<()> {
        let account = email.parse::<Email>()?.account_key();
        self.operator.block(BlockSubject::Account(account), Duration::from_secs(seconds)).await
    }

    /// Takes a key out of use at once, such as `refresh:1` or the `kid` of a signing key, as `keys rotate --emergency` does.
    ///
    /// # Errors
    /// When there is no such key.
    pub async fn revoke_key(&self, name: &str) -> anyhow::Result<()> {
        self.operator.revoke_key(name).await
    }

    // Time

    /// Epoch seconds by the backend's clock.
    pub fn now(&self) -> u64 {
        self.clock.now().seconds()
    }

    /// Puts the backend's clock forward.
    ///
    /// # Errors
    /// When the console does not answer.
    pub async fn advance(&self, seconds: u64) -> anyhow::Result<()> {
        let answer =
            self.console("POST", "clock", Some(json!({"advance_seconds": seconds}))).await?.expect(200)?;
        let offset = answer.field("offset_seconds").as_u64().context("no offset")?;
        self.clock.set(Duration::from_secs(offset));
        Ok(())
    }

    /// # Errors
    /// As [`Backend::advance`].
    pub async fn advance_days(&self, days: u64) -> anyhow::Result<()> {
        self.advance(days * DAY).await
    }

    /// Puts the clock forward to the first seconds of a TOTP step: what follows is in one step, if it takes less than 25
    /// seconds.
    ///
    /// # Errors
    /// As [`Backend::advance`].
    pub async fn begin_totp_step(&self) -> anyhow::Result<()> {
        self.advance(31 - self.now() % 30).await
    }

    /// A code of the app that was not used yet; the clock is put forward when there is none.
    ///
    /// # Errors
    /// As [`Backend::advance`].
    pub async fn code(&self, factor: &Factor) -> anyhow::Result<String> {
        let (code, wait) = factor.next_code(self.now());
        if wait > 0 {
            self.advance(wait).await?;
        }
        Ok(code)
    }

    // Console

    /// Calls a route under `/_local`.
    pub async fn console(&self, method: &str, path: &str, body: Option<Value>) -> anyhow::Result<Answer> {
        let mut request = self.http.request(method.parse()?, format!("{}/_local/{path}", self.url));
        if let Some(body) = body {
            request = request.json(&body);
        }
        Answer::of(request.send().await?).await
    }

    /// Lets calls of the database fail, as `POST /_local/faults` takes it.
    ///
    /// # Errors
    /// When the rule does not read.
    pub async fn fault(&self, rule: Value) -> anyhow::Result<()> {
        self.console("POST", "faults", Some(rule)).await?.expect(201).map(drop)
    }

    /// Lets calls of the keyring's service fail.
    ///
    /// # Errors
    /// When the rule does not read.
    pub async fn keyring_fault(&self, rule: Value) -> anyhow::Result<()> {
        self.console("POST", "keyring/faults", Some(rule)).await?.expect(201).map(drop)
    }

    /// Lets a function be throttled, crash, time out or garble its metrics, as `POST /_local/functions/faults` takes it.
    ///
    /// # Errors
    /// When the fault does not read, when there is no such function.
    pub async fn function_fault(&self, fault: Value) -> anyhow::Result<()> {
        self.console("POST", "functions/faults", Some(fault)).await?.expect(201).map(drop)
    }

    /// Hands a function an event, as a schedule does.
    ///
    /// # Errors
    /// When there is no such function. What the function makes of it is in the answer.
    pub async fn invoke(&self, function: &str, event: &Value) -> anyhow::Result<Answer> {
        let answer = self.console("POST", &format!("invoke/{function}"), Some(event.clone())).await?;
        anyhow::ensure!(answer.status != 404, "{}", answer.text());
        Ok(answer)
    }

    /// Lifts all faults.
    ///
    /// # Errors
    /// When the console does not answer.
    pub async fn heal(&self) -> anyhow::Result<()> {
        self.console("DELETE", "faults", None).await?.expect(204)?;
        self.console("DELETE", "keyring/faults", None).await?.expect(204)?;
        self.console("DELETE", "functions/faults", None).await?.expect(204).map(drop)
    }

    /// The lines that the functions have written, oldest first.
    ///
    /// # Errors
    /// When the console does not answer.
    pub async fn logs(&self) -> anyhow::Result<Vec<Value>> {
        self.list("logs", "lines").await
    }

    /// The lines after a number, with their numbers.
    ///
    /// # Errors
    /// When the console does not answer.
    pub async fn logs_since(&self, sequence: u64) -> anyhow::Result<Vec<Value>> {
        self.list(&format!("logs?since={sequence}"), "lines").await
    }

    /// The values after a number that AWS would have published of gateway, functions, tables and log groups.
    ///
    /// # Errors
    /// When the console does not answer.
    pub async fn platform_metrics_since(&self, sequence: u64) -> anyhow::Result<Vec<Value>> {
        self.list(&format!("metrics?since={sequence}"), "data").await
    }

    /// Secrets of this test's actors that stand in the log, each with its line. A backend that ends with any fails the test.
    pub fn leaks(&self) -> Vec<String> {
        self.watch.leaks().into_iter().map(|(secret, line)| format!("{secret} in {line}")).collect()
    }

    /// The calls of database and keyring, those of the operator included.
    ///
    /// # Errors
    /// When the console does not answer.
    pub async fn calls(&self) -> anyhow::Result<Vec<Value>> {
        self.list("calls", "calls").await
    }

    /// # Errors
    /// When the console does not answer.
    pub async fn forget_calls(&self) -> anyhow::Result<()> {
        self.console("DELETE", "calls", None).await?.expect(204).map(drop)
    }

    /// The messages that would have been sent, newest first.
    ///
    /// # Errors
    /// When the console does not answer.
    pub async fn outbox(&self) -> anyhow::Result<Vec<Value>> {
        self.list("outbox", "messages").await
    }

    /// All items of a table, by its name in `infra/data.yaml`, such as `Audit`.
    ///
    /// # Errors
    /// When there is no such table.
    pub async fn items(&self, table: &str) -> anyhow::Result<Vec<Value>> {
        self.list(&format!("tables/{table}"), "items").await
    }

    async fn list(&self, path: &str, field: &str) -> anyhow::Result<Vec<Value>> {
        let answer = self.console("GET", path, None).await?.expect(200)?;
        answer.field(field).as_array().cloned().with_context(|| format!("{path} has no {field}"))
    }

    /// Writes to the database past everything, as somebody with the console of AWS could: a request of DynamoDB's own
    /// protocol.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn write_past_everything(&self, operation: &str, request: &Value) -> anyhow::Result<Value> {
        let answer = self
            .http
            .post(self.dynamodb_url())
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-date", "20260101T000000Z")
            .header(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, \
                 SignedHeaders=host;x-amz-date, Signature=00",
            )
            .body(request.to_string())
            .send()
            .await?;
        Ok(Answer::of(answer).await?.expect(200)?.json())
    }

    /// Puts a new version of a secret, whose name a variable of the functions holds, past everything.
    ///
    /// # Errors
    /// When the service refuses.
    pub async fn write_secret_past_everything(&self, variable: &str, text: &str) -> anyhow::Result<()> {
        let secret = self.environment().get(variable).context("no such variable")?;
        let answer = self
            .http
            .post(self.running.secrets_url())
            .header("x-amz-target", "secretsmanager.PutSecretValue")
            .header("content-type", "application/x-amz-json-1.1")
            .body(json!({"SecretId": secret, "SecretString": text}).to_string())
            .send()
            .await?;
        Answer::of(answer).await?.expect(200).map(drop)
    }
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend").field("url", &self.url).finish_non_exhaustive()
    }
}

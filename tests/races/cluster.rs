//! Server processes over one database, and client processes that ask them.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Stdio,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, ensure};
use futures_util::{future::try_join_all, try_join};
use sallyport_testkit::{Account, Backend, secrets};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

const INSTANCES: usize = 3;
const CONTENDERS: usize = 4;
/// Connections of each contender to each instance: as many as it may have requests under way there.
const CONNECTIONS: usize = 20;

/// How often: this often, or as often as `SALLYPORT_RACE_ROUNDS` says if that is more.
pub(crate) fn rounds(usual: usize) -> usize {
    #[expect(clippy::disallowed_methods, reason = "a test has no other way to be told")]
    let wanted = std::env::var("SALLYPORT_RACE_ROUNDS").ok().and_then(|text| text.parse().ok());
    usual.max(wanted.unwrap_or_default())
}

/// A race is about who is first, not about who gets a processor: one at a time holds this, whatever runs the tests.
pub(crate) async fn alone() -> anyhow::Result<File> {
    let alone = File::create(concat!(env!("CARGO_TARGET_TMPDIR"), "/races.lock"))?;
    Ok(tokio::task::spawn_blocking(move || alone.lock().map(|()| alone)).await??)
}

/// A process with a line on standard input for each order, and a line on standard output for each answer.
struct Process {
    _child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(program: &str, argument: Option<&Value>) -> anyhow::Result<Self> {
        let mut child = Command::new(program)
            .args(argument.map(ToString::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| program.to_owned())?;
        let orders = child.stdin.take().context("no standard input")?;
        let answers = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        Ok(Self { _child: child, orders, answers })
    }

    async fn order(&mut self, order: &Value) -> anyhow::Result<()> {
        Ok(self.orders.write_all(format!("{order}\n").as_bytes()).await?)
    }

    async fn answer(&mut self) -> anyhow::Result<Value> {
        let line = self.answers.next_line().await?.context("the process has ended")?;
        Ok(serde_json::from_str(&line)?)
    }

    async fn ask(&mut self, order: &Value) -> anyhow::Result<Value> {
        self.order(order).await?;
        self.answer().await
    }
}

/// A server process.
pub(crate) struct Instance {
    _process: Process,
    pub(crate) url: String,
    /// The last line of its log that a metric was taken from.
    measured: AtomicU64,
}

/// What it has logged holds no secret of the test.
impl Drop for Instance {
    fn drop(&mut self) {
        match self.lines() {
            Ok(lines) => secrets::none_in(lines.into_iter()),
            Err(_) if std::thread::panicking() => {}
            Err(error) => panic!("the log of {} cannot be read: {error:#}", self.url),
        }
    }
}

impl Instance {
    /// Starts a server over the database and the keyring of `backend`.
    pub(crate) async fn start(backend: &Backend) -> anyhow::Result<Self> {
        Self::start_with(backend, &[]).await
    }

    /// With variables that differ from the backend's.
    pub(crate) async fn start_with(backend: &Backend, variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut environment = backend.environment().clone();
        environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        environment.insert("AWS_ENDPOINT_URL".to_owned(), backend.dynamodb_url().to_owned());
        // Hundreds of unoptimised calls at once on few processors take their time, which must not decide a race.
        environment.insert("SALLYPORT_CALL_TIMEOUT_MS".to_owned(), "20000".to_owned());
        let order = json!({"environment": environment});
        let mut process = Process::start(env!("CARGO_BIN_EXE_instance"), Some(&order))?;
        let url = process.answer().await?["url"].as_str().context("no url")?.to_owned();
        let url = url.replace("localhost", "127.0.0.1");
        Ok(Self { _process: process, url, measured: AtomicU64::new(0) })
    }

    /// All lines that it remembers. It blocks: whoever drops something has no other way to ask.
    fn lines(&self) -> anyhow::Result<Vec<String>> {
        let mut connection = TcpStream::connect(self.url.trim_start_matches("http://"))?;
        write!(connection, "GET /_local/logs HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        let body: Value = serde_json::from_str(body)?;
        let lines = body["lines"].as_array().context("no lines")?;
        Ok(lines.iter().map(|line| line["line"].to_string()).collect())
    }

    /// Puts its clock forward.
    pub(crate) async fn advance(&self, seconds: u64) -> anyhow::Result<()> {
        self.console("POST", "clock", &json!({"advance_seconds": seconds})).await.map(drop)
    }

    async fn console(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        let url = format!("{}/_local/{path}", self.url);
        let answer = reqwest::Client::new().request(method.parse()?, url).json(body).send().await?;
        ensure!(answer.status().is_success(), "{path}: {}", answer.status());
        Ok(serde_json::from_slice(&answer.bytes().await?).unwrap_or_default())
    }
}

/// A request to fire. Which instance takes it is the cluster's choice.
#[derive(Debug, Clone)]
pub(crate) struct Shot {
    method: &'static str,
    path: String,
    body: Value,
    bearer: Option<String>,
    chain: usize,
}

impl Shot {
    pub(crate) fn post(path: &str, body: Value) -> Self {
        Self { method: "POST", path: path.to_owned(), body, bearer: None, chain: 1 }
    }

    pub(crate) fn delete(path: &str) -> Self {
        Self { method: "DELETE", path: path.to_owned(), body: json!({}), bearer: None, chain: 1 }
    }

    pub(crate) fn login(account: &Account, password: &str) -> Self {
        Self::post("/api/v1/auth/login", json!({"email": account.email, "password": password}))
    }

    pub(crate) fn refresh(token: &str) -> Self {
        Self::post("/api/v1/auth/refresh", json!({"refresh_token": token}))
    }

    pub(crate) fn verify(mfa_token: &str, factor: &str, code: &str) -> Self {
        let body = json!({"mfa_token": mfa_token, "factor_id": factor, "code": code});
        Self::post("/api/v1/auth/mfa/verify", body)
    }

    pub(crate) fn bearer(mut self, token: &str) -> Self {
        self.bearer = Some(token.to_owned());
        self
    }

    /// This request, then refreshes with the token of the answer before, so many in all or until one is refused.
    pub(crate) fn chain(mut self, times: usize) -> Self {
        self.chain = times;
        self
    }
}

/// What came of a request.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Outcome {
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn is(&self, status: u16, code: &str) -> bool {
        self.status == status && self.code() == code
    }

    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.body[field].as_str()
    }
}

/// Three servers and four clients. Dropping it ends them all.
pub(crate) struct Cluster {
    /// The database, the keyring and the operator's hand; takes part as a server too when a test asks it.
    pub(crate) backend: Backend,
    pub(crate) instances: Vec<Instance>,
    contenders: Vec<Process>,
    aimed: usize,
    /// How far the servers' clocks are ahead, in seconds.
    offset: u64,
    _alone: File,
}

impl Cluster {
    /// What the servers told their operators of requests that failed.
    pub(crate) async fn faults(&self) -> anyhow::Result<Vec<String>> {
        let mut faults = Vec::new();
        for instance in &self.instances {
            let logs = instance.console("GET", "logs", &Value::Null).await?;
            let lines = logs["lines"].as_array().into_iter().flatten().map(|line| &line["line"]);
            faults.extend(lines.filter_map(|line| line["fault"].as_str()).map(str::to_owned));
        }
        Ok(faults)
    }

    pub(crate) async fn start() -> anyhow::Result<Self> {
        let alone = alone().await?;
        let backend = Backend::with(&[
            ("SALLYPORT_ADDRESS_LIMIT", "100000"),
            ("SALLYPORT_PASSWORD_MEMORY_KIB", "7168"),
            ("SALLYPORT_PASSWORD_ITERATIONS", "1"),
        ])
        .await?;
        let instances = try_join_all((0..INSTANCES).map(|_| Instance::start(&backend))).await?;
        let urls: Vec<_> = instances.iter().map(|instance| instance.url.as_str()).collect();
        let mut contenders = Vec::new();
        for _ in 0..CONTENDERS {
            let mut contender = Process::start(env!("CARGO_BIN_EXE_contender"), None)?;
            contender.ask(&json!({"warm": urls, "connections": CONNECTIONS})).await?;
            contenders.push(contender);
        }
        Ok(Self { backend, instances, contenders, aimed: 0, offset: 0, _alone: alone })
    }

    /// Fires all shots at once, spread over clients and servers. The outcomes in the order of the shots, a list for each.
    pub(crate) async fn fire(&mut self, shots: &[Shot]) -> anyhow::Result<Vec<Vec<Outcome>>> {
        self.fire_while(shots, async |_| Ok(())).await
    }

    /// As [`Cluster::fire`], while an operator does something to the same database.
    pub(crate) async fn fire_while(
        &mut self,
        shots: &[Shot],
        operate: impl AsyncFnOnce(&Backend) -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<Vec<Outcome>>> {
        self.follow_the_clock().await?;
        let mut orders = vec![Vec::new(); CONTENDERS];
        for (index, shot) in shots.iter().enumerate() {
            secrets::note(&shot.body);
            self.aimed += 1;
            let url = format!("{}{}", self.instances[self.aimed % INSTANCES].url, shot.path);
            orders[index % CONTENDERS].push(json!({
                "method": shot.method, "url": url, "bearer": shot.bearer, "body": shot.body, "chain": shot.chain,
            }));
        }
        for (contender, aim) in self.contenders.iter_mut().zip(orders) {
            contender.ask(&json!({"aim": aim})).await?;
        }
        for contender in &mut self.contenders {
            contender.order(&json!("fire")).await?;
        }
        let answers = try_join_all(self.contenders.iter_mut().map(Process::answer));
        let (answers, ()) = try_join!(answers, operate(&self.backend))?;
        let mut lists: Vec<_> = answers
            .iter()
            .map(|answer| answer["outcomes"].as_array().cloned().unwrap_or_default().into_iter())
            .collect();
        (0..shots.len())
            .map(|index| {
                let outcomes = lists[index % CONTENDERS].next().context("an outcome is missing")?;
                outcomes.as_array().context("no list")?.iter().map(read).collect()
            })
            .collect()
    }

    /// Fires shots that are no chains.
    pub(crate) async fn fire_each(&mut self, shots: &[Shot]) -> anyhow::Result<Vec<Outcome>> {
        Ok(self.fire(shots).await?.into_iter().flatten().collect())
    }

    /// One request, by itself.
    pub(crate) async fn ask(&mut self, shot: Shot) -> anyhow::Result<Outcome> {
        self.fire_each(&[shot]).await?.pop().context("no outcome")
    }

    /// Puts the servers' clocks to where the test has put its own.
    async fn follow_the_clock(&mut self) -> anyhow::Result<()> {
        let clock = self.backend.console("GET", "clock", None).await?;
        let offset = clock.field("offset_seconds").as_u64().context("no offset")?;
        if offset > self.offset {
            for instance in &self.instances {
                instance.advance(offset - self.offset).await?;
            }
            self.offset = offset;
        }
        Ok(())
    }

    /// The sum of a metric of the servers' wide events since the last time it was asked for any.
    pub(crate) async fn metric(&self, name: &str) -> anyhow::Result<u64> {
        let mut sum = 0;
        for instance in &self.instances {
            let path = format!("logs?since={}", instance.measured.load(Ordering::Relaxed));
            let lines = instance.console("GET", &path, &json!({})).await?;
            let lines = lines["lines"].as_array().context("no lines")?;
            sum += lines.iter().filter_map(|line| line["line"][name].as_u64()).sum::<u64>();
            if let Some(last) = lines.last().and_then(|line| line["sequence"].as_u64()) {
                instance.measured.store(last, Ordering::Relaxed);
            }
        }
        Ok(sum)
    }

    /// Which of these refresh tokens still work.
    pub(crate) async fn living<'a>(
        &mut self,
        tokens: impl IntoIterator<Item = &'a str>,
    ) -> anyhow::Result<Vec<String>> {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let shots: Vec<_> = tokens.iter().map(|token| Shot::refresh(token)).collect();
        let outcomes = self.fire_each(&shots).await?;
        let mut living = Vec::new();
        for (token, outcome) in tokens.into_iter().zip(outcomes) {
            let dead = outcome.is(401, "invalid_refresh_token") || outcome.is(401, "refresh_token_reused");
            ensure!(dead || outcome.status == 200, "{outcome:?}");
            if !dead {
                living.push(token.to_owned());
            }
        }
        Ok(living)
    }
}

fn read(outcome: &Value) -> anyhow::Result<Outcome> {
    let status = u16::try_from(outcome["status"].as_u64().context("no status")?)?;
    if status < 400 {
        secrets::note(&outcome["body"]);
    }
    Ok(Outcome { status, body: outcome["body"].clone() })
}

/// How many outcomes there are of each status and code.
pub(crate) fn tally(outcomes: &[Outcome]) -> String {
    let mut counts = std::collections::BTreeMap::new();
    for outcome in outcomes {
        *counts.entry((outcome.status, outcome.code().to_owned())).or_insert(0) += 1;
    }
    format!("{counts:?}")
}

//! Throughput and latency through the gateway of `local`.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use http::{Method, StatusCode};
use sallyport_core::ids::UserId;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Options,
    accounts::{Kind, Operator, PASSWORD},
    client::Client,
    event::text,
    process::{Local, Process, bare_rate, millis, own_cpu},
    report::{Table, verdict},
    stats::{Spread, quantile, sorted},
};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Route {
    Login,
    LoginAtTen,
    Refresh,
    Verify,
}

impl Route {
    const fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::LoginAtTen => "login, ten sessions",
            Self::Refresh => "refresh",
            Self::Verify => "MFA verify, TOTP",
        }
    }
}

/// One round: latencies in milliseconds and what it cost.
#[derive(Debug, Default)]
struct Round {
    latencies: Vec<f64>,
    rate: f64,
    failures: usize,
    /// Microseconds of CPU for one request, by who used them.
    cpu: BTreeMap<&'static str, f64>,
}

#[derive(Debug, Default)]
struct Series {
    rates: Vec<f64>,
    latencies: Vec<f64>,
    failures: usize,
    cpu: BTreeMap<&'static str, Vec<f64>>,
    /// Rate over the rate of the bare hash, measured just before with as many threads.
    to_hash: Vec<f64>,
    bare: Vec<f64>,
}

impl Series {
    fn add(&mut self, round: Round) {
        self.rates.push(round.rate);
        self.latencies.extend(round.latencies);
        self.failures += round.failures;
        for (name, time) in round.cpu {
            self.cpu.entry(name).or_default().push(time);
        }
    }
}

type Key = (&'static str, u64, Route, usize);

pub(crate) fn run(options: &Options) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut all: BTreeMap<Key, Series> = BTreeMap::new();
    for latency in [0, 5] {
        for (engine, binary) in [("argon2", "local"), ("argon2-rust", "simd/local")] {
            let binary = options.binaries.join(binary);
            runtime.block_on(measure(options, engine, &binary, latency, &mut all))?;
        }
    }
    let mut table = Table::new(&[
        "route",
        "hash",
        "database ms",
        "clients",
        "requests/s",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "failures",
    ]);
    let mut shares = Table::new(&[
        "route",
        "hash",
        "clients",
        "functions and gateway, CPU µs",
        "database, keyring and proxy, CPU µs",
        "load generator, CPU µs",
    ]);
    let mut hashes = Table::new(&[
        "hash",
        "database ms",
        "clients",
        "bare hashes/s, as many threads",
        "logins/s",
        "ratio of rounds",
        "≥ 0.95",
    ]);
    for ((engine, latency, route, clients), series) in &all {
        let sorted = sorted(&series.latencies);
        let hash = if matches!(route, Route::Login | Route::LoginAtTen) { *engine } else { "—" };
        let p = |share| format!("{:.2}", quantile(&sorted, share));
        table.row(&[
            route.name().to_owned(),
            hash.to_owned(),
            latency.to_string(),
            clients.to_string(),
            Spread::of(&series.rates).show(0),
            p(0.5),
            p(0.95),
            p(0.99),
            series.failures.to_string(),
        ]);
        let of = |name| series.cpu.get(name).map(|times| Spread::of(times).show(0)).unwrap_or_default();
        if *latency == 0 {
            shares.row(&[
                route.name().to_owned(),
                hash.to_owned(),
                clients.to_string(),
                of("functions"),
                of("services"),
                of("load"),
            ]);
        }
        if *route == Route::Login {
            let ratio = Spread::of(&series.to_hash);
            hashes.row(&[
                (*engine).to_owned(),
                latency.to_string(),
                clients.to_string(),
                Spread::of(&series.bare).show(1),
                Spread::of(&series.rates).show(1),
                ratio.show(3),
                verdict(ratio.median >= 0.95).to_owned(),
            ]);
        }
    }
    let mut bounds = Table::new(&["bound", "measured", ""]);
    let rate = |key: Key| all.get(&key).map(|series| Spread::of(&series.rates).median).unwrap_or_default();
    let p95 = |key: Key| all.get(&key).map(|s| quantile(&sorted(&s.latencies), 0.95)).unwrap_or_default();
    let mut at_least = |what: &str, measured: f64, bound: f64| {
        let ratio = format!("{measured:.0}, {:.2} ×", measured / bound);
        bounds.row(&[format!("{what} ≥ {bound:.0}/s"), ratio, verdict(measured >= bound).to_owned()]);
    };
    for (clients, peer) in [(1, 87.5), (16, 178.7)] {
        let what = format!("login with argon2-rust, {clients} clients, 1.5 × better-auth ({peer}/s)");
        at_least(&what, rate(("argon2-rust", 0, Route::Login, clients)), 1.5 * peer);
    }
    for (clients, peer) in [(1, 1915.0), (16, 1902.0)] {
        let what = format!("refresh, {clients} clients, 1.5 × OpenAuth ({peer}/s)");
        at_least(&what, rate(("argon2", 0, Route::Refresh, clients)), 1.5 * peer);
    }
    let mut at_most = |what: &str, measured: f64, bound: f64| {
        let measured_text = format!("{measured:.1} ms");
        bounds.row(&[format!("{what} < {bound:.0} ms"), measured_text, verdict(measured < bound).to_owned()]);
    };
    at_most("login, p95 at 5 ms a call, 1 client", p95(("argon2", 5, Route::Login, 1)), 100.0);
    at_most("MFA verify, p95 at 5 ms a call, 1 client", p95(("argon2", 5, Route::Verify, 1)), 100.0);
    at_most("refresh, p95 at 5 ms a call, 1 client", p95(("argon2", 5, Route::Refresh, 1)), 25.0);
    at_most("refresh, p95 at 5 ms a call, 16 clients", p95(("argon2", 5, Route::Refresh, 16)), 25.0);
    Ok(format!("{}\n{}\n{}\n{}", bounds.text(), hashes.text(), table.text(), shares.text()))
}

async fn measure(
    options: &Options,
    engine: &'static str,
    binary: &Path,
    latency: u64,
    all: &mut BTreeMap<Key, Series>,
) -> anyhow::Result<()> {
    let (rounds, seconds) = if options.quick { (2, 1.0) } else { (5, 2.0) };
    let span = Duration::from_secs_f64(seconds);
    let is_default = engine == "argon2";
    let local = Local::backend(binary, Duration::from_millis(latency), &[])?;
    let operator = Operator::connect(&local.environment).await?;
    let bench = Bench { local, operator, next: AtomicUsize::new(0) };
    let accounts = bench.accounts(if options.quick { 64 } else { 384 }).await?;
    let (full, chains) = (bench.accounts(16).await?, bench.accounts(16).await?);
    if is_default {
        let mut client = bench.client().await?;
        for account in full.iter().cycle().take(full.len() * 10) {
            let body = json!({"email": account.email, "password": PASSWORD});
            client.post("/api/v1/auth/login", None, &body).await?;
        }
    }
    let factors = if is_default {
        let accounts = bench.accounts(if options.quick { 48 } else { 400 }).await?;
        bench.enrol(accounts).await?
    } else {
        Vec::new()
    };
    let bare = options.binaries.join("bare-hash");
    let engine_name = if is_default { "portable" } else { "simd" };
    for _ in 0..rounds {
        for clients in [1, 16] {
            let hash_rate = bare_rate(&bare, engine_name, clients, seconds / 2.0)?;
            bench.forget_sessions(&accounts).await?;
            let round = bench.round(clients, Work::Login(&accounts, span)).await?;
            let series = all.entry((engine, latency, Route::Login, clients)).or_default();
            series.to_hash.push(round.rate / hash_rate);
            series.bare.push(hash_rate);
            series.add(round);
            if !is_default {
                continue;
            }
            let round = bench.round(clients, Work::Login(&full, span)).await?;
            all.entry((engine, latency, Route::LoginAtTen, clients)).or_default().add(round);
            bench.forget_sessions(&chains).await?;
            let round = bench.round(clients, Work::Refresh(&chains, span)).await?;
            all.entry((engine, latency, Route::Refresh, clients)).or_default().add(round);
            let pending = bench.pending(&factors).await?;
            let round = bench.round(clients, Work::Verify(pending)).await?;
            all.entry((engine, latency, Route::Verify, clients)).or_default().add(round);
        }
    }
    Ok(())
}

#[derive(Debug, Clone)]
struct Account {
    email: String,
    user: UserId,
}

#[derive(Debug, Clone)]
struct Factor {
    account: Account,
    id: String,
    secret: String,
}

/// A request whose password has been checked and whose code is known.
type Pending = VecDeque<Vec<u8>>;

enum Work<'a> {
    /// Sign-ins to these accounts in turn.
    Login(&'a [Account], Duration),
    /// A chain of refreshes for each client.
    Refresh(&'a [Account], Duration),
    /// Until there is nothing left.
    Verify(Pending),
}

struct Bench {
    local: Local,
    operator: Operator,
    next: AtomicUsize,
}

/// What one client saw.
#[derive(Debug, Default)]
struct Seen {
    latencies: Vec<f64>,
    failures: usize,
}

impl Seen {
    async fn request(
        &mut self,
        client: &mut Client,
        path: &str,
        body: Vec<u8>,
    ) -> anyhow::Result<hyper::body::Bytes> {
        let started = Instant::now();
        let (status, answer) = client.send(Method::POST, path, None, body).await?;
        self.latencies.push(millis(started.elapsed()));
        if status != StatusCode::OK {
            self.failures += 1;
            if status.is_client_error() {
                bail!("{path}: {status} {}", String::from_utf8_lossy(&answer));
            }
        }
        Ok(answer)
    }
}

#[derive(Deserialize)]
struct Tokens<'a> {
    refresh_token: &'a str,
}

/// Takes one, and lets go of the lock at once.
fn next<T>(queue: &Mutex<VecDeque<T>>) -> Option<T> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

fn login_body(account: &Account) -> Vec<u8> {
    json!({"email": account.email, "password": PASSWORD}).to_string().into_bytes()
}

impl Bench {
    async fn accounts(&self, count: usize) -> anyhow::Result<Vec<Account>> {
        let mut accounts = Vec::new();
        for _ in 0..count {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let email = format!("user{number}@example.com");
            let user = self.operator.create(&email, Kind::Plain).await?;
            accounts.push(Account { email, user });
        }
        Ok(accounts)
    }

    async fn forget_sessions(&self, accounts: &[Account]) -> anyhow::Result<()> {
        for account in accounts {
            self.operator.forget_sessions(account.user).await?;
        }
        Ok(())
    }

    async fn client(&self) -> anyhow::Result<Client> {
        Client::connect(&self.local.api).await
    }

    /// Gives each account an authenticator app, by the API.
    async fn enrol(&self, accounts: Vec<Account>) -> anyhow::Result<Vec<Factor>> {
        let mut client = self.client().await?;
        let mut factors = Vec::new();
        for account in accounts {
            let body = json!({"email": account.email, "password": PASSWORD});
            let access = text(&client.post("/api/v1/auth/login", None, &body).await?, "access_token")?;
            let enrolled = client.post("/api/v1/mfa/totp", Some(&access), &json!({})).await?;
            let (id, secret) = (text(&enrolled, "factor_id")?, text(&enrolled, "secret")?);
            let code = self.code(&mut client, &secret).await?;
            let confirm = json!({"factor_id": id, "code": code});
            client.post("/api/v1/mfa/totp/confirm", Some(&access), &confirm).await?;
            factors.push(Factor { account, id, secret });
        }
        Ok(factors)
    }

    async fn code(&self, client: &mut Client, secret: &str) -> anyhow::Result<String> {
        let code = client.get(&format!("/_local/totp?secret={secret}")).await?;
        Ok(String::from_utf8(code.to_vec())?.trim().to_owned())
    }

    /// Signs in with the passwords and computes the codes. The clock goes one step forward first: a code is good once.
    async fn pending(&self, factors: &[Factor]) -> anyhow::Result<Pending> {
        let mut client = self.client().await?;
        client.post("/_local/clock", None, &json!({"advance_seconds": 30})).await?;
        for factor in factors {
            self.operator.forget_sessions(factor.account.user).await?;
        }
        let queue: VecDeque<_> = factors.iter().cloned().collect();
        let queue = Arc::new(Mutex::new(queue));
        let done = Arc::new(Mutex::new(Pending::new()));
        let workers = (0..4).map(|_| {
            let (queue, done) = (Arc::clone(&queue), Arc::clone(&done));
            async move {
                let mut client = self.client().await?;
                while let Some(factor) = next(&queue) {
                    let body = json!({"email": factor.account.email, "password": PASSWORD});
                    let answer = client.post("/api/v1/auth/login", None, &body).await?;
                    let code = self.code(&mut client, &factor.secret).await?;
                    let token = text(&answer, "mfa_token")?;
                    let body = json!({"mfa_token": token, "factor_id": factor.id, "code": code});
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.push_back(body.to_string().into_bytes());
                }
                anyhow::Ok(())
            }
        });
        futures_util::future::try_join_all(workers).await?;
        let pending = std::mem::take(&mut *done.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(pending)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of requests")]
    async fn round(&self, clients: usize, work: Work<'_>) -> anyhow::Result<Round> {
        let mut prepared = Vec::new();
        for index in 0..clients {
            let mut client = self.client().await?;
            let mut token = String::new();
            if let Work::Refresh(accounts, _) = &work {
                let account = accounts.get(index).context("too few accounts")?;
                let body = json!({"email": account.email, "password": PASSWORD});
                token = text(&client.post("/api/v1/auth/login", None, &body).await?, "refresh_token")?;
            } else {
                // A connection that has been used.
                client.get("/_local/clock").await?;
            }
            prepared.push((client, token));
        }
        let work = match work {
            Work::Verify(pending) => Shared::Verify(Mutex::new(pending)),
            Work::Login(accounts, span) => Shared::Login(accounts, Instant::now() + span),
            Work::Refresh(_, span) => Shared::Refresh(Instant::now() + span),
        };
        let before = Cpu::now(&self.local.process);
        let started = Instant::now();
        let seen = futures_util::future::try_join_all(
            prepared.into_iter().map(|(client, token)| self.run(client, token, &work)),
        )
        .await?;
        let elapsed = started.elapsed();
        let used = Cpu::now(&self.local.process);
        let mut round = Round::default();
        for seen in seen {
            round.latencies.extend(seen.latencies);
            round.failures += seen.failures;
        }
        let requests = round.latencies.len() as f64;
        round.rate = requests / elapsed.as_secs_f64();
        round.cpu = used.since(&before, requests);
        Ok(round)
    }

    async fn run(&self, mut client: Client, mut token: String, work: &Shared<'_>) -> anyhow::Result<Seen> {
        let mut seen = Seen::default();
        match work {
            Shared::Login(accounts, until) => {
                while Instant::now() < *until {
                    let next = self.next.fetch_add(1, Ordering::Relaxed) % accounts.len();
                    let account = accounts.get(next).context("no accounts")?;
                    seen.request(&mut client, "/api/v1/auth/login", login_body(account)).await?;
                }
            }
            Shared::Refresh(until) => {
                while Instant::now() < *until {
                    let body = format!("{{\"refresh_token\":\"{token}\"}}").into_bytes();
                    let answer = seen.request(&mut client, "/api/v1/auth/refresh", body).await?;
                    let tokens: Tokens<'_> = serde_json::from_slice(&answer)?;
                    tokens.refresh_token.clone_into(&mut token);
                }
            }
            Shared::Verify(pending) => {
                while let Some(body) = next(pending) {
                    let answer = seen.request(&mut client, "/api/v1/auth/mfa/verify", body).await?;
                    let answer: Value = serde_json::from_slice(&answer)?;
                    text(&answer, "refresh_token")?;
                }
            }
        }
        Ok(seen)
    }
}

/// The work of a round as its clients see it.
enum Shared<'a> {
    Login(&'a [Account], Instant),
    Refresh(Instant),
    Verify(Mutex<Pending>),
}

/// Time on a processor so far, by who used it.
struct Cpu(BTreeMap<&'static str, Duration>);

impl Cpu {
    fn now(local: &Process) -> Self {
        let threads = local.threads();
        let of = |name: &str| Duration::from_nanos(threads.get(name).copied().unwrap_or_default());
        Self(BTreeMap::from([
            ("functions", of("functions")),
            ("services", of("services")),
            ("load", own_cpu()),
        ]))
    }

    /// Microseconds for each of so many requests.
    fn since(&self, before: &Self, requests: f64) -> BTreeMap<&'static str, f64> {
        let earlier = |name: &str| before.0.get(name).copied().unwrap_or_default();
        self.0
            .iter()
            .map(|(name, time)| {
                (*name, time.saturating_sub(earlier(name)).as_secs_f64() * 1e6 / requests.max(1.0))
            })
            .collect()
    }
}

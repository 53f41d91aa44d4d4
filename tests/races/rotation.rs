//! A planned rotation of the keyring, while people use the service by several processes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, bail, ensure};
use futures_util::{future::try_join_all, try_join};
use sallyport_testkit::{Account, Actor, Backend, Session};
use serde_json::{Value, json};
use tokio::sync::{RwLock, watch};

use crate::cluster::{Instance, alone};

const USERS: usize = 3;
/// Seconds by which the clocks go forward at a time. An access token lives through two of them.
const PACE: u64 = 130;
/// How long the two processes keep a copy of the keyring: one as long as they may, so that their copies differ in age.
const COPIES: [u64; 2] = [CACHE_PERIOD, 200];
const CACHE_PERIOD: u64 = 300;
/// Seconds after which an access token may be too old by the time that it is looked at.
const TOKEN_LIFE: u64 = 285;

/// Two processes that serve the same data, each with its own copies of the keyring. The rotation function runs in a third.
struct Service {
    backend: Backend,
    instances: Vec<Instance>,
    /// Held shared by whoever is among requests: the clocks of hosts do not jump, and these do.
    clocks: RwLock<()>,
    /// Key → when a token was first seen that it signed, and by which processes it signed.
    signed: Mutex<BTreeMap<String, (u64, BTreeSet<usize>)>>,
    over: watch::Sender<bool>,
}

/// What came of an attempt to rotate.
enum Attempt {
    Took(String),
    /// A guard held, and says for how many seconds.
    TooEarly(u64),
}

impl Service {
    async fn start() -> anyhow::Result<Self> {
        let backend = Backend::with(&[
            ("SALLYPORT_ADDRESS_LIMIT", "100000"),
            ("SALLYPORT_PASSWORD_MEMORY_KIB", "7168"),
            ("SALLYPORT_PASSWORD_ITERATIONS", "1"),
        ])
        .await?;
        let mut instances = Vec::new();
        for age in COPIES {
            let age = age.to_string();
            let variables = [("SALLYPORT_KEYRING_MAX_AGE_SECONDS", age.as_str())];
            instances.push(Instance::start_with(&backend, &variables).await?);
        }
        let (clocks, signed, over) = (RwLock::default(), Mutex::default(), watch::Sender::new(false));
        Ok(Self { backend, instances, clocks, signed, over })
    }

    async fn advance(&self, seconds: u64) -> anyhow::Result<()> {
        let _nobody_asks = self.clocks.write().await;
        self.backend.advance(seconds).await?;
        try_join_all(self.instances.iter().map(|instance| instance.advance(seconds))).await.map(drop)
    }

    /// The keys that each process publishes.
    async fn published(&self) -> anyhow::Result<Vec<BTreeSet<String>>> {
        let mut published = Vec::new();
        for instance in &self.instances {
            let caller = self.backend.actor_at(&instance.url);
            let jwks = caller.get("/.well-known/jwks.json").await?.expect(200)?.json();
            let keys = jwks["keys"].as_array().context("no keys")?;
            published.push(keys.iter().filter_map(|key| key["kid"].as_str().map(str::to_owned)).collect());
        }
        Ok(published)
    }

    /// The steps of Secrets Manager, with requests of everybody after each.
    async fn rotate(&self, users: &mut Users) -> anyhow::Result<Attempt> {
        let mut token = Value::Null;
        for step in ["createSecret", "setSecret", "testSecret", "finishSecret"] {
            let asked = json!({"token": token, "steps": [step]});
            let told = self.backend.console("POST", "rotate", Some(asked)).await?.json();
            if let Some(refusal) = told["error"]["message"].as_str() {
                let wait = refusal.split("may be used in ").nth(1).and_then(|rest| rest.split(' ').next());
                let wait = wait.and_then(|wait| wait.parse().ok());
                ensure!(step == "createSecret", "{told}");
                return wait.map(Attempt::TooEarly).with_context(|| told.to_string());
            }
            users.go_on(1).await?;
            token = told["token"].clone();
            if let Some(phase) = told["result"]["phase"].as_str() {
                return Ok(Attempt::Took(phase.to_owned()));
            }
        }
        bail!("the last step says nothing of its phase")
    }

    fn note(&self, token: &str, process: usize) -> anyhow::Result<()> {
        let kid = jsonwebtoken::decode_header(token)?.kid.context("no kid")?;
        let mut signed = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, processes) = signed.entry(kid).or_insert_with(|| (self.backend.now(), BTreeSet::new()));
        processes.insert(process);
        Ok(())
    }
}

/// Everybody, as far as they tell how many rounds they have made.
struct Users(Vec<watch::Receiver<usize>>);

impl Users {
    /// Waits until everybody has made so many rounds more.
    async fn go_on(&mut self, rounds: usize) -> anyhow::Result<()> {
        for user in &mut self.0 {
            let goal = *user.borrow() + rounds;
            user.wait_for(|made| *made >= goal).await.context("a user has left")?;
        }
        Ok(())
    }
}

/// Somebody who uses the processes by turns, all the time, and never takes a refusal.
struct User<'a> {
    service: &'a Service,
    account: Account,
    at: Vec<Actor>,
    session: Session,
    /// Access tokens, with the time at which each was made, oldest first.
    tokens: Vec<(u64, String)>,
}

impl<'a> User<'a> {
    async fn sign_up(service: &'a Service) -> anyhow::Result<Self> {
        let account = service.backend.account().await?;
        let at: Vec<_> = service.instances.iter().map(|one| service.backend.actor_at(&one.url)).collect();
        let session = at[0].log_in(&account).await?;
        Ok(Self { service, account, at, session, tokens: Vec::new() })
    }

    /// Until it is over.
    async fn stay(mut self, rounds: watch::Sender<usize>) -> anyhow::Result<()> {
        while !*self.service.over.borrow() {
            let here = *rounds.borrow() % 2;
            let _clocks_stand = self.service.clocks.read().await;
            let round = self.round(here, 1 - here).await;
            round.with_context(|| {
                format!("{} at process {here}, {:?}", self.account.email, self.service.signed)
            })?;
            rounds.send_modify(|made| *made += 1);
        }
        Ok(())
    }

    /// Here a token is made, there it is used.
    async fn round(&mut self, here: usize, there: usize) -> anyhow::Result<()> {
        // The session that began before any rotation.
        self.session.actor = self.at[here].clone();
        self.session.refresh().await.context("refresh")?;
        self.service.note(&self.session.access_token, here)?;
        self.session.actor = self.at[there].clone();
        let proof = json!({"password": self.account.password});
        self.session.reauthenticate(&proof).await.context("reauthentication")?;
        let token = self.session.access_token.clone();
        self.service.note(&token, there)?;
        self.accepted(here, &token).await?;

        // A new one.
        let fresh = self.at[here].log_in(&self.account).await.context("sign-in")?;
        self.service.note(&fresh.access_token, here)?;
        self.accepted(there, &fresh.access_token).await?;
        let left = self.at[there].ask("POST", "/api/v1/auth/logout").bearer(&fresh.access_token);
        left.json(&json!({"scope": "local"})).send().await?.expect(204)?;

        // The oldest that still works, of each key.
        let now = self.service.backend.now();
        self.tokens.push((now, token));
        self.tokens.retain(|(made, _)| now < made + TOKEN_LIFE);
        let mut keys = BTreeSet::new();
        for (made, token) in self.tokens.clone() {
            if keys.insert(jsonwebtoken::decode_header(&token)?.kid) {
                self.accepted(here, &token).await.with_context(|| format!("{} s old", now - made))?;
            }
        }
        Ok(())
    }

    async fn accepted(&self, process: usize, token: &str) -> anyhow::Result<()> {
        let asked = self.at[process].ask("GET", "/api/v1/mfa/factors").bearer(token).send().await?;
        asked.expect(200).map(drop).with_context(|| format!("a token at process {process}"))
    }
}

/// Whoever rotates does not wait for the right moment: it is tried again and again, and the guards alone say when.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_rotation_signs_nobody_out_of_any_process() -> anyhow::Result<()> {
    let _alone = alone().await?;
    let service = Service::start().await?;
    let users = try_join_all((0..USERS).map(|_| User::sign_up(&service))).await?;
    let (told, made): (Vec<_>, Vec<_>) = users.iter().map(|_| watch::channel(0)).unzip();
    let staying = try_join_all(users.into_iter().zip(told).map(|(user, told)| user.stay(told)));
    let mut users = Users(made);

    let rotating = async {
        // All functions of both read the keyring now, right before it changes.
        service.advance(CACHE_PERIOD).await?;
        users.go_on(2).await?;
        let before = service.published().await?;
        // Process and key → when it was first seen there.
        let mut shown = BTreeMap::new();
        let (mut phases, mut refused) = (Vec::new(), 0);
        while phases.last().is_none_or(|last| last != "retire") {
            let pace = match service.rotate(&mut users).await? {
                Attempt::Took(phase) => {
                    phases.push(phase);
                    PACE
                }
                Attempt::TooEarly(wait) => {
                    refused += 1;
                    // Nothing happens in the hours between.
                    if wait > 6 * PACE && refused % 3 == 0 { wait - 3 * PACE } else { PACE }
                }
            };
            service.advance(pace).await?;
            users.go_on(2).await?;
            for (process, keys) in service.published().await?.into_iter().enumerate() {
                for key in keys {
                    shown.entry((process, key)).or_insert_with(|| service.backend.now());
                }
            }
        }
        for _ in 0..3 {
            service.advance(PACE).await?;
            users.go_on(2).await?;
        }
        service.over.send_replace(true);
        anyhow::Ok((before, shown, phases, refused))
    };
    let (_, (before, shown, phases, refused)) = try_join!(staying, rotating)?;

    // A scheduler that never waits publishes the next key before it drops the last.
    ensure!(phases == ["publish", "promote", "publish", "promote", "retire"], "{phases:?}");
    ensure!(refused >= 6, "only {refused} attempts were too early");
    let signed = service.signed.lock().unwrap_or_else(PoisonError::into_inner).clone();
    ensure!(signed.len() == 3, "{signed:?}");
    for (key, (at, processes)) in &signed {
        ensure!(processes.len() == 2, "{key} signed in {processes:?} alone");
        for process in 0..service.instances.len() {
            let shown = shown.get(&(process, key.clone())).context("a key that signs was never published")?;
            let known = before.iter().all(|keys| keys.contains(key)) || at - shown >= CACHE_PERIOD;
            ensure!(known, "{key} signed {} s after process {process} had published it", at - shown);
        }
    }
    let first = before[0].first().context("no key before")?;
    for keys in service.published().await? {
        let expected: BTreeSet<_> = signed.keys().filter(|key| *key != first).cloned().collect();
        ensure!(keys == expected, "{keys:?} are published, and not {expected:?}");
    }
    println!("{phases:?}, and {refused} attempts that were too early");
    Ok(())
}

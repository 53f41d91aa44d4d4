//! The restore drill: a backup is one when somebody has signed in out of it.
//!
//! ```text
//! awaiting ─▶ restoring ─▶ checking (page by page) ─▶ signing in ─▶ cleaning up ─▶ done
//!    the canary account          └──────── any fault ────────────▶ cleaning up ─▶ failed
//!    must be in the backup
//! ```
//!
//! Where it stands is kept after every step, before anything is made that would have to be taken away: whoever is interrupted
//! (a function lives for fifteen minutes, a restore may take hours) goes on there, and the scratch tables always go.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sallyport_core::{
    accounts::{self, Email, LoginRecords, Password, PasswordHasher},
    address::ClientAddress,
    administration::{self, AdministrationError, ManageAccounts, NewAccount},
    audit::{EventKind, Origin, SecurityEvent, Subject},
    clock::Timestamp,
    env::Env,
    keyring::KeyId,
    login::{SignInCommand, SignInPorts, SignedIn, sign_in},
    rules::Rules,
    secret::Secret,
    store::{StoreError, StoreResult},
};
use serde::{Deserialize, Serialize};

use super::{InspectTables, Proof, Proofs, Role};
use crate::rotation::{KeyKind, KeyName};

/// How a table came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// DynamoDB restored it from its own backup.
    PointInTime,
    /// It was read and written again: where there is no backup to restore, such as an emulator. It proves that the data can be
    /// read and used, and nothing of a backup.
    Copy,
}

impl Method {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PointInTime => "point in time",
            Self::Copy => "copy",
        }
    }
}

/// The tables of a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scratch {
    /// Names begin with it.
    pub prefix: String,
}

impl Scratch {
    /// All tables that the real sign-in needs: those of the backup, and empty ones of those that have none.
    pub const ROLES: [Role; 5] = [Role::Users, Role::Audit, Role::Ops, Role::Sessions, Role::Throttle];

    pub fn table(&self, role: Role) -> String {
        format!("{}-{}", self.prefix, role.as_str())
    }
}

/// How far a scratch table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    Absent,
    Busy,
    Ready,
}

/// What a page of a scratch table held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    pub items: u64,
    /// Key and problem, never a value.
    pub corrupt: Vec<(String, String)>,
    /// Which peppers and seals the items need.
    pub needs: BTreeSet<KeyName>,
    /// Where to go on; `None` at the end.
    pub next: Option<String>,
}

/// What a drill does to tables. Everything can be repeated.
pub trait RestoreTables: Send + Sync {
    /// The storage of the real use cases, over the scratch tables.
    type Store: SignInPorts;

    fn scratch_store(&self, scratch: &Scratch) -> Self::Store;

    /// Begins to restore a table, to the latest time that there is. `false` where that cannot be done at all.
    fn restore(&self, role: Role, to: &str) -> impl Future<Output = StoreResult<bool>> + Send;

    /// Creates an empty table.
    fn create_empty(&self, role: Role, name: &str) -> impl Future<Output = StoreResult<()>> + Send;

    /// Copies a page, and says where to go on.
    fn copy(
        &self,
        role: Role,
        to: &str,
        from: Option<&str>,
    ) -> impl Future<Output = StoreResult<Option<String>>> + Send;

    fn readiness(&self, name: &str) -> impl Future<Output = StoreResult<Readiness>> + Send;

    /// Reads a page of a table, and decodes every item as the functions would.
    fn check(
        &self,
        role: Role,
        name: &str,
        from: Option<&str>,
    ) -> impl Future<Output = StoreResult<Page>> + Send;

    /// Deletes a table. `true` once it is gone.
    fn discard(&self, name: &str) -> impl Future<Output = StoreResult<bool>> + Send;

    /// Roughly how many items the live table has; DynamoDB counts every six hours.
    fn live_count(&self, role: Role) -> impl Future<Output = StoreResult<u64>> + Send;
}

/// A run that is under way, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Counts up with every change: of two that go on at once, one does.
    pub revision: u64,
    /// Nobody else goes on before this. Milliseconds.
    pub lease: u64,
    /// When proof was first asked for: until there is one, its age counts from here. Milliseconds.
    pub asked_at: u64,
    pub stage: Stage,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "name")]
pub enum Stage {
    /// Nothing is under way.
    Idle,
    Restoring(Progress),
    Checking(Progress),
    SigningIn(Progress),
    CleaningUp(Progress),
}

/// What a run knows so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub scratch: Scratch,
    /// Milliseconds.
    pub started_at: u64,
    pub method: Method,
    /// What has been begun: how many of [`Scratch::ROLES`].
    pub begun: usize,
    /// Which of the retained tables is copied or checked now.
    pub at: usize,
    pub cursor: Option<String>,
    pub counts: BTreeMap<String, u64>,
    pub live: BTreeMap<String, u64>,
    pub needs: BTreeSet<String>,
    pub corrupt: u64,
    /// The first of them: key and problem.
    pub examples: Vec<String>,
    pub findings: Vec<String>,
    pub signed_in: bool,
}

/// Keeps the run that is under way, and the canary.
pub trait Runs: Send + Sync {
    fn run(&self) -> impl Future<Output = StoreResult<Option<Run>>> + Send;

    /// Writes `run` in place of the revision before it. `false` when somebody else has gone on meanwhile. `event` is written
    /// with it.
    fn keep_run(
        &self,
        run: &Run,
        event: Option<&SecurityEvent>,
    ) -> impl Future<Output = StoreResult<bool>> + Send;

    fn canary(&self) -> impl Future<Output = StoreResult<Option<Canary>>> + Send;

    /// `false` when there is one already.
    fn keep_canary(&self, canary: &Canary) -> impl Future<Output = StoreResult<bool>> + Send;
}

/// The account that signs in out of the backup. Its password is derived from a key and stored nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canary {
    pub created_at: Timestamp,
    /// The sealing key that its password comes from. Sealing keys are kept for good.
    pub key: KeyId,
}

/// Nobody's: RFC 2606 keeps `.invalid` from ever being a domain.
pub const CANARY: &str = "canary@sallyport.invalid";

/// All that a drill may touch.
pub trait DrillPorts: RestoreTables + Runs + Proofs + InspectTables + ManageAccounts + LoginRecords {}

impl<P> DrillPorts for P where P: RestoreTables + Runs + Proofs + InspectTables + ManageAccounts + LoginRecords
{}

#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    #[error("somebody else is at it until {0:?}")]
    Leased(Timestamp),
    #[error("the canary account cannot be used: {0}")]
    Canary(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Random(#[from] sallyport_core::random::RandomUnavailable),
}

/// Where a drill stands after it was driven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The last proof is young enough.
    NotDue,
    /// It goes on at the next call.
    UnderWay(String),
    Proven(Report),
    Failed(Report),
}

/// What a drill found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub ok: bool,
    pub method: Method,
    /// Seconds.
    pub took: u64,
    /// Items of each table that came back.
    pub items: BTreeMap<String, u64>,
    /// Items of the live tables, as DynamoDB last counted them.
    pub live_items: BTreeMap<String, u64>,
    pub corrupt: u64,
    /// Key and problem of some of them.
    pub examples: Vec<String>,
    /// Peppers and seals that items need.
    pub keys_in_use: BTreeSet<String>,
    pub canary_signed_in: bool,
    pub findings: Vec<String>,
}

/// What a drill is given.
#[derive(Clone, Copy)]
pub struct DrillEnv<'a> {
    pub env: Env<'a>,
    pub hasher: &'a PasswordHasher,
    pub rules: &'a Rules,
    /// What the scratch tables' names begin with.
    pub prefix: &'a str,
    pub origin: &'a Origin,
    /// A proof that is younger is good enough; zero drills at once.
    pub due_after: Duration,
    /// Stop beginning steps after this long.
    pub patience: Duration,
}

impl std::fmt::Debug for DrillEnv<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DrillEnv").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// A run that has not come to its end by now has failed.
const DEADLINE: Duration = Duration::from_secs(12 * 60 * 60);

/// Longer than a function lives.
const LEASE: Duration = Duration::from_secs(16 * 60);

/// A table that has lost more than this share of what the live one holds did not come back whole. In percent.
const SHRINKAGE: u64 = 10;

/// Below this a count says nothing.
const COUNTABLE: u64 = 100;

const EXAMPLES: usize = 10;

/// How old the last proof is, or how long one has been waited for.
pub async fn proof_age<P: Proofs + Runs>(ports: &P, now: Timestamp) -> StoreResult<Duration> {
    if let Some(proof) = ports.proof(Proof::RESTORE_DRILL).await? {
        return Ok(now.since(proof.at));
    }
    Ok(ports.run().await?.map(|run| now.since(Timestamp::from_millis(run.asked_at))).unwrap_or_default())
}

/// Goes on with a drill as far as it gets, or begins one when it is due. `tell` hears of every step.
///
/// # Errors
/// Storage; what a table could not do is retried at the next call, until the deadline.
pub async fn drive<P: DrillPorts>(
    ports: &P,
    drill: DrillEnv<'_>,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<Standing, DrillError> {
    let now = drill.env.now();
    let kept = ports.run().await?;
    let fresh = Run { revision: 0, lease: 0, asked_at: now.millis(), stage: Stage::Idle };
    let mut run = kept.unwrap_or(fresh);
    if now.millis() < run.lease {
        return Err(DrillError::Leased(Timestamp::from_millis(run.lease)));
    }
    let idle = run.stage == Stage::Idle;
    if idle
        && let Some(proof) = ports.proof(Proof::RESTORE_DRILL).await?
        && now.since(proof.at) < drill.due_after
    {
        return Ok(Standing::NotDue);
    }
    run.lease = (now + LEASE).millis();
    if !keep(ports, &mut run, None).await? {
        return Err(DrillError::Leased(Timestamp::from_millis(run.lease)));
    }
    let driven = advance(ports, drill, &mut run, tell).await;
    run.lease = 0;
    let released = keep(ports, &mut run, None).await;
    let standing = driven?;
    released?;
    Ok(standing)
}

/// What becomes of a drill while the keyring is empty. Proof is asked for all the same: its age counts from the first call on, so
/// that it is noticed when none ever comes.
pub async fn wait_for_keyring<P: Runs>(ports: &P, now: Timestamp) -> StoreResult<()> {
    if ports.run().await?.is_none() {
        let mut run = Run { revision: 0, lease: 0, asked_at: now.millis(), stage: Stage::Idle };
        // Of two calls at once one has kept it, and that one counts.
        keep(ports, &mut run, None).await?;
    }
    Ok(())
}

/// Gives a drill up: its tables are deleted, and it has failed. Where that does not succeed, the next drill begins with it.
///
/// # Errors
/// Storage; somebody else is at it.
pub async fn abandon<P: DrillPorts>(
    ports: &P,
    drill: DrillEnv<'_>,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<(), DrillError> {
    let Some(mut run) = ports.run().await? else { return Ok(()) };
    run.stage = match run.stage.clone() {
        Stage::Restoring(progress) | Stage::Checking(progress) | Stage::SigningIn(progress) => {
            fail(progress, "it was given up")
        }
        stage => stage,
    };
    if !keep(ports, &mut run, None).await? {
        return Err(DrillError::Leased(Timestamp::from_millis(run.lease)));
    }
    if run.stage == Stage::Idle { Ok(()) } else { drive(ports, drill, tell).await.map(drop) }
}

async fn keep<P: Runs>(ports: &P, run: &mut Run, event: Option<&SecurityEvent>) -> StoreResult<bool> {
    run.revision += 1;
    ports.keep_run(run, event).await
}

async fn advance<P: DrillPorts>(
    ports: &P,
    drill: DrillEnv<'_>,
    run: &mut Run,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<Standing, DrillError> {
    let begun_at = drill.env.now();
    loop {
        let now = drill.env.now();
        if now.since(begun_at) > drill.patience {
            return Ok(Standing::UnderWay("it goes on at the next call".to_owned()));
        }
        let next = match run.stage.clone() {
            Stage::Idle => match begin(ports, drill, tell).await? {
                Begun::Waiting(why) => return Ok(Standing::UnderWay(why)),
                Begun::Begun(progress) => Stage::Restoring(progress),
            },
            Stage::Restoring(progress) | Stage::Checking(progress) | Stage::SigningIn(progress)
                if now.since(Timestamp::from_millis(progress.started_at)) > DEADLINE =>
            {
                fail(progress, "it did not come to its end within twelve hours")
            }
            Stage::Restoring(progress) => match restore(ports, progress, tell).await? {
                Restored::Busy(progress) => {
                    run.stage = Stage::Restoring(progress);
                    return Ok(Standing::UnderWay("tables are being restored".to_owned()));
                }
                Restored::More(progress) => Stage::Restoring(progress),
                Restored::Done(progress) => Stage::Checking(Progress { at: 0, cursor: None, ..progress }),
            },
            Stage::Checking(progress) => check(ports, drill, progress, tell).await?,
            Stage::SigningIn(progress) => {
                tell("the canary account signs in");
                let progress = enter(ports, drill, progress).await;
                Stage::CleaningUp(progress)
            }
            Stage::CleaningUp(progress) => {
                if !clean_up(ports, &progress.scratch, tell).await? {
                    return Ok(Standing::UnderWay("scratch tables are being deleted".to_owned()));
                }
                return conclude(ports, drill, run, &progress).await;
            }
        };
        run.stage = next;
        run.lease = (drill.env.now() + LEASE).millis();
        if !keep(ports, run, None).await? {
            return Err(DrillError::Leased(Timestamp::from_millis(run.lease)));
        }
    }
}

fn fail(mut progress: Progress, why: &str) -> Stage {
    progress.findings.push(why.to_owned());
    Stage::CleaningUp(progress)
}

enum Begun {
    Waiting(String),
    Begun(Progress),
}

/// The canary must be there, and in what will be restored.
async fn begin<P: DrillPorts>(
    ports: &P,
    drill: DrillEnv<'_>,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<Begun, DrillError> {
    let canary = hatch(ports, drill).await?;
    let users = ports.protection(Role::Users).await?;
    let method = match users.point_in_time {
        // What cannot be asked cannot be restored either.
        None => Method::Copy,
        Some(None) => return Ok(Begun::Waiting("point-in-time recovery of the users is off".to_owned())),
        Some(Some(window)) if window.latest <= canary.created_at => {
            return Ok(Begun::Waiting("the backup does not reach the canary account yet".to_owned()));
        }
        Some(Some(_)) => Method::PointInTime,
    };
    let id = drill.env.random.bytes::<6>()?;
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let scratch = Scratch { prefix: format!("{}-{id}", drill.prefix) };
    tell(&format!("scratch tables are {}-*", scratch.prefix));
    Ok(Begun::Begun(Progress {
        scratch,
        started_at: drill.env.now().millis(),
        method,
        begun: 0,
        at: 0,
        cursor: None,
        counts: BTreeMap::new(),
        live: BTreeMap::new(),
        needs: BTreeSet::new(),
        corrupt: 0,
        examples: Vec::new(),
        findings: Vec::new(),
        signed_in: false,
    }))
}

/// Creates the canary account, once.
async fn hatch<P: DrillPorts>(ports: &P, drill: DrillEnv<'_>) -> Result<Canary, DrillError> {
    if let Some(canary) = ports.canary().await? {
        return Ok(canary);
    }
    let canary = Canary { created_at: drill.env.now(), key: drill.env.keyring.aead().id };
    let new = NewAccount { email: canary_email()?, password: canary_password(drill.env, &canary)? };
    match administration::create_account(ports, drill.env, drill.hasher, new, drill.origin).await {
        Ok(_) => {}
        // Its reply was lost, or it was made under another key: then it gets the password of this one.
        Err(AdministrationError::Exists) => {
            reset_canary(ports, drill, &canary).await?;
        }
        Err(error) => return Err(broken(error)),
    }
    ports.keep_canary(&canary).await?;
    Ok(ports.canary().await?.unwrap_or(canary))
}

async fn reset_canary<P: DrillPorts>(
    ports: &P,
    drill: DrillEnv<'_>,
    canary: &Canary,
) -> Result<(), DrillError> {
    let email = canary_email()?;
    let before = ports.login_record(&email).await?;
    let Some(before) = before else { return Err(DrillError::Canary("it is gone".to_owned())) };
    let password = canary_password(drill.env, canary)?;
    let hash = drill
        .hasher
        .hash(&password, drill.env.keyring, drill.env.random)
        .map_err(|error| DrillError::Canary(error.to_string()))?;
    let mut after = before.clone();
    after.credential = accounts::Credential::Password(hash);
    after.epoch = before.epoch.next();
    let event = SecurityEvent::new(
        drill.env.operation()?,
        drill.env.now(),
        EventKind::PasswordSet,
        Subject::User(before.user),
        drill.origin,
    );
    ports.change(&before, &after, &event).await?;
    Ok(())
}

fn broken(error: AdministrationError) -> DrillError {
    match error {
        AdministrationError::Store(error) => error.into(),
        AdministrationError::Random(error) => error.into(),
        other => DrillError::Canary(other.to_string()),
    }
}

fn canary_email() -> Result<Email, DrillError> {
    CANARY.parse().map_err(|_| DrillError::Canary("its address does not read".to_owned()))
}

/// Whoever holds the keyring could sign in as anybody: a password that comes from it opens nothing new.
fn canary_password(env: Env<'_>, canary: &Canary) -> Result<Password, DrillError> {
    let key = env.keyring.aead_by_id(canary.key).ok_or_else(|| {
        DrillError::Canary(format!("the sealing key {} of its password is not in the keyring", canary.key))
    })?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.key.expose());
    let tag = hmac::sign(&key, b"sallyport: password of the canary account, version 1");
    let text = Secret::new(URL_SAFE_NO_PAD.encode(tag.as_ref()));
    Password::new(text.expose()).map_err(|error| DrillError::Canary(error.to_string()))
}

enum Restored {
    Busy(Progress),
    More(Progress),
    Done(Progress),
}

/// One table at a time: its name is kept in the run before it is made.
async fn restore<P: DrillPorts>(
    ports: &P,
    mut progress: Progress,
    tell: &(dyn Fn(&str) + Sync),
) -> StoreResult<Restored> {
    if let Some(role) = Scratch::ROLES.get(progress.begun).copied() {
        let name = progress.scratch.table(role);
        if role.is_retained() && progress.method == Method::PointInTime {
            tell(&format!("{} is being restored", role.as_str()));
            if !ports.restore(role, &name).await? {
                tell("this endpoint restores nothing: the tables are copied");
                progress.method = Method::Copy;
                return Ok(Restored::More(progress));
            }
        } else {
            ports.create_empty(role, &name).await?;
        }
        progress.begun += 1;
        return Ok(Restored::More(progress));
    }
    for role in Scratch::ROLES {
        match ports.readiness(&progress.scratch.table(role)).await? {
            Readiness::Ready => {}
            Readiness::Busy => return Ok(Restored::Busy(progress)),
            Readiness::Absent => {
                progress.findings.push(format!("{} did not come back", role.as_str()));
                return Ok(Restored::Done(progress));
            }
        }
    }
    if progress.method == Method::Copy
        && let Some(role) = Role::RETAINED.get(progress.at).copied()
    {
        let name = progress.scratch.table(role);
        progress.cursor = ports.copy(role, &name, progress.cursor.as_deref()).await?;
        if progress.cursor.is_none() {
            tell(&format!("{} is copied", role.as_str()));
            progress.at += 1;
        }
        return Ok(Restored::More(progress));
    }
    Ok(Restored::Done(progress))
}

/// One page: counts, and every item as the functions would read it.
async fn check<P: DrillPorts>(
    ports: &P,
    drill: DrillEnv<'_>,
    mut progress: Progress,
    tell: &(dyn Fn(&str) + Sync),
) -> StoreResult<Stage> {
    if !progress.findings.is_empty() {
        return Ok(Stage::CleaningUp(progress));
    }
    let Some(role) = Role::RETAINED.get(progress.at).copied() else {
        judge(drill, &mut progress);
        return Ok(Stage::SigningIn(progress));
    };
    let name = progress.scratch.table(role);
    if progress.cursor.is_none() {
        progress.live.insert(role.as_str().to_owned(), ports.live_count(role).await?);
    }
    let page = ports.check(role, &name, progress.cursor.as_deref()).await?;
    let count = progress.counts.entry(role.as_str().to_owned()).or_default();
    *count += page.items;
    let counted = *count;
    progress.corrupt += u64::try_from(page.corrupt.len()).unwrap_or(u64::MAX);
    for (key, problem) in page.corrupt {
        if progress.examples.len() < EXAMPLES {
            progress.examples.push(format!("{}: {key}: {problem}", role.as_str()));
        }
    }
    progress.needs.extend(page.needs.iter().map(ToString::to_string));
    progress.cursor = page.next;
    if progress.cursor.is_none() {
        tell(&format!("{}: {counted} items read", role.as_str()));
        progress.at += 1;
    }
    Ok(Stage::Checking(progress))
}

/// What the counts and the keys say.
fn judge(drill: DrillEnv<'_>, progress: &mut Progress) {
    if progress.corrupt > 0 {
        progress.findings.push(format!("{} items do not read", progress.corrupt));
    }
    for (table, live) in &progress.live {
        let came_back = progress.counts.get(table).copied().unwrap_or_default();
        if *live >= COUNTABLE && came_back * 100 < live * (100 - SHRINKAGE) {
            progress.findings.push(format!("{table}: {came_back} items came back of about {live}"));
        }
    }
    for need in &progress.needs {
        let known = need.parse::<KeyName>().is_ok_and(|name| {
            name.id.parse::<u16>().is_ok_and(|id| match name.kind {
                KeyKind::Pepper => drill.env.keyring.pepper_by_id(KeyId(id)).is_some(),
                KeyKind::Aead => drill.env.keyring.aead_by_id(KeyId(id)).is_some(),
                _ => false,
            })
        });
        if !known {
            progress.findings.push(format!("items need the key {need}, which is not in the keyring"));
        }
    }
}

/// The real sign-in, against the scratch tables.
async fn enter<P: DrillPorts>(ports: &P, drill: DrillEnv<'_>, mut progress: Progress) -> Progress {
    match attempt(ports, drill, &progress.scratch).await {
        Ok(()) => progress.signed_in = true,
        Err(why) => progress.findings.push(format!("the canary account could not sign in: {why}")),
    }
    progress
}

async fn attempt<P: DrillPorts>(ports: &P, drill: DrillEnv<'_>, scratch: &Scratch) -> Result<(), String> {
    let told = |error: DrillError| error.to_string();
    let stored = ports.canary().await.map_err(|error| error.to_string())?;
    let canary = stored.ok_or_else(|| "it is gone".to_owned())?;
    let origin = Origin { address: ClientAddress::unknown(), ..drill.origin.clone() };
    let command = SignInCommand {
        email: canary_email().map_err(told)?,
        password: canary_password(drill.env, &canary).map_err(told)?,
        device_token: None,
        delivery: sallyport_core::tokens::Delivery::Body,
        origin: &origin,
    };
    let store = ports.scratch_store(scratch);
    match sign_in(&store, drill.env, drill.rules, drill.hasher, command).await.outcome {
        Ok(SignedIn::Authenticated(_)) => Ok(()),
        Ok(SignedIn::MfaRequired(_)) => Err("it has a second factor".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// `true` once all scratch tables are gone.
async fn clean_up<P: RestoreTables>(
    ports: &P,
    scratch: &Scratch,
    tell: &(dyn Fn(&str) + Sync),
) -> StoreResult<bool> {
    let mut gone = true;
    for role in Scratch::ROLES {
        gone &= ports.discard(&scratch.table(role)).await?;
    }
    if gone {
        tell("the scratch tables are gone");
    }
    Ok(gone)
}

async fn conclude<P: DrillPorts>(
    ports: &P,
    drill: DrillEnv<'_>,
    run: &mut Run,
    progress: &Progress,
) -> Result<Standing, DrillError> {
    let now = drill.env.now();
    let report = Report {
        ok: progress.findings.is_empty() && progress.signed_in,
        method: progress.method,
        took: now.since(Timestamp::from_millis(progress.started_at)).as_secs(),
        items: progress.counts.clone(),
        live_items: progress.live.clone(),
        corrupt: progress.corrupt,
        examples: progress.examples.clone(),
        keys_in_use: progress.needs.clone(),
        canary_signed_in: progress.signed_in,
        findings: progress.findings.clone(),
    };
    let name = if report.ok { Proof::RESTORE_DRILL } else { Proof::RESTORE_DRILL_FAILED };
    let text = serde_json::to_string(&report).unwrap_or_default();
    ports.keep_proof(&Proof { name: name.to_owned(), at: now, ok: report.ok, report: text }).await?;
    let kind = if report.ok { EventKind::RestoreProven } else { EventKind::RestoreFailed };
    let event = SecurityEvent::new(drill.env.operation()?, now, kind, Subject::Deployment, drill.origin);
    let detail = if report.ok { report.method.as_str().to_owned() } else { report.findings.join("; ") };
    run.stage = Stage::Idle;
    if !keep(ports, run, Some(&event.detail(detail))).await? {
        return Err(DrillError::Leased(Timestamp::from_millis(run.lease)));
    }
    Ok(if report.ok { Standing::Proven(report) } else { Standing::Failed(report) })
}

//! Taking a step of a rotation: the four calls of Secrets Manager, and the operator's one.
//!
//! Every change goes the same way: the new document is put beside the current one, checked as the functions would check it,
//! and made current by one compare-and-swap on the version that it was built from. Of two rotations one wins.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use sallyport_core::{
    audit::{EventKind, Origin, RecordEvent, SecurityEvent, Subject},
    clock::Timestamp,
    ids::OperationId,
    keyring::{KeyState, Keyring, KeyringDocument, KeyringError, SigningAlgorithm},
    secret::Secret,
    store::{StoreError, StoreResult},
};

use crate::rotation::{self, Change, KeyKind, KeyName, MakeKeys, Phase, RotationError, RotationPolicy, Step};

pub const CURRENT: &str = "AWSCURRENT";
pub const PENDING: &str = "AWSPENDING";
pub const PREVIOUS: &str = "AWSPREVIOUS";

/// The versions of the secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions {
    pub rotation_enabled: bool,
    /// The stages of each version that has any.
    pub stages: BTreeMap<String, Vec<String>>,
}

impl Versions {
    pub fn holder(&self, stage: &str) -> Option<&str> {
        self.stages
            .iter()
            .find(|(_, stages)| stages.iter().any(|held| held == stage))
            .map(|(id, _)| id.as_str())
    }

    fn holds(&self, version: &str, stage: &str) -> bool {
        self.stages.get(version).is_some_and(|stages| stages.iter().any(|held| held == stage))
    }
}

/// The secret with its versions.
pub trait KeyringVersions: Send + Sync {
    fn versions(&self) -> impl Future<Output = StoreResult<Versions>> + Send;

    /// What a version holds; `None` when it holds nothing, or is not there.
    fn version(&self, id: &str) -> impl Future<Output = StoreResult<Option<Secret<String>>>> + Send;

    /// Adds a version as AWSPENDING, or confirms it. `false` when the version holds another document.
    fn put_pending(
        &self,
        id: &str,
        document: &KeyringDocument,
    ) -> impl Future<Output = StoreResult<bool>> + Send;

    /// Moves AWSCURRENT. `false` when it is not where the caller says.
    fn make_current(&self, to: &str, from: &str) -> impl Future<Output = StoreResult<bool>> + Send;

    /// Takes AWSPENDING away from a version that has it.
    fn drop_pending(&self, id: &str) -> impl Future<Output = StoreResult<()>> + Send;
}

/// Ends the copies that running functions keep.
pub trait OutdateCopies: Send + Sync {
    /// From now on every function that sees the flags reads the keyring anew, where its copy is from before `from`. Done twice
    /// it is done once.
    fn outdate_copies(&self, from: Timestamp) -> impl Future<Output = StoreResult<()>> + Send;
}

/// What a rotation is given besides the secret.
#[derive(Clone, Copy)]
pub struct RotationEnv<'a> {
    pub now: Timestamp,
    pub policy: RotationPolicy,
    /// Of the signing keys to come: a deployment changes its algorithm by a rotation.
    pub algorithm: SigningAlgorithm,
    pub keys: &'a dyn MakeKeys,
}

impl std::fmt::Debug for RotationEnv<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RotationEnv")
            .field("now", &self.now)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    #[error("the secret is not set up for rotation")]
    NotEnabled,
    #[error("version {0} is not staged for rotation")]
    NotStaged(String),
    #[error("the keyring has not been filled yet")]
    Empty,
    #[error("the current keyring does not read: {0}")]
    Unreadable(KeyringError),
    /// The pending document would not work in a function.
    #[error("the pending keyring does not work: {0}")]
    Unfit(String),
    #[error("another rotation was faster")]
    Overtaken,
    #[error("a rotation is under way: version {0} is pending")]
    UnderWay(String),
    /// Secrets Manager's test of the configuration left it. No rotation can fill it: a version is written once.
    #[error(
        "version {0} holds what is current already: its stage is taken away, and the next rotation begins anew"
    )]
    LeftOver(String),
    #[error(transparent)]
    Rotation(#[from] RotationError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What `testSecret` has tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tested {
    /// The document that is to become the keyring.
    Pending,
    /// That the function is called and can read the secret: there is nothing yet that could become the keyring.
    Configuration,
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    pub phase: Phase,
    pub changes: Vec<Change>,
}

/// `createSecret`: puts the next document beside the current one, once.
///
/// # Errors
/// A guard holds; Secrets Manager; the generator. A refused version loses its stage: Secrets Manager takes a stage that is
/// left over for a rotation that still runs, and begins no other.
pub async fn create<P: KeyringVersions>(
    ports: &P,
    env: RotationEnv<'_>,
    token: &str,
) -> Result<(), RotateError> {
    let (_, current) = staged(ports, token).await?;
    if current.id == token {
        // The step was done before.
        return Ok(());
    }
    if let Some(held) = ports.version(token).await? {
        // The step is repeated. What it holds is checked by the steps that follow.
        return unless_left_over(ports, token, &current, &held).await;
    }
    let document = read(&current.text)?;
    let next =
        rotation::advance(&document, &KeyKind::SCHEDULED, env.algorithm, env.now, &env.policy, env.keys);
    match next {
        // Of two calls at once one puts its document; it is as good as the other's.
        Ok((_, step)) => ports.put_pending(token, &step.document).await.map(drop).map_err(Into::into),
        Err(error) => {
            ports.drop_pending(token).await?;
            Err(error.into())
        }
    }
}

/// `testSecret`: reads the pending document as a function would, and lets each key do its work.
///
/// Secrets Manager also takes this step alone, whenever a rotation schedule is made or changed: to see whether the function can do
/// its work at all. Then nothing is pending, or a copy of what is current, and the keyring may not have been filled yet. The current
/// keyring is tested instead, if there is one. Nothing is changed: Secrets Manager takes its stage away itself.
///
/// # Errors
/// What is tested does not work, or does not follow from the current keyring.
pub async fn test<P: KeyringVersions>(
    ports: &P,
    env: RotationEnv<'_>,
    token: &str,
) -> Result<Tested, RotateError> {
    let versions = ports.versions().await?;
    if !versions.rotation_enabled {
        return Err(RotateError::NotEnabled);
    }
    let current = match current(ports, &versions).await {
        Ok(current) => current,
        Err(RotateError::Empty) => return Ok(Tested::Configuration),
        Err(error) => return Err(error),
    };
    let document = read(&current.text)?;
    let pending = if current.id == token { None } else { ports.version(token).await? };
    let Some(pending) = pending.filter(|pending| !is_same(&current.text, pending)) else {
        check(&document)?;
        return Ok(Tested::Configuration);
    };
    if !versions.holds(token, PENDING) {
        return Err(RotateError::NotStaged(token.to_owned()));
    }
    let checked = examine(&document, &pending, env);
    discard_unless(ports, token, checked).await.map(|_| Tested::Pending)
}

/// `finishSecret`: makes the pending document the keyring.
///
/// # Errors
/// As [`test`]; another rotation was faster.
pub async fn finish<P: KeyringVersions + RecordEvent>(
    ports: &P,
    env: RotationEnv<'_>,
    token: &str,
    origin: &Origin,
) -> Result<Rotated, RotateError> {
    let (versions, current) = staged(ports, token).await?;
    if current.id == token {
        return confirm(ports, &versions, token, origin).await;
    }
    let pending = ports.version(token).await?.ok_or_else(|| RotateError::NotStaged(token.to_owned()))?;
    unless_left_over(ports, token, &current, &pending).await?;
    let checked = examine(&read(&current.text)?, &pending, env);
    let (document, changes) = discard_unless(ports, token, checked).await?;
    if !swap(ports, token, &current.id).await? {
        return Err(RotateError::Overtaken);
    }
    let rotated = Rotated { phase: rotation::phase_of(&changes), changes };
    record(ports, token, &document, EventKind::KeyringRotated, &told(&rotated), origin).await?;
    Ok(rotated)
}

/// An operator's step: all of it at once. A stage that a rotation left behind is taken away first, and the event of the step
/// before is made up for: where it could not be written, whoever was told so repeats the command, which takes the next step.
///
/// # Errors
/// As the steps of Secrets Manager.
pub async fn rotate<P: KeyringVersions + RecordEvent>(
    ports: &P,
    env: RotationEnv<'_>,
    kinds: &[KeyKind],
    token: &str,
    origin: &Origin,
) -> Result<Rotated, RotateError> {
    let current = unoccupied(ports, env).await?;
    let document = read(&current.text)?;
    make_up(ports, &current.id, &document, origin).await?;
    let (phase, step) = rotation::advance(&document, kinds, env.algorithm, env.now, &env.policy, env.keys)?;
    check(&step.document)?;
    let rotated = Rotated { phase, changes: step.changes.clone() };
    apply(ports, token, &current.id, &step).await?;
    record(ports, token, &step.document, EventKind::KeyringRotated, &told(&rotated), origin).await?;
    Ok(rotated)
}

/// Takes a key out of use at once, whatever else is under way, also in functions that run.
///
/// # Errors
/// As [`rotation::revoke`]; Secrets Manager; the flags.
pub async fn revoke<P: KeyringVersions + OutdateCopies + RecordEvent>(
    ports: &P,
    env: RotationEnv<'_>,
    name: &KeyName,
    token: &str,
    origin: &Origin,
) -> Result<Vec<Change>, RotateError> {
    let versions = ports.versions().await?;
    let current = current(ports, &versions).await?;
    let document = read(&current.text)?;
    let step = match rotation::revoke(&document, name, env.algorithm, env.now, env.keys) {
        Err(error @ RotationError::RevokedAlready(_)) if rotation::changed_last(&document, name) => {
            // Repeated, perhaps since what follows could not be written: under the version's own id it is the same event.
            outdate(ports, &document).await?;
            let change = Change { key: name.clone(), to: Some(KeyState::Revoked) };
            let detail = list(&[change]);
            record(ports, &current.id, &document, EventKind::KeyringRevoked, &detail, origin).await?;
            return Err(error.into());
        }
        step => step?,
    };
    check(&step.document)?;
    apply(ports, token, &current.id, &step).await?;
    outdate(ports, &step.document).await?;
    let detail = list(&step.changes);
    record(ports, token, &step.document, EventKind::KeyringRevoked, &detail, origin).await?;
    Ok(step.changes)
}

async fn outdate<P: OutdateCopies>(ports: &P, document: &KeyringDocument) -> StoreResult<()> {
    match document.changed_at {
        Some(changed_at) => ports.outdate_copies(Timestamp::from_seconds(changed_at)).await,
        None => Ok(()),
    }
}

/// What `rotate` would do, without doing it.
///
/// # Errors
/// As [`rotate`].
pub async fn rehearse<P: KeyringVersions>(
    ports: &P,
    env: RotationEnv<'_>,
    kinds: &[KeyKind],
) -> Result<Rotated, RotateError> {
    let versions = ports.versions().await?;
    let current = current(ports, &versions).await?;
    let (phase, step) =
        rotation::advance(&read(&current.text)?, kinds, env.algorithm, env.now, &env.policy, env.keys)?;
    Ok(Rotated { phase, changes: step.changes })
}

/// The current keyring, as it is stored.
///
/// # Errors
/// It is empty, or does not read.
pub async fn current_document<P: KeyringVersions>(ports: &P) -> Result<KeyringDocument, RotateError> {
    let versions = ports.versions().await?;
    read(&current(ports, &versions).await?.text)
}

struct Held {
    id: String,
    text: Secret<String>,
}

/// Secrets Manager's own rules for a step: rotation is on, and the version is part of one. Of a keyring that has not been filled
/// yet there is nothing to rotate, and no stage stays behind. The current version comes with it.
async fn staged<P: KeyringVersions>(ports: &P, token: &str) -> Result<(Versions, Held), RotateError> {
    let versions = ports.versions().await?;
    if !versions.rotation_enabled {
        return Err(RotateError::NotEnabled);
    }
    let current = match current(ports, &versions).await {
        Err(RotateError::Empty) => {
            if versions.holds(token, PENDING) {
                ports.drop_pending(token).await?;
            }
            return Err(RotateError::Empty);
        }
        current => current?,
    };
    if !versions.holds(token, PENDING) && !versions.holds(token, CURRENT) {
        return Err(RotateError::NotStaged(token.to_owned()));
    }
    Ok((versions, current))
}

async fn current<P: KeyringVersions>(ports: &P, versions: &Versions) -> Result<Held, RotateError> {
    let id = versions.holder(CURRENT).ok_or(RotateError::Empty)?.to_owned();
    let text = ports.version(&id).await?.ok_or(RotateError::Empty)?;
    if is_empty(&text) {
        return Err(RotateError::Empty);
    }
    Ok(Held { id, text })
}

fn is_empty(text: &Secret<String>) -> bool {
    matches!(text.expose().trim(), "" | "{}")
}

/// Whether a pending document is none that a rotation has made: empty, or a copy of the current one, however it is spaced.
fn is_same(current: &Secret<String>, pending: &Secret<String>) -> bool {
    let value = |text: &Secret<String>| serde_json::from_str::<serde_json::Value>(text.expose()).ok();
    is_empty(pending) || value(current).is_some_and(|current| value(pending) == Some(current))
}

/// A version that a test has left behind must not stay pending: Secrets Manager would begin no other rotation.
async fn unless_left_over<P: KeyringVersions>(
    ports: &P,
    token: &str,
    current: &Held,
    pending: &Secret<String>,
) -> Result<(), RotateError> {
    if !is_same(&current.text, pending) {
        return Ok(());
    }
    ports.drop_pending(token).await?;
    Err(RotateError::LeftOver(token.to_owned()))
}

/// The current version, once nobody else's is pending.
async fn unoccupied<P: KeyringVersions>(ports: &P, env: RotationEnv<'_>) -> Result<Held, RotateError> {
    let versions = ports.versions().await?;
    let current = current(ports, &versions).await?;
    if let Some(pending) = versions.holder(PENDING).filter(|pending| *pending != current.id) {
        let held = ports.version(pending).await?.filter(|held| !is_same(&current.text, held));
        let built = held.and_then(|text| read(&text).ok()).and_then(|document| document.changed_at);
        let age = built.map(|built| env.now.since(Timestamp::from_seconds(built)));
        if age.is_some_and(|age| age <= rotation::STAGING) {
            return Err(RotateError::UnderWay(pending.to_owned()));
        }
        ports.drop_pending(pending).await?;
    }
    Ok(current)
}

fn read(text: &Secret<String>) -> Result<KeyringDocument, RotateError> {
    Keyring::parse(text.expose()).map_err(RotateError::Unreadable)?;
    // serde's message could quote what it read; what it read is keys.
    serde_json::from_str(text.expose())
        .map_err(|_| RotateError::Unreadable(KeyringError::Malformed("the document".to_owned())))
}

fn examine(
    before: &KeyringDocument,
    pending: &Secret<String>,
    env: RotationEnv<'_>,
) -> Result<(KeyringDocument, Vec<Change>), RotateError> {
    let after: KeyringDocument = serde_json::from_str(pending.expose())
        .map_err(|_| RotateError::Unfit("it does not read".to_owned()))?;
    check(&after)?;
    let changes = rotation::follows(before, &after, env.now, &env.policy)?;
    Ok((after, changes))
}

/// Whether every key does its work: parsed as a function parses it, and what it signs verifies.
fn check(document: &KeyringDocument) -> Result<(), RotateError> {
    let unfit = |problem: String| RotateError::Unfit(problem);
    Keyring::from_document(document).map_err(|error| unfit(error.to_string()))?;
    for (kid, works) in Keyring::proofs(document).map_err(|error| unfit(error.to_string()))? {
        if !works {
            return Err(unfit(format!("what {kid} signs does not verify")));
        }
    }
    Ok(())
}

/// A version that fails a check must not stay pending.
async fn discard_unless<P: KeyringVersions, T>(
    ports: &P,
    token: &str,
    checked: Result<T, RotateError>,
) -> Result<T, RotateError> {
    if checked.is_err() {
        ports.drop_pending(token).await?;
    }
    checked
}

async fn apply<P: KeyringVersions>(
    ports: &P,
    token: &str,
    from: &str,
    step: &Step,
) -> Result<(), RotateError> {
    if !ports.put_pending(token, &step.document).await? {
        return Err(RotateError::Overtaken);
    }
    if swap(ports, token, from).await? { Ok(()) } else { Err(RotateError::Overtaken) }
}

/// Makes `to` current if `from` still is. A swap whose reply was lost may have happened, and is refused when it is repeated:
/// then who holds the stage is asked.
async fn swap<P: KeyringVersions>(ports: &P, to: &str, from: &str) -> StoreResult<bool> {
    let swapped = match ports.make_current(to, from).await {
        Ok(true) => true,
        Ok(false) => ports.versions().await?.holds(to, CURRENT),
        Err(error) => {
            if !ports.versions().await?.holds(to, CURRENT) {
                return Err(error);
            }
            true
        }
    };
    ports.drop_pending(to).await?;
    Ok(swapped)
}

/// The step was done before: what may be missing of it is made up for.
async fn confirm<P: KeyringVersions + RecordEvent>(
    ports: &P,
    versions: &Versions,
    token: &str,
    origin: &Origin,
) -> Result<Rotated, RotateError> {
    if versions.holds(token, PENDING) {
        ports.drop_pending(token).await?;
    }
    let text = ports.version(token).await?.ok_or(RotateError::Empty)?;
    let document = read(&text)?;
    let changes = last_changes(ports, versions, &document).await?;
    let rotated = Rotated { phase: rotation::phase_of(&changes), changes };
    record(ports, token, &document, EventKind::KeyringRotated, &told(&rotated), origin).await?;
    Ok(rotated)
}

/// What the current document changed in the one before it; nothing where that is gone.
async fn last_changes<P: KeyringVersions>(
    ports: &P,
    versions: &Versions,
    document: &KeyringDocument,
) -> StoreResult<Vec<Change>> {
    let before = match versions.holder(PREVIOUS) {
        Some(previous) => ports.version(previous).await?.and_then(|text| read(&text).ok()),
        None => None,
    };
    Ok(before.map(|before| rotation::difference(&before, document)).unwrap_or_default())
}

/// Records the rotation that made the current version, where that is still to be done. A revocation is made up for by
/// repeating it.
async fn make_up<P: KeyringVersions + RecordEvent>(
    ports: &P,
    current: &str,
    document: &KeyringDocument,
    origin: &Origin,
) -> StoreResult<()> {
    let changes = last_changes(ports, &ports.versions().await?, document).await?;
    let revoked = changes.iter().any(|change| change.to == Some(KeyState::Revoked));
    // Without a time it was written by hand, and is no step.
    if changes.is_empty() || revoked || document.changed_at.is_none() {
        return Ok(());
    }
    let rotated = Rotated { phase: rotation::phase_of(&changes), changes };
    record(ports, current, document, EventKind::KeyringRotated, &told(&rotated), origin).await
}

fn told(rotated: &Rotated) -> String {
    format!("{}: {}", rotated.phase.as_str(), list(&rotated.changes))
}

fn list(changes: &[Change]) -> String {
    changes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The event of a version. Its id and time are the version's own, so that a repeated step leaves one event.
async fn record<P: RecordEvent>(
    ports: &P,
    token: &str,
    document: &KeyringDocument,
    kind: EventKind,
    detail: &str,
    origin: &Origin,
) -> StoreResult<()> {
    let hash = digest(&SHA256, token.as_bytes());
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(hash.as_ref()) {
        *to = *from;
    }
    let at = Timestamp::from_seconds(document.changed_at.unwrap_or_default());
    let event = SecurityEvent::new(OperationId::from_bytes(id), at, kind, Subject::Deployment, origin);
    ports.record(&event.detail(detail)).await
}

#[cfg(test)]
mod tests;

//! How keys change: next, current, previous, gone; or revoked.
//!
//! A step is a pure function from one document to the next, and the guards are the same wherever a step is taken: nothing
//! signs before whoever verifies has had the time to learn of it, nothing is dropped while something made with it lives.
//!
//! ```text
//!           publish              promote                       retire
//! (none) ───────────▶ next ─────────────────▶ current ┄┄▶ previous ───────▶ (gone)
//!                      after `published`      by the         after the last
//!                                             promotion      token is dead
//!                      any of them ──revoke──▶ revoked: at once, its material wiped
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    time::Duration,
};

use sallyport_core::{
    clock::Timestamp,
    keyring::{KeyId, KeyState, KeyringDocument, SecretKeyEntry, SigningAlgorithm, SigningKeyEntry},
    secret::Secret,
    sessions::SessionPolicy,
    store::{StoreError, StoreResult},
    tokens::{ACCESS_LIFETIME, DEVICE_LIFETIME, MFA_LIFETIME},
};

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyKind {
    /// Signs access and MFA tokens; its public half is in the JWKS.
    Signing,
    /// Authenticates refresh tokens.
    Refresh,
    /// Authenticates device tokens.
    Device,
    /// argon2's secret.
    Pepper,
    /// Seals TOTP seeds.
    Aead,
}

impl KeyKind {
    pub const ALL: [Self; 5] = [Self::Signing, Self::Refresh, Self::Device, Self::Pepper, Self::Aead];

    /// What a scheduled rotation renews. Pepper and seal are renewed by an operator: what they were used on stays until its
    /// owner comes back, and their predecessors with it.
    pub const SCHEDULED: [Self; 3] = [Self::Signing, Self::Refresh, Self::Device];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signing => "signing",
            Self::Refresh => "refresh",
            Self::Device => "device",
            Self::Pepper => "pepper",
            Self::Aead => "aead",
        }
    }
}

/// A key's name in commands and events: `signing:<kid>`, or the kid alone, or `refresh:2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyName {
    pub kind: KeyKind,
    pub id: String,
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.id)
    }
}

/// The text names no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key: a kid, or one of signing, refresh, device, pepper, aead with an id, such as refresh:2")]
pub struct InvalidKeyName;

impl FromStr for KeyName {
    type Err = InvalidKeyName;

    fn from_str(text: &str) -> Result<Self, InvalidKeyName> {
        let (kind, id) = match text.split_once(':') {
            Some((kind, id)) => {
                let kind = KeyKind::ALL.into_iter().find(|candidate| candidate.as_str() == kind);
                (kind.ok_or(InvalidKeyName)?, id)
            }
            None => (KeyKind::Signing, text),
        };
        let id_reads = match kind {
            KeyKind::Signing => {
                !id.is_empty()
                    && id.len() <= 64
                    && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            }
            _ => id.parse::<u16>().is_ok(),
        };
        if id_reads { Ok(Self { kind, id: id.to_owned() }) } else { Err(InvalidKeyName) }
    }
}

/// How long things must wait for one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationPolicy {
    /// How old the copy of the keyring in a running function may be.
    pub keyring_max_age: Duration,
}

/// A document that was built longer ago than this does not become the keyring any more: the times in it would not be those
/// at which it was published.
pub const STAGING: Duration = Duration::from_secs(15 * 60);

/// How long others keep a JWKS. Ours says 300 seconds; the JWT authorizer of API Gateway's HTTP APIs keeps it for up to two
/// hours whatever it says, and that of REST APIs for one.
pub const JWKS_KEPT: Duration = Duration::from_secs(2 * 60 * 60);

/// Clocks of two hosts, and of whoever verifies, may differ by this much.
const SKEW: Duration = Duration::from_secs(60);

impl RotationPolicy {
    /// How long a key is known before it is used.
    pub fn published(&self, kind: KeyKind) -> Duration {
        let ours = STAGING + self.keyring_max_age;
        if kind == KeyKind::Signing { ours + JWKS_KEPT } else { ours }
    }

    /// How long after its last use something that a key made may be presented; `None` for what has no end of its own.
    ///
    /// A refresh token works for two weeks without use, but the key stays as long as the session may: an old token that is
    /// presented again is a theft, and only its key tells it from a forgery.
    pub fn outlived(&self, kind: KeyKind) -> Option<Duration> {
        let lifetime = match kind {
            KeyKind::Signing => ACCESS_LIFETIME.max(MFA_LIFETIME),
            KeyKind::Refresh => SessionPolicy::default().absolute,
            KeyKind::Device => DEVICE_LIFETIME,
            KeyKind::Pepper | KeyKind::Aead => return None,
        };
        // Functions use the old key until their copy of the keyring is renewed.
        Some(STAGING + self.keyring_max_age + lifetime + SKEW)
    }
}

/// Where new keys come from.
pub trait MakeKeys: Send + Sync {
    /// A new key id and a private key, PKCS #8, DER, base64.
    ///
    /// # Errors
    /// The generator failed.
    fn signing(&self, algorithm: SigningAlgorithm) -> StoreResult<(String, Secret<String>)>;

    /// 32 random bytes, base64.
    ///
    /// # Errors
    /// The generator failed.
    fn secret(&self) -> StoreResult<Secret<String>>;
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// New keys are published, and used for nothing yet.
    Publish,
    /// Published keys are used from now on; their predecessors verify what they made.
    Promote,
    /// Keys whose last token is dead are gone.
    Retire,
}

impl Phase {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Promote => "promote",
            Self::Retire => "retire",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// It has not been published for long enough.
    #[error("{key} may be used in {} s: not before every copy of the keyring and of the JWKS has it", wait.as_secs())]
    TooEarly { key: KeyName, wait: Duration },
    #[error("there is no key {0}")]
    NoSuchKey(KeyName),
    #[error("{0} is revoked already")]
    RevokedAlready(KeyName),
    /// What it made would be lost.
    #[error(
        "{0} is not revoked: every password hash or seed under it would be lost for good. Rotate that kind of key \
         instead, and reset what may be known to somebody"
    )]
    Indispensable(KeyName),
    #[error("all 65,535 ids of the {0} keys have been used")]
    IdsExhausted(&'static str),
    /// A document that no step leads to: edited by hand, built on another, or too old.
    #[error("it does not follow from the current keyring: {0}")]
    NoSuccessor(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One key that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub key: KeyName,
    /// `None`: it is gone.
    pub to: Option<KeyState>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = match self.to {
            Some(KeyState::Next) => "next",
            Some(KeyState::Current) => "current",
            Some(KeyState::Previous) => "previous",
            Some(KeyState::Revoked) => "revoked",
            None => "gone",
        };
        write!(f, "{} {to}", self.key)
    }
}

/// A document that follows from another.
#[derive(Debug, Clone)]
pub struct Step {
    pub document: KeyringDocument,
    pub changes: Vec<Change>,
}

/// What a key of either form has in common.
trait Entry: Clone {
    fn id(&self) -> String;
    fn state(&self) -> KeyState;
    fn since(&self) -> Timestamp;
    fn enter(&mut self, state: KeyState, now: Timestamp);
    fn same_key(&self, other: &Self) -> bool;
    fn wipe(&mut self);
}

macro_rules! entry {
    ($type:ty, $id:ident, $key:ident) => {
        impl Entry for $type {
            fn id(&self) -> String {
                self.$id.to_string()
            }

            fn state(&self) -> KeyState {
                self.state
            }

            fn since(&self) -> Timestamp {
                Timestamp::from_seconds(self.since.unwrap_or(self.created_at))
            }

            fn enter(&mut self, state: KeyState, now: Timestamp) {
                self.state = state;
                self.since = Some(now.seconds());
            }

            fn same_key(&self, other: &Self) -> bool {
                self.$key.expose() == other.$key.expose() && self.created_at == other.created_at
            }

            fn wipe(&mut self) {
                self.$key = Secret::new(String::new());
            }
        }
    };
}

entry!(SigningKeyEntry, kid, private_key);
entry!(SecretKeyEntry, id, key);

/// Runs `$body` with `$entries` as the keys of `$kind`, whatever their type.
macro_rules! with_entries {
    ($document:expr, $kind:expr, |$entries:ident| $body:expr) => {
        match $kind {
            KeyKind::Signing => {
                let $entries = &mut $document.signing;
                $body
            }
            KeyKind::Refresh => {
                let $entries = &mut $document.refresh;
                $body
            }
            KeyKind::Device => {
                let $entries = &mut $document.device;
                $body
            }
            KeyKind::Pepper => {
                let $entries = &mut $document.pepper;
                $body
            }
            KeyKind::Aead => {
                let $entries = &mut $document.aead;
                $body
            }
        }
    };
}

/// A key as far as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    pub key: KeyName,
    pub state: KeyState,
    pub created_at: Timestamp,
    /// When it came into this state, or is about to have.
    pub since: Timestamp,
    pub may: May,
}

/// What may happen to a key next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum May {
    /// Become current, not before.
    PromoteAt(Timestamp),
    /// Be dropped, not before.
    RetireAt(Timestamp),
    /// It stays while anything was made with it.
    Stay,
    /// Be replaced by a rotation.
    BeReplaced,
    Nothing,
}

/// All keys, and what may happen to each.
pub fn outlook(document: &KeyringDocument, policy: &RotationPolicy) -> Vec<Outlook> {
    let mut document = document.clone();
    let mut shown = Vec::new();
    for kind in KeyKind::ALL {
        with_entries!(document, kind, |entries| {
            for entry in entries.iter() {
                let may = match entry.state() {
                    KeyState::Next => May::PromoteAt(entry.since() + policy.published(kind)),
                    KeyState::Current => May::BeReplaced,
                    KeyState::Previous => policy
                        .outlived(kind)
                        .map_or(May::Stay, |outlived| May::RetireAt(entry.since() + outlived)),
                    KeyState::Revoked => May::Nothing,
                };
                shown.push(Outlook {
                    key: KeyName { kind, id: entry.id() },
                    state: entry.state(),
                    created_at: Timestamp::from_seconds(entry.created_at),
                    since: entry.since(),
                    may,
                });
            }
        });
    }
    shown
}

/// When the key that signs now was made.
pub fn signing_key_created_at(document: &KeyringDocument) -> Option<Timestamp> {
    let current = document.signing.iter().find(|key| key.state == KeyState::Current);
    current.map(|key| Timestamp::from_seconds(key.created_at))
}

/// The next step of a rotation: promote what is published, else drop what is dead, else publish new keys of `kinds`.
///
/// # Errors
/// [`RotationError::TooEarly`]; the generator.
pub fn advance(
    document: &KeyringDocument,
    kinds: &[KeyKind],
    algorithm: SigningAlgorithm,
    now: Timestamp,
    policy: &RotationPolicy,
    keys: &dyn MakeKeys,
) -> Result<(Phase, Step), RotationError> {
    let mut next = document.clone();
    next.changed_at = document.changed_at.max(Some(now.seconds()));
    if let Some(changes) = promote(&mut next, now, policy)? {
        return Ok((Phase::Promote, Step { document: next, changes }));
    }
    let changes = retire(&mut next, now, policy);
    if !changes.is_empty() {
        return Ok((Phase::Retire, Step { document: next, changes }));
    }
    let mut changes = Vec::new();
    for kind in kinds {
        changes.push(publish(&mut next, *kind, algorithm, KeyState::Next, now, keys)?);
    }
    Ok((Phase::Publish, Step { document: next, changes }))
}

fn promote(
    document: &mut KeyringDocument,
    now: Timestamp,
    policy: &RotationPolicy,
) -> Result<Option<Vec<Change>>, RotationError> {
    let mut changes = Vec::new();
    for kind in KeyKind::ALL {
        with_entries!(document, kind, |entries| {
            if let Some(id) = ready(kind, entries, now, policy)? {
                changes.extend(succeed(kind, entries, &id, now));
            }
        });
    }
    Ok(Some(changes).filter(|changes| !changes.is_empty()))
}

/// The published key that may be used from now on.
fn ready<E: Entry>(
    kind: KeyKind,
    entries: &[E],
    now: Timestamp,
    policy: &RotationPolicy,
) -> Result<Option<String>, RotationError> {
    let Some(entry) = entries.iter().find(|entry| entry.state() == KeyState::Next) else {
        return Ok(None);
    };
    let from = entry.since() + policy.published(kind);
    if now < from {
        let key = KeyName { kind, id: entry.id() };
        // Rounded up: after the wait that is told, it is not too early again.
        return Err(RotationError::TooEarly { key, wait: from.since(now) + Duration::from_millis(999) });
    }
    Ok(Some(entry.id()))
}

/// Makes `id` the current key, and the current one its predecessor.
fn succeed<E: Entry>(kind: KeyKind, entries: &mut [E], id: &str, now: Timestamp) -> Vec<Change> {
    let mut changes = Vec::new();
    for entry in entries {
        let to = if entry.id() == id {
            KeyState::Current
        } else if entry.state() == KeyState::Current {
            KeyState::Previous
        } else {
            continue;
        };
        entry.enter(to, now);
        changes.push(Change { key: KeyName { kind, id: entry.id() }, to: Some(to) });
    }
    changes
}

fn retire(document: &mut KeyringDocument, now: Timestamp, policy: &RotationPolicy) -> Vec<Change> {
    let mut changes = Vec::new();
    for kind in KeyKind::ALL {
        with_entries!(document, kind, |entries| {
            entries.retain(|entry| {
                let dead = is_dead(kind, entry, now, policy);
                if dead {
                    changes.push(Change { key: KeyName { kind, id: entry.id() }, to: None });
                }
                !dead
            });
        });
    }
    changes
}

/// Whether nothing that it made can be presented any more. A revoked key stays as a name, so that its id is not used again.
fn is_dead<E: Entry>(kind: KeyKind, entry: &E, now: Timestamp, policy: &RotationPolicy) -> bool {
    entry.state() == KeyState::Previous
        && policy.outlived(kind).is_some_and(|outlived| now >= entry.since() + outlived)
}

fn publish(
    document: &mut KeyringDocument,
    kind: KeyKind,
    algorithm: SigningAlgorithm,
    state: KeyState,
    now: Timestamp,
    keys: &dyn MakeKeys,
) -> Result<Change, RotationError> {
    let (created_at, since) = (now.seconds(), Some(now.seconds()));
    let entries = match kind {
        KeyKind::Signing => {
            let (kid, private_key) = keys.signing(algorithm)?;
            let entry =
                SigningKeyEntry { kid: kid.clone(), algorithm, state, created_at, since, private_key };
            document.signing.push(entry);
            return Ok(Change { key: KeyName { kind, id: kid }, to: Some(state) });
        }
        KeyKind::Refresh => &mut document.refresh,
        KeyKind::Device => &mut document.device,
        KeyKind::Pepper => &mut document.pepper,
        KeyKind::Aead => &mut document.aead,
    };
    let highest = entries.iter().map(|entry| entry.id.0).max().unwrap_or_default();
    let id = KeyId(highest.checked_add(1).ok_or(RotationError::IdsExhausted(kind.as_str()))?);
    entries.push(SecretKeyEntry { id, state, created_at, since, key: keys.secret()? });
    Ok(Change { key: KeyName { kind, id: id.to_string() }, to: Some(state) })
}

/// Takes a key out of use at once. When it was the current one, the published one takes its place, or a new one.
///
/// What that costs is [`cost_of_revoking`].
///
/// # Errors
/// There is no such key, or what it made would be lost for good; the generator.
pub fn revoke(
    document: &KeyringDocument,
    name: &KeyName,
    algorithm: SigningAlgorithm,
    now: Timestamp,
    keys: &dyn MakeKeys,
) -> Result<Step, RotationError> {
    let mut next = document.clone();
    // Later than the one before it, whatever the clock says: copies are told apart by this.
    let after = document.changed_at.map_or(0, |before| before.saturating_add(1));
    let now = now.max(Timestamp::from_seconds(after));
    next.changed_at = Some(now.seconds());
    let kind = name.kind;
    let mut changes = Vec::new();
    let replaced = with_entries!(next, kind, |entries| {
        let entry = entries.iter_mut().find(|entry| entry.id() == name.id);
        let entry = entry.ok_or_else(|| RotationError::NoSuchKey(name.clone()))?;
        let was = entry.state();
        if was == KeyState::Revoked {
            return Err(RotationError::RevokedAlready(name.clone()));
        }
        if matches!(kind, KeyKind::Pepper | KeyKind::Aead) && was != KeyState::Next {
            return Err(RotationError::Indispensable(name.clone()));
        }
        entry.enter(KeyState::Revoked, now);
        entry.wipe();
        changes.push(Change { key: name.clone(), to: Some(KeyState::Revoked) });
        was == KeyState::Current
    });
    if replaced {
        let heir = with_entries!(next, kind, |entries| {
            let heir = entries.iter().find(|entry| entry.state() == KeyState::Next).map(Entry::id);
            heir.map(|id| succeed(kind, entries, &id, now))
        });
        match heir {
            Some(succession) => changes.extend(succession),
            None => changes.push(publish(&mut next, kind, algorithm, KeyState::Current, now, keys)?),
        }
    }
    Ok(Step { document: next, changes })
}

/// Who pays for a revocation, in a sentence for the operator.
pub const fn cost_of_revoking(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Signing => {
            "access tokens and pending sign-ins of this key are refused as soon as a function reads the keyring again; \
             nobody is signed out: clients refresh. Verifiers outside learn the new key with their next JWKS"
        }
        KeyKind::Refresh => {
            "every session whose last refresh token was made with this key ends at its next refresh: its owner signs in \
             again"
        }
        KeyKind::Device => {
            "devices that were known by this key count as strangers until their next sign-in; nobody is signed out"
        }
        KeyKind::Pepper | KeyKind::Aead => "nothing: it was used for nothing yet",
    }
}

/// Whether `after` is `before` and one step: what is true of every document that the machine built, and of no other. It is
/// checked again right before a document becomes the keyring.
///
/// # Errors
/// [`RotationError::NoSuccessor`], [`RotationError::TooEarly`].
pub fn follows(
    before: &KeyringDocument,
    after: &KeyringDocument,
    now: Timestamp,
    policy: &RotationPolicy,
) -> Result<Vec<Change>, RotationError> {
    let no = |problem: String| RotationError::NoSuccessor(problem);
    if after.version != before.version {
        return Err(no(format!("format {} instead of {}", after.version, before.version)));
    }
    let built =
        after.changed_at.map(Timestamp::from_seconds).ok_or_else(|| no("it has no time".to_owned()))?;
    if now.since(built) > STAGING || built.since(now) > SKEW {
        return Err(no(format!("it was built {} s ago", now.since(built).as_secs())));
    }
    let mut changes = compare(KeyKind::Signing, &before.signing, &after.signing, built, now, policy)?;
    for (kind, before, after) in [
        (KeyKind::Refresh, &before.refresh, &after.refresh),
        (KeyKind::Device, &before.device, &after.device),
        (KeyKind::Pepper, &before.pepper, &after.pepper),
        (KeyKind::Aead, &before.aead, &after.aead),
    ] {
        changes.extend(compare(kind, before, after, built, now, policy)?);
    }
    Ok(changes)
}

fn compare<E: Entry>(
    kind: KeyKind,
    before: &[E],
    after: &[E],
    built: Timestamp,
    now: Timestamp,
    policy: &RotationPolicy,
) -> Result<Vec<Change>, RotationError> {
    let name = |entry: &E| KeyName { kind, id: entry.id() };
    let no = |entry: &E, problem: &str| RotationError::NoSuccessor(format!("{}: {problem}", name(entry)));
    let ids: BTreeSet<_> = after.iter().map(Entry::id).collect();
    if ids.len() != after.len() {
        return Err(RotationError::NoSuccessor(format!("two {} keys have one id", kind.as_str())));
    }
    if after.iter().filter(|entry| entry.state() == KeyState::Current).count() != 1 {
        return Err(RotationError::NoSuccessor(format!("not one {} key is current", kind.as_str())));
    }
    let mut changes = Vec::new();
    for entry in after {
        let old = before.iter().find(|old| old.id() == entry.id());
        let from = old.map(Entry::state);
        if old.is_some_and(|old| !old.same_key(entry)) {
            return Err(no(entry, "another key under the same id"));
        }
        if from == Some(entry.state()) {
            if old.is_some_and(|old| old.since() != entry.since()) {
                return Err(no(entry, "another time"));
            }
            continue;
        }
        match (from, entry.state()) {
            (None, KeyState::Next) | (Some(KeyState::Current), KeyState::Previous) => {}
            (Some(KeyState::Next), KeyState::Current) => {
                ready(kind, before, now, policy)?;
            }
            _ => return Err(no(entry, "no step leads to its state")),
        }
        if entry.since() != Timestamp::from_seconds(built.seconds()) {
            return Err(no(entry, "another time"));
        }
        changes.push(Change { key: name(entry), to: Some(entry.state()) });
    }
    for old in before.iter().filter(|old| !ids.contains(&old.id())) {
        if !is_dead(kind, old, now, policy) {
            return Err(no(old, "it is gone, and what it made is not"));
        }
        changes.push(Change { key: name(old), to: None });
    }
    Ok(changes)
}

/// What kind of step the changes are.
pub fn phase_of(changes: &[Change]) -> Phase {
    if changes.iter().any(|change| change.to == Some(KeyState::Current)) {
        Phase::Promote
    } else if changes.iter().any(|change| change.to == Some(KeyState::Next)) {
        Phase::Publish
    } else {
        Phase::Retire
    }
}

/// Which keys are in another state, without a word on whether they may be.
pub fn difference(before: &KeyringDocument, after: &KeyringDocument) -> Vec<Change> {
    let states = |document: &KeyringDocument| {
        let mut document = document.clone();
        let mut states = BTreeMap::new();
        for kind in KeyKind::ALL {
            with_entries!(document, kind, |entries| {
                states.extend(entries.iter().map(|entry| (KeyName { kind, id: entry.id() }, entry.state())));
            });
        }
        states
    };
    let (before, after) = (states(before), states(after));
    let moved = after
        .iter()
        .filter(|(name, state)| before.get(*name) != Some(state))
        .map(|(name, state)| Change { key: name.clone(), to: Some(*state) });
    let gone = before
        .keys()
        .filter(|name| !after.contains_key(*name))
        .map(|name| Change { key: name.clone(), to: None });
    moved.chain(gone).collect()
}

/// Whether a key came into its state with the latest change of the document.
pub fn changed_last(document: &KeyringDocument, name: &KeyName) -> bool {
    let mut document = document.clone();
    let changed_at = document.changed_at;
    with_entries!(document, name.kind, |entries| {
        entries.iter().any(|entry| entry.id() == name.id && entry.since == changed_at && changed_at.is_some())
    })
}

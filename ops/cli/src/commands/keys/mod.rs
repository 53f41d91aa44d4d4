//! `sallyport keys`.

mod rotate;

use std::fmt;

use clap::{Subcommand, ValueEnum};
use sallyport_aws::generate_keyring;
use sallyport_core::{
    audit::EventKind,
    clock::Timestamp,
    keyring::{
        FillKeyring as _, KeyState, Keyring, KeyringDocument, KeyringSource as _, SigningAlgorithm, Stored,
    },
};
use sallyport_operations::rotation::{self, KeyKind, KeyName, May, Outlook, RotationPolicy};
use serde::Serialize;

use crate::{
    cli::{Change, Target},
    deployment::Deployment,
    failure::Failure,
    output::{Answer, Table, ago, moment},
};

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Fill an empty keyring. One that is filled is left alone.
    Init {
        /// Signature of the tokens; by default what the deployment is configured with.
        #[arg(long, value_enum, ignore_case = true)]
        algorithm: Option<Algorithm>,
        #[command(flatten)]
        change: Change,
    },
    /// List the keys: kind, id, state, age, and what may happen to each next. Never a key.
    List,
    /// Take the next step of a rotation: publish new keys, use them, or drop the dead. Signs nobody out.
    ///
    /// A step that comes too early is refused, and says when it may come. With --emergency: take the key that is in use out of
    /// use at once, and use another.
    Rotate {
        /// Revoke this key, which is in use, and use another at once. A kid, or a kind with an id, such as refresh:2.
        // One kid in 64 begins with a hyphen.
        #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
        emergency: Option<KeyName>,
        /// What kinds of key to renew; by default signing, refresh and device.
        #[arg(long, value_enum, value_name = "KIND", conflicts_with = "emergency")]
        kind: Vec<Kind>,
        #[command(flatten)]
        change: Change,
    },
    /// Take a key out of use at once that is not the one in use: a next or a previous one.
    Revoke {
        /// A kid, or a kind with an id, such as refresh:2.
        #[arg(value_name = "KEY", allow_hyphen_values = true)]
        key: KeyName,
        #[command(flatten)]
        change: Change,
    },
}

/// A kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// What signs access tokens.
    Signing,
    /// What authenticates refresh tokens.
    Refresh,
    /// What authenticates device tokens.
    Device,
    /// argon2's secret: each hash is renewed when its owner signs in.
    Pepper,
    /// What seals TOTP seeds: new ones are sealed with the new key.
    Aead,
}

impl From<Kind> for KeyKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Signing => Self::Signing,
            Kind::Refresh => Self::Refresh,
            Kind::Device => Self::Device,
            Kind::Pepper => Self::Pepper,
            Kind::Aead => Self::Aead,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Algorithm {
    /// ECDSA on P-256.
    #[value(name = "ES256")]
    Es256,
    /// RSA, 3072 bits: for API Gateway's own JWT authorizer, which takes nothing else.
    #[value(name = "RS256")]
    Rs256,
}

impl KeysCommand {
    /// # Errors
    /// The secret can't be read or written.
    pub(crate) async fn run(self, target: &Target) -> Result<Answer, Failure> {
        match self {
            Self::Init { algorithm, change } => init(target, algorithm, change).await,
            Self::List => list(target).await,
            Self::Rotate { emergency: Some(key), change, .. } => {
                rotate::revoke(target, &key, rotate::Expected::Current, change).await
            }
            Self::Rotate { emergency: None, kind, change } => rotate::rotate(target, &kind, change).await,
            Self::Revoke { key, change } => {
                rotate::revoke(target, &key, rotate::Expected::NotCurrent, change).await
            }
        }
    }
}

#[derive(Serialize)]
struct Initialised {
    /// `false` when the keyring was filled before, and at a dry run.
    created: bool,
    algorithm: &'static str,
    /// Of the key that signs.
    kid: Option<String>,
    dry_run: bool,
}

impl fmt::Display for Initialised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (algorithm, kid) = (self.algorithm, self.kid.as_deref());
        match (self.created, kid) {
            (true, kid) => writeln!(f, "filled the keyring: {algorithm} key {} signs", kid.unwrap_or("-")),
            (false, Some(kid)) => {
                writeln!(f, "the keyring is filled already: {algorithm} key {kid} signs; nothing was changed")
            }
            (false, None) => {
                writeln!(f, "would fill the keyring with an {algorithm} key; nothing was changed")
            }
        }
    }
}

/// What came of filling the keyring, with the key that signs.
pub(super) enum Filled {
    Before(String),
    Now(String),
    /// A dry run would, with a key of this algorithm.
    Not(&'static str),
}

/// Fills an empty keyring.
///
/// # Errors
/// As `keys init`.
pub(super) async fn fill(
    deployment: &Deployment,
    algorithm: Option<Algorithm>,
    change: Change,
) -> Result<Filled, Failure> {
    let report = filled(deployment, algorithm, change).await?;
    Ok(match (report.created, report.kid) {
        (true, kid) => Filled::Now(kid.unwrap_or_default()),
        (false, Some(kid)) => Filled::Before(kid),
        (false, None) => Filled::Not(report.algorithm),
    })
}

async fn init(target: &Target, algorithm: Option<Algorithm>, change: Change) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    Answer::of(&filled(&deployment, algorithm, change).await?)
}

async fn filled(
    deployment: &Deployment,
    algorithm: Option<Algorithm>,
    change: Change,
) -> Result<Initialised, Failure> {
    let algorithm = match algorithm {
        Some(Algorithm::Es256) => SigningAlgorithm::ES256,
        Some(Algorithm::Rs256) => SigningAlgorithm::RS256,
        None => deployment.settings.signing_algorithm()?,
    };
    // Read first: Secrets Manager forgets old versions in time, and with them that the first was written.
    if let Stored::Filled(text) = deployment.secret.read().await? {
        return existing(text.expose(), change);
    }
    if change.dry_run {
        return Ok(Initialised { created: false, algorithm: name(algorithm), kid: None, dry_run: true });
    }
    // Looked at before the keyring is filled: afterwards an event would be missing.
    Deployment::origin()?;
    let document = generate_keyring(algorithm, deployment.random(), deployment.now())?;
    if !deployment.secret.fill(&document).await? {
        // Somebody was faster: theirs is the keyring.
        return match deployment.secret.read().await? {
            Stored::Filled(text) => existing(text.expose(), change),
            Stored::Empty => Err(Failure::conflict(
                "keyring_cleared",
                "the keyring was filled once and is empty now: restore its first version in Secrets Manager",
            )),
        };
    }
    let report = initialised(&document, true, change);
    let kid = report.kid.as_deref().unwrap_or_default();
    deployment.record(EventKind::KeyringCreated, kid).await.map_err(|failure| Failure {
        message: format!("the keyring was filled, but its audit event was not written: {}", failure.message),
        ..failure
    })?;
    Ok(report)
}

fn existing(text: &str, change: Change) -> Result<Initialised, Failure> {
    Ok(initialised(&parse(text)?, false, change))
}

fn initialised(document: &KeyringDocument, created: bool, change: Change) -> Initialised {
    let current = document.signing.iter().find(|key| key.state == KeyState::Current);
    Initialised {
        created,
        algorithm: current.map_or("-", |key| name(key.algorithm)),
        kid: current.map(|key| key.kid.clone()),
        dry_run: change.dry_run,
    }
}

/// Reads the document, and holds it to what the functions hold it to.
fn parse(text: &str) -> Result<KeyringDocument, Failure> {
    Keyring::parse(text)?;
    // serde's message could quote what it read; what it read is keys.
    serde_json::from_str(text)
        .map_err(|_| Failure::dependency("keyring_unusable", "the keyring does not read"))
}

const fn name(algorithm: SigningAlgorithm) -> &'static str {
    match algorithm {
        SigningAlgorithm::ES256 => "ES256",
        SigningAlgorithm::RS256 => "RS256",
    }
}

const fn state(state: KeyState) -> &'static str {
    match state {
        KeyState::Next => "next",
        KeyState::Current => "current",
        KeyState::Previous => "previous",
        KeyState::Revoked => "revoked",
    }
}

#[derive(Serialize)]
struct Listed {
    filled: bool,
    keys: Vec<Entry>,
    #[serde(skip)]
    now: Timestamp,
}

#[derive(Serialize)]
struct Entry {
    kind: &'static str,
    id: String,
    algorithm: &'static str,
    state: &'static str,
    /// Epoch seconds.
    created_at: u64,
    age_seconds: u64,
    /// What may happen to it next.
    next: String,
}

impl Listed {
    fn of(document: &KeyringDocument, policy: &RotationPolicy, now: Timestamp) -> Self {
        let keys = rotation::outlook(document, policy).into_iter().map(|key| {
            let algorithm = match key.key.kind {
                KeyKind::Signing => document
                    .signing
                    .iter()
                    .find(|entry| entry.kid == key.key.id)
                    .map_or("-", |entry| name(entry.algorithm)),
                KeyKind::Refresh | KeyKind::Device => "HMAC-SHA-256",
                KeyKind::Pepper => "argon2id secret",
                KeyKind::Aead => "AES-256-GCM",
            };
            Entry {
                kind: key.key.kind.as_str(),
                id: key.key.id.clone(),
                algorithm,
                state: state(key.state),
                created_at: key.created_at.seconds(),
                age_seconds: now.since(key.created_at).as_secs(),
                next: outlook(&key, now),
            }
        });
        Self { filled: true, keys: keys.collect(), now }
    }
}

fn outlook(key: &Outlook, now: Timestamp) -> String {
    match key.may {
        May::PromoteAt(at) if now >= at => "may be used".to_owned(),
        May::PromoteAt(at) => format!("may be used {}", ago(at, now)),
        May::RetireAt(at) if now >= at => "may be dropped".to_owned(),
        May::RetireAt(at) => format!("may be dropped {}", ago(at, now)),
        May::Stay => "stays for what is under it".to_owned(),
        May::BeReplaced => "in use".to_owned(),
        May::Nothing => String::new(),
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.filled {
            return writeln!(
                f,
                "The keyring is empty: run `sallyport keys init`, or start the keys function."
            );
        }
        let mut table = Table::new(["kind", "id", "state", "algorithm", "created", "age", "next"]);
        for key in &self.keys {
            let at = Timestamp::from_seconds(key.created_at);
            table.row([
                key.kind.to_owned(),
                key.id.clone(),
                key.state.to_owned(),
                key.algorithm.to_owned(),
                moment(at),
                ago(at, self.now),
                key.next.clone(),
            ]);
        }
        write!(f, "{table}")
    }
}

async fn list(target: &Target) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let now = deployment.now();
    let report = match deployment.secret.read().await? {
        Stored::Filled(text) => {
            Listed::of(&parse(text.expose())?, &deployment.settings.rotation_policy()?, now)
        }
        Stored::Empty => Listed { filled: false, keys: Vec::new(), now },
    };
    Answer::of(&report)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use sallyport_aws::system::OsRandom;

    use super::*;

    #[test]
    fn keys_are_listed_by_id_state_and_age_and_no_key_shows() {
        let created = Timestamp::from_seconds(1_785_500_000);
        let mut document = generate_keyring(SigningAlgorithm::ES256, &OsRandom, created).unwrap();
        document.signing[0].kid = "k1".to_owned();
        let policy = RotationPolicy { keyring_max_age: std::time::Duration::from_secs(300) };
        let listed = Listed::of(&document, &policy, Timestamp::from_seconds(1_785_506_531));
        insta::assert_snapshot!(listed, @r"
        KIND     ID  STATE    ALGORITHM        CREATED               AGE          NEXT
        signing  k1  current  ES256            2026-07-31 12:13:20Z  109 min ago  in use
        refresh  1   current  HMAC-SHA-256     2026-07-31 12:13:20Z  109 min ago  in use
        device   1   current  HMAC-SHA-256     2026-07-31 12:13:20Z  109 min ago  in use
        pepper   1   current  argon2id secret  2026-07-31 12:13:20Z  109 min ago  in use
        aead     1   current  AES-256-GCM      2026-07-31 12:13:20Z  109 min ago  in use
        ");
        let shown = format!("{listed}{}", serde_json::to_string(&listed).unwrap());
        assert!(!shown.contains(document.pepper[0].key.expose().as_str()));
        assert!(!shown.contains(document.signing[0].private_key.expose().as_str()));
    }
}

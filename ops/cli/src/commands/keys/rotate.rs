//! `sallyport keys rotate` and `sallyport keys revoke`.

use std::fmt;

use sallyport_aws::{KeyMaker, KeyringVault};
use sallyport_core::keyring::KeyState;
use sallyport_operations::{
    rotate::{self, RotateError, RotationEnv},
    rotation::{self, Change as KeyChange, KeyKind, KeyName, RotationError},
};
use serde::Serialize;

use super::Kind;
use crate::{
    cli::{Change, Target},
    deployment::Deployment,
    failure::Failure,
    output::{Answer, span},
};

/// What the key must be for the command that was chosen: nobody revokes the key in use by mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Current,
    NotCurrent,
}

#[derive(Serialize)]
struct Changed {
    /// `publish`, `promote`, `retire` or `revoke`.
    step: &'static str,
    changes: Vec<Entry>,
    /// Who pays for a revocation.
    cost: Option<&'static str>,
    /// `false` when it was so already, and at a dry run.
    changed: bool,
    dry_run: bool,
    /// The key that is revoked already.
    #[serde(skip)]
    already: Option<String>,
}

#[derive(Serialize)]
struct Entry {
    key: String,
    /// `null`: it is gone.
    state: Option<&'static str>,
}

impl Changed {
    fn of(step: &'static str, changes: &[KeyChange], change: Change) -> Self {
        let changes = changes
            .iter()
            .map(|change| Entry { key: change.key.to_string(), state: change.to.map(super::state) })
            .collect();
        Self { step, changes, cost: None, changed: !change.dry_run, dry_run: change.dry_run, already: None }
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(key) = &self.already {
            return writeln!(f, "{key} is revoked already; nothing was changed");
        }
        if self.dry_run {
            writeln!(f, "would {} (new keys get ids of their own then); nothing was changed", self.step)?;
        }
        for entry in &self.changes {
            writeln!(f, "{}: {}", entry.key, entry.state.unwrap_or("gone"))?;
        }
        if let Some(cost) = self.cost {
            writeln!(f, "{cost}")?;
        }
        match self.step {
            "publish" => writeln!(
                f,
                "next: `sallyport keys rotate` once they may be used; `sallyport keys list` says when"
            ),
            "promote" => writeln!(f, "next: `sallyport keys rotate` once what the old keys made is dead"),
            _ => Ok(()),
        }
    }
}

fn env<'a>(deployment: &'a Deployment, keys: &'a KeyMaker<'a>) -> Result<RotationEnv<'a>, Failure> {
    Ok(RotationEnv {
        now: deployment.now(),
        policy: deployment.settings.rotation_policy()?,
        algorithm: deployment.settings.signing_algorithm()?,
        keys,
    })
}

pub(super) async fn rotate(target: &Target, kinds: &[Kind], change: Change) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let vault = KeyringVault { secret: &deployment.secret, store: &deployment.store };
    let keys = KeyMaker(deployment.random());
    let env = env(&deployment, &keys)?;
    let kinds: Vec<KeyKind> = if kinds.is_empty() {
        KeyKind::SCHEDULED.to_vec()
    } else {
        kinds.iter().map(|kind| KeyKind::from(*kind)).collect()
    };
    let rotated = if change.dry_run {
        rotate::rehearse(&vault, env, &kinds).await?
    } else {
        rotate::rotate(&vault, env, &kinds, &deployment.version()?, &Deployment::origin()?).await?
    };
    Answer::of(&Changed::of(rotated.phase.as_str(), &rotated.changes, change))
}

pub(super) async fn revoke(
    target: &Target,
    key: &KeyName,
    expected: Expected,
    change: Change,
) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let vault = KeyringVault { secret: &deployment.secret, store: &deployment.store };
    let document = rotate::current_document(&vault).await?;
    let policy = deployment.settings.rotation_policy()?;
    let held = rotation::outlook(&document, &policy).into_iter().find(|held| held.key == *key);
    let held = held.ok_or_else(|| no_such_key(key))?;
    match (expected, held.state == KeyState::Current) {
        (Expected::Current, false) if held.state != KeyState::Revoked => {
            return Err(Failure::conflict(
                "key_not_current",
                format!("{key} is {}: `sallyport keys revoke {key}` is enough", super::state(held.state)),
            ));
        }
        (Expected::NotCurrent, true) => {
            return Err(Failure::conflict(
                "key_current",
                format!("{key} is in use: `sallyport keys rotate --emergency {key}` replaces it at once"),
            ));
        }
        _ => {}
    }
    let keys = KeyMaker(deployment.random());
    let env = env(&deployment, &keys)?;
    let revoked = if change.dry_run {
        let step = rotation::revoke(&document, key, env.algorithm, env.now, &keys);
        step.map(|step| step.changes).map_err(RotateError::from)
    } else {
        rotate::revoke(&vault, env, key, &deployment.version()?, &Deployment::origin()?).await
    };
    let changes = match revoked {
        // Whoever repeats it has what was wanted.
        Err(RotateError::Rotation(RotationError::RevokedAlready(key))) => {
            let report = Changed {
                changed: false,
                already: Some(key.to_string()),
                ..Changed::of("revoke", &[], change)
            };
            return Answer::of(&report);
        }
        revoked => revoked?,
    };
    let mut changed = Changed::of("revoke", &changes, change);
    changed.cost = Some(rotation::cost_of_revoking(key.kind));
    Answer::of(&changed)
}

fn no_such_key(key: &KeyName) -> Failure {
    Failure::not_found("key_not_found", format!("there is no key {key}: `sallyport keys list` shows them"))
}

impl From<RotateError> for Failure {
    fn from(error: RotateError) -> Self {
        let message = error.to_string();
        match error {
            RotateError::Store(error) | RotateError::Rotation(RotationError::Store(error)) => error.into(),
            RotateError::Empty => {
                Self::dependency("keyring_empty", "the keyring is empty: run `sallyport keys init` first")
            }
            RotateError::Unreadable(error) => error.into(),
            RotateError::Unfit(_) => Self::dependency("keyring_unusable", message),
            RotateError::NotEnabled
            | RotateError::NotStaged(_)
            | RotateError::UnderWay(_)
            | RotateError::LeftOver(_) => Self::conflict("rotation_under_way", message),
            RotateError::Overtaken => Self::conflict("overtaken", message),
            RotateError::Rotation(RotationError::NoSuchKey(key)) => no_such_key(&key),
            RotateError::Rotation(RotationError::TooEarly { key, wait }) => Self::conflict(
                "too_early",
                format!(
                    "{key} may be used in {}: not before every copy of the keyring and of the JWKS has it",
                    span(wait)
                ),
            ),
            RotateError::Rotation(RotationError::RevokedAlready(_)) => {
                Self::conflict("revoked_already", message)
            }
            RotateError::Rotation(RotationError::Indispensable(_)) => {
                Self::conflict("key_indispensable", message)
            }
            RotateError::Rotation(_) => Self::dependency("keyring_unusable", message),
        }
    }
}

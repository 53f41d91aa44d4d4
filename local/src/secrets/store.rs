//! Secrets with their versions and stages, by the rules of AWS Secrets Manager.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";
const PENDING: &str = "AWSPENDING";

/// A refusal: the exception's name and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) kind: &'static str,
    pub(crate) message: String,
}

fn refuse<T>(kind: &'static str, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { kind, message: message.into() })
}

fn not_found<T>() -> Result<T, Refusal> {
    refuse("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    /// None of a version that a rotation has reserved and not filled yet.
    pub(crate) value: Option<String>,
    pub(crate) stages: BTreeSet<String>,
    /// Seconds since the Unix epoch.
    pub(crate) created: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Secret {
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) created: u64,
    pub(crate) changed: u64,
    #[serde(default)]
    pub(crate) rotation_enabled: bool,
    pub(crate) versions: BTreeMap<String, Version>,
}

impl Secret {
    fn holder(&self, stage: &str) -> Option<String> {
        self.versions.iter().find(|(_, version)| version.stages.contains(stage)).map(|(id, _)| id.clone())
    }

    fn detach(&mut self, stage: &str) -> Option<String> {
        let holder = self.holder(stage)?;
        self.versions.get_mut(&holder)?.stages.remove(stage);
        Some(holder)
    }

    /// Moves a stage. What loses AWSCURRENT becomes AWSPREVIOUS.
    fn attach(&mut self, stage: &str, to: &str) {
        let from = self.detach(stage);
        if let Some(version) = self.versions.get_mut(to) {
            version.stages.insert(stage.to_owned());
        }
        if let Some(from) = from.filter(|from| stage == CURRENT && from != to) {
            self.attach(PREVIOUS, &from);
        }
    }
}

/// What PutSecretValue is asked.
#[derive(Debug, Clone)]
pub(crate) struct Put {
    pub(crate) secret: String,
    /// The version's identifier, chosen by the caller.
    pub(crate) token: String,
    pub(crate) value: String,
    pub(crate) stages: Vec<String>,
}

/// What UpdateSecretVersionStage is asked.
#[derive(Debug, Clone)]
pub(crate) struct Move {
    pub(crate) secret: String,
    pub(crate) stage: String,
    pub(crate) to: Option<String>,
    pub(crate) from: Option<String>,
}

/// All secrets, by name.
#[derive(Debug, Default)]
pub(crate) struct Store {
    secrets: BTreeMap<String, Secret>,
    file: Option<PathBuf>,
}

impl Store {
    /// Reads the secrets of `file`, which every change is written to; without a file they are gone with the process.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub(crate) fn open(file: Option<PathBuf>) -> anyhow::Result<Self> {
        let secrets = match &file {
            Some(file) if file.exists() => super::file::read(file)?,
            _ => BTreeMap::new(),
        };
        Ok(Self { secrets, file })
    }

    /// Creates a secret unless it is there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn create(&mut self, name: &str, value: &str, now: u64) -> Result<(), Refusal> {
        if self.secrets.contains_key(name) {
            return Ok(());
        }
        let version =
            Version { value: Some(value.to_owned()), stages: [CURRENT.to_owned()].into(), created: now };
        let secret = Secret {
            name: name.to_owned(),
            arn: format!("arn:aws:secretsmanager:us-east-1:000000000000:secret:{name}-LoCaL1"),
            created: now,
            changed: now,
            rotation_enabled: false,
            versions: [("00000000-0000-4000-8000-000000000000".to_owned(), version)].into(),
        };
        self.secrets.insert(name.to_owned(), secret);
        self.save()
    }

    /// # Errors
    /// When there is no such secret.
    pub(crate) fn describe(&self, id: &str) -> Result<&Secret, Refusal> {
        self.secrets.values().find(|secret| is_named(secret, id)).map_or_else(not_found, Ok)
    }

    /// The version by its identifier and stage; AWSCURRENT when neither is given.
    ///
    /// # Errors
    /// When there is no such secret or version.
    pub(crate) fn get(
        &self,
        id: &str,
        version: Option<&str>,
        stage: Option<&str>,
    ) -> Result<(&Secret, &str, &Version), Refusal> {
        let secret = self.describe(id)?;
        let wanted_stage = stage.or(if version.is_some() { None } else { Some(CURRENT) });
        let found = secret.versions.iter().find(|(id, found)| {
            version.is_none_or(|version| version == id.as_str())
                && wanted_stage.is_none_or(|stage| found.stages.contains(stage))
                && found.value.is_some()
        });
        match found {
            Some((id, version)) => Ok((secret, id, version)),
            None => refuse(
                "ResourceNotFoundException",
                match (version, wanted_stage) {
                    (Some(version), _) => {
                        format!(
                            "Secrets Manager can't find the specified secret value for VersionId: {version}"
                        )
                    }
                    (None, stage) => format!(
                        "Secrets Manager can't find the specified secret value for staging label: {}",
                        stage.unwrap_or(CURRENT)
                    ),
                },
            ),
        }
    }

    /// Adds a version, or confirms it when the same token comes with the same value. Answers its stages.
    ///
    /// # Errors
    /// When the token belongs to a version of another value, when there is no such secret.
    pub(crate) fn put(&mut self, put: Put, now: u64) -> Result<(&Secret, Vec<String>), Refusal> {
        if !(32..=64).contains(&put.token.len()) {
            return refuse(
                "InvalidParameterException",
                "ClientRequestToken must be 32 to 64 characters long.",
            );
        }
        let name = self.describe(&put.secret)?.name.clone();
        let Some(secret) = self.secrets.get_mut(&name) else { return not_found() };
        match secret.versions.get(&put.token) {
            Some(Version { value: Some(held), .. }) if *held != put.value => {
                return refuse(
                    "ResourceExistsException",
                    format!("A resource with the ID {} already exists with a different value.", put.token),
                );
            }
            Some(Version { value: Some(_), .. }) => {}
            reserved => {
                let held = reserved.map(|version| version.stages.clone()).unwrap_or_default();
                let stages = if put.stages.is_empty() { vec![CURRENT.to_owned()] } else { put.stages };
                let version = Version { value: Some(put.value), stages: held, created: now };
                secret.versions.insert(put.token.clone(), version);
                for stage in &stages {
                    secret.attach(stage, &put.token);
                }
                secret.changed = now;
            }
        }
        self.save()?;
        let secret = self.describe(&name)?;
        let stages = secret.versions.get(&put.token).map(|version| version.stages.iter().cloned().collect());
        Ok((secret, stages.unwrap_or_default()))
    }

    /// Sets a secret up for rotation, as a rotation schedule does.
    ///
    /// # Errors
    /// When there is no such secret.
    pub(crate) fn enable_rotation(&mut self, id: &str) -> Result<(), Refusal> {
        let name = self.describe(id)?.name.clone();
        if let Some(secret) = self.secrets.get_mut(&name) {
            secret.rotation_enabled = true;
        }
        self.save()
    }

    /// Begins a rotation as RotateSecret does: a version is reserved, pending, and holds nothing. Answers the secret's ARN.
    ///
    /// # Errors
    /// When the secret is not set up for rotation, when a rotation is under way or has left its stage behind.
    pub(crate) fn reserve(&mut self, id: &str, token: &str, now: u64) -> Result<String, Refusal> {
        let secret = self.describe(id)?;
        let name = secret.name.clone();
        if !secret.rotation_enabled {
            return refuse(
                "InvalidRequestException",
                "You tried to enable rotation on a secret that doesn't already have a Lambda function ARN configured \
                 and you didn't include such an ARN as a parameter in this call.",
            );
        }
        let (pending, current) = (secret.holder(PENDING), secret.holder(CURRENT));
        if pending.is_some() && pending != current {
            return refuse(
                "InvalidRequestException",
                "A previous rotation isn't complete. That rotation will be reattempted.",
            );
        }
        let Some(secret) = self.secrets.get_mut(&name) else { return not_found() };
        let version = Version { value: None, stages: BTreeSet::new(), created: now };
        secret.versions.entry(token.to_owned()).or_insert(version);
        secret.attach(PENDING, token);
        let arn = secret.arn.clone();
        self.save()?;
        Ok(arn)
    }

    /// Moves a stage from one version to another, or takes it away.
    ///
    /// # Errors
    /// When the stage is not where the caller says, when there is no such version or secret.
    pub(crate) fn move_stage(&mut self, order: &Move, now: u64) -> Result<&Secret, Refusal> {
        let name = self.describe(&order.secret)?.name.clone();
        let Some(secret) = self.secrets.get_mut(&name) else { return not_found() };
        for version in [&order.to, &order.from].into_iter().flatten() {
            if !secret.versions.contains_key(version) {
                return refuse(
                    "ResourceNotFoundException",
                    format!("Secrets Manager can't find the specified secret version: {version}"),
                );
            }
        }
        let holder = secret.holder(&order.stage);
        if holder.is_some() && holder != order.from && holder != order.to {
            return refuse(
                "InvalidParameterException",
                format!(
                    "The parameter RemoveFromVersionId can't be empty. Staging label {} is currently attached to \
                     version {}, so you must explicitly reference that version in RemoveFromVersionId.",
                    order.stage,
                    holder.unwrap_or_default()
                ),
            );
        }
        match &order.to {
            Some(to) => secret.attach(&order.stage, to),
            None if order.stage == CURRENT => {
                return refuse("InvalidParameterException", "You can't remove AWSCURRENT from all versions.");
            }
            None => drop(secret.detach(&order.stage)),
        }
        secret.changed = now;
        self.save()?;
        self.describe(&name)
    }

    /// On disk before it is acknowledged.
    fn save(&self) -> Result<(), Refusal> {
        let Some(file) = &self.file else { return Ok(()) };
        super::file::write(file, &self.secrets).or_else(|error| {
            refuse("InternalServiceError", format!("cannot write {}: {error}", file.display()))
        })
    }
}

/// By name, by ARN, or by an ARN without its random end.
fn is_named(secret: &Secret, id: &str) -> bool {
    secret.name == id
        || secret.arn == id
        || secret.arn.rsplit_once('-').is_some_and(|(partial, _)| partial == id)
}

#[cfg(test)]
mod tests;

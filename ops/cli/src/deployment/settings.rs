//! What a deployment is made of, from a stack's outputs or from the environment: the names are the functions' own.

use std::{collections::BTreeMap, time::Duration};

use sallyport_aws::Tables;
use sallyport_core::{accounts::HashParameters, keyring::SigningAlgorithm, throttle::AddressLimit};
use sallyport_operations::rotation::RotationPolicy;

use super::{Connection, stack};
use crate::{cli::Target, environment::variable, failure::Failure};

/// Names of the functions' environment variables.
pub(crate) mod name {
    pub(crate) const STAGE: &str = "SALLYPORT_STAGE";
    pub(crate) const DEPLOYMENT: &str = "SALLYPORT_DEPLOYMENT";
    pub(crate) const USERS: &str = "SALLYPORT_USERS_TABLE";
    pub(crate) const SESSIONS: &str = "SALLYPORT_SESSIONS_TABLE";
    pub(crate) const THROTTLE: &str = "SALLYPORT_THROTTLE_TABLE";
    pub(crate) const OUTBOX: &str = "SALLYPORT_OUTBOX_TABLE";
    pub(crate) const AUDIT: &str = "SALLYPORT_AUDIT_TABLE";
    pub(crate) const OPS: &str = "SALLYPORT_OPS_TABLE";
    pub(crate) const KEYRING: &str = "SALLYPORT_KEYRING_SECRET";
    pub(crate) const PROVIDERS: &str = "SALLYPORT_PROVIDERS_SECRET";
    pub(crate) const ISSUER: &str = "SALLYPORT_ISSUER";
    pub(crate) const AUDIENCE: &str = "SALLYPORT_AUDIENCE";
    pub(crate) const ALLOWED_ORIGINS: &str = "SALLYPORT_ALLOWED_ORIGINS";
    pub(crate) const ALLOWED_HEADERS: &str = "SALLYPORT_ALLOWED_HEADERS";
    pub(crate) const PRODUCT_NAME: &str = "SALLYPORT_PRODUCT_NAME";
    pub(crate) const SIGNING_ALGORITHM: &str = "SALLYPORT_SIGNING_ALGORITHM";
    pub(crate) const REFRESH_GRACE: &str = "SALLYPORT_REFRESH_GRACE_SECONDS";
    pub(crate) const ADDRESS_LIMIT: &str = "SALLYPORT_ADDRESS_LIMIT";
    pub(crate) const PASSWORD_MEMORY: &str = "SALLYPORT_PASSWORD_MEMORY_KIB";
    pub(crate) const PASSWORD_ITERATIONS: &str = "SALLYPORT_PASSWORD_ITERATIONS";
    pub(crate) const KEYRING_MAX_AGE: &str = "SALLYPORT_KEYRING_MAX_AGE_SECONDS";
    pub(crate) const DOCS_URL: &str = "SALLYPORT_DOCS_URL";
    pub(crate) const LOG_RETENTION: &str = "SALLYPORT_LOG_RETENTION_DAYS";

    pub(crate) const ALL: [&str; 23] = [
        STAGE,
        DEPLOYMENT,
        USERS,
        SESSIONS,
        THROTTLE,
        OUTBOX,
        AUDIT,
        OPS,
        KEYRING,
        PROVIDERS,
        ISSUER,
        AUDIENCE,
        ALLOWED_ORIGINS,
        ALLOWED_HEADERS,
        PRODUCT_NAME,
        SIGNING_ALGORITHM,
        REFRESH_GRACE,
        ADDRESS_LIMIT,
        PASSWORD_MEMORY,
        PASSWORD_ITERATIONS,
        KEYRING_MAX_AGE,
        DOCS_URL,
        LOG_RETENTION,
    ];
}

/// The variables that name a table, with the table's name in reports.
pub(crate) const TABLES: [(&str, &str); 6] = [
    ("users", name::USERS),
    ("sessions", name::SESSIONS),
    ("throttle", name::THROTTLE),
    ("outbox", name::OUTBOX),
    ("audit", name::AUDIT),
    ("ops", name::OPS),
];

/// The functions that answer callers: the stack's name, a dash, and one of these.
pub(crate) const FUNCTIONS: [&str; 5] = ["login", "refresh", "mfa", "keys", "health"];

/// The settings of a deployment, as text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) source: Source,
    values: BTreeMap<String, String>,
}

/// Where settings come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Source {
    #[default]
    Environment,
    Stack(String),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Environment => f.write_str("the environment"),
            Self::Stack(name) => write!(f, "stack {name}"),
        }
    }
}

/// Nothing says which deployment: both ways to say it.
pub(super) fn not_chosen() -> Failure {
    Failure::usage(
        "no_deployment",
        "no deployment chosen: pass --stack NAME (with --region or --profile) for one on AWS; for a backend on this machine: \
         eval \"$(cargo run -q -p local -- env)\"",
    )
}

impl Settings {
    /// Those of the stack, if one is named; otherwise the environment's. Never a mixture: half of a wrong stack is worse
    /// than none.
    ///
    /// # Errors
    /// There is no such stack.
    pub(crate) async fn find(target: &Target, connection: &Connection) -> Result<Self, Failure> {
        match &target.stack {
            Some(name) => {
                let values = stack::settings(&connection.cloudformation, name, &connection.region).await?;
                Ok(Self { source: Source::Stack(name.clone()), values })
            }
            None => Ok(Self::from_environment()),
        }
    }

    pub(crate) fn from_environment() -> Self {
        Self::from_lookup(variable)
    }

    pub(crate) fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let values =
            name::ALL.iter().filter_map(|name| lookup(name).map(|value| ((*name).to_owned(), value)));
        Self { source: Source::Environment, values: values.collect() }
    }

    /// Nothing is set that a deployment would set.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.values().all(String::is_empty)
    }

    /// A value that is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// # Errors
    /// A variable is missing: all that are, in one line.
    pub(crate) fn tables(&self) -> Result<Tables, Failure> {
        let required = TABLES.iter().map(|(_, name)| *name).chain([name::KEYRING]);
        let missing: Vec<_> = required.filter(|name| self.get(name).is_none()).collect();
        if self.is_empty() && self.source == Source::Environment {
            return Err(not_chosen());
        }
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(Failure::usage(
                "no_deployment",
                match &self.source {
                    Source::Environment => format!("which deployment? Pass --stack NAME, or set {missing}"),
                    Source::Stack(name) => {
                        format!("stack {name} does not say {missing}: is it a Sallyport stack?")
                    }
                },
            ));
        }
        let table = |name| self.get(name).unwrap_or_default().to_owned();
        Ok(Tables {
            users: table(name::USERS),
            sessions: table(name::SESSIONS),
            throttle: table(name::THROTTLE),
            outbox: table(name::OUTBOX),
            audit: table(name::AUDIT),
            ops: table(name::OPS),
        })
    }

    /// # Errors
    /// The variable is missing.
    pub(crate) fn keyring_secret(&self) -> Result<String, Failure> {
        let secret = self.get(name::KEYRING).map(str::to_owned);
        secret.ok_or_else(|| Failure::usage("no_deployment", format!("{} is not set", name::KEYRING)))
    }

    /// # Errors
    /// A variable is no number.
    pub(crate) fn hash_parameters(&self) -> Result<HashParameters, Failure> {
        let defaults = HashParameters::DEFAULT;
        Ok(HashParameters {
            memory: self.number(name::PASSWORD_MEMORY, defaults.memory)?,
            iterations: self.number(name::PASSWORD_ITERATIONS, defaults.iterations)?,
            lanes: defaults.lanes,
        })
    }

    fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> Result<T, Failure> {
        let Some(value) = self.get(name) else { return Ok(default) };
        value
            .parse()
            .map_err(|_| Failure::usage("invalid_setting", format!("{name} is not a whole number: {value}")))
    }

    /// Attempts of an address a minute.
    ///
    /// # Errors
    /// The variable is no number.
    pub(crate) fn address_limit(&self) -> Result<u64, Failure> {
        self.number(name::ADDRESS_LIMIT, AddressLimit::default().requests)
    }

    /// For how many days log groups keep a line. `None`: the deployment has no log groups.
    ///
    /// # Errors
    /// The variable is no number.
    pub(crate) fn log_retention_days(&self) -> Result<Option<u32>, Failure> {
        self.get(name::LOG_RETENTION).map(|_| self.number(name::LOG_RETENTION, 0)).transpose()
    }

    /// What the names of a restore drill's tables begin with: as the maintenance function's.
    pub(crate) fn scratch_prefix(&self) -> String {
        match &self.source {
            Source::Stack(name) => format!("{name}-drill"),
            Source::Environment => {
                variable("SALLYPORT_SCRATCH_PREFIX").unwrap_or_else(|| "sallyport-drill".to_owned())
            }
        }
    }

    /// # Errors
    /// A variable is no number.
    pub(crate) fn rotation_policy(&self) -> Result<RotationPolicy, Failure> {
        let seconds = self.number(name::KEYRING_MAX_AGE, 300_u64)?;
        Ok(RotationPolicy { keyring_max_age: Duration::from_secs(seconds) })
    }

    /// # Errors
    /// The variable names no algorithm.
    pub(crate) fn signing_algorithm(&self) -> Result<SigningAlgorithm, Failure> {
        match self.get(name::SIGNING_ALGORITHM) {
            None | Some("ES256") => Ok(SigningAlgorithm::ES256),
            Some("RS256") => Ok(SigningAlgorithm::RS256),
            Some(other) => Err(Failure::usage(
                "invalid_setting",
                format!("{} is neither ES256 nor RS256: {other}", name::SIGNING_ALGORITHM),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        Settings::from_lookup(|name| {
            pairs.iter().find(|(candidate, _)| *candidate == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn all_that_is_missing_is_named_at_once() {
        let failure =
            settings(&[(name::USERS, "u"), (name::SESSIONS, ""), (name::OPS, "o")]).tables().unwrap_err();
        insta::assert_snapshot!(failure.message, @"which deployment? Pass --stack NAME, or set SALLYPORT_SESSIONS_TABLE, SALLYPORT_THROTTLE_TABLE, SALLYPORT_OUTBOX_TABLE, SALLYPORT_AUDIT_TABLE, SALLYPORT_KEYRING_SECRET");
    }

    #[test]
    fn whoever_has_chosen_no_deployment_is_told_both_ways() {
        for nothing in [settings(&[]), settings(&[(name::USERS, "")])] {
            let failure = nothing.tables().unwrap_err();
            assert_eq!(failure.code, "no_deployment");
            assert!(failure.message.contains("--stack NAME") && failure.message.contains("-p local -- env"));
        }
    }

    #[test]
    fn hash_parameters_have_defaults_and_are_numbers() {
        assert_eq!(settings(&[]).hash_parameters(), Ok(HashParameters::DEFAULT));
        let set = settings(&[(name::PASSWORD_MEMORY, "65536"), (name::PASSWORD_ITERATIONS, "3")]);
        assert_eq!(set.hash_parameters(), Ok(HashParameters { memory: 65_536, iterations: 3, lanes: 1 }));
        assert!(settings(&[(name::PASSWORD_MEMORY, "19 MiB")]).hash_parameters().is_err());
    }
}

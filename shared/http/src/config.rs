//! What a deployment may set, read once and checked.

use std::{str::FromStr, sync::Arc, time::Duration};

use sallyport_aws::{ATTEMPT_TIMEOUT, Endpoints, Tables};
use sallyport_core::{
    accounts::HashParameters,
    keyring::SigningAlgorithm,
    login::Rules,
    sessions::SessionPolicy,
    throttle::{AddressLimit, PoolPolicy},
    tokens::Audience,
};

/// A variable is missing or out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("{0} is not set")]
    Missing(&'static str),
    #[error("{name} is {value:?}: {expected}")]
    Invalid { name: &'static str, value: String, expected: &'static str },
}

/// The configuration of a function.
#[derive(Debug, Clone)]
pub struct Config {
    pub stage: String,
    /// The name of the stack, the dimension of all metrics: a stage is named alike in every stack of an account.
    pub deployment: String,
    pub tables: Tables,
    pub endpoints: Endpoints,
    /// Name or ARN of the keyring's secret.
    pub keyring_secret: String,
    /// Name or ARN of the providers' secret, for those who may read it.
    pub providers_secret: Option<String>,
    pub keyring_max_age: Duration,
    pub signing_algorithm: SigningAlgorithm,
    /// `None`: the address of the API that a request came in by.
    pub issuer: Option<String>,
    pub audience: String,
    pub allowed_origins: Vec<String>,
    pub refresh_grace: Duration,
    pub address_limit: u64,
    pub password: HashParameters,
    /// The topics that alarms are sent to, where a function looks after them.
    pub alarm_topics: Vec<String>,
    /// Whether the deployment refuses to lose its tables.
    pub data_protected: bool,
    /// What the names of a restore drill's tables begin with.
    pub scratch_prefix: String,
    /// Where the pages of the error codes are.
    pub docs_url: String,
    /// Where the pages of the runbook are published, without a trailing slash.
    pub runbook_url: String,
    /// Whether connections are opened and memory is touched before the first event. Benchmarks switch it off to tell the
    /// start from it.
    pub warm_up: bool,
    /// The topic of those who answer incidents.
    pub incident_topic: Option<String>,
    /// Whether a spike of failures turns emergency mode on by itself, for a while.
    pub auto_mitigation: bool,
    /// The functions' log groups, for a first diagnosis.
    pub log_groups: Vec<String>,
    /// What the names of the deployment's log groups begin with, where a function looks after them.
    pub log_group_prefix: Option<String>,
    /// For how many days they are to keep a line.
    pub log_retention_days: Option<u32>,
    /// Names of the functions that answer callers: for who tells when they were deployed.
    pub functions: Vec<String>,
}

const RUNBOOK_URL: &str = "https://github.com/sallyport/sallyport/blob/main/ops/runbooks";

const DOCS_URL: &str = "https://github.com/sallyport/sallyport/blob/main/docs/errors";

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// [`ConfigError`], naming the variable.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(&environment)
    }

    /// Reads variables through `lookup`.
    ///
    /// # Errors
    /// As [`Config::from_env`].
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let read = Lookup(lookup);
        Ok(Self {
            stage: read.required("SALLYPORT_STAGE")?,
            deployment: read.required("SALLYPORT_DEPLOYMENT")?,
            tables: Tables {
                users: read.required("SALLYPORT_USERS_TABLE")?,
                sessions: read.required("SALLYPORT_SESSIONS_TABLE")?,
                throttle: read.required("SALLYPORT_THROTTLE_TABLE")?,
                outbox: read.required("SALLYPORT_OUTBOX_TABLE")?,
                audit: read.required("SALLYPORT_AUDIT_TABLE")?,
                ops: read.required("SALLYPORT_OPS_TABLE")?,
            },
            endpoints: Endpoints {
                call_timeout: Some(Duration::from_millis(read.number(
                    "SALLYPORT_CALL_TIMEOUT_MS",
                    700,
                    100..=60_000,
                )?)),
                ..Endpoints::from_lookup(lookup)
            },
            keyring_secret: read.required("SALLYPORT_KEYRING_SECRET")?,
            providers_secret: read.optional("SALLYPORT_PROVIDERS_SECRET"),
            keyring_max_age: Duration::from_secs(read.number(
                "SALLYPORT_KEYRING_MAX_AGE_SECONDS",
                300,
                1..=3600,
            )?),
            signing_algorithm: match read.optional("SALLYPORT_SIGNING_ALGORITHM").as_deref() {
                None | Some("ES256") => SigningAlgorithm::ES256,
                Some("RS256") => SigningAlgorithm::RS256,
                Some(other) => {
                    return Err(ConfigError::Invalid {
                        name: "SALLYPORT_SIGNING_ALGORITHM",
                        value: other.to_owned(),
                        expected: "ES256 or RS256",
                    });
                }
            },
            issuer: read.optional("SALLYPORT_ISSUER").map(|url| url.trim_end_matches('/').to_owned()),
            audience: read.optional("SALLYPORT_AUDIENCE").unwrap_or_else(|| "sallyport".to_owned()),
            allowed_origins: read.origins("SALLYPORT_ALLOWED_ORIGINS")?,
            refresh_grace: Duration::from_secs(read.number("SALLYPORT_REFRESH_GRACE_SECONDS", 10, 0..=60)?),
            address_limit: read.number("SALLYPORT_ADDRESS_LIMIT", 100, 1..=1_000_000)?,
            password: HashParameters {
                memory: read.number("SALLYPORT_PASSWORD_MEMORY_KIB", 19_456, 7_168..=262_144)?,
                iterations: read.number("SALLYPORT_PASSWORD_ITERATIONS", 2, 1..=16)?,
                lanes: 1,
            },
            alarm_topics: read.list("SALLYPORT_ALARM_TOPICS"),
            data_protected: read.switch("SALLYPORT_DATA_PROTECTION", false)?,
            scratch_prefix: read
                .optional("SALLYPORT_SCRATCH_PREFIX")
                .unwrap_or_else(|| "sallyport-drill".to_owned()),
            runbook_url: read.optional("SALLYPORT_RUNBOOK_URL").unwrap_or_else(|| RUNBOOK_URL.to_owned()),
            docs_url: read.optional("SALLYPORT_DOCS_URL").unwrap_or_else(|| DOCS_URL.to_owned()),
            warm_up: read.switch("SALLYPORT_WARM_UP", true)?,
            incident_topic: read.optional("SALLYPORT_INCIDENT_TOPIC"),
            auto_mitigation: match read.optional("SALLYPORT_AUTO_MITIGATION").as_deref() {
                None | Some("off") => false,
                Some("emergency") => true,
                Some(other) => {
                    return Err(ConfigError::Invalid {
                        name: "SALLYPORT_AUTO_MITIGATION",
                        value: other.to_owned(),
                        expected: "off or emergency",
                    });
                }
            },
            log_groups: read.list("SALLYPORT_LOG_GROUPS"),
            log_group_prefix: read.optional("SALLYPORT_LOG_GROUP_PREFIX"),
            log_retention_days: match read.number("SALLYPORT_LOG_RETENTION_DAYS", 0, 0..=3653)? {
                0 => None,
                days => Some(days),
            },
            functions: read.list("SALLYPORT_FUNCTIONS"),
        })
    }

    /// How long one attempt of a call may take.
    pub fn call_timeout(&self) -> Duration {
        self.endpoints.call_timeout.unwrap_or(ATTEMPT_TIMEOUT)
    }

    /// The rules of the domain under this configuration, while nobody is blocked and no mode is set.
    pub fn rules(&self, issuer: &str) -> Rules {
        Rules {
            audience: Audience { issuer: issuer.to_owned(), audience: self.audience.clone() },
            sessions: SessionPolicy { grace: self.refresh_grace, ..SessionPolicy::default() },
            pool: PoolPolicy::default(),
            address: AddressLimit { requests: self.address_limit, ..AddressLimit::default() },
            flags: Arc::default(),
            emergency: None,
        }
    }
}

/// One variable of the process's environment. An empty one is as good as none: SAM writes parameters that are left out so.
pub(crate) fn environment(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "the environment is read here and nowhere else")]
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

struct Lookup<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Lookup<'_> {
    fn optional(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn required(&self, name: &'static str) -> Result<String, ConfigError> {
        self.optional(name).ok_or(ConfigError::Missing(name))
    }

    fn list(&self, name: &str) -> Vec<String> {
        let value = self.optional(name).unwrap_or_default();
        value.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
    }

    fn switch(&self, name: &'static str, default: bool) -> Result<bool, ConfigError> {
        match self.optional(name).as_deref() {
            None => Ok(default),
            Some("on") => Ok(true),
            Some("off") => Ok(false),
            Some(other) => Err(ConfigError::Invalid { name, value: other.to_owned(), expected: "on or off" }),
        }
    }

    fn number<T>(
        &self,
        name: &'static str,
        default: T,
        range: std::ops::RangeInclusive<T>,
    ) -> Result<T, ConfigError>
    where
        T: FromStr + PartialOrd,
    {
        let Some(value) = self.optional(name) else {
            return Ok(default);
        };
        let number = value.parse::<T>().ok().filter(|number| range.contains(number));
        number.ok_or(ConfigError::Invalid { name, value, expected: "a number in the documented range" })
    }

    /// Origins after RFC 6454 6.1: scheme and authority, no path, no wildcard.
    fn origins(&self, name: &'static str) -> Result<Vec<String>, ConfigError> {
        let value = self.optional(name).unwrap_or_default();
        let origins: Vec<_> =
            value.split(',').map(str::trim).filter(|origin| !origin.is_empty()).map(str::to_owned).collect();
        let well_formed = |origin: &String| {
            origin.parse::<http::Uri>().is_ok_and(|uri| {
                uri.scheme().is_some()
                    && uri.authority().is_some()
                    && !origin.ends_with('/')
                    && uri.path() == "/"
            })
        };
        if origins.iter().all(well_formed) {
            Ok(origins)
        } else {
            Err(ConfigError::Invalid {
                name,
                value,
                expected: "origins like https://app.example.com, by commas",
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(extra: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let given: Vec<(String, String)> =
            extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::from_lookup(&move |name| {
            let found = given.iter().find(|(given, _)| given == name).map(|(_, value)| value.clone());
            found.or_else(|| {
                let needed = name.ends_with("_TABLE")
                    || name.ends_with("_SECRET")
                    || ["SALLYPORT_STAGE", "SALLYPORT_DEPLOYMENT"].contains(&name);
                needed.then(|| "x".to_owned())
            })
        })
    }

    #[test]
    fn what_is_left_out_has_the_documented_default() -> Result<(), ConfigError> {
        let config = config(&[])?;
        assert_eq!(config.refresh_grace, Duration::from_secs(10));
        assert_eq!(config.password, HashParameters::DEFAULT);
        assert_eq!(config.address_limit, 100);
        assert_eq!(config.issuer, None);
        Ok(())
    }

    #[test]
    fn a_missing_variable_is_named() {
        assert_eq!(Config::from_lookup(&|_| None).err(), Some(ConfigError::Missing("SALLYPORT_STAGE")));
        assert_eq!(
            config(&[("SALLYPORT_KEYRING_SECRET", "")]).err(),
            Some(ConfigError::Missing("SALLYPORT_KEYRING_SECRET"))
        );
        // A line without its dimension is one that CloudWatch refuses, and every alarm is blind.
        assert_eq!(
            config(&[("SALLYPORT_DEPLOYMENT", "")]).err(),
            Some(ConfigError::Missing("SALLYPORT_DEPLOYMENT"))
        );
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        for (name, value) in [
            ("SALLYPORT_REFRESH_GRACE_SECONDS", "61"),
            ("SALLYPORT_REFRESH_GRACE_SECONDS", "-1"),
            ("SALLYPORT_PASSWORD_MEMORY_KIB", "1024"),
            ("SALLYPORT_SIGNING_ALGORITHM", "HS256"),
            ("SALLYPORT_ALLOWED_ORIGINS", "*"),
            ("SALLYPORT_ALLOWED_ORIGINS", "https://app.example.com/path"),
            ("SALLYPORT_ALLOWED_ORIGINS", "app.example.com"),
        ] {
            assert!(matches!(config(&[(name, value)]), Err(ConfigError::Invalid { .. })), "{name}={value}");
        }
    }
}

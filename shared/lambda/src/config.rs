//! What a deployment may set, read once and checked.

use std::{str::FromStr, sync::Arc, time::Duration};

use sallyport_aws::{ATTEMPT_TIMEOUT, Endpoints, Tables};
use sallyport_core::{
    accounts::HashParameters,
    keyring::SigningAlgorithm,
    rules::Rules,
    sessions::SessionPolicy,
    throttle::{AddressLimit, PoolPolicy},
    tokens::Audience,
    web::{WebOrigin, is_product_name, script_header},
};

use crate::cors;

/// A variable is missing or out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("{0} is not set")]
    Missing(&'static str),
    #[error("{name} is {value:?}: {expected}")]
    Invalid { name: &'static str, value: String, expected: String },
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
    pub allowed_origins: Vec<WebOrigin>,
    /// Headers that scripts of those origins may send, as a preflight lists them.
    pub allowed_headers: String,
    /// What authenticator apps call the deployment. They cut longer names.
    pub product_name: String,
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
    /// The function that may read the keyring and says whether it reads, for the one that may not.
    pub keys_function: Option<String>,
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
                30..=3_600,
            )?),
            signing_algorithm: match read.optional("SALLYPORT_SIGNING_ALGORITHM").as_deref() {
                None | Some("ES256") => SigningAlgorithm::ES256,
                Some("RS256") => SigningAlgorithm::RS256,
                Some(other) => {
                    return Err(ConfigError::Invalid {
                        name: "SALLYPORT_SIGNING_ALGORITHM",
                        value: other.to_owned(),
                        expected: "ES256 or RS256".to_owned(),
                    });
                }
            },
            issuer: read.optional("SALLYPORT_ISSUER").map(|url| url.trim_end_matches('/').to_owned()),
            audience: read.optional("SALLYPORT_AUDIENCE").unwrap_or_else(|| "sallyport".to_owned()),
            allowed_origins: read.origins("SALLYPORT_ALLOWED_ORIGINS")?,
            allowed_headers: read.headers("SALLYPORT_ALLOWED_HEADERS")?,
            product_name: read.product_name("SALLYPORT_PRODUCT_NAME")?,
            refresh_grace: Duration::from_secs(read.number("SALLYPORT_REFRESH_GRACE_SECONDS", 10, 0..=60)?),
            address_limit: read.number("SALLYPORT_ADDRESS_LIMIT", 100, 1..=100_000)?,
            password: HashParameters {
                memory: read.number("SALLYPORT_PASSWORD_MEMORY_KIB", 19_456, 7_168..=262_144)?,
                iterations: read.number("SALLYPORT_PASSWORD_ITERATIONS", 2, 1..=10)?,
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
                        expected: "off or emergency".to_owned(),
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
            keys_function: read.optional("SALLYPORT_KEYS_FUNCTION"),
        })
    }

    /// How long one attempt of a call may take.
    pub fn call_timeout(&self) -> Duration {
        self.endpoints.call_timeout.unwrap_or(ATTEMPT_TIMEOUT)
    }

    /// What authenticator apps show beside the account: two deployments of one product are two entries of an app.
    pub fn authenticator_name(&self) -> String {
        match self.stage.as_str() {
            stage @ ("dev" | "staging") => format!("{} ({stage})", self.product_name),
            _ => self.product_name.clone(),
        }
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
            Some(other) => {
                Err(ConfigError::Invalid { name, value: other.to_owned(), expected: "on or off".to_owned() })
            }
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
        let expected = || "a number in the documented range".to_owned();
        number.ok_or_else(|| ConfigError::Invalid { name, value, expected: expected() })
    }

    /// Origins by commas. One that no browser ever sends is refused, and named: it would look like a setting and do nothing.
    fn origins(&self, name: &'static str) -> Result<Vec<WebOrigin>, ConfigError> {
        let read = |text: String| {
            let origin: Result<WebOrigin, _> = text.parse();
            origin.map_err(|why| ConfigError::Invalid { name, value: text, expected: why.to_string() })
        };
        self.list(name).into_iter().map(read).collect()
    }

    /// Names of headers by commas, besides those that are always allowed.
    fn headers(&self, name: &'static str) -> Result<String, ConfigError> {
        let mut headers: Vec<String> = cors::HEADERS.map(str::to_owned).to_vec();
        for text in self.list(name) {
            let header = script_header(&text).map_err(|why| ConfigError::Invalid {
                name,
                value: text,
                expected: why.to_string(),
            })?;
            if !headers.iter().any(|known| known.eq_ignore_ascii_case(&header)) {
                headers.push(header);
            }
        }
        Ok(headers.join(", "))
    }

    fn product_name(&self, name: &'static str) -> Result<String, ConfigError> {
        let value = self.optional(name).unwrap_or_else(|| "Sallyport".to_owned());
        if is_product_name(&value) {
            Ok(value)
        } else {
            let expected = "1 to 64 characters without colons and control characters".to_owned();
            Err(ConfigError::Invalid { name, value, expected })
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
    fn what_is_refused_is_named_by_itself_and_says_why() {
        let refused =
            config(&[("SALLYPORT_ALLOWED_ORIGINS", "https://app.example.com,https://*.example.com")]);
        let said = refused.err().map(|error| error.to_string());
        let expected =
            "SALLYPORT_ALLOWED_ORIGINS is \"https://*.example.com\": each origin is written out: no wildcard";
        assert_eq!(said.as_deref(), Some(expected));
    }

    #[test]
    fn a_deployment_has_a_name_of_its_own_in_authenticator_apps() -> Result<(), ConfigError> {
        for (name, stage, shown) in [
            ("", "prod", "Sallyport"),
            ("", "local", "Sallyport"),
            ("", "dev", "Sallyport (dev)"),
            ("Acme Shop", "prod", "Acme Shop"),
            ("Ünïted & Söns", "staging", "Ünïted & Söns (staging)"),
        ] {
            let config = config(&[("SALLYPORT_PRODUCT_NAME", name), ("SALLYPORT_STAGE", stage)])?;
            assert_eq!(config.authenticator_name(), shown);
        }
        Ok(())
    }

    #[test]
    fn further_headers_join_those_that_are_always_allowed() -> Result<(), ConfigError> {
        let allowed =
            config(&[("SALLYPORT_ALLOWED_HEADERS", "X-Datadog-Trace-Id, content-type")])?.allowed_headers;
        assert_eq!(
            allowed,
            "Authorization, Content-Type, traceparent, tracestate, baggage, sentry-trace, x-datadog-trace-id"
        );
        Ok(())
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
            ("SALLYPORT_ALLOWED_ORIGINS", "https://app.example.com, https://app.example.com/"),
            ("SALLYPORT_ALLOWED_HEADERS", "*"),
            ("SALLYPORT_ALLOWED_HEADERS", "x-trace, cookie"),
            ("SALLYPORT_PRODUCT_NAME", "Acme: Shop"),
            ("SALLYPORT_PRODUCT_NAME", " Acme"),
            ("SALLYPORT_PRODUCT_NAME", "Acme\nShop"),
        ] {
            assert!(matches!(config(&[(name, value)]), Err(ConfigError::Invalid { .. })), "{name}={value}");
        }
    }

    /// The operator's command holds its own ranges against the template as well: all three are one.
    #[test]
    fn numbers_have_the_range_and_the_default_of_the_template() {
        let template = include_str!("../../../template.yaml");
        type Read = fn(&Config) -> u64;
        let numbers: [(&str, &str, Read); 5] = [
            ("RefreshGraceSeconds", "SALLYPORT_REFRESH_GRACE_SECONDS", |config| {
                config.refresh_grace.as_secs()
            }),
            ("AddressLimit", "SALLYPORT_ADDRESS_LIMIT", |config| config.address_limit),
            ("PasswordMemoryKib", "SALLYPORT_PASSWORD_MEMORY_KIB", |config| config.password.memory.into()),
            ("PasswordIterations", "SALLYPORT_PASSWORD_ITERATIONS", |config| {
                config.password.iterations.into()
            }),
            ("KeyringMaxAgeSeconds", "SALLYPORT_KEYRING_MAX_AGE_SECONDS", |config| {
                config.keyring_max_age.as_secs()
            }),
        ];
        for (parameter, variable, read) in numbers {
            assert!(template.contains(&format!(" {variable}: !Ref {parameter}\n")), "{parameter}");
            let (_, rest) = template.split_once(&format!("\n  {parameter}:\n")).unwrap();
            let said = |label: &str| -> u64 {
                let (_, rest) = rest.split_once(label).unwrap();
                rest.split_whitespace().next().unwrap().parse().unwrap()
            };
            let (least, greatest) = (said("MinValue:"), said("MaxValue:"));
            let with =
                |value: Option<u64>| config(&[(variable, &value.map_or("-1".to_owned(), |v| v.to_string()))]);
            assert_eq!(read(&config(&[]).unwrap()), said("Default:"), "{parameter}");
            for value in [least, greatest] {
                assert_eq!(read(&with(Some(value)).unwrap()), value, "{parameter}");
            }
            for value in [least.checked_sub(1), Some(greatest + 1)] {
                assert!(with(value).is_err(), "{parameter}: {value:?}");
            }
        }
    }
}

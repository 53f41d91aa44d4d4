//! What the hook of a deployment and `health` ask of functions, and what CodeDeploy is told.

use std::fmt;

use sallyport_core::store::StoreResult;
use serde_json::Value;

/// A request for one function, and what must come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    pub function: &'static str,
    pub method: &'static str,
    pub path: &'static str,
    pub expected: Expected,
}

/// What a sound version answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// All dependencies answer.
    Ready,
    /// At least one public key.
    Keys,
    /// The caller is told to bring a token, or that the service is closed.
    Refusal,
}

/// An answer, as far as it is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// `Null` where it is no JSON.
    pub body: Value,
}

impl Answer {
    /// A member of the body that is a text. Empty: there is none.
    pub fn member(&self, name: &str) -> &str {
        self.body.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Status, code and what is down; never the body, which could hold what no log may.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status.fmt(f)?;
        let code = self.member("code");
        if !code.is_empty() {
            write!(f, " {code}")?;
        }
        let checks = self.body.get("checks").and_then(Value::as_object);
        let is_down = |check: &Value| check.get("status").is_some_and(|status| status == "down");
        let down = checks.into_iter().flatten().filter(|(_, check)| is_down(check));
        let down: Vec<_> = down.map(|(component, _)| component.as_str()).collect();
        if !down.is_empty() {
            write!(f, " ({} down)", down.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "200 and ready",
            Self::Keys => "200 and a key",
            Self::Refusal => "401 invalid_token",
        })
    }
}

/// Hands a request to one version of a function, past its alias and the gateway.
pub trait AskVersion: Send + Sync {
    /// The answer of `version`, as the deployment names it. An error where none came: the version is not there, may not be
    /// called, crashed or ran out of time.
    fn ask(&self, version: &str, trial: &Trial) -> impl Future<Output = StoreResult<Answer>> + Send;
}

/// The step of a deployment that waits for a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    pub deployment: String,
    pub execution: String,
}

/// What a deployment is about to hand calls to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The function, as the provider names it: `prod-login`.
    pub function: String,
    /// The number of the version.
    pub version: String,
}

impl Target {
    /// The version, as [`AskVersion`] takes it.
    pub fn qualified(&self) -> String {
        format!("{}:{}", self.function, self.version)
    }
}

/// Whoever shifts the calls.
pub trait TellDeployer: Send + Sync {
    /// What the deployment shifts calls to. `None`: its specification names no version of a function.
    fn target(&self, hook: &Hook) -> impl Future<Output = StoreResult<Option<Target>>> + Send;

    /// Tells that the deployment may go on, or must go back. A verdict that was told before stands, and is no error: it is
    /// this one whose reply was lost, or that of an earlier try.
    fn tell(&self, hook: &Hook, passed: bool) -> impl Future<Output = StoreResult<()>> + Send;
}

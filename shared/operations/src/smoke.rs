//! Before a release takes calls: each function's new version is asked once, and must answer as it is documented to.
//!
//! What is asked touches no account and counts as no attempt. A refusal proves as much as a success does: whoever refuses a
//! request without a token has read its configuration, the flags and the keyring before.

use std::fmt;

use serde_json::Value;

use sallyport_core::store::{StoreError, StoreResult};

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

/// One trial a function that answers callers.
///
/// Of what refuses, these are the routes that read the keyring before they look at the request: an empty sign-in or
/// refresh is refused before.
pub const TRIALS: [Trial; 5] = [
    trial("keys", "GET", "/.well-known/jwks.json", Expected::Keys),
    trial("health", "GET", "/health/ready", Expected::Ready),
    trial("login", "POST", "/api/v1/auth/reauthenticate", Expected::Refusal),
    trial("refresh", "POST", "/api/v1/auth/logout", Expected::Refusal),
    trial("mfa", "GET", "/api/v1/mfa/factors", Expected::Refusal),
];

const fn trial(
    function: &'static str,
    method: &'static str,
    path: &'static str,
    expected: Expected,
) -> Trial {
    Trial { function, method, path, expected }
}

/// An answer, as far as it is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// `Null` where it is no JSON.
    pub body: Value,
}

impl Answer {
    fn member(&self, name: &str) -> &str {
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

impl Expected {
    fn is_met(self, answer: &Answer) -> bool {
        match self {
            Self::Ready => answer.status == 200 && answer.member("status") == "ready",
            Self::Keys => {
                let keys = answer.body.get("keys").and_then(Value::as_array);
                answer.status == 200 && keys.is_some_and(|keys| !keys.is_empty())
            }
            // Closed by an operator: it says so only after it has read the flags.
            Self::Refusal => {
                matches!(
                    (answer.status, answer.member("code")),
                    (401, "invalid_token") | (503, "maintenance")
                )
            }
        }
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

    /// The question for it, by the last part of the function's name.
    fn trial(&self) -> Option<&'static Trial> {
        let name = self.function.rsplit([':', '-']).next().unwrap_or_default();
        TRIALS.iter().find(|trial| trial.function == name)
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

/// What came of the trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The deployment names nothing that could be tried.
    Untried(String),
    Tried {
        target: Target,
        trial: Trial,
        came: Result<Answer, String>,
    },
}

impl Verdict {
    pub fn passed(&self) -> bool {
        match self {
            Self::Untried(_) => false,
            Self::Tried { trial, came, .. } => {
                came.as_ref().is_ok_and(|answer| trial.expected.is_met(answer))
            }
        }
    }
}

/// One line: what passed in short, what failed with what was expected.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (target, trial, came) = match self {
            Self::Untried(why) => return f.write_str(why),
            Self::Tried { target, trial, came } => (target.qualified(), trial, came),
        };
        let Trial { method, path, expected, .. } = trial;
        match came {
            Ok(answer) if self.passed() => write!(f, "{target}: {answer}"),
            Ok(answer) => write!(f, "{target}: {answer} instead of {expected} to {method} {path}"),
            Err(fault) => write!(f, "{target}: no answer instead of {expected} to {method} {path}: {fault}"),
        }
    }
}

/// Asks the version that the deployment is about to hand calls to. Each function's deployment has a hook of its own.
///
/// The deployer says which version that is: whoever guesses it (from an environment that the same deployment changes) may
/// try the one before.
///
/// # Errors
/// The deployer does not say what it deploys.
pub async fn try_release<V: AskVersion, D: TellDeployer>(
    versions: &V,
    deployer: &D,
    hook: &Hook,
) -> StoreResult<Verdict> {
    let Some(target) = deployer.target(hook).await? else {
        return Ok(Verdict::Untried("the deployment names no version of a function".to_owned()));
    };
    let Some(trial) = target.trial().copied() else {
        return Ok(Verdict::Untried(format!("{}: no function that answers callers", target.qualified())));
    };
    let came = versions.ask(&target.qualified(), &trial).await.map_err(|error| said(&error));
    Ok(Verdict::Tried { target, trial, came })
}

/// Longer messages of functions that crash are cut: they are one line.
const LONGEST: usize = 300;

fn said(error: &StoreError) -> String {
    error.to_string().chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::*;
    use crate::testing::interleaving::finish;

    /// One version that answers, by its name, and a deployer that says what it deploys.
    struct Deployed {
        target: StoreResult<Option<Target>>,
        answer: StoreResult<Answer>,
        asked: Mutex<Vec<String>>,
    }

    impl AskVersion for Deployed {
        async fn ask(&self, version: &str, trial: &Trial) -> StoreResult<Answer> {
            self.asked.lock().unwrap().push(format!("{version} {} {}", trial.method, trial.path));
            self.answer.clone()
        }
    }

    impl TellDeployer for Deployed {
        async fn target(&self, _: &Hook) -> StoreResult<Option<Target>> {
            self.target.clone()
        }

        async fn tell(&self, _: &Hook, _: bool) -> StoreResult<()> {
            Ok(())
        }
    }

    fn target(function: &str) -> Target {
        Target { function: format!("prod-{function}"), version: "7".to_owned() }
    }

    fn answer(status: u16, body: Value) -> StoreResult<Answer> {
        Ok(Answer { status, body })
    }

    fn lost() -> StoreError {
        StoreError::Unavailable { operation: "invoke", reason: "not found".to_owned() }
    }

    /// The verdict on a version of the function that answers so, and what was asked of it.
    fn tried(
        target: StoreResult<Option<Target>>,
        answer: StoreResult<Answer>,
    ) -> (StoreResult<Verdict>, Vec<String>) {
        let deployed = Deployed { target, answer, asked: Mutex::default() };
        let hook = Hook { deployment: "d-1".to_owned(), execution: "e-1".to_owned() };
        let verdict = finish(try_release(&deployed, &deployed, &hook));
        (verdict, deployed.asked.into_inner().unwrap())
    }

    fn verdict(function: &str, answer: StoreResult<Answer>) -> Verdict {
        tried(Ok(Some(target(function))), answer).0.unwrap()
    }

    #[test]
    fn the_version_that_the_deployment_names_is_asked_and_no_other() {
        for trial in TRIALS {
            let sound = match trial.expected {
                Expected::Ready => answer(200, json!({"status": "ready"})),
                Expected::Keys => answer(200, json!({"keys": [{"kid": "1"}]})),
                Expected::Refusal => answer(401, json!({"code": "invalid_token"})),
            };
            let (verdict, asked) = tried(Ok(Some(target(trial.function))), sound);
            assert!(verdict.unwrap().passed(), "{}", trial.function);
            assert_eq!(asked, [format!("prod-{}:7 {} {}", trial.function, trial.method, trial.path)]);
        }
    }

    #[test]
    fn a_service_that_is_closed_passes_and_one_that_is_down_does_not() {
        let closed = || answer(503, json!({"code": "maintenance"}));
        assert!(verdict("login", closed()).passed());
        assert!(!verdict("login", answer(503, json!({"code": "dependency_unavailable"}))).passed());
        // What has no gate has no maintenance either.
        assert!(!verdict("keys", closed()).passed());
    }

    #[test]
    fn a_fault_is_named_with_what_was_expected() {
        let down = json!({"status": "unavailable", "checks": {"users": {"status": "down"}, "keyring": {"status": "up"}}});
        for (verdict, said) in [
            (
                verdict("health", answer(503, down)),
                "prod-health:7: 503 (users down) instead of 200 and ready to GET /health/ready",
            ),
            (
                verdict("keys", answer(200, json!({"keys": []}))),
                "prod-keys:7: 200 instead of 200 and a key to GET /.well-known/jwks.json",
            ),
            (
                verdict("refresh", answer(200, json!({"access_token": "secret"}))),
                "prod-refresh:7: 200 instead of 401 invalid_token to POST /api/v1/auth/logout",
            ),
            (
                verdict("mfa", Err(lost())),
                "prod-mfa:7: no answer instead of 401 invalid_token to GET /api/v1/mfa/factors: invoke failed: not found",
            ),
        ] {
            assert!(!verdict.passed());
            assert_eq!(verdict.to_string(), said);
        }
    }

    #[test]
    fn a_deployment_that_names_nothing_to_try_goes_back() {
        let right = || answer(401, json!({"code": "invalid_token"}));
        for (deploys, said) in [
            (None, "the deployment names no version of a function"),
            (Some(target("responder")), "prod-responder:7: no function that answers callers"),
        ] {
            let (verdict, asked) = tried(Ok(deploys), right());
            let verdict = verdict.unwrap();
            assert!(!verdict.passed() && asked.is_empty());
            assert_eq!(verdict.to_string(), said);
        }
        // Nothing is known of the version: no verdict, and the hook is called again.
        assert!(tried(Err(lost()), right()).0.is_err());
    }

    #[test]
    fn every_function_that_answers_callers_is_tried() {
        let mut tried = TRIALS.map(|trial| trial.function);
        let mut functions = crate::metrics::FUNCTIONS;
        tried.sort_unstable();
        functions.sort_unstable();
        assert_eq!(tried, functions);
    }
}

//! Before a release takes calls: each function's new version is asked once, and must answer as it is documented to.
//!
//! What is asked touches no account and counts as no attempt. A refusal proves as much as a success does: whoever refuses a
//! request without a token has read its configuration, the flags and the keyring before.

use std::fmt;

use serde_json::Value;

use crate::store::{StoreError, StoreResult};

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

/// Whoever shifts the calls.
pub trait TellDeployer: Send + Sync {
    /// Tells that the deployment may go on, or must go back. A verdict that was told before stands, and is no error: it is
    /// this one whose reply was lost, or that of an earlier try.
    fn tell(&self, hook: &Hook, passed: bool) -> impl Future<Output = StoreResult<()>> + Send;
}

/// What came of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub trial: Trial,
    pub came: Result<Answer, String>,
}

impl Finding {
    pub fn passed(&self) -> bool {
        self.came.as_ref().is_ok_and(|answer| self.trial.expected.is_met(answer))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Trial { function, method, path, expected } = self.trial;
        match &self.came {
            Ok(answer) if self.passed() => write!(f, "{function}: {answer}"),
            Ok(answer) => write!(f, "{function}: {answer} instead of {expected} to {method} {path}"),
            Err(fault) => {
                write!(f, "{function}: no answer instead of {expected} to {method} {path}: {fault}")
            }
        }
    }
}

/// What came of all trials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict(pub Vec<Finding>);

impl Verdict {
    pub fn passed(&self) -> bool {
        self.0.iter().all(Finding::passed)
    }
}

/// One line: what passed in short, what failed with what was expected.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let findings: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&findings.join("; "))
    }
}

/// Asks the version of every function, as `versions` name them: `login=arn:…:7`.
///
/// One after the other: each function's deployment has its own hook, they run side by side, and a new account may run ten
/// functions at once. A fault does not end it, so that one verdict names all that is wrong.
pub async fn try_release<P: AskVersion>(ports: &P, versions: &[String]) -> Verdict {
    let mut findings = Vec::with_capacity(TRIALS.len());
    for trial in TRIALS {
        let named = versions.iter().find_map(|version| {
            let (function, version) = version.split_once('=')?;
            (function == trial.function).then_some(version)
        });
        let came = match named {
            Some(version) => ports.ask(version, &trial).await.map_err(|error| said(&error)),
            None => Err("no version of it is named".to_owned()),
        };
        findings.push(Finding { trial, came });
    }
    Verdict(findings)
}

/// Longer messages of functions that crash are cut: five of them are one line.
const LONGEST: usize = 300;

fn said(error: &StoreError) -> String {
    error.to_string().chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::interleaving::finish;

    /// Answers by version.
    struct Deployed(BTreeMap<&'static str, StoreResult<Answer>>);

    impl AskVersion for Deployed {
        async fn ask(&self, version: &str, _: &Trial) -> StoreResult<Answer> {
            let absent = StoreError::Unavailable { operation: "invoke", reason: "not found".to_owned() };
            self.0.get(version).cloned().unwrap_or(Err(absent))
        }
    }

    fn answer(status: u16, body: Value) -> StoreResult<Answer> {
        Ok(Answer { status, body })
    }

    fn refused() -> StoreResult<Answer> {
        answer(401, json!({"code": "invalid_token"}))
    }

    fn sound() -> Deployed {
        Deployed(BTreeMap::from([
            ("k:1", answer(200, json!({"keys": [{"kid": "1"}]}))),
            ("h:1", answer(200, json!({"status": "ready"}))),
            ("l:1", refused()),
            ("r:1", refused()),
            ("m:1", refused()),
        ]))
    }

    fn versions() -> Vec<String> {
        ["login=l:1", "refresh=r:1", "mfa=m:1", "keys=k:1", "health=h:1"].map(str::to_owned).to_vec()
    }

    fn verdict(deployed: &Deployed, versions: &[String]) -> Verdict {
        finish(try_release(deployed, versions))
    }

    #[test]
    fn a_release_passes_when_every_function_answers_as_it_is_documented_to() {
        let verdict = verdict(&sound(), &versions());
        assert!(verdict.passed());
        let said = "keys: 200; health: 200; login: 401 invalid_token; refresh: 401 invalid_token; \
                    mfa: 401 invalid_token";
        assert_eq!(verdict.to_string(), said);
    }

    #[test]
    fn a_service_that_is_closed_passes_and_one_that_is_down_does_not() {
        let mut deployed = sound();
        deployed.0.insert("l:1", answer(503, json!({"code": "maintenance"})));
        assert!(verdict(&deployed, &versions()).passed());
        deployed.0.insert("l:1", answer(503, json!({"code": "dependency_unavailable"})));
        assert!(!verdict(&deployed, &versions()).passed());
        // What has no gate has no maintenance either.
        let mut deployed = sound();
        deployed.0.insert("k:1", answer(503, json!({"code": "maintenance"})));
        assert!(!verdict(&deployed, &versions()).passed());
    }

    #[test]
    fn each_fault_fails_the_release_and_is_named_beside_the_others() {
        let down = json!({"status": "unavailable", "checks": {"users": {"status": "down"}, "keyring": {"status": "up"}}});
        let mut deployed = sound();
        deployed.0.insert("h:1", answer(503, down));
        deployed.0.insert("k:1", answer(200, json!({"keys": []})));
        deployed.0.insert("r:1", answer(200, json!({"access_token": "secret"})));
        deployed.0.remove("m:1");
        let mut versions = versions();
        versions.retain(|version| !version.starts_with("login="));
        let verdict = verdict(&deployed, &versions);
        assert!(verdict.0.iter().all(|finding| !finding.passed()));
        let said = [
            "keys: 200 instead of 200 and a key to GET /.well-known/jwks.json",
            "health: 503 (users down) instead of 200 and ready to GET /health/ready",
            "login: no answer instead of 401 invalid_token to POST /api/v1/auth/reauthenticate: no version of it is named",
            "refresh: 200 instead of 401 invalid_token to POST /api/v1/auth/logout",
            "mfa: no answer instead of 401 invalid_token to GET /api/v1/mfa/factors: invoke failed: not found",
        ];
        assert_eq!(verdict.to_string(), said.join("; "));
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

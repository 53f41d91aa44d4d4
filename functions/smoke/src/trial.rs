//! Before a release takes calls: each function's new version is asked once, and must answer as it is documented to.
//!
//! What is asked touches no account and counts as no attempt. A refusal proves as much as a success does: whoever refuses a
//! request without a token has read its configuration, the flags and the keyring before.

use std::fmt;

use sallyport_core::store::{StoreError, StoreResult};
use sallyport_operations::smoke::{Answer, AskVersion, Expected, Hook, Target, TellDeployer, Trial};
use serde_json::Value;

/// One trial a function that answers callers.
///
/// Of what refuses, these are the routes that read the keyring before they look at the request: an empty sign-in or
/// refresh is refused before.
const TRIALS: [Trial; 5] = [
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

/// Whether the answer is what a sound version gives.
fn is_met(expected: Expected, answer: &Answer) -> bool {
    match expected {
        Expected::Ready => answer.status == 200 && answer.member("status") == "ready",
        Expected::Keys => {
            let keys = answer.body.get("keys").and_then(Value::as_array);
            answer.status == 200 && keys.is_some_and(|keys| !keys.is_empty())
        }
        // Closed by an operator: it says so only after it has read the flags.
        Expected::Refusal => {
            matches!((answer.status, answer.member("code")), (401, "invalid_token") | (503, "maintenance"))
        }
    }
}

/// The question for it, by the last part of the function's name.
fn trial_of(target: &Target) -> Option<&'static Trial> {
    let name = target.function.rsplit([':', '-']).next().unwrap_or_default();
    TRIALS.iter().find(|trial| trial.function == name)
}

/// What came of the trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The deployment names nothing that could be tried.
    Untried(String),
    Tried {
        target: Target,
        trial: Trial,
        came: Result<Answer, String>,
    },
}

impl Verdict {
    pub(crate) fn passed(&self) -> bool {
        match self {
            Self::Untried(_) => false,
            Self::Tried { trial, came, .. } => {
                came.as_ref().is_ok_and(|answer| is_met(trial.expected, answer))
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
pub(crate) async fn try_release<V: AskVersion, D: TellDeployer>(
    versions: &V,
    deployer: &D,
    hook: &Hook,
) -> StoreResult<Verdict> {
    let Some(target) = deployer.target(hook).await? else {
        return Ok(Verdict::Untried("the deployment names no version of a function".to_owned()));
    };
    let Some(trial) = trial_of(&target).copied() else {
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

    use futures_util::FutureExt as _;
    use sallyport_operations::metrics::FUNCTIONS;
    use serde_json::json;

    use super::*;

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
        let verdict = try_release(&deployed, &deployed, &hook).now_or_never().unwrap();
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
        let mut functions = FUNCTIONS;
        tried.sort_unstable();
        functions.sort_unstable();
        assert_eq!(tried, functions);
    }
}

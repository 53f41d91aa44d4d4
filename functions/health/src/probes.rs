//! Probes of what this deployment depends on.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sallyport_aws::LambdaVersions;
use sallyport_core::{
    checks::{Answer, Component, Probe},
    clock::Timestamp,
    store::{StoreError, StoreResult},
};
use sallyport_lambda::Platform;
use sallyport_operations::smoke::{AskVersion as _, Expected, Trial};

use crate::LIMIT;

/// What `keys` is asked.
const QUESTION: Trial =
    Trial { function: "keys", method: "GET", path: "/internal/keyring", expected: Expected::Keys };

/// How long its word serves everybody: anonymous callers come by here, and each word is a call of Secrets Manager.
const FRESH: Duration = Duration::from_secs(5);

/// The last word about the keyring.
#[derive(Debug, Clone)]
struct Word {
    at: Timestamp,
    said: Said,
}

/// What stands of the keyring, or why that is not known.
type Said = Result<Answer, String>;

#[derive(Debug, Default)]
struct Heard {
    last: Option<Word>,
    /// A question that has not been answered.
    asked_at: Option<Timestamp>,
}

/// The tables by a read each; the keyring by what `keys` says of it. This function may not read it, since whoever
/// reads it holds the private keys.
#[derive(Debug)]
pub(crate) struct Probes {
    platform: Platform,
    functions: LambdaVersions,
    heard: Mutex<Heard>,
}

impl Probes {
    pub(crate) fn new(platform: &Platform) -> Self {
        let functions = LambdaVersions::new(platform.clients());
        Self { platform: platform.clone(), functions, heard: Mutex::default() }
    }

    async fn keyring(&self) -> StoreResult<Answer> {
        let now = self.platform.clock().now();
        let said = match self.known(now) {
            Some(said) => said,
            None => {
                self.locked().asked_at = Some(now);
                let said = self.ask().await;
                *self.locked() = Heard { last: Some(Word { at: now, said: said.clone() }), asked_at: None };
                said
            }
        };
        said.map_err(|reason| StoreError::Unavailable { operation: "read keyring", reason })
    }

    /// What is known without asking; `None` where it is time to ask.
    fn known(&self, now: Timestamp) -> Option<Said> {
        let heard = self.locked();
        if let Some(word) = heard.last.as_ref().filter(|word| now < word.at + FRESH) {
            return Some(word.said.clone());
        }
        // Whoever asked has gone by now, and was told the same.
        let late = heard.asked_at.is_some_and(|at| at + LIMIT <= now && now < at + FRESH);
        late.then(|| Err("the function keys has not answered".to_owned()))
    }

    async fn ask(&self) -> Said {
        let Some(function) = &self.platform.config().keys_function else {
            return Err("SALLYPORT_KEYS_FUNCTION is not set: nobody says whether it reads".to_owned());
        };
        match self.functions.ask(function, &QUESTION).await {
            // Its process fills an empty keyring when it starts.
            Ok(answer) if answer.status == 200 && answer.body.get("empty") == Some(&true.into()) => {
                Ok(Answer::Empty)
            }
            Ok(answer) if answer.status == 200 => {
                match answer.body.get("fault").and_then(serde_json::Value::as_str) {
                    Some(fault) => Err(fault.to_owned()),
                    None => Ok(Answer::Ready),
                }
            }
            Ok(answer) => Err(format!("the function keys answers {answer}")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn locked(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Probe for Probes {
    async fn probe(&self, component: Component) -> StoreResult<Answer> {
        match component {
            Component::Keyring => self.keyring().await,
            Component::Users | Component::Sessions | Component::Throttle => {
                self.platform.store().probe_table(component).await.map(|()| Answer::Ready)
            }
        }
    }
}

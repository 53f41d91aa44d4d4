//! What Lambda does around a function: it counts, it refuses, and it ends what does not end.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::published::{Ending, Published};

/// The functions' timeout in `template.yaml`: how long a call lasted that ran into it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How a function fails, whatever its code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Lambda refuses the call: too many run at once.
    Throttle,
    /// The process ends in the middle of the call.
    Crash,
    /// The call runs into the function's timeout. Nobody waits for it here: it is said to have lasted ten seconds.
    Timeout,
    /// The call is handled, and its lines of metrics are cut in half on their way to CloudWatch.
    Garble,
}

/// A fault as it is posted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FunctionFault {
    pub(crate) kind: Kind,
    /// Absent: every function.
    #[serde(default)]
    pub(crate) function: Option<String>,
    /// How many calls fail. Absent: all, until it is lifted.
    #[serde(default)]
    pub(crate) count: Option<u64>,
}

/// A call that came to no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    Throttled,
    /// It crashed or timed out.
    Failed,
}

/// The functions' side of Lambda.
#[derive(Debug, Default)]
pub(crate) struct Lambda {
    pub(crate) metrics: Arc<Published>,
    faults: Mutex<Vec<FunctionFault>>,
}

impl Lambda {
    pub(crate) fn new(metrics: Arc<Published>) -> Self {
        Self { metrics, faults: Mutex::default() }
    }

    /// Runs a call, on a task of its own: as in Lambda, a caller that hangs up does not stop it, and a function that breaks
    /// takes nobody along. Whether what came back is an error, `failed` says.
    ///
    /// # Errors
    /// [`Lost`].
    pub(crate) async fn invoke<T: Send + 'static>(
        self: &Arc<Self>,
        function: &'static str,
        call: impl Future<Output = T> + Send + 'static,
        failed: fn(&T) -> bool,
    ) -> Result<T, Lost> {
        match self.strike(function) {
            Some(Kind::Throttle) => {
                self.metrics.throttled(function);
                return Err(Lost::Throttled);
            }
            Some(kind) => {
                self.metrics.began(function);
                let after = if kind == Kind::Timeout { TIMEOUT } else { Duration::ZERO };
                self.metrics.ended(function, Ending::Failed, after);
                return Err(Lost::Failed);
            }
            None => {}
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the time a call takes is real, whatever the functions' clock says"
        )]
        let started = Instant::now();
        self.metrics.began(function);
        let lambda = Arc::clone(self);
        let counted = tokio::spawn(async move {
            let outcome = tokio::spawn(call).await;
            let ending = match &outcome {
                Ok(value) if !failed(value) => Ending::Returned,
                _ => Ending::Failed,
            };
            lambda.metrics.ended(function, ending, started.elapsed());
            outcome
        });
        counted.await.and_then(|outcome| outcome).map_err(|_| Lost::Failed)
    }

    /// Adds a fault.
    pub(crate) fn add(&self, fault: FunctionFault) {
        self.locked().push(fault);
    }

    /// The faults that stand, with what is left of their counts.
    pub(crate) fn list(&self) -> Vec<FunctionFault> {
        self.locked().clone()
    }

    /// Lifts all faults.
    pub(crate) fn clear(&self) {
        self.locked().clear();
    }

    /// Whether a function's lines are cut.
    pub(crate) fn garbles(&self, function: &str) -> bool {
        self.locked().iter().any(|fault| fault.kind == Kind::Garble && fault.concerns(function))
    }

    /// The fault of the next call.
    fn strike(&self, function: &str) -> Option<Kind> {
        let mut faults = self.locked();
        let fault = faults
            .iter_mut()
            .filter(|fault| fault.kind != Kind::Garble && fault.concerns(function))
            .find(|fault| fault.count != Some(0))?;
        fault.count = fault.count.map(|count| count - 1);
        Some(fault.kind)
    }

    fn locked(&self) -> MutexGuard<'_, Vec<FunctionFault>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FunctionFault {
    fn concerns(&self, function: &str) -> bool {
        self.function.as_deref().is_none_or(|named| named == function)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(json: &str) -> FunctionFault {
        serde_json::from_str(json).unwrap()
    }

    async fn call(lambda: &Arc<Lambda>, function: &'static str) -> Result<u8, Lost> {
        lambda.invoke(function, async { 7 }, |_| false).await
    }

    #[tokio::test]
    async fn a_fault_hits_its_function_as_often_as_it_says() {
        let lambda = Arc::new(Lambda::default());
        lambda.add(fault(r#"{"kind":"crash","function":"login","count":2}"#));
        assert_eq!(call(&lambda, "mfa").await, Ok(7));
        assert_eq!([call(&lambda, "login").await, call(&lambda, "login").await], [Err(Lost::Failed); 2]);
        assert_eq!(call(&lambda, "login").await, Ok(7));
        lambda.add(fault(r#"{"kind":"throttle"}"#));
        assert_eq!(call(&lambda, "mfa").await, Err(Lost::Throttled));
        lambda.clear();
        assert_eq!(call(&lambda, "mfa").await, Ok(7));
    }

    #[tokio::test]
    async fn what_panics_is_an_error_and_what_returns_one_as_well() {
        let lambda = Arc::new(Lambda::default());
        let broken = lambda.invoke("login", async { panic!("as functions must not") }, |(): &()| false).await;
        assert_eq!(broken, Err(Lost::Failed));
        assert_eq!(lambda.invoke("login", async { 1_u8 }, |_| true).await, Ok(1));
        let errors = lambda.metrics.since(0).into_iter().filter(|numbered| numbered.datum.metric == "Errors");
        assert_eq!(errors.map(|numbered| numbered.datum.value).sum::<f64>().to_string(), "2");
    }

    #[test]
    fn lines_are_cut_until_the_fault_is_lifted() {
        let lambda = Lambda::default();
        lambda.add(fault(r#"{"kind":"garble","function":"login"}"#));
        assert!(lambda.garbles("login") && !lambda.garbles("mfa"));
        assert_eq!(lambda.strike("login"), None);
        assert!(serde_json::from_str::<FunctionFault>(r#"{"kind":"throttle","functoin":"login"}"#).is_err());
    }
}

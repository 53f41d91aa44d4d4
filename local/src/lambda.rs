//! What Lambda does around a function: it counts, it refuses, and it ends what does not end.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sallyport_aws::system::SystemClock;
use sallyport_core::clock::Clock as _;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    console::Logs,
    identifier,
    published::{Ending, Published},
};

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

/// How a call ended that did not end well.
#[derive(Debug, Clone, Copy)]
enum End {
    /// The function returned an error.
    Returned,
    /// The process was gone.
    Exited,
    TimedOut,
}

impl End {
    /// Status and type of the error, as Lambda reports them.
    const fn told(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Returned => ("error", None),
            Self::Exited => ("error", Some("Runtime.ExitError")),
            Self::TimedOut => ("timeout", None),
        }
    }
}

/// The functions' side of Lambda.
#[derive(Debug, Default)]
pub(crate) struct Lambda {
    pub(crate) metrics: Arc<Published>,
    logs: Arc<Logs>,
    faults: Mutex<Vec<FunctionFault>>,
}

impl Lambda {
    /// Reports go into `logs`, as Lambda's do into the log group of the function.
    pub(crate) fn new(metrics: Arc<Published>, logs: Arc<Logs>) -> Self {
        Self { metrics, logs, faults: Mutex::default() }
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
                let end = if kind == Kind::Timeout { End::TimedOut } else { End::Exited };
                self.report(function, end, after);
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
            let end = match &outcome {
                Ok(value) if !failed(value) => None,
                Ok(_) => Some(End::Returned),
                Err(_) => Some(End::Exited),
            };
            let (ending, after) = (end.map_or(Ending::Returned, |_| Ending::Failed), started.elapsed());
            lambda.metrics.ended(function, ending, after);
            if let Some(end) = end {
                lambda.report(function, end, after);
            }
            outcome
        });
        counted.await.and_then(|outcome| outcome).map_err(|_| Lost::Failed)
    }

    /// The line that Lambda writes of a call that did not end well, at any level of its log. What is not known here (memory,
    /// the name of a function's own error) it does not have.
    fn report(&self, function: &'static str, end: End, after: Duration) {
        let millis = i64::try_from(SystemClock.now().millis()).unwrap_or_default();
        let at = jiff::Timestamp::from_millisecond(millis).unwrap_or_default();
        let (status, error) = end.told();
        let mut record = json!({
            "requestId": identifier::uuid().unwrap_or_default(),
            "metrics": {"durationMs": after.as_secs_f64() * 1_000.0},
            "status": status,
        });
        if let (Some(record), Some(error)) = (record.as_object_mut(), error) {
            record.insert("errorType".to_owned(), json!(error));
        }
        let line = json!({"time": format!("{at:.3}"), "type": "platform.report", "record": record});
        self.logs.push(Some(function), &line.to_string());
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

    #[tokio::test]
    async fn a_call_that_did_not_end_well_is_reported_in_the_log_of_its_function() {
        let lambda = Arc::new(Lambda::default());
        assert_eq!(call(&lambda, "mfa").await, Ok(7));
        lambda.add(fault(r#"{"kind":"crash","function":"login","count":1}"#));
        lambda.add(fault(r#"{"kind":"timeout","function":"mfa","count":1}"#));
        lambda.add(fault(r#"{"kind":"throttle","function":"keys"}"#));
        for function in ["login", "mfa", "keys"] {
            assert!(call(&lambda, function).await.is_err());
        }
        assert_eq!(lambda.invoke("health", async { 1_u8 }, |_| true).await, Ok(1));
        let told: Vec<_> = lambda
            .logs
            .since(0)
            .into_iter()
            .map(|line| {
                (line.group, line.line["record"]["status"].clone(), line.line["record"]["errorType"].clone())
            })
            .collect();
        let exited = json!("Runtime.ExitError");
        assert_eq!(
            told,
            [
                (Some("login"), json!("error"), exited),
                (Some("mfa"), json!("timeout"), json!(null)),
                (Some("health"), json!("error"), json!(null)),
            ]
        );
        let line = &lambda.logs.since(1)[0].line;
        assert_eq!(
            (&line["type"], &line["record"]["metrics"]["durationMs"]),
            (&json!("platform.report"), &json!(10_000.0))
        );
        assert!(line["time"].as_str().is_some_and(|time| time.len() == 24 && time.ends_with('Z')), "{line}");
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

//! `sallyport deploy verify`: the release, used as its callers use it.

use std::{fmt::Write as _, time::Duration};

use aws_sdk_cloudwatch::{
    primitives::DateTime,
    types::{Dimension, Statistic},
};
use sallyport_alarms::emf;
use sallyport_aws::system::OsRandom;
use sallyport_core::{clock::Timestamp, flags::MAX_AGE, ids::OperationId};
use serde_json::{Value, json};

use crate::{
    api::{Answered, Api},
    aws_fault,
    cli::Target,
    commands::check::{Check, Outcome, Report},
    console::Console,
    deployment::{Connection, Settings, is_loopback, name},
    failure::Failure,
    output::{Answer, Format, count, moment, span},
};

pub(super) struct Asked {
    pub(super) watch: Option<Duration>,
    pub(super) url: Option<String>,
    pub(super) limit: Duration,
}

/// Between two rounds of a watch.
const PAUSE: Duration = Duration::from_secs(10);
/// Between two looks at a service that may just have been opened again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The figures that a single look is shown.
const RECENT: Duration = Duration::from_secs(5 * 60);
/// Below so many requests a rate says nothing; above this rate it says that the release is broken.
const MINIMUM: f64 = 20.0;
const TOO_MANY: f64 = 0.01;

/// Whether more answers of 5xx than may happen are among as many requests as mean something.
pub(in crate::commands) fn too_many(errors: f64, requests: f64) -> bool {
    requests >= MINIMUM && errors / requests > TOO_MANY
}

/// What every answer carries (docs/SECURITY.md).
const HEADERS: [(&str, &str); 4] = [
    ("strict-transport-security", "max-age=63072000; includeSubDomains"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
];

/// # Errors
/// Nothing says which deployment.
pub(super) async fn run(target: &Target, format: Format, asked: Asked) -> Result<Answer, Failure> {
    let verifier = Verifier::find(target, &asked).await?;
    let began = verifier.now().await;
    let Some(watch) = asked.watch else {
        let mut checks = verifier.round().await;
        checks.push(verifier.errors(began.minus(RECENT), began, false).await);
        return Report::new(verifier.source.clone(), checks).answer(false);
    };
    loop {
        let mut checks = verifier.round().await;
        let now = verifier.now().await;
        checks.push(verifier.errors(began, now, true).await);
        let report = Report::new(verifier.source.clone(), checks);
        let watched = now.since(began);
        if !report.ok || watched >= watch {
            return report.answer(false);
        }
        format.progress(&progress(now, &report, watch - watched));
        tokio::time::sleep(PAUSE.min(watch - watched)).await;
    }
}

fn progress(now: Timestamp, report: &Report, left: Duration) -> String {
    let mut line = format!("{}  {} ok", moment(now), count(report.checks.len(), "check"));
    for check in report.checks.iter().filter(|check| check.outcome == Outcome::Warning) {
        let _infallible = write!(line, "; {}: {}", check.name, check.what);
    }
    let _infallible = write!(line, "; {} to go", span(left));
    line
}

struct Verifier {
    api: Api,
    issuer: String,
    limit: Duration,
    source: String,
    figures: Figures,
}

/// Where the figures of other callers' requests are.
enum Figures {
    Here(Console),
    Cloud { client: aws_sdk_cloudwatch::Client, deployment: String },
    Nowhere,
}

impl Verifier {
    async fn find(target: &Target, asked: &Asked) -> Result<Self, Failure> {
        let (connection, settings) = match Connection::open(target).await {
            Ok(connection) => {
                let settings = Settings::find(target, &connection).await?;
                (Some(connection), settings)
            }
            // The API is public: where it is suffices.
            Err(_) if target.stack.is_none() => (None, Settings::from_environment()),
            Err(failure) => return Err(failure),
        };
        let issuer = settings.get(name::ISSUER).map(str::to_owned);
        let url = asked.url.clone().or_else(|| issuer.clone()).ok_or_else(|| {
            let message = "which deployment? Pass --stack NAME or --url URL, or set SALLYPORT_ISSUER";
            Failure::usage("no_deployment", message)
        })?;
        let figures = match (connection, &target.stack, settings.get(name::DEPLOYMENT)) {
            (Some(connection), Some(_), Some(deployment)) => {
                Figures::Cloud { client: connection.cloudwatch, deployment: deployment.to_owned() }
            }
            _ if is_loopback(&url) && asked.url.is_none() => Figures::Here(Console::find()?),
            _ => Figures::Nowhere,
        };
        let bundle = sallyport_aws::trusted_bundle(target.profile.as_deref()).await?;
        let api = Api::at(&url, bundle.as_deref())?;
        let issuer = issuer.unwrap_or_else(|| api.url.clone());
        Ok(Self { source: api.url.clone(), api, issuer, limit: asked.limit, figures })
    }

    /// The deployment's own time, where it can be another than this machine's.
    async fn now(&self) -> Timestamp {
        let theirs = match &self.figures {
            Figures::Here(console) => console.now().await.ok(),
            Figures::Cloud { .. } | Figures::Nowhere => None,
        };
        theirs.unwrap_or_else(|| self.api.now())
    }

    async fn round(&self) -> Vec<Check> {
        vec![
            self.get("live", "/health/live", |body| body.get("status").is_some_and(|status| status == "ok"))
                .await,
            self.get("ready", "/health/ready", |body| {
                body.get("status").is_some_and(|status| status == "ready")
            })
            .await,
            self.get("jwks", "/.well-known/jwks.json", |body| {
                body.get("keys").and_then(Value::as_array).is_some_and(|keys| !keys.is_empty())
            })
            .await,
            self.get("discovery", "/.well-known/openid-configuration", |body| {
                body.get("issuer").is_some_and(|issuer| issuer == &*self.issuer)
            })
            .await,
            self.get("openapi", "/openapi.json", |body| {
                body.pointer("/paths/~1api~1v1~1auth~1login").is_some_and(Value::is_object)
            })
            .await,
            self.refused_sign_in().await,
        ]
    }

    async fn get(&self, name: &str, path: &str, is_right: impl FnOnce(&Value) -> bool) -> Check {
        let answer = match self.api.get(path).await {
            Ok(answer) => answer,
            Err(failure) => return Check::unanswered(name, &failure),
        };
        if !answer.status.is_success() {
            let what = format!("{path} answers {}", said(&answer));
            return Check::fault(name, what, "sallyport runbook show service-down");
        }
        if !is_right(&answer.body) {
            let what = format!("{path} answers 200, and not what it should");
            return Check::fault(name, what, "sallyport deploy rollback --dry-run");
        }
        self.judged(name, &answer)
    }

    /// The answer; a maintenance that was just ended is waited out, since functions keep the mode for as long as their copy
    /// of the flags, once more where a read of it fails.
    async fn answered_once_open(&self, path: &str, body: &Value) -> Result<Answered, Failure> {
        let mut waited = Duration::ZERO;
        loop {
            let answer = self.api.post(path, body).await?;
            let closed = answer.body.get("code").is_some_and(|code| code == "maintenance");
            if !closed || waited >= MAX_AGE * 2 {
                return Ok(answer);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
            waited += LOOK_AGAIN;
        }
    }

    /// Whoever does not exist is refused, by the whole path of a sign-in: limits, hash, audit.
    async fn refused_sign_in(&self) -> Check {
        const NAME: &str = "refused sign-in";
        let nobody = match OperationId::generate(&OsRandom) {
            Ok(id) => id.to_string().to_ascii_lowercase(),
            Err(error) => return Check::unanswered(NAME, &error.into()),
        };
        let nobody: String = nobody.chars().filter(char::is_ascii_alphanumeric).collect();
        let body = json!({"email": format!("verify-{nobody}@example.com"), "password": "nobody's password"});
        let answer = match self.answered_once_open("/api/v1/auth/login", &body).await {
            Ok(answer) => answer,
            Err(failure) => return Check::unanswered(NAME, &failure),
        };
        match answer.status.as_u16() {
            401 if answer.header("cache-control").is_none_or(|value| !value.contains("no-store")) => {
                Check::fault(NAME, "caches may keep the answer", "sallyport deploy rollback --dry-run")
            }
            401 => self.judged(NAME, &answer),
            // It works as it should, for somebody who asks too often.
            429 => Check::warning(NAME, "this address is limited", "try again in a minute"),
            _ => {
                let fix = match answer.header("x-request-id") {
                    Some(id) => format!("sallyport explain request {id}"),
                    None => "sallyport runbook show service-down".to_owned(),
                };
                Check::fault(NAME, said(&answer), fix)
            }
        }
    }

    /// A right answer, held to its headers and its time.
    fn judged(&self, name: &str, answer: &Answered) -> Check {
        let wrong: Vec<_> = HEADERS
            .iter()
            .filter(|(header, value)| answer.header(header) != Some(*value))
            .map(|(header, _)| *header)
            .chain(answer.header("x-request-id").is_none().then_some("x-request-id"))
            .collect();
        if !wrong.is_empty() {
            let what = format!("without the right {}", wrong.join(", "));
            return Check::fault(name, what, "sallyport deploy rollback --dry-run");
        }
        let took = answer.took.as_millis();
        let what = format!("{} in {took} ms", answer.status.as_u16());
        if answer.took > self.limit {
            let what = format!("{what}, more than {}", self.limit.as_millis());
            return Check::fault(name, what, "sallyport runbook show slow-responses");
        }
        Check::ok(name, what)
    }

    /// What other callers got.
    async fn errors(&self, from: Timestamp, to: Timestamp, counts: bool) -> Check {
        const NAME: &str = "errors of others";
        let figures = match &self.figures {
            Figures::Here(console) => here(console, from, to).await,
            Figures::Cloud { client, deployment } => cloud(client, deployment, from, to).await,
            Figures::Nowhere => {
                return Check::skipped(NAME, "pass --stack NAME: the figures are the stack's");
            }
        };
        let (requests, errors) = match figures {
            Ok(figures) => figures,
            Err(failure) => return Check::unanswered(NAME, &failure),
        };
        let what = format!("{} of {} requests in {}", whole(errors), whole(requests), span(to.since(from)));
        if !too_many(errors, requests) {
            return Check::ok(NAME, what);
        }
        let fix = "sallyport top errors --since 15m";
        // What happened before the release is no fault of its own.
        if counts { Check::fault(NAME, what, fix) } else { Check::warning(NAME, what, fix) }
    }
}

/// A sum of figures for people. That of none at all is -0.0 in Rust, which nobody has.
pub(in crate::commands) fn whole(sum: f64) -> f64 {
    sum + 0.0
}

fn said(answer: &Answered) -> String {
    format!("{} {}", answer.status.as_u16(), answer.code()).trim_end().to_owned()
}

async fn here(console: &Console, from: Timestamp, to: Timestamp) -> Result<(f64, f64), Failure> {
    let (mut requests, mut errors) = (0.0, 0.0);
    for line in console.list("logs", "lines").await? {
        let data = line.get("line").map(emf::read_value).and_then(Result::ok).unwrap_or_default();
        // Of the whole deployment: the same value stands a second time for its function.
        let whole = data.iter().filter(|datum| datum.dimensions.len() == 1);
        for datum in whole.filter(|datum| (from.millis()..=to.millis()).contains(&datum.at)) {
            match datum.metric.as_str() {
                "requests" => requests += datum.value,
                "errors" => errors += datum.value,
                _ => {}
            }
        }
    }
    Ok((requests, errors))
}

async fn cloud(
    client: &aws_sdk_cloudwatch::Client,
    deployment: &str,
    from: Timestamp,
    to: Timestamp,
) -> Result<(f64, f64), Failure> {
    let seconds = |at: Timestamp| DateTime::from_secs(i64::try_from(at.seconds()).unwrap_or_default());
    let sum = async |metric: &str| {
        let answer = client
            .get_metric_statistics()
            .namespace("Sallyport")
            .metric_name(metric)
            .dimensions(Dimension::builder().name("deployment").value(deployment).build())
            .start_time(seconds(from))
            // Periods begin at whole minutes.
            .end_time(seconds(to + Duration::from_secs(60)))
            .period(60)
            .statistics(Statistic::Sum)
            .send()
            .await
            .map_err(|error| aws_fault::from_sdk("read the figures", &error))?;
        Ok::<_, Failure>(
            answer.datapoints().iter().filter_map(aws_sdk_cloudwatch::types::Datapoint::sum).sum::<f64>(),
        )
    };
    Ok((sum("requests").await?, sum("errors").await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_that_nobody_asked_yet_has_no_negative_errors() {
        let nothing: f64 = [0.0_f64; 0].into_iter().sum();
        assert_eq!((nothing.to_string(), whole(nothing).to_string()), ("-0".to_owned(), "0".to_owned()));
    }
}

//! What the wide events of a period add up to. They are the values that the alarms watch: one question has them all.

use std::time::Duration;

use sallyport_aws::logs::{Question, Row, instant, suspicious_sign_ins};
use sallyport_core::clock::Timestamp;
use serde_json::{Value, json};

use super::{Area, ReviewCommand, figures::Figure};
use crate::{cli::Target, commands::deploy, failure::Failure, logs::Logs, output::ago};

pub(super) async fn of(target: &Target, period: ReviewCommand, now: Timestamp) -> Vec<Figure> {
    let (seconds, span) = period.span();
    let asked = async {
        let from = now.minus(Duration::from_secs(seconds));
        let logs = Logs::find(target).await?;
        let rows = logs.ask(&Question::REVIEW.query(), from, now).await?;
        // Where there are no lines there is no row.
        let sums = Sums { row: rows.into_iter().next().unwrap_or_default(), span, now };
        let entered = suspicious_sign_ins(&logs, from, now).await?.entered.len();
        Ok::<_, Failure>((sums, entered))
    };
    let asked = asked.await;
    let of_sums = |tell: Tell| asked.as_ref().map_err(Clone::clone).and_then(|(sums, _)| tell(sums));
    let figures = FIGURES.iter().map(|&(area, name, tell)| figure(area, name, of_sums(tell)));
    let entered = asked.as_ref().map_err(Clone::clone).map(|(_, entered)| told_entered(*entered, span));
    figures.chain([figure(Area::Security, "sign-ins after failures", entered)]).collect()
}

fn figure(area: Area, name: &'static str, told: Told) -> Figure {
    match told {
        Ok((value, text, attention)) => Figure::new(area, name, value, text).attention(attention),
        Err(failure) => Figure::missing(area, name, &failure),
    }
}

/// Right passwords from where many were wrong: each is worth a look.
fn told_entered(entered: usize, span: &str) -> (Value, String, bool) {
    let text = if entered == 0 {
        format!("none in {span} from where many failed")
    } else {
        format!("{entered} in {span} from where many failed: sallyport top entered --since {span}")
    };
    (json!(entered), text, entered > 0)
}

/// The answer of the logs.
struct Sums {
    row: Row,
    /// The period, in the words that other commands take.
    span: &'static str,
    now: Timestamp,
}

impl Sums {
    /// What no line has is not in the answer: nothing was counted.
    fn of(&self, name: &str) -> Result<u64, Failure> {
        Ok(self.rounded(name)?.unwrap_or_default())
    }

    fn rounded(&self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(text) = self.row.get(name) else { return Ok(None) };
        // CloudWatch may write a large one as 1.2E7.
        let number = text.parse::<f64>().ok().and_then(|number| format!("{number:.0}").parse().ok());
        number.map(Some).ok_or_else(|| {
            Failure::dependency("query_failed", format!("the logs answer {text} where a number should be"))
        })
    }
}

/// Value, text, and whether it stands out.
type Told = Result<(Value, String, bool), Failure>;
type Tell = fn(&Sums) -> Told;

const FIGURES: [(Area, &str, Tell); 8] = [
    (Area::Application, "requests", requests),
    (Area::Application, "errors", errors),
    (Area::Application, "response time", response_time),
    (Area::Application, "cold starts", cold_starts),
    (Area::Security, "authentication failures", refusals),
    (Area::Security, "lockouts", lockouts),
    (Area::Security, "limiter triggers", limits),
    (Area::Security, "suspicious events", suspicions),
];

/// Whether there are at least so many, and so many of a thousand requests: people who mistype are always there.
fn stands_out(count: u64, requests: u64, least: u64, per_mille: u64) -> bool {
    count >= least && count.saturating_mul(1000) >= requests.saturating_mul(per_mille)
}

/// With the first of them: logs need not go back as far as the period does.
fn requests(sums: &Sums) -> Told {
    let requests = sums.of("answered")?;
    let first = sums.row.get("first_seen").and_then(|text| instant(text));
    let since = first.map(|at| format!(", the first {}", ago(at, sums.now))).unwrap_or_default();
    let value = json!({"requests": requests, "first_at": first.map(Timestamp::seconds)});
    Ok((value, format!("{requests} in {}{since}", sums.span), false))
}

fn errors(sums: &Sums) -> Told {
    let (errors, requests) = (sums.of("failed")?, sums.of("answered")?);
    let rate = (requests > 0).then(|| errors as f64 / requests as f64);
    let percent = rate.map(|rate| format!(", {:.2} %", rate * 100.0)).unwrap_or_default();
    let text = format!("{errors} of {requests} requests in {}{percent}", sums.span);
    let value = json!({"errors": errors, "requests": requests, "rate": rate});
    Ok((value, text, deploy::too_many(errors as f64, requests as f64)))
}

/// `null` where nothing was answered: 0 ms would be fast.
fn response_time(sums: &Sums) -> Told {
    let p95 = sums.rounded("p95_ms")?;
    let text = p95.map_or_else(
        || format!("nothing was answered in {}", sums.span),
        |p95| format!("95 % of the requests in {} within {p95} ms", sums.span),
    );
    Ok((json!({"p95_ms": p95}), text, false))
}

/// With their share: it rises where load grows, or where processes don't stay.
fn cold_starts(sums: &Sums) -> Told {
    let (starts, requests) = (sums.of("starts")?, sums.of("answered")?);
    let rate = (requests > 0).then(|| starts as f64 / requests as f64);
    let percent = rate.map(|rate| format!(", {:.2} %", rate * 100.0)).unwrap_or_default();
    let text = format!("{starts} of {requests} requests in {}{percent}", sums.span);
    Ok((json!({"starts": starts, "rate": rate}), text, false))
}

fn refusals(sums: &Sums) -> Told {
    let sign_ins = sums.of("sign_ins_refused")?;
    let codes = sums.of("codes_refused")?;
    let again = sums.of("reauthentications_refused")?;
    let all = sign_ins.saturating_add(codes).saturating_add(again);
    let text = format!(
        "{all} in {}: {sign_ins} of sign-ins, {codes} of codes, {again} of reauthentications",
        sums.span
    );
    let value = json!({"sign_ins": sign_ins, "codes": codes, "reauthentications": again});
    Ok((value, text, stands_out(all, sums.of("answered")?, 50, 100)))
}

fn lockouts(sums: &Sums) -> Told {
    let (sign_ins, factors) = (sums.of("sign_ins_locked")?, sums.of("factors_locked")?);
    let all = sign_ins.saturating_add(factors);
    let text = format!("{all} in {}: {sign_ins} of sign-ins, {factors} of factors", sums.span);
    let value = json!({"sign_ins": sign_ins, "factors": factors});
    Ok((value, text, stands_out(all, sums.of("answered")?, 10, 2)))
}

fn limits(sums: &Sums) -> Told {
    let triggers = sums.of("limited")?;
    let attention = stands_out(triggers, sums.of("answered")?, 50, 10);
    Ok((json!(triggers), format!("{triggers} in {}", sums.span), attention))
}

/// They hardly happen by mistake: one is worth a look.
fn suspicions(sums: &Sums) -> Told {
    let events = sums.of("suspicious")?;
    Ok((json!(events), format!("{events} in {}", sums.span), events > 0))
}

//! Each way to fail, at each call of each use case.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, ensure};
use sallyport_lambda::Code;
use sallyport_testkit::Answer;
use serde_json::{Value, json};

use crate::{
    scenario::{Scenario, World},
    state::Change,
};

/// As the console names them: reply lost before and after it was applied, and three answers that say it was not.
const ONCE: &[&str] = &["drop_before", "drop_after", "error_500", "throttle", "conflict"];

const LASTING: &[&str] = ONCE;

/// What is refused for good ends alike, whoever says so: it was applied, it was not, or somebody else was there.
const LASTING_IN_SHORT: &[&str] = &["drop_before", "drop_after", "conflict"];

/// A read is not applied: it fails or it does not.
const READ_ONCE: &[&str] = &["error_500"];
const READ_LASTING: &[&str] = &["drop_before"];

const WRITES: [&str; 4] = ["PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"];

/// Scenarios at a time: most of a fault is waiting for the next attempt.
const WORKERS: usize = 6;

/// A call of a use case, told apart from its others by what it writes, and by their order where that is the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Site {
    operation: String,
    table: String,
    item: Option<String>,
    nth: u64,
}

impl Site {
    fn writes(&self) -> bool {
        WRITES.contains(&self.operation.as_str())
    }

    fn kinds(&self, scenario: Scenario, lasts: bool) -> &'static [&'static str] {
        match (self.writes(), lasts) {
            (true, false) => ONCE,
            (true, true) if scenario.is_of_deployment() => LASTING_IN_SHORT,
            (true, true) => LASTING,
            (false, false) => READ_ONCE,
            (false, true) => READ_LASTING,
        }
    }

    /// The rule that lets it fail, once or for as long as it stands.
    fn rule(&self, kind: &str, lasts: bool, caller: Option<&str>) -> Value {
        let mut rule = json!({
            "kind": kind, "operation": self.operation, "table": self.table, "nth": self.nth,
            "count": if lasts { 1_000_000 } else { 1 },
        });
        if let Some(item) = &self.item {
            rule["item"] = json!(item);
        }
        if let Some(caller) = caller {
            rule["function"] = json!(caller);
        }
        rule
    }
}

/// The writes of a run, and what it changed.
struct Clean {
    sites: Vec<Site>,
    change: Change,
    addresses: i64,
    /// What had changed in the end, of what goes on by itself.
    settled: Option<Change>,
}

async fn run_clean(world: &World, scenario: Scenario) -> anyhow::Result<Clean> {
    let mut subject = world.prepare(scenario).await?;
    let before = world.state(&subject).await?;
    world.backend.forget_calls().await?;
    let outcome = world.act(scenario, &mut subject).await?;
    let calls = world.backend.calls().await?;
    ensure!(outcome.is(scenario.answers()), "without any fault: {outcome:?}");
    let after = world.state(&subject).await?;
    let (change, addresses) = after.since(&before);
    ensure!(after.contradictions().is_empty(), "{:?}", after.contradictions());
    world.go_on(scenario, &mut subject, &outcome).await.context("going on without any fault")?;
    let settled =
        if scenario.is_of_deployment() { Some(world.settled(&subject, &before).await?) } else { None };

    let mut counts = BTreeMap::new();
    let mut sites = Vec::new();
    for call in calls.iter().filter(|call| scenario.is_subject(call)) {
        let (operation, part) = (call["operation"].as_str().unwrap(), &call["parts"][0]);
        let table = part["table"].as_str().unwrap().rsplit('-').next().unwrap().to_owned();
        let item = part["kind"].as_str().map(str::to_owned);
        let nth = counts.entry((operation.to_owned(), table.clone(), item.clone())).or_insert(0_u64);
        *nth += 1;
        if scenario.is_played(operation, item.as_deref(), *nth) {
            sites.push(Site { operation: operation.to_owned(), table, item, nth: *nth });
        }
    }
    ensure!(!sites.is_empty(), "it calls nothing");
    Ok(Clean { sites, change, addresses, settled })
}

async fn run_fault(
    world: &World,
    scenario: Scenario,
    clean: &Clean,
    site: &Site,
    kind: &str,
    lasts: bool,
) -> anyhow::Result<()> {
    let mut subject = world.prepare(scenario).await?;
    let before = world.state(&subject).await?;
    world.backend.fault(site.rule(kind, lasts, scenario.caller())).await?;
    let outcome = world.act(scenario, &mut subject).await?;
    let rules = world.backend.console("GET", "faults", None).await?.field("faults");
    ensure!(rules[0]["injected"].as_u64() > Some(0), "nothing failed: {rules}");
    world.backend.heal().await?;
    let after = world.state(&subject).await?;
    let (change, addresses) = after.since(&before);

    if lasts {
        if scenario.is_answered_without(&site.table, site.item.as_deref(), kind) {
            ensure!(outcome.is(scenario.answers()), "{outcome:?}");
        } else {
            // What others do at the same time is no outage. A function that events trigger tells its platform no more than
            // that it failed.
            let by_function = scenario.caller().is_some_and(|caller| caller != "operator");
            let contended = kind == "conflict" && site.writes() && !by_function;
            let code = if contended { Code::TooManyChanges } else { Code::DependencyUnavailable };
            ensure!(outcome.is((code.status().as_u16(), code.as_str())), "{outcome:?}");
            outcome.answer.as_ref().map_or(Ok(()), |answer| is_stable(answer, code))?;
        }
        let surprises = beyond(&change, &clean.change);
        ensure!(surprises.is_empty(), "refused, and yet changed: {surprises:?}");
    } else {
        ensure!(outcome.is(scenario.answers()), "{outcome:?}");
        ensure!(change == clean.change, "changed {change:?}\ninstead of {:?}", clean.change);
    }
    let most = clean.addresses + if lasts { 8 } else { 1 };
    ensure!(addresses <= most, "{addresses} requests were counted instead of {}", clean.addresses);
    ensure!(after.contradictions().is_empty(), "{:?}", after.contradictions());
    let going_on = || format!("going on after {outcome:?}");
    world.go_on(scenario, &mut subject, &outcome).await.with_context(going_on)?;
    if let Some(settled) = &clean.settled {
        let change = world.settled(&subject, &before).await?;
        ensure!(change == *settled, "{}: {change:?}\ninstead of {settled:?}", going_on());
    }
    Ok(())
}

/// What was changed that the use case itself would not have changed, or more than it would. An attempt that was cut off
/// stays reserved and counts, once.
fn beyond(change: &Change, clean: &Change) -> Vec<String> {
    change
        .iter()
        // What people are still to be told is told in the end.
        .filter(|(name, _)| !name.starts_with("notice "))
        .filter(|(name, by)| {
            let whole = clean.get(*name).copied().unwrap_or_default();
            let spare = i64::from(name.starts_with("pool "));
            !(whole.min(0)..=whole.max(0) + spare).contains(*by)
        })
        .map(|(name, by)| format!("{name} {by:+}"))
        .collect()
}

/// Promise 7: `Retry-After` and a stable body.
fn is_stable(answer: &Answer, code: Code) -> anyhow::Result<()> {
    let mut body = answer.json();
    let request_id = body["request_id"].take();
    ensure!(request_id.as_str().is_some_and(|id| !id.is_empty()), "no request id: {}", answer.text());
    let expected = json!({
        "type": format!("https://github.com/sallyport/sallyport/blob/main/docs/errors/{}.md", code.as_str()),
        "title": code.title(),
        "status": code.status().as_u16(),
        "detail": code.detail(),
        "code": code.as_str(),
        "request_id": null,
        "retry_after": 1,
    });
    ensure!(body == expected, "{}", answer.text());
    ensure!(answer.header("content-type") == "application/problem+json", "{answer:?}");
    ensure!(answer.header("retry-after") == "1", "{answer:?}");
    ensure!(answer.header("cache-control") == "no-store", "{answer:?}");
    Ok(())
}

/// What ran, and what went wrong.
#[derive(Default)]
struct Report {
    writes: usize,
    reads: usize,
    runs: usize,
    failures: Vec<String>,
}

async fn play(scenario: Scenario, lasts: bool) -> anyhow::Result<Report> {
    let world = World::start(scenario).await?;
    let clean = run_clean(&world, scenario).await?;
    let writes = clean.sites.iter().filter(|site| site.writes()).count();
    let mut report = Report { writes, reads: clean.sites.len() - writes, ..Report::default() };
    for site in &clean.sites {
        for kind in site.kinds(scenario, lasts) {
            report.runs += 1;
            if let Err(error) = run_fault(&world, scenario, &clean, site, kind, lasts).await {
                world.backend.heal().await?;
                let lasting = if lasts { "lasting " } else { "" };
                report.failures.push(format!("{scenario:?}, {lasting}{kind} at {site:?}: {error:#}"));
            }
        }
    }
    world.backend.stop().await;
    Ok(report)
}

async fn play_all(lasts: bool) -> anyhow::Result<()> {
    let queue: Arc<Mutex<VecDeque<_>>> =
        Arc::new(Mutex::new(Scenario::ALL.into_iter().chain(Scenario::READING).collect()));
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                let mut report = Report::default();
                loop {
                    let Some(scenario) = queue.lock().unwrap().pop_front() else { return report };
                    match play(scenario, lasts).await {
                        Ok(played) => {
                            report.writes += played.writes;
                            report.reads += played.reads;
                            report.runs += played.runs;
                            report.failures.extend(played.failures);
                        }
                        Err(error) => report.failures.push(format!("{scenario:?}: {error:#}")),
                    }
                }
            })
        })
        .collect();
    let mut whole = Report::default();
    for worker in workers {
        let report = worker.await?;
        whole.writes += report.writes;
        whole.reads += report.reads;
        whole.runs += report.runs;
        whole.failures.extend(report.failures);
    }
    println!(
        "{} use cases, {} faults: {} writes and {} reads, {} runs, {} failures",
        Scenario::ALL.len() + Scenario::READING.len(),
        if lasts { "lasting" } else { "single" },
        whole.writes,
        whole.reads,
        whole.runs,
        whole.failures.len(),
    );
    ensure!(whole.failures.is_empty(), "\n{}", whole.failures.join("\n\n"));
    Ok(())
}

/// A call that fails once: the SDK's next attempt succeeds and nobody notices; what was applied although its reply was
/// lost is applied once (promise 2). A call that fails for as long as it is tried, applied or not: the caller is told so,
/// and can go on once it is over (promise 7).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_of_every_use_case_fails_in_every_way() -> anyhow::Result<()> {
    // In this order: the SDK's budget of retries is one for the process, and lasting faults use it up.
    play_all(false).await?;
    play_all(true).await
}

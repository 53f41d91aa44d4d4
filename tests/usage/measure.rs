//! Measuring one use case by the calls that the local proxy recorded.

use std::fmt;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::scenario::{Scenario, World};

/// Each call takes this much longer, so that calls side by side overlap and calls in a row do not.
const DELAY_MS: u64 = 120;

/// What a use case costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cost {
    pub(crate) requests: usize,
    /// Requests one after the other.
    pub(crate) trips: usize,
    /// Read capacity units.
    pub(crate) reads: f64,
    /// Write capacity units.
    pub(crate) writes: f64,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, trips, reads, writes } = self;
        write!(f, "{requests:2} requests, {trips} in a row, {reads:2} read units, {writes:2} write units")
    }
}

pub(crate) async fn measure(scenario: Scenario) -> anyhow::Result<Cost> {
    let world = World::start(scenario).await?;
    let mut subject = world.prepare(scenario).await?;
    world.backend.forget_calls().await?;
    world.backend.fault(json!({"kind": "slow", "delay_ms": DELAY_MS})).await?;
    let outcome = world.act(scenario, &mut subject).await?;
    ensure!(outcome.is(scenario.answers()), "{scenario:?}: {outcome:?}");
    let calls = world.backend.calls().await?;
    // Modes and blocks are read every five seconds and not by the request: a test of its own counts that.
    let calls: Vec<_> = calls.iter().filter(|call| scenario.is_subject(call)).collect();
    ensure!(calls.iter().all(|call| call["attempt"] == 1), "{scenario:?}: attempts were repeated");
    let units = |reading: bool| {
        calls.iter().filter(|call| is_read(call) == reading).fold(0.0, |sum, call| sum + units(call))
    };
    Ok(Cost { requests: calls.len(), trips: in_a_row(&calls), reads: units(true), writes: units(false) })
}

fn is_read(call: &Value) -> bool {
    matches!(call["operation"].as_str(), Some("GetItem" | "Query"))
}

/// What DynamoDB bills. A write whose condition did not hold is billed all the same; the embedded database reports
/// nothing for it, and the items concerned are smaller than one unit.
fn units(call: &Value) -> f64 {
    let stated: f64 = call["capacity"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|capacity| capacity["units"].as_f64())
        .sum();
    let refused = call["error"] == "ConditionalCheckFailedException";
    if refused { stated.max(1.0) } else { stated }
}

/// The longest row of calls of which each began after the one before had ended.
fn in_a_row(calls: &[&Value]) -> usize {
    let mut spans: Vec<_> = calls
        .iter()
        .map(|call| {
            let end = call["at"].as_u64().unwrap();
            (end, end - call["duration_us"].as_u64().unwrap() / 1000)
        })
        .collect();
    spans.sort_unstable();
    let mut row = 0;
    let mut free_at = 0;
    for (end, begin) in spans {
        // Times are whole milliseconds.
        if begin + 2 >= free_at {
            row += 1;
            free_at = end;
        }
    }
    row
}

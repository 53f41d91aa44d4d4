//! Every use case that the faults know, in one table.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use anyhow::ensure;

use crate::{
    measure::{Cost, measure},
    scenario::Scenario::{self, *},
};

/// At most so much: requests, of which so many one after the other, read units, write units. Units count a transaction's
/// items twice and a read as consistent, as DynamoDB bills them.
const BOUNDS: &[(Scenario, Cost)] = &[];

/// Scenarios at a time: measuring is waiting for calls that were slowed down.
const WORKERS: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_use_case_costs_more_than_it_did() -> anyhow::Result<()> {
    let queue: Arc<Mutex<VecDeque<_>>> =
        Arc::new(Mutex::new(Scenario::ALL.into_iter().chain(Scenario::READING).collect()));
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                let mut measured = Vec::new();
                loop {
                    let Some(scenario) = queue.lock().unwrap().pop_front() else {
                        return anyhow::Ok(measured);
                    };
                    measured.push((scenario, measure(scenario).await?));
                }
            })
        })
        .collect();
    let mut measured = Vec::new();
    for worker in workers {
        measured.extend(worker.await??);
    }
    measured.sort_by_key(|(scenario, _)| *scenario);
    let bound = |wanted| BOUNDS.iter().find(|(scenario, _)| *scenario == wanted).map(|(_, cost)| *cost);
    let mut wrong = Vec::new();
    for (scenario, cost) in &measured {
        println!("{cost} {scenario:?}");
        // More is a regression. Less is a success that the table is to keep.
        if bound(*scenario) != Some(*cost) {
            wrong.push(format!("({scenario:?}, {cost:?}),"));
        }
    }
    ensure!(wrong.is_empty(), "measured otherwise than in the table:\n{}", wrong.join("\n"));
    Ok(())
}

/// DESIGN: login takes two sequential round trips, refresh one request and two write units at ten sessions.
#[test]
fn the_promises_of_the_design_stand_in_the_table() {
    for (scenario, cost) in BOUNDS {
        match scenario {
            LogIn | LogInFromKnownDevice | LogInAwaitsFactor | LogInWithWeakHash | LogInUnknown
            | LogInWrong => {
                assert!(cost.trips <= 2, "{scenario:?}: {cost}");
            }
            Refresh | RefreshAtTenSessions => {
                assert!(cost.requests == 1 && cost.writes <= 2.0, "{scenario:?}: {cost}");
            }
            _ => {}
        }
    }
}

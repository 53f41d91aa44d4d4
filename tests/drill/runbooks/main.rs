//! Plays every page of `ops/runbooks`: a backend, the fault that the page is about, each of its commands by the real
//! `sallyport`, and at the end a backend that is as it should be. A page or a step that is not played fails.
//!
//! `SALLYPORT_RECORD_DRILLS=1` writes today's date into the pages' `last_drilled`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may panic, and should say where"
)]

mod faults;
mod stage;

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use sallyport_runbooks::{Page, SECTIONS};
use tokio::{sync::Semaphore, task::JoinSet};

use self::{faults::fault, stage::Stage};

/// Pages at once: the machine that runs the suite has two cores.
const AT_ONCE: usize = 3;

/// The sections that are played while the fault stands; the rest is played after it has gone.
const UNDER_FAULT: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_played_and_leaves_a_backend_that_works() -> Result<()> {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut pages = JoinSet::new();
    for page in sallyport_runbooks::pages()? {
        let turns = Arc::clone(&turns);
        pages.spawn(async move {
            let _turn = turns.acquire_owned().await?;
            let played = play(&page).await.with_context(|| page.name.clone());
            anyhow::Ok((page, played))
        });
    }
    let mut failures = Vec::new();
    let mut played = BTreeSet::new();
    while let Some(ended) = pages.join_next().await {
        let (page, result) = ended??;
        match result {
            Ok(()) => drop(played.insert(page.name)),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    failures.sort();
    ensure!(failures.is_empty(), "{} pages do not hold:\n\n{}", failures.len(), failures.join("\n\n"));
    assert_eq!(played.len(), sallyport_runbooks::names().count());
    if std::env::var("SALLYPORT_RECORD_DRILLS").is_ok_and(|value| value == "1") {
        record(&played)?;
    }
    Ok(())
}

async fn play(page: &Page) -> Result<()> {
    let fault =
        fault(&page.name).context("no fault for this page: add one to tests/drill/runbooks/faults.rs")?;
    let stage = Stage::set(page, &fault).await?;
    let mut done = twice(&stage, page, &SECTIONS[..UNDER_FAULT]).await?;
    stage.has_reset(&fault).await?;
    stage.lift(page).await?;
    done.extend(twice(&stage, page, &SECTIONS[UNDER_FAULT..]).await?);
    let drilled: BTreeSet<_> = page.steps().filter(|step| !step.cloud).map(|step| step.number).collect();
    ensure!(done == drilled, "played {done:?} of {drilled:?}");
    stage.is_whole().await
}

/// Whoever was interrupted begins again, and so does a second person: every step may be followed twice.
async fn twice(stage: &Stage, page: &Page, sections: &[&str]) -> Result<BTreeSet<usize>> {
    let once = stage.run(page, sections).await?;
    let again = stage.run(page, sections).await.context("the second time")?;
    ensure!(once == again, "played {once:?}, and {again:?} the second time");
    Ok(once)
}

/// Writes the day into the pages.
fn record(played: &BTreeSet<String>) -> Result<()> {
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runbooks");
    for name in played {
        let path = directory.join(format!("{name}.md"));
        let text = fs::read_to_string(&path)?;
        let (before, after) = text.split_once("last_drilled: ").context("last_drilled")?;
        let (_, after) = after.split_once('\n').context("last_drilled")?;
        fs::write(&path, format!("{before}last_drilled: \"{today}\"\n{after}"))?;
    }
    Ok(())
}

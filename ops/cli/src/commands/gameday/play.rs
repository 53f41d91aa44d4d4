//! How a game is played.

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
};

use sallyport_alarms::State;

use super::{
    games::{Fault, Game},
    report::{self, Scored},
    stage::{MINUTE_MS, Stage},
};
use crate::{
    console::Console,
    failure::Failure,
    output::{Format, Progress},
};

/// Quiet minutes before: alarms look back.
const BEFORE: u64 = 6;
/// Minutes after the fault in which everything must be quiet again.
const AFTER: u64 = 30;

pub(super) async fn run(console: Console, game: &'static Game, format: Format) -> Result<Scored, Failure> {
    let progress = Progress::new(format);
    let mut stage = Stage::set(console).await?;
    progress.tell(&format!("{BEFORE} quiet minutes by the backend's clock"));
    for _ in 0..BEFORE {
        stage.minute(game, false).await?;
    }
    if stage.fires(game.alarm) {
        let message = format!("{} fires already: start a fresh `cargo run -p local`", game.alarm);
        return Err(Failure::conflict("alarm_fires", message));
    }
    stage.inject(game.fault).await?;
    let played = broken(&mut stage, game, progress).await;
    if played.is_err() {
        // What was broken for the game does not outlive it.
        stage.lift(Fault::Stuffing).await?;
    }
    played
}

async fn broken(stage: &mut Stage, game: &'static Game, progress: Progress) -> Result<Scored, Failure> {
    let began = stage.now().await?;
    let seconds = |at: u64| at.saturating_sub(began) / 1000;
    progress.tell(&format!("broken: {}", game.breaks));
    let mut minutes = 0;
    while !stage.fires(game.alarm) && minutes < game.within {
        stage.minute(game, true).await?;
        minutes += 1;
    }
    let mut stages = vec![detection(stage, game, began)];
    let detected = stages.iter().all(|stage| stage.passed);
    progress.tell(&format!("{} {}", game.alarm, if detected { "fires" } else { "stays silent" }));

    // One more minute: composites follow their children.
    stage.minute(game, true).await?;
    let (page, teller, incident) = page(stage, began).await?;
    progress.tell(&page.what);
    stages.push(page);

    let mut mitigated = Vec::new();
    for line in game.mitigation {
        mitigated.push(command(line, &[0, 5])?);
    }
    // Functions see it within ten seconds.
    stage.advance(11).await?;
    let mut passed = mitigated.iter().all(|done| done.0);
    let mut what = mitigated.into_iter().map(|(_, what)| what).collect::<Vec<_>>().join("; ");
    if game.fault == Fault::Stuffing {
        let status = stage.attacked().await?;
        passed &= status == Some(403);
        what = format!(
            "{what}; the attacker is answered {}",
            status.map_or_else(|| "nothing".to_owned(), |status| status.to_string())
        );
    }
    let at = stage.now().await?;
    progress.tell(&what);
    stages.push(report::Stage { name: "mitigation", passed, after_seconds: Some(seconds(at)), what });

    stage.lift(game.fault).await?;
    let mut what = Vec::new();
    let mut taken_back = true;
    for line in game.afterwards {
        let (passed, told) = command(line, &[0])?;
        taken_back &= passed;
        what.push(told);
    }
    stage.advance(11).await?;
    let mut minutes = 0;
    while stage.fires(game.alarm) && minutes < AFTER {
        stage.minute(game, false).await?;
        minutes += 1;
    }
    let at = stage.now().await?;
    let (quiet, ready) = (!stage.fires(game.alarm), stage.is_ready().await);
    let mut closed = true;
    if let (Some(teller), Some(incident)) = (&teller, &incident) {
        stage.tell(teller, "OK", at).await?;
        let line = format!("incident resolve {incident} --summary gameday");
        let (passed, told) = command(&line, &[0])?;
        closed = passed;
        what.push(told);
    }
    what.push(format!("{} {}", game.alarm, if quiet { "is quiet" } else { "still fires" }));
    what.push(if ready { "ready".to_owned() } else { "not ready".to_owned() });
    stages.push(report::Stage {
        name: "recovery",
        passed: quiet && ready && closed && taken_back,
        after_seconds: Some(seconds(at)),
        what: what.join("; "),
    });

    let changes = stage.evaluator.transitions().iter();
    let fired: BTreeSet<_> = changes
        .filter(|change| change.at >= began && change.to == State::Alarm)
        .map(|change| change.alarm.clone())
        .collect();
    Ok(Scored {
        game: game.name,
        breaks: game.breaks,
        passed: stages.iter().all(|stage| stage.passed),
        began_at: began,
        stages,
        incident,
        fired: fired.into_iter().collect(),
    })
}

fn detection(stage: &Stage, game: &Game, began: u64) -> report::Stage {
    let changes = stage.evaluator.transitions().iter();
    let fired = changes.rev().find(|change| {
        change.alarm == game.alarm && change.to == State::Alarm && change.at + MINUTE_MS >= began
    });
    let (after_seconds, what) = match fired {
        Some(fired) => (Some(fired.at.saturating_sub(began) / 1000), format!("{} fires", game.alarm)),
        None => (None, format!("{} did not fire within {} minutes", game.alarm, game.within)),
    };
    report::Stage { name: "detection", passed: fired.is_some(), after_seconds, what }
}

/// Whoever is told first: the alarm, or the composite that speaks for it.
async fn page(stage: &Stage, began: u64) -> Result<(report::Stage, Option<String>, Option<String>), Failure> {
    let told = stage.evaluator.notifications().iter();
    let first = told.filter(|told| told.at >= began && told.state == State::Alarm).min_by_key(|told| told.at);
    let Some((alarm, at)) = first.map(|told| (told.alarm.clone(), told.at)) else {
        let what = "nobody was told".to_owned();
        return Ok((report::Stage { name: "page", passed: false, after_seconds: None, what }, None, None));
    };
    let incident = stage.tell(&alarm, "ALARM", at).await?;
    let what = match &incident {
        Some(incident) => format!("{alarm} opened {incident}"),
        None => format!("{alarm} opened no incident"),
    };
    let after_seconds = Some(at.saturating_sub(began) / 1000);
    Ok((
        report::Stage { name: "page", passed: incident.is_some(), after_seconds, what },
        Some(alarm),
        incident,
    ))
}

/// Runs a line of this very command, in the same surroundings.
fn command(line: &str, expected: &[i32]) -> Result<(bool, String), Failure> {
    let failed =
        |error: std::io::Error| Failure::dependency("command_failed", format!("sallyport {line}: {error}"));
    let own = std::env::current_exe().map_err(failed)?;
    let mut command = Command::new(own);
    command.args(line.split(' ')).stdin(Stdio::null());
    let output = command.output().map_err(failed)?;
    let code = output.status.code();
    let passed = code.is_some_and(|code| expected.contains(&code));
    let mut told = format!("`sallyport {line}`");
    if !passed {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let why = stderr.lines().next().unwrap_or_default();
        told = format!(
            "{told} ended with {}: {why}",
            code.map_or_else(|| "a signal".to_owned(), |code| code.to_string())
        );
    }
    Ok((passed, told))
}

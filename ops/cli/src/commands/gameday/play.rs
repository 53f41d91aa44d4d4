//! How a game is played.

use std::{
    collections::BTreeSet,
    process::{Output, Stdio},
};

use sallyport_alarms::State;
use serde_json::Value;
use tokio::{io::AsyncWriteExt as _, process::Command};

use super::{
    games::{Fault, Game},
    ground::{Ground, MINUTE_MS},
    report::{self, Scored, Told},
    stage::{Stage, Victim, template},
};
use crate::{
    failure::Failure,
    output::{Format, Progress},
};

/// Quiet minutes before: alarms look back.
const BEFORE: u64 = 6;
/// Minutes after the fault in which everything must be quiet again.
const AFTER: u64 = 30;
/// Minutes after the mitigation in which it must have silenced the alarm.
const SILENCED: u64 = 20;
/// What a game's lines call the incident that its alarm opened.
const INCIDENT: &str = "INCIDENT";

/// Plays a game, and leaves the ground as it was found, whatever comes of it.
///
/// # Errors
/// The game's alarm fires already; the backend does not answer; it was interrupted.
pub(super) async fn run(
    mut ground: impl Ground,
    game: &'static Game,
    interrupted: impl Future,
    format: Format,
) -> Result<Scored, Failure> {
    let template = match template(&ground) {
        Ok(template) => template,
        Err(failure) => return Err(ground.leave().await.err().unwrap_or(failure)),
    };
    let mut stage = Stage::new(ground, template);
    let played = tokio::select! {
        biased;
        _ = interrupted => Err(Failure::dependency("interrupted", "the game was broken off")),
        played = play(&mut stage, game, Progress::new(format)) => played,
    };
    let left = stage.ground.leave().await;
    if played.is_err() && stage.mitigated && !game.fault.takes_time() {
        for line in game.afterwards {
            // What was not set yet is not there to be taken back.
            sallyport(&stage.ground, line).await?;
        }
    }
    played.and_then(|scored| left.map(|()| scored))
}

async fn play(
    stage: &mut Stage<impl Ground>,
    game: &'static Game,
    progress: Progress,
) -> Result<Scored, Failure> {
    stage.begin().await?;
    progress.tell(&format!("{BEFORE} quiet minutes by the backend's clock"));
    for _ in 0..BEFORE {
        stage.minute(game, false).await?;
    }
    if stage.fires(game.alarm) {
        let message = format!("{} fires already: start a fresh backend", game.alarm);
        return Err(Failure::conflict("alarm_fires", message));
    }
    if game.fault == Fault::Stuffing {
        let victim = Victim::new(stage.ground.now().await?);
        enrol(&stage.ground, &victim).await?;
        stage.victim = Some(victim);
    }
    stage.ground.inject(game.fault).await?;
    if game.fault.takes_time() {
        stage.minutes_before(game, BEFORE).await?;
    }
    let began = stage.ground.now().await?;
    let play = Play { stage, game, progress, began, told: Vec::new(), changes: 0, incident: None };
    play.scored().await
}

/// A game that is on.
struct Play<'a, G> {
    stage: &'a mut Stage<G>,
    game: &'static Game,
    progress: Progress,
    /// Epoch milliseconds, by the backend's clock, as all times here.
    began: u64,
    told: Vec<Told>,
    /// How many of the alarms' changes were told.
    changes: usize,
    incident: Option<Incident>,
}

struct Incident {
    id: String,
    /// The alarm that opened it.
    teller: String,
}

/// What lines of this command came to.
struct Done {
    passed: bool,
    what: Vec<String>,
}

impl<G: Ground> Play<'_, G> {
    async fn scored(mut self) -> Result<Scored, Failure> {
        self.changes = self.stage.evaluator.transitions().len();
        self.tell(format!("broken: {}", self.game.breaks)).await?;
        let stages =
            vec![self.detect().await?, self.page().await?, self.mitigate().await?, self.recover().await?];
        let postmortem = match &self.incident {
            Some(incident) => {
                let output =
                    sallyport(&self.stage.ground, &format!("incident postmortem {}", incident.id)).await?;
                Some(String::from_utf8_lossy(&output.stdout).into_owned())
            }
            None => None,
        };
        let changes = self.stage.evaluator.transitions().iter();
        let fired: BTreeSet<_> = changes
            .filter(|change| change.at >= self.began && change.to == State::Alarm)
            .map(|change| change.alarm.clone())
            .collect();
        Ok(Scored {
            game: self.game.name,
            breaks: self.game.breaks,
            passed: stages.iter().all(|stage| stage.passed),
            began_at: self.began,
            stages,
            incident: self.incident.as_ref().map(|incident| incident.id.clone()),
            fired: fired.into_iter().collect(),
            transcript: std::mem::take(&mut self.told),
            postmortem,
        })
    }

    async fn detect(&mut self) -> Result<report::Stage, Failure> {
        let mut minutes = 0;
        while !self.stage.fires(self.game.alarm) && minutes < self.game.within {
            self.minute(true).await?;
            minutes += 1;
        }
        let changes = self.stage.evaluator.transitions().iter();
        let fired = changes.rev().find(|change| {
            change.alarm == self.game.alarm
                && change.to == State::Alarm
                && change.at + MINUTE_MS >= self.began
        });
        let alarm = self.game.alarm;
        let (after_seconds, what) = match fired {
            Some(fired) => (Some(self.after(fired.at)), format!("{alarm} fires")),
            None => (None, format!("{alarm} did not fire within {} minutes", self.game.within)),
        };
        Ok(report::Stage { name: "detection", passed: after_seconds.is_some(), after_seconds, what })
    }

    /// Whoever is told first: the alarm, or the composite that speaks for it.
    async fn page(&mut self) -> Result<report::Stage, Failure> {
        // One more minute: composites follow their children.
        self.minute(true).await?;
        let told = self.stage.evaluator.notifications().iter();
        let first = told
            .filter(|told| told.at >= self.began && told.state == State::Alarm)
            .min_by_key(|told| told.at);
        let Some((teller, at)) = first.map(|told| (told.alarm.clone(), told.at)) else {
            let what = "nobody was told".to_owned();
            return Ok(report::Stage { name: "page", passed: false, after_seconds: None, what });
        };
        let id = self.stage.tell(&teller, "ALARM", at).await?;
        let what = match &id {
            Some(id) => format!("{teller} opened {id}"),
            None => format!("{teller} opened no incident"),
        };
        self.tell(what.clone()).await?;
        self.incident = id.map(|id| Incident { id, teller });
        let after_seconds = Some(self.after(at));
        Ok(report::Stage { name: "page", passed: self.incident.is_some(), after_seconds, what })
    }

    async fn mitigate(&mut self) -> Result<report::Stage, Failure> {
        let mut done = Done { passed: true, what: Vec::new() };
        if self.incident.is_some() {
            done.and(self.lines(self.game.response, &[0]).await?);
            // Whoever reads the diagnosis takes a minute to decide.
            self.minute(true).await?;
        }
        self.stage.mitigated = true;
        if self.game.fault == Fault::Stuffing {
            done.and(self.shut_out().await?);
        }
        done.and(self.lines(self.game.mitigation, &[0, 5]).await?);
        // Functions see it within ten seconds.
        self.stage.ground.settle().await?;
        if self.game.fault == Fault::Stuffing {
            let status = self.stage.attacked().await?;
            let answer = status.map_or_else(|| "nothing".to_owned(), |status| status.to_string());
            done.and(Done {
                passed: status == Some(403),
                what: vec![format!("the attacker is answered {answer}")],
            });
            self.tell(format!("the attacker is answered {answer}")).await?;
        }
        if self.game.silences {
            done.and(self.silenced().await?);
        }
        let after_seconds = Some(self.after(self.stage.ground.now().await?));
        Ok(report::Stage {
            name: "mitigation",
            passed: done.passed,
            after_seconds,
            what: done.what.join("; "),
        })
    }

    /// Does what the first looks of the page say: ends what was entered, blocks where it comes from.
    async fn shut_out(&mut self) -> Result<Done, Failure> {
        let entered = self.answer("top entered --since 1h --json").await?;
        let rows = entered.get("entered").and_then(Value::as_array).cloned().unwrap_or_default();
        let victim = Victim::new(0).email;
        let found: Vec<_> =
            rows.iter().filter(|row| row.get("email").and_then(Value::as_str) == Some(victim)).collect();
        let state = format!("the break-in is {}found", if found.is_empty() { "not " } else { "" });
        self.tell(state.clone()).await?;
        let mut done = Done { passed: !found.is_empty(), what: vec![state] };
        let ends = found.first().and_then(|row| row.get("command")?.as_str());
        let sources = self.answer("top addresses --since 15m --json").await?;
        let blocks = sources.get("commands").and_then(Value::as_array).cloned().unwrap_or_default();
        let told = ends.into_iter().chain(blocks.iter().filter_map(Value::as_str));
        let lines: Vec<_> =
            told.filter_map(|line| line.strip_prefix("sallyport ")).map(str::to_owned).collect();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        done.and(self.lines(&lines, &[0]).await?);
        Ok(done)
    }

    /// What a line answers, as JSON. A line that fails answers nothing.
    async fn answer(&mut self, line: &str) -> Result<Value, Failure> {
        let output = sallyport(&self.stage.ground, line).await?;
        Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
    }

    /// Whether the alarm clears by what was done, and not by the end of the cause.
    async fn silenced(&mut self) -> Result<Done, Failure> {
        let alarm = self.game.alarm;
        let mut minutes = 0;
        while self.stage.fires(alarm) && minutes < SILENCED {
            self.minute(true).await?;
            minutes += 1;
        }
        let quiet = !self.stage.fires(alarm);
        let state = format!("{alarm} {}, while the cause goes on", verdict(quiet));
        self.tell(state.clone()).await?;
        Ok(Done { passed: quiet, what: vec![state] })
    }

    async fn recover(&mut self) -> Result<report::Stage, Failure> {
        self.stage.ground.lift(self.game.fault).await?;
        self.tell("the cause is gone".to_owned()).await?;
        let mut done = self.lines(self.game.afterwards, &[0]).await?;
        self.stage.ground.settle().await?;
        if self.game.fault.takes_time() {
            self.stage.minutes_before(self.game, BEFORE).await?;
        }
        let mut minutes = 0;
        let mut ready = self.stage.is_ready().await;
        while (self.rings() || !ready) && minutes < AFTER {
            self.minute(false).await?;
            ready = self.stage.is_ready().await;
            minutes += 1;
        }
        let at = self.stage.ground.now().await?;
        if let Some(incident) = &self.incident {
            self.stage.tell(&incident.teller, "OK", at).await?;
            done.and(self.lines(&["incident resolve INCIDENT --summary gameday"], &[0]).await?);
        }
        let firing: Vec<_> = self.stage.still_firing(self.began).into_iter().collect();
        let alarms = match firing.as_slice() {
            [] => "every alarm is quiet".to_owned(),
            firing => format!("still firing: {}", firing.join(", ")),
        };
        let states =
            [(firing.is_empty(), alarms), (ready, (if ready { "ready" } else { "not ready" }).to_owned())];
        for (passed, state) in states {
            self.tell(state.clone()).await?;
            done.and(Done { passed, what: vec![state] });
        }
        let after_seconds = Some(self.after(at));
        Ok(report::Stage { name: "recovery", passed: done.passed, after_seconds, what: done.what.join("; ") })
    }

    /// Whether anything that the fault set off still fires, or the game's alarm does.
    fn rings(&self) -> bool {
        self.stage.fires(self.game.alarm) || !self.stage.still_firing(self.began).is_empty()
    }

    async fn minute(&mut self, broken: bool) -> Result<(), Failure> {
        self.stage.minute(self.game, broken).await?;
        let changes: Vec<_> = self.stage.evaluator.transitions().iter().skip(self.changes).cloned().collect();
        self.changes += changes.len();
        for change in changes.into_iter().filter(|change| [change.from, change.to].contains(&State::Alarm)) {
            let what = format!("{}: {} → {}, {}", change.alarm, change.from, change.to, change.reason);
            self.progress.tell(&what);
            self.told.push(Told { at: change.at, what, output: None });
        }
        Ok(())
    }

    /// Runs lines of this very command, in the same surroundings.
    async fn lines(&mut self, lines: &[&str], expected: &[i32]) -> Result<Done, Failure> {
        let mut done = Done { passed: true, what: Vec::new() };
        let incident = self.incident.as_ref().map_or("", |incident| incident.id.as_str()).to_owned();
        for line in lines {
            let line = line.replace(INCIDENT, &incident);
            let output = sallyport(&self.stage.ground, &line).await?;
            let code = output.status.code();
            let passed = code.is_some_and(|code| expected.contains(&code));
            let (stdout, stderr) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            let mut what = format!("`sallyport {line}`");
            if !passed {
                let why = stderr.lines().next().unwrap_or_default();
                let code = code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
                what = format!("{what} ended with {code}: {why}");
            }
            self.progress.tell(&what);
            let at = self.stage.ground.now().await?;
            let output = Some(format!("$ sallyport {line}\n{stderr}{stdout}"));
            self.told.push(Told { at, what: what.clone(), output });
            done.and(Done { passed, what: vec![what] });
        }
        Ok(done)
    }

    async fn tell(&mut self, what: String) -> Result<(), Failure> {
        self.progress.tell(&what);
        let at = self.stage.ground.now().await?;
        self.told.push(Told { at, what, output: None });
        Ok(())
    }

    /// Seconds since the fault.
    fn after(&self, at: u64) -> u64 {
        at.saturating_sub(self.began) / 1000
    }
}

impl Done {
    fn and(&mut self, other: Self) {
        self.passed &= other.passed;
        self.what.extend(other.what);
    }
}

const fn verdict(quiet: bool) -> &'static str {
    if quiet { "is quiet" } else { "still fires" }
}

/// Has the victim's account, with the password that was stolen.
async fn enrol(ground: &impl Ground, victim: &Victim) -> Result<(), Failure> {
    let email = victim.email;
    // It is there already where a game was played before.
    for line in ["create", "set-password", "enable"] {
        let line = format!("user {line} {email}");
        let typed = if line.contains("enable") { "" } else { " --password-stdin" };
        sallyport_with(ground, &format!("{line}{typed}"), &victim.password).await?;
    }
    Ok(())
}

/// Runs a line of this very command.
async fn sallyport(ground: &impl Ground, line: &str) -> Result<Output, Failure> {
    sallyport_with(ground, line, "").await
}

/// The same, with something to read.
async fn sallyport_with(ground: &impl Ground, line: &str, stdin: &str) -> Result<Output, Failure> {
    let failed =
        |error: std::io::Error| Failure::dependency("command_failed", format!("sallyport {line}: {error}"));
    let own = std::env::current_exe().map_err(failed)?;
    let mut command = Command::new(own);
    ground.aim(&mut command);
    command.args(words(line)).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().map_err(failed)?;
    if let Some(mut open) = child.stdin.take() {
        // A command that reads nothing may have closed it.
        drop(open.write_all(stdin.as_bytes()).await);
    }
    child.wait_with_output().await.map_err(failed)
}

/// A line's words: quotes hold one together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('"').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

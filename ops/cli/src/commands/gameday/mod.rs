//! `sallyport gameday`: a backend on this machine is broken on purpose, and what is made of it is scored.

mod games;
mod ground;
mod play;
mod report;
mod stage;

use std::{fmt, path::PathBuf};

use clap::Subcommand;
use serde::Serialize;

use self::{
    games::GAMES,
    ground::{Emulator, Here},
};
use crate::{
    cli::Target,
    failure::{Exit, Failure},
    output::{Answer, Format, Table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum GamedayCommand {
    /// List the games: what is broken, which alarm must tell, what is done about it.
    List,
    /// Break a backend on this machine, or with --stack one on an emulator here, and score detection, page, mitigation and
    /// recovery, with times.
    Run {
        /// The game, as it is listed.
        name: String,
        /// Also write the report there, in Markdown, to keep: the score, all that happened and was said, and the draft of
        /// the post-mortem.
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
        /// Say what would be done, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

impl GamedayCommand {
    /// # Errors
    /// There is no such game; no backend runs on this machine, or it is not at rest.
    pub(crate) async fn run(self, target: &Target, format: Format) -> Result<Answer, Failure> {
        let (name, path, dry_run) = match self {
            Self::List => return Answer::of(&Listed { games: GAMES.iter().map(Entry::of).collect() }),
            Self::Run { name, report, dry_run } => (name, report, dry_run),
        };
        let game = GAMES.iter().find(|game| game.name == name).ok_or_else(|| {
            let message = format!("there is no game {name}: `sallyport gameday list` names them");
            Failure::not_found("game_not_found", message)
        })?;
        let would = || Answer::of(&Listed { games: vec![Entry::of(game)] });
        // From here on, so that whatever was broken by then is put back.
        let interrupted = tokio::spawn(tokio::signal::ctrl_c());
        let scored = if target.stack.is_some() {
            let found = Emulator::find(target).await?;
            if dry_run {
                return would();
            }
            play::run(found.enter().await?, game, interrupted, format).await?
        } else {
            let found = Here::find().await?;
            if dry_run {
                return would();
            }
            play::run(found, game, interrupted, format).await?
        };
        if let Some(path) = path {
            std::fs::write(&path, report::Report(&scored).to_string()).map_err(|error| {
                Failure::dependency("report_unwritable", format!("{}: {error}", path.display()))
            })?;
        }
        Ok(Answer::of(&scored)?.exit(if scored.passed { Exit::Done } else { Exit::Findings }))
    }
}

#[derive(Serialize)]
struct Listed {
    games: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    name: &'static str,
    breaks: &'static str,
    alarm: &'static str,
    mitigation: Vec<String>,
}

impl Entry {
    fn of(game: &games::Game) -> Self {
        let mitigation = game.mitigation.iter().map(|line| (*line).to_owned()).collect();
        Self { name: game.name, breaks: game.breaks, alarm: game.alarm, mitigation }
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["game", "breaks", "alarm", "mitigation"]);
        for game in &self.games {
            table.row([
                game.name.to_owned(),
                game.breaks.to_owned(),
                game.alarm.to_owned(),
                game.mitigation.join("; "),
            ]);
        }
        write!(f, "{table}")
    }
}

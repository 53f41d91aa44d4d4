//! `sallyport mode`.

use std::{fmt, time::Duration};

use clap::{Args, Subcommand, ValueEnum, builder::PossibleValuesParser};
use sallyport_core::{
    checks::Component,
    clock::Timestamp,
    flags::{self, DEFAULT_FACTOR, FlagsError, Mode, ModeName, NewMode, ReadFlags as _, Reason},
};
use serde::Serialize;

use crate::{
    cli::{Change, Target},
    deployment::Deployment,
    failure::Failure,
    output::{Answer, Table, ago, count, mode_words, moment, parse_span},
};

#[derive(Debug, Subcommand)]
pub(crate) enum ModeCommand {
    /// Set a mode for a time. Every function obeys it within ten seconds.
    Set {
        #[command(flatten)]
        which: Which,
        /// How long it holds, such as 30m or 2h; seven days at most.
        #[arg(long = "for", value_name = "DURATION", value_parser = parse_span)]
        lasts: Duration,
        /// Why, for whoever answers for it later.
        #[arg(long, value_name = "TEXT")]
        reason: Reason,
        /// By what an emergency divides all limits: 2 to 100.
        #[arg(long, value_name = "N")]
        factor: Option<u32>,
        /// Set it anew where it is set already, without a gap.
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        change: Change,
    },
    /// Clear a mode before its end.
    Clear {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        change: Change,
    },
    /// Show the modes that hold.
    Status,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// All limits are divided, and devices that an account does not know wait.
    Emergency,
    /// Every route but keys, documents and health answers 503.
    Maintenance,
    /// A dependency is known to be down: nobody waits for it.
    Degraded,
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The mode.
    name: Kind,
    /// What is down, of the mode degraded: users, sessions, throttle or keyring.
    #[arg(value_name = "COMPONENT", value_parser = components(), conflicts_with = "component")]
    down: Option<String>,
    /// The same as an option.
    #[arg(long, value_name = "COMPONENT", value_parser = components())]
    component: Option<String>,
}

fn components() -> PossibleValuesParser {
    PossibleValuesParser::new(Component::ALL.map(Component::as_str))
}

impl Which {
    fn name(&self) -> Result<ModeName, Failure> {
        let component = self.down.as_ref().or(self.component.as_ref());
        match (self.name, component.and_then(|name| Component::named(name))) {
            (Kind::Emergency, None) => Ok(ModeName::Emergency),
            (Kind::Maintenance, None) => Ok(ModeName::Maintenance),
            (Kind::Degraded, Some(component)) => Ok(ModeName::Degraded(component)),
            (Kind::Degraded, None) => {
                let known = Component::ALL.map(Component::as_str).join(", ");
                Err(Failure::usage("which_component", format!("which component is degraded? One of {known}")))
            }
            (Kind::Emergency | Kind::Maintenance, Some(_)) => {
                Err(Failure::usage("which_component", "a component belongs to the mode degraded alone"))
            }
        }
    }
}

impl Which {
    fn names_no_component(&self) -> bool {
        matches!(self.name, Kind::Degraded) && self.down.is_none() && self.component.is_none()
    }
}

/// What somebody is told who would clear the mode degraded, and does not say of what: what there is to clear.
async fn which_is_degraded(target: &Target) -> Result<Failure, Failure> {
    let deployment = Deployment::find(target).await?;
    let (flags, now) = (deployment.store.flags().await?, deployment.now());
    let degraded =
        flags.modes_at(now).map(|(name, _)| name).filter(|name| matches!(name, ModeName::Degraded(_)));
    let held: Vec<_> = degraded.map(|name| format!("`sallyport mode clear {}`", mode_words(name))).collect();
    Ok(if held.is_empty() {
        Failure::not_found("mode_not_set", "the mode degraded is not set, of no component")
    } else {
        Failure::usage("which_component", format!("which component? There is {}", held.join(", ")))
    })
}

impl ModeCommand {
    /// # Errors
    /// It is set already, or not set; AWS.
    pub(crate) async fn run(self, target: &Target) -> Result<Answer, Failure> {
        match self {
            Self::Set { which, lasts, reason, factor, replace, change } => {
                let name = which.name()?;
                set(target, Wanted { name, lasts, reason, factor, replace }, change).await
            }
            Self::Clear { which, change } => match which.name() {
                Err(_) if which.names_no_component() => Err(which_is_degraded(target).await?),
                name => clear(target, name?, change).await,
            },
            Self::Status => status(target).await,
        }
    }
}

/// A mode, as reports show it.
#[derive(Debug, Serialize)]
pub(crate) struct ModeReport {
    pub(crate) mode: String,
    pub(crate) factor: Option<u32>,
    pub(crate) reason: String,
    pub(crate) by: String,
    /// Epoch seconds.
    pub(crate) set_at: u64,
    pub(crate) expires_at: u64,
}

impl ModeReport {
    pub(crate) fn of(name: ModeName, mode: &Mode) -> Self {
        Self {
            mode: name.to_string(),
            factor: mode.factor,
            reason: mode.reason.to_string(),
            by: mode.by.clone(),
            set_at: mode.set_at.seconds(),
            expires_at: mode.expires_at.seconds(),
        }
    }
}

struct Wanted {
    name: ModeName,
    lasts: Duration,
    reason: Reason,
    factor: Option<u32>,
    replace: bool,
}

#[derive(Serialize)]
struct Set {
    #[serde(flatten)]
    mode: ModeReport,
    /// `false` when it was so already, and at a dry run.
    changed: bool,
    dry_run: bool,
    #[serde(skip)]
    already: bool,
    #[serde(skip)]
    now: Timestamp,
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let until = Timestamp::from_seconds(self.mode.expires_at);
        if self.already {
            let ModeReport { mode, reason, by, .. } = &self.mode;
            let (mode, left) = (mode_words(mode), ago(until, self.now));
            let until = moment(until);
            return writeln!(
                f,
                "{mode} is set already, until {until} ({left}) by {by}: {reason}; nothing was changed"
            );
        }
        let (done, tail) = if self.dry_run {
            ("would set", "; nothing was changed")
        } else {
            ("set", "; every function obeys within 10 s")
        };
        write!(f, "{done} {}", mode_words(&self.mode.mode))?;
        if let Some(factor) = self.mode.factor {
            write!(f, ", limits divided by {factor}")?;
        }
        writeln!(f, ", until {} ({}): {}{tail}", moment(until), ago(until, self.now), self.mode.reason)
    }
}

async fn set(target: &Target, wanted: Wanted, change: Change) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let Wanted { name, lasts, reason, factor, replace } = wanted;
    let (now, origin) = (deployment.now(), Deployment::origin()?);
    let mut new = NewMode::new(name, now + lasts, reason.clone()).replacing(replace);
    if let Some(factor) = factor {
        new = new.factor(factor);
    }
    let asked = new.clone();
    let set = if change.dry_run {
        new.check(now)?;
        let flags = deployment.store.flags().await?;
        match flags.mode(name, now).filter(|_| !replace) {
            Some(mode) => Err(FlagsError::ModeSet(name, mode.clone())),
            None => {
                let factor = (name == ModeName::Emergency).then(|| factor.unwrap_or(DEFAULT_FACTOR));
                Ok(Mode {
                    reason,
                    set_at: now,
                    expires_at: now + lasts,
                    by: origin.actor.to_string(),
                    factor,
                })
            }
        }
    } else {
        let operation = deployment.operation()?;
        let flags = flags::set_mode(&deployment.store, now, operation, new, &origin).await;
        flags.and_then(|flags| flags.mode(name, now).cloned().ok_or(FlagsError::ModeNotSet(name)))
    };
    let (mode, already) = match set {
        Ok(mode) => (mode, false),
        Err(FlagsError::ModeSet(_, mode)) if asked.is_held_by(&mode) => (mode, true),
        Err(error) => return Err(error.into()),
    };
    let changed = !already && !change.dry_run;
    Answer::of(&Set { mode: ModeReport::of(name, &mode), changed, dry_run: change.dry_run, already, now })
}

#[derive(Serialize)]
struct Cleared {
    mode: String,
    dry_run: bool,
}

impl fmt::Display for Cleared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.dry_run {
            writeln!(f, "would clear {}; nothing was changed", mode_words(&self.mode))
        } else {
            writeln!(f, "cleared {}; every function obeys within 10 s", mode_words(&self.mode))
        }
    }
}

async fn clear(target: &Target, name: ModeName, change: Change) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let now = deployment.now();
    if change.dry_run {
        let flags = deployment.store.flags().await?;
        flags.mode(name, now).ok_or(FlagsError::ModeNotSet(name))?;
    } else {
        let operation = deployment.operation()?;
        flags::clear_mode(&deployment.store, now, operation, name, &Deployment::origin()?).await?;
    }
    Answer::of(&Cleared { mode: name.to_string(), dry_run: change.dry_run })
}

#[derive(Serialize)]
struct Status {
    modes: Vec<ModeReport>,
    /// Blocks that hold: `sallyport block list` shows them.
    blocks: usize,
    #[serde(skip)]
    now: Timestamp,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.modes.is_empty() {
            writeln!(f, "No mode is set.")?;
        } else {
            let mut table = Table::new(["mode", "factor", "until", "left", "by", "reason"]);
            for mode in &self.modes {
                let until = Timestamp::from_seconds(mode.expires_at);
                table.row([
                    mode_words(&mode.mode),
                    mode.factor.map(|factor| factor.to_string()).unwrap_or_default(),
                    moment(until),
                    ago(until, self.now),
                    mode.by.clone(),
                    mode.reason.clone(),
                ]);
            }
            write!(f, "{table}")?;
        }
        match self.blocks {
            0 => Ok(()),
            blocks => writeln!(f, "\n{}: sallyport block list", count(blocks, "block")),
        }
    }
}

async fn status(target: &Target) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let (flags, now) = (deployment.store.flags().await?, deployment.now());
    let modes = flags.modes_at(now).map(|(name, mode)| ModeReport::of(name, mode)).collect();
    Answer::of(&Status { modes, blocks: flags.blocks_at(now).count(), now })
}

//! `sallyport block`.

use std::{fmt, time::Duration};

use clap::{Args, Subcommand};
use sallyport_core::{
    accounts::Email,
    clock::Timestamp,
    flags::{self, Block, BlockSubject, Flags, FlagsError, NewBlock, ReadFlags as _, Reason},
};
use serde::Serialize;

use crate::{
    address::AddressOrNetwork,
    cli::{Change, Target},
    deployment::Deployment,
    failure::Failure,
    output::{Answer, Table, ago, moment, parse_span, subject_words},
};

#[derive(Debug, Subcommand)]
pub(crate) enum BlockCommand {
    /// Shut out an address, a prefix or an account, for a time. Every function obeys within ten seconds.
    Add {
        #[command(flatten)]
        who: Who,
        /// How long, such as 30m, 24h or 7d; ninety days at most.
        #[arg(long = "for", value_name = "DURATION", value_parser = parse_span)]
        lasts: Duration,
        /// Why, for whoever answers for it later.
        #[arg(long, value_name = "TEXT")]
        reason: Reason,
        /// Block anew what is blocked already.
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        change: Change,
    },
    /// List the blocks that hold.
    List,
    /// Let in again.
    Remove {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        change: Change,
    },
}

/// Whom a block is about: one of the four.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Who {
    /// An address, a prefix such as 203.0.113.0/24, or an e-mail address: told apart by their form. What `block list`
    /// shows is taken too.
    #[arg(value_name = "WHO", value_parser = subject)]
    who: Option<BlockSubject>,
    /// An address or a prefix. An IPv6 address stands for its /64.
    #[arg(long, value_name = "ADDRESS|PREFIX", value_parser = source)]
    address: Option<BlockSubject>,
    /// A prefix: from /8 for IPv4, from /16 for IPv6.
    #[arg(long, value_name = "CIDR", value_parser = source)]
    prefix: Option<BlockSubject>,
    /// The e-mail address of an account, whether or not there is one.
    #[arg(long, value_name = "EMAIL", value_parser = account)]
    account: Option<BlockSubject>,
}

fn source(text: &str) -> Result<BlockSubject, String> {
    Ok(BlockSubject::Network(text.parse::<AddressOrNetwork>()?.network()))
}

fn account(text: &str) -> Result<BlockSubject, String> {
    let email = text.parse::<Email>().map_err(|error| error.to_string())?;
    Ok(BlockSubject::Account(email.account_key()))
}

fn subject(text: &str) -> Result<BlockSubject, String> {
    if let Ok(subject) = text.parse() {
        Ok(subject)
    } else if text.contains('@') {
        account(text)
    } else if text.contains('/') {
        source(text)
    } else {
        source(text).map_err(|_| "not an IP address, a prefix or an e-mail address".to_owned())
    }
}

impl Who {
    fn subject(&self) -> Result<BlockSubject, Failure> {
        let given = self.who.or(self.address).or(self.prefix).or(self.account);
        given.ok_or_else(|| Failure::usage("usage", "whom? An address, a prefix or an e-mail address"))
    }
}

impl BlockCommand {
    /// # Errors
    /// It is blocked already, or not blocked; AWS.
    pub(crate) async fn run(self, target: &Target) -> Result<Answer, Failure> {
        match self {
            Self::Add { who, lasts, reason, replace, change } => {
                add(target, Wanted { subject: who.subject()?, lasts, reason, replace }, change).await
            }
            Self::List => list(target).await,
            Self::Remove { who, change } => remove(target, who.subject()?, change).await,
        }
    }
}

/// A block, as reports show it.
#[derive(Debug, Serialize)]
pub(crate) struct BlockReport {
    /// `network` or `account`.
    pub(crate) kind: &'static str,
    /// The prefix, or `account#` and the hash of the address.
    pub(crate) subject: String,
    pub(crate) reason: String,
    pub(crate) by: String,
    /// Epoch seconds.
    pub(crate) set_at: u64,
    pub(crate) expires_at: u64,
}

impl BlockReport {
    pub(crate) fn of(subject: BlockSubject, block: &Block) -> Self {
        Self {
            kind: match subject {
                BlockSubject::Network(_) => "network",
                BlockSubject::Account(_) => "account",
            },
            subject: subject_words(subject),
            reason: block.reason.to_string(),
            by: block.by.clone(),
            set_at: block.set_at.seconds(),
            expires_at: block.expires_at.seconds(),
        }
    }
}

struct Wanted {
    subject: BlockSubject,
    lasts: Duration,
    reason: Reason,
    replace: bool,
}

#[derive(Serialize)]
struct Added {
    #[serde(flatten)]
    block: BlockReport,
    /// `false` when it was so already, and at a dry run.
    changed: bool,
    dry_run: bool,
    #[serde(skip)]
    already: bool,
    #[serde(skip)]
    now: Timestamp,
}

impl fmt::Display for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let until = Timestamp::from_seconds(self.block.expires_at);
        if self.already {
            let BlockReport { subject, reason, by, .. } = &self.block;
            let (until, left) = (moment(until), ago(until, self.now));
            return writeln!(
                f,
                "{subject} is blocked already, until {until} ({left}) by {by}: {reason}; nothing was changed"
            );
        }
        let (done, tail) = if self.dry_run {
            ("would block", "; nothing was changed")
        } else {
            ("blocked", "; every function obeys within 10 s")
        };
        let BlockReport { subject, reason, .. } = &self.block;
        writeln!(f, "{done} {subject} until {} ({}): {reason}{tail}", moment(until), ago(until, self.now))
    }
}

async fn add(target: &Target, wanted: Wanted, change: Change) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let Wanted { subject, lasts, reason, replace } = wanted;
    let (now, origin) = (deployment.now(), Deployment::origin()?);
    let new = NewBlock::new(subject, now + lasts, reason.clone()).replacing(replace);
    let asked = new.clone();
    let added = if change.dry_run {
        new.check(now)?;
        let flags = deployment.store.flags().await?;
        match flags.blocks_at(now).find(|(held, _)| *held == subject).filter(|_| !replace) {
            Some((_, block)) => Err(FlagsError::BlockSet(subject, block.clone())),
            None => Ok(()),
        }
    } else {
        flags::add_block(&deployment.store, now, deployment.operation()?, new, &origin).await.map(drop)
    };
    let by = origin.actor.to_string();
    let (block, already) = match added {
        Ok(()) => (Block { reason, set_at: now, expires_at: now + lasts, by }, false),
        Err(FlagsError::BlockSet(_, block)) if asked.is_held_by(&block) => (block, true),
        Err(error) => return Err(error.into()),
    };
    let changed = !already && !change.dry_run;
    let block = BlockReport::of(subject, &block);
    Answer::of(&Added { block, changed, dry_run: change.dry_run, already, now })
}

#[derive(Serialize)]
struct Listed {
    blocks: Vec<BlockReport>,
    #[serde(skip)]
    now: Timestamp,
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.blocks.is_empty() {
            return writeln!(f, "No blocks.");
        }
        let mut table = Table::new(["blocked", "until", "left", "by", "reason"]);
        for block in &self.blocks {
            let until = Timestamp::from_seconds(block.expires_at);
            table.row([
                block.subject.clone(),
                moment(until),
                ago(until, self.now),
                block.by.clone(),
                block.reason.clone(),
            ]);
        }
        write!(f, "{table}")
    }
}

async fn list(target: &Target) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let (flags, now) = (deployment.store.flags().await?, deployment.now());
    let blocks = flags.blocks_at(now).map(|(subject, block)| BlockReport::of(subject, block)).collect();
    Answer::of(&Listed { blocks, now })
}

#[derive(Serialize)]
struct Removed {
    subject: String,
    /// Other blocks, of more than it or of a part of it, that go on.
    also_blocked: Vec<String>,
    dry_run: bool,
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, also_blocked, dry_run } = self;
        match (dry_run, also_blocked.is_empty()) {
            (true, true) => writeln!(f, "would let {subject} in again; nothing was changed"),
            (true, false) => writeln!(f, "would remove the block of {subject}; nothing was changed"),
            (false, true) => {
                writeln!(f, "{subject} is blocked no more; every function obeys within 10 s")
            }
            (false, false) => {
                writeln!(f, "removed the block of {subject}; every function obeys within 10 s")
            }
        }?;
        if also_blocked.is_empty() { Ok(()) } else { writeln!(f, "{}", still(also_blocked)) }
    }
}

/// What still shuts out, and the commands that end it.
fn still(blocks: &[String]) -> String {
    let commands: Vec<_> =
        blocks.iter().map(|subject| format!("`sallyport block remove {subject}`")).collect();
    let verb = if blocks.len() == 1 { "is" } else { "are" };
    format!("{} {verb} blocked still: {}", blocks.join(", "), commands.join(", "))
}

/// Blocks of more than the subject, or of a part of it.
fn others(flags: &Flags, subject: BlockSubject, now: Timestamp) -> Vec<String> {
    let BlockSubject::Network(network) = subject else { return Vec::new() };
    let held = flags.blocks_of_network(network, now).filter(|(held, _)| *held != subject);
    held.map(|(held, _)| subject_words(held)).collect()
}

async fn remove(target: &Target, subject: BlockSubject, change: Change) -> Result<Answer, Failure> {
    let deployment = Deployment::find(target).await?;
    let now = deployment.now();
    let removed = if change.dry_run {
        let flags = deployment.store.flags().await?;
        let is_held = flags.blocks_at(now).any(|(held, _)| held == subject);
        if is_held { Ok(flags) } else { Err(FlagsError::BlockNotSet(subject)) }
    } else {
        let operation = deployment.operation()?;
        flags::remove_block(&deployment.store, now, operation, subject, &Deployment::origin()?).await
    };
    let flags = match removed {
        Ok(flags) => flags,
        Err(error @ FlagsError::BlockNotSet(_)) => {
            // Whoever lets somebody in must not be told that nothing shuts him out.
            let others = others(&deployment.store.flags().await?, subject, now);
            if others.is_empty() {
                return Err(error.into());
            }
            let message = format!("{} has no block of its own; {}", subject_words(subject), still(&others));
            return Err(Failure::conflict("blocked_otherwise", message));
        }
        Err(error) => return Err(error.into()),
    };
    let also_blocked = others(&flags, subject, now);
    Answer::of(&Removed { subject: subject_words(subject), also_blocked, dry_run: change.dry_run })
}

//! Setting and clearing, by compare-and-swap on the one item.

use std::time::Duration;

use super::{Block, BlockSubject, DEFAULT_FACTOR, Flags, MOST_FACTOR, Mode, ModeName, Reason};
use crate::{
    audit::{EventKind, Origin, SecurityEvent, Subject},
    clock::Timestamp,
    ids::OperationId,
    store::{StoreError, StoreResult},
};

/// A mode that nobody remembers must not outlive the week.
pub const LONGEST_MODE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
pub const LONGEST_BLOCK: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Blocks at a time: every function reads them all, in an item that stays under 100 KB. More is the work of a firewall.
pub const MOST_BLOCKS: usize = 200;

/// Changes that are remembered for their repetition.
const REMEMBERED: usize = 8;

/// What was asked for twice within this time ends as much later the second time, and is the same.
const SAME: Duration = Duration::from_secs(60);

/// How often a change is tried anew when somebody else changes the flags.
const TRIES: usize = 8;

pub trait ReadFlags: Send + Sync {
    /// A consistent read. What was never set reads as [`Flags::default`].
    fn flags(&self) -> impl Future<Output = StoreResult<Flags>> + Send;
}

pub trait ChangeFlags: Send + Sync {
    /// Writes `after`, where the flags are still at version `seen`, and the event: one transaction. `false` when they are
    /// not.
    fn change_flags(
        &self,
        seen: u64,
        after: &Flags,
        event: &SecurityEvent,
    ) -> impl Future<Output = StoreResult<bool>> + Send;
}

/// A mode to set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMode {
    name: ModeName,
    expires_at: Timestamp,
    reason: Reason,
    factor: Option<u32>,
    replacing: bool,
}

impl NewMode {
    pub fn new(name: ModeName, expires_at: Timestamp, reason: Reason) -> Self {
        let factor = (name == ModeName::Emergency).then_some(DEFAULT_FACTOR);
        Self { name, expires_at, reason, factor, replacing: false }
    }

    /// By what limits are divided: 2 to [`MOST_FACTOR`], of an emergency alone.
    #[must_use]
    pub const fn factor(mut self, factor: u32) -> Self {
        self.factor = Some(factor);
        self
    }

    /// Takes the place of the same mode, where it is set already: to extend it without a gap.
    #[must_use]
    pub const fn replacing(mut self, replacing: bool) -> Self {
        self.replacing = replacing;
        self
    }

    /// # Errors
    /// [`FlagsError::InvalidEnd`], [`FlagsError::InvalidFactor`].
    pub fn check(&self, now: Timestamp) -> Result<(), FlagsError> {
        in_time(self.expires_at, LONGEST_MODE, now)?;
        let valid = match (self.name, self.factor) {
            (ModeName::Emergency, Some(factor)) => (2..=MOST_FACTOR).contains(&factor),
            (ModeName::Emergency, None) | (_, Some(_)) => false,
            (_, None) => true,
        };
        if valid { Ok(()) } else { Err(FlagsError::InvalidFactor) }
    }

    /// Whether this mode does what is asked for already: for the same reason, as hard, and, to the minute, no shorter.
    pub fn is_held_by(&self, mode: &Mode) -> bool {
        mode.reason == self.reason
            && mode.factor == self.factor
            && lasts_until(mode.expires_at, self.expires_at)
    }
}

/// A block to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBlock {
    subject: BlockSubject,
    expires_at: Timestamp,
    reason: Reason,
    replacing: bool,
}

impl NewBlock {
    pub const fn new(subject: BlockSubject, expires_at: Timestamp, reason: Reason) -> Self {
        Self { subject, expires_at, reason, replacing: false }
    }

    /// Takes the place of the same block, where there is one.
    #[must_use]
    pub const fn replacing(mut self, replacing: bool) -> Self {
        self.replacing = replacing;
        self
    }

    /// # Errors
    /// [`FlagsError::InvalidEnd`].
    pub fn check(&self, now: Timestamp) -> Result<(), FlagsError> {
        in_time(self.expires_at, LONGEST_BLOCK, now)
    }

    /// Whether this block does what is asked for already: for the same reason and, to the minute, no shorter.
    pub fn is_held_by(&self, block: &Block) -> bool {
        block.reason == self.reason && lasts_until(block.expires_at, self.expires_at)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagsError {
    /// The mode holds already.
    #[error("the mode {0} is set already")]
    ModeSet(ModeName, Mode),
    #[error("the mode {0} is not set")]
    ModeNotSet(ModeName),
    #[error("{0} is blocked already")]
    BlockSet(BlockSubject, Block),
    #[error("{0} is not blocked")]
    BlockNotSet(BlockSubject),
    #[error(
        "there are {MOST_BLOCKS} blocks already: remove some, block a prefix instead, or use the firewall"
    )]
    TooManyBlocks,
    #[error("it must end in the future, and within {} days", .longest.as_secs() / 86_400)]
    InvalidEnd { longest: Duration },
    #[error("a factor is 2 to {MOST_FACTOR}, and belongs to the emergency mode alone")]
    InvalidFactor,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Sets a mode; every function obeys it within seconds. Whoever repeats the same `operation` sets it once.
///
/// # Errors
/// [`FlagsError::ModeSet`] unless it replaces, an end or a factor out of range, storage.
pub async fn set_mode<P: ReadFlags + ChangeFlags>(
    ports: &P,
    now: Timestamp,
    operation: OperationId,
    new: NewMode,
    origin: &Origin,
) -> Result<Flags, FlagsError> {
    new.check(now)?;
    let factor = new.factor.map(|factor| format!(", factor {factor}")).unwrap_or_default();
    let detail = format!("{}{factor}, {} s: {}", new.name, new.expires_at.since(now).as_secs(), new.reason);
    let change = Change { now, operation, kind: EventKind::ModeSet, detail, origin };
    change
        .make(ports, |flags| {
            if let Some(mode) = flags.mode(new.name, now).filter(|_| !new.replacing) {
                return Err(FlagsError::ModeSet(new.name, mode.clone()));
            }
            let mode = Mode {
                reason: new.reason.clone(),
                set_at: now,
                expires_at: new.expires_at,
                by: author(origin),
                factor: new.factor,
            };
            flags.modes.insert(new.name, mode);
            Ok(())
        })
        .await
}

/// # Errors
/// [`FlagsError::ModeNotSet`], storage.
pub async fn clear_mode<P: ReadFlags + ChangeFlags>(
    ports: &P,
    now: Timestamp,
    operation: OperationId,
    name: ModeName,
    origin: &Origin,
) -> Result<Flags, FlagsError> {
    let change = Change { now, operation, kind: EventKind::ModeCleared, detail: name.to_string(), origin };
    change
        .make(ports, |flags| {
            flags.mode(name, now).ok_or(FlagsError::ModeNotSet(name))?;
            flags.modes.remove(&name);
            Ok(())
        })
        .await
}

/// Shuts out an address, a prefix or an account, for a time. Whoever repeats the same `operation` adds it once.
///
/// # Errors
/// [`FlagsError::BlockSet`] unless it replaces, [`FlagsError::TooManyBlocks`], an end out of range, storage.
pub async fn add_block<P: ReadFlags + ChangeFlags>(
    ports: &P,
    now: Timestamp,
    operation: OperationId,
    new: NewBlock,
    origin: &Origin,
) -> Result<Flags, FlagsError> {
    new.check(now)?;
    let detail = format!("{}, {} s: {}", new.subject, new.expires_at.since(now).as_secs(), new.reason);
    let change = Change { now, operation, kind: EventKind::BlockAdded, detail, origin };
    change
        .make(ports, |flags| {
            if let Some(block) = flags.blocks.get(&new.subject).filter(|_| !new.replacing) {
                return Err(FlagsError::BlockSet(new.subject, block.clone()));
            }
            let block = Block {
                reason: new.reason.clone(),
                set_at: now,
                expires_at: new.expires_at,
                by: author(origin),
            };
            flags.blocks.insert(new.subject, block);
            if flags.blocks.len() > MOST_BLOCKS { Err(FlagsError::TooManyBlocks) } else { Ok(()) }
        })
        .await
}

/// # Errors
/// [`FlagsError::BlockNotSet`], storage.
pub async fn remove_block<P: ReadFlags + ChangeFlags>(
    ports: &P,
    now: Timestamp,
    operation: OperationId,
    subject: BlockSubject,
    origin: &Origin,
) -> Result<Flags, FlagsError> {
    let change =
        Change { now, operation, kind: EventKind::BlockRemoved, detail: subject.to_string(), origin };
    change
        .make(ports, |flags| flags.blocks.remove(&subject).map(drop).ok_or(FlagsError::BlockNotSet(subject)))
        .await
}

/// As events name who acted. The item has a size to keep: names of operators are short.
fn author(origin: &Origin) -> String {
    origin.actor.to_string()
}

fn in_time(expires_at: Timestamp, longest: Duration, now: Timestamp) -> Result<(), FlagsError> {
    if now < expires_at && expires_at <= now + longest {
        Ok(())
    } else {
        Err(FlagsError::InvalidEnd { longest })
    }
}

fn lasts_until(held: Timestamp, asked: Timestamp) -> bool {
    asked <= held + SAME
}

struct Change<'a> {
    now: Timestamp,
    operation: OperationId,
    kind: EventKind,
    detail: String,
    origin: &'a Origin,
}

impl Change<'_> {
    /// The flags after it. What has expired leaves with the next change.
    async fn make<P: ReadFlags + ChangeFlags>(
        &self,
        ports: &P,
        apply: impl Fn(&mut Flags) -> Result<(), FlagsError>,
    ) -> Result<Flags, FlagsError> {
        let event = SecurityEvent::new(self.operation, self.now, self.kind, Subject::Deployment, self.origin)
            .detail(&self.detail);
        for _ in 0..TRIES {
            let before = ports.flags().await?;
            if before.recent.contains(&self.operation) {
                return Ok(before);
            }
            let mut after = before.clone();
            after.modes.retain(|_, mode| self.now < mode.expires_at);
            after.blocks.retain(|_, block| self.now < block.expires_at);
            apply(&mut after)?;
            after.version = before.version.saturating_add(1);
            after.recent.push(self.operation);
            let surplus = after.recent.len().saturating_sub(REMEMBERED);
            after.recent.drain(..surplus);
            if ports.change_flags(before.version, &after, &event).await? {
                return Ok(after);
            }
        }
        Err(StoreError::Contended { operation: "change flags" }.into())
    }
}

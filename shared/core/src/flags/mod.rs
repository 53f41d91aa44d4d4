//! Modes and blocks of a deployment: what operators set in a hurry, and every function obeys within seconds.
//!
//! All of them are one item, which functions keep a copy of for [`MAX_AGE`]. Whether something holds, the clock says: an
//! entry that has expired counts as gone, whether or not anybody removed it.

mod change;
mod decide;
mod model;

#[cfg(test)]
mod tests;

pub use change::{
    ChangeFlags, FlagsError, LONGEST_BLOCK, LONGEST_MODE, MOST_BLOCKS, NewBlock, NewMode, ReadFlags,
    add_block, clear_mode, remove_block, set_mode,
};
pub use decide::{Emergency, Gate, Refusal};
pub use model::{
    Block, BlockSubject, DEFAULT_FACTOR, Flags, InvalidReason, MOST_FACTOR, Mode, ModeName, Reason,
};

use std::time::Duration;

/// How old a function's copy of the flags may be. With a read that fails once, a change is seen within twice this time.
pub const MAX_AGE: Duration = Duration::from_secs(5);

//! What can be got back: how the tables are protected, and proof that it works.

pub mod drill;
mod proof;
mod protection;

pub use proof::{Proof, Proofs};
pub use protection::{
    Backups, Gap, InspectTables, Protection, Role, TopicListeners, Topics, Window, backup_gaps, gaps, unheard,
};

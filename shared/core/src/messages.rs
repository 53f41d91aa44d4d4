//! Messages to the owner of an account, written in the transaction of their cause. The courier sends them.

use crate::{
    clock::Timestamp,
    ids::{OperationId, UserId},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// A session was ended because its refresh token was used twice.
    SessionEndedAfterReuse,
}

impl Template {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessionEndedAfterReuse => "session_ended_after_reuse",
        }
    }
}

/// A message to send. The courier looks the address up: what is written here names the account only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub id: OperationId,
    pub user: UserId,
    pub template: Template,
    pub created_at: Timestamp,
    /// Where it happened, as the owner would recognise it.
    pub address: String,
    pub agent: String,
}

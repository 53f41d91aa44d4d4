//! The rules of a deployment, under the modes and blocks that hold.

use std::sync::Arc;

use crate::{
    clock::Timestamp,
    flags::{Emergency, Flags},
    sessions::SessionPolicy,
    throttle::{AddressLimit, PoolPolicy},
    tokens::Audience,
};

/// The rules of a deployment that signing in obeys.
#[derive(Debug, Clone)]
pub struct Rules {
    pub audience: Audience,
    pub sessions: SessionPolicy,
    pub pool: PoolPolicy,
    pub address: AddressLimit,
    /// Who is blocked.
    pub flags: Arc<Flags>,
    /// Where one holds, the limits above are divided already.
    pub emergency: Option<Emergency>,
}

impl Rules {
    /// These rules while `flags` hold.
    #[must_use]
    pub fn under(mut self, flags: Arc<Flags>, now: Timestamp) -> Self {
        self.emergency = flags.emergency(now);
        if let Some(emergency) = self.emergency {
            self.pool = emergency.pool(&self.pool);
            self.address = emergency.address(&self.address);
        }
        self.flags = flags;
        self
    }
}

//! Emergency mode without a person's word, and what holds by anybody's.

use std::time::Duration;

use sallyport_core::{
    audit::Origin,
    clock::Timestamp,
    flags::{self, FlagsError, ModeName, NewMode, ReadFlags as _, Reason},
    ids::OperationId,
    store::{StoreError, StoreResult},
};
use sallyport_lambda::Platform;
use sallyport_operations::incidents::Mitigate;

pub(crate) struct Flags<'a> {
    platform: &'a Platform,
    origin: &'a Origin,
}

impl<'a> Flags<'a> {
    pub(crate) fn new(platform: &'a Platform, origin: &'a Origin) -> Self {
        Self { platform, origin }
    }
}

impl Mitigate for Flags<'_> {
    async fn emergency(
        &self,
        now: Timestamp,
        operation: OperationId,
        until: Timestamp,
        reason: &str,
    ) -> StoreResult<bool> {
        let refused = |reason: String| StoreError::Unavailable { operation: "set emergency mode", reason };
        let reason = Reason::new(reason).map_err(|error| refused(error.to_string()))?;
        let mode = NewMode::new(ModeName::Emergency, until, reason);
        match flags::set_mode(self.platform.store(), now, operation, mode, self.origin).await {
            Ok(_) => Ok(true),
            // Somebody was faster, or wants it for longer: his word stands.
            Err(FlagsError::ModeSet(..)) => Ok(false),
            Err(FlagsError::Store(error)) => Err(error),
            Err(error) => Err(refused(error.to_string())),
        }
    }
}

/// Modes that hold and the number of blocks, read past the copy: it is looked at once an incident.
pub(crate) async fn holding(platform: &Platform) -> Result<Vec<String>, String> {
    let (flags, now) =
        (platform.store().flags().await.map_err(|error| error.to_string())?, platform.clock().now());
    let minutes = |duration: Duration| duration.as_secs().div_ceil(60);
    let mut holding: Vec<_> = flags
        .modes_at(now)
        .map(|(name, mode)| {
            let left = minutes(mode.expires_at.since(now));
            format!("{name} for {left} min by {}: {}", mode.by, mode.reason)
        })
        .collect();
    let blocks = flags.blocks_at(now).count();
    if blocks > 0 {
        holding.push(format!("{blocks} blocks"));
    }
    Ok(holding)
}

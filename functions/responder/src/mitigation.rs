//! Emergency mode, without a person's word.

use sallyport_core::{
    audit::Origin, clock::Timestamp, ids::OperationId, incidents::Mitigate, store::StoreResult,
};
use sallyport_http::Platform;

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
        _now: Timestamp,
        _operation: OperationId,
        _until: Timestamp,
        _reason: &str,
    ) -> StoreResult<bool> {
        Ok(false)
    }
}

/// Modes and blocks that hold.
pub(crate) async fn holding(_platform: &Platform) -> Result<Vec<String>, String> {
    Ok(Vec::new())
}

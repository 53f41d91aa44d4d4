//! Proofs: what was shown to work, and when.

use sallyport_core::{clock::Timestamp, store::StoreResult};

/// One proof. A newer one of the same name takes its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    pub name: String,
    pub at: Timestamp,
    pub ok: bool,
    /// JSON, for people and programs.
    pub report: String,
}

impl Proof {
    /// The last restore that was proven: its age is a metric.
    pub const RESTORE_DRILL: &str = "restore_drill";
    /// The last restore drill that failed.
    pub const RESTORE_DRILL_FAILED: &str = "restore_drill_failed";
    pub const BACKUP_VERIFY: &str = "backup_verify";
    /// What is past its time was taken away.
    pub const RETENTION: &str = "retention";
}

pub trait Proofs: Send + Sync {
    /// A consistent read.
    fn proof(&self, name: &str) -> impl Future<Output = StoreResult<Option<Proof>>> + Send;

    /// Keeps a proof, unless a newer one is there.
    fn keep_proof(&self, proof: &Proof) -> impl Future<Output = StoreResult<()>> + Send;
}

//! Second factors: TOTP (RFC 6238) and recovery codes.

mod check;
mod complete;
mod manage;
mod model;
mod ports;
mod recovery;
mod seed;
mod totp;

pub(crate) use check::reserve_code;
pub use check::{CheckError, CodeAttempt, CodeSource, FactorCheck, FactorChoice, check_code, refuse_code};
pub use complete::{CompleteAnswer, CompleteCommand, CompleteError, check_pending, complete_sign_in};
pub use manage::{
    ConfirmAnswer, Enrolment, FactorList, ManageError, confirm_totp, enrol_totp, list_factors,
    regenerate_recovery_codes, remove_factor,
};
pub use model::{Claim, Factor, RecoveryCodes};
pub use ports::{
    CompletePorts, Completed, Completion, Confirmation, Enrolling, FactorChange, FactorPorts, MOST_REPLACED,
    ManageFactors, ManagePorts, Removal, SignInCompletion,
};
pub use recovery::{CodeHash, RecoveryCode, without_separators};
pub use seed::{SealedSeed, Seed, SeedError};
pub use totp::{Enrolled, TOTP_STEP, enrolment, matching_step};

/// Factors a user may have.
pub const MOST_FACTORS: usize = 5;

#[cfg(test)]
mod tests;

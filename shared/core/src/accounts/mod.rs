//! Accounts: who may sign in.

mod email;
mod model;
mod password;
mod ports;

pub use email::{Email, InvalidEmail};
pub use model::{Credential, Epoch, FactorKind, FactorSummary, LoginRecord, Profile, Status};
pub use password::{
    HashParameters, InvalidPassword, Password, PasswordError, PasswordHasher, StoredHash, Verification,
};
pub use ports::{LoginRecords, RenewHash};

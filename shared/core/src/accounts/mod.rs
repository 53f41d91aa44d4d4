//! Accounts: who may sign in.

mod administration;
mod email;
mod model;
mod password;

pub use administration::{
    AccountPool, AdministrationError, Attempted, CreateAccount, FactorReset, MOST_AT_ONCE, ManageAccounts,
    NewAccount, create_account, force_reset, pools, reset_factors, revoke_sessions, set_password, set_status,
    unlock,
};
pub use email::{AccountKey, Email, InvalidEmail};
pub use model::{Credential, Epoch, FactorKind, FactorSummary, LoginRecord, Profile, Status};
pub use password::{
    HashParameters, InvalidPassword, Password, PasswordError, PasswordHasher, StoredHash, Verification,
};

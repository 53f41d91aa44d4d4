//! Adapters of the ports: DynamoDB items and Secrets Manager.
//!
//! One module per feature, named as in the core. Items have a codec each: what is stored is a type of its own, reading it
//! fails with table, key and attribute, and an absent item is `Ok(None)`.
//!
//! The modules stand in the order of their levels (`tests/levels.py`).

// Level 1: what every adapter stands on.
mod platform;

// Level 2: the features of `sallyport-core`.
mod identity;

// Level 3: the features of `sallyport-operations`.
mod operations;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;

pub use identity::{
    audit::{Who, who},
    flags::FlagsCache,
    keyring::{KeyMaker, KeyringCache, KeyringVault, SecretsKeyring, generate_keyring},
    providers::SecretsProviders,
};
#[cfg(feature = "functions")]
pub use operations::functions::LambdaVersions;
#[cfg(feature = "logs")]
pub use operations::logs;
#[cfg(feature = "cloudwatch")]
pub use operations::metrics::CloudWatchMetrics;
#[cfg(feature = "responder")]
pub use operations::responder;
#[cfg(feature = "smoke")]
pub use operations::smoke::CodeDeployHooks;
#[cfg(feature = "maintenance")]
pub use operations::topics::SnsTopics;
pub use operations::{gauge::session_ends, validate::validate_item};
#[cfg(feature = "profile")]
pub use platform::profile::{ProfileError, ProfileOptions, shared_config, trusted_bundle};
pub use platform::{
    cause::cause,
    connection::{ATTEMPT_TIMEOUT, Clients, ConnectError, Endpoints},
    item::ITEM_FORMAT,
    meter,
    retries::TransactionConflicts,
    store::{Store, Tables},
    system,
};

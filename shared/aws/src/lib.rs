//! Adapters of the ports: DynamoDB items and Secrets Manager.
//!
//! One module per feature, named as in the core. Items have a codec each: what is stored is a type of its own, reading it
//! fails with table, key and attribute, and an absent item is `Ok(None)`.

mod accounts;
mod audit;
mod cache;
mod cause;
mod checks;
mod clients;
mod connection;
mod devices;
mod flags;
#[cfg(feature = "functions")]
mod functions;
mod gauge;
#[cfg(test)]
mod golden;
mod incidents;
mod item;
mod keyring;
#[cfg(feature = "logs")]
pub mod logs;
mod messages;
pub mod meter;
#[cfg(feature = "cloudwatch")]
mod metrics;
mod mfa;
#[cfg(feature = "profile")]
mod profile;
mod proofs;
mod providers;
mod recovery;
#[cfg(feature = "responder")]
pub mod responder;
mod retention;
mod retries;
mod sessions;
#[cfg(feature = "smoke")]
mod smoke;
mod store;
pub mod system;
#[cfg(test)]
mod tests;
mod throttle;
#[cfg(feature = "maintenance")]
mod topics;
mod transport;
mod validate;

pub use audit::{Who, who};
pub use cause::cause;
pub use connection::{ATTEMPT_TIMEOUT, Clients, ConnectError, Endpoints};
pub use flags::FlagsCache;
#[cfg(feature = "functions")]
pub use functions::LambdaVersions;
pub use gauge::session_ends;
pub use keyring::{KeyMaker, KeyringCache, KeyringVault, SecretsKeyring, generate_keyring};
#[cfg(feature = "cloudwatch")]
pub use metrics::CloudWatchMetrics;
#[cfg(feature = "profile")]
pub use profile::{ProfileError, ProfileOptions, shared_config, trusted_bundle};
pub use providers::SecretsProviders;
pub use retries::TransactionConflicts;
#[cfg(feature = "smoke")]
pub use smoke::CodeDeployHooks;
pub use store::{Store, Tables};
#[cfg(feature = "maintenance")]
pub use topics::SnsTopics;
pub use validate::{ITEM_FORMAT, validate_item};

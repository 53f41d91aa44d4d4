//! The domain of Sallyport: models, rules, use cases and the ports they need.
//!
//! Nothing here knows AWS, HTTP, a clock or a source of randomness: clock and randomness are arguments, storage stands
//! behind narrow traits that `sallyport-aws` implements. Every feature is a module, and the same names stand in every layer.

pub mod accounts;
pub mod address;
pub mod audit;
pub mod checks;
pub mod clients;
pub mod clock;
pub mod env;
pub mod flags;
pub mod ids;
pub mod incidents;
#[cfg(test)]
mod interleaving;
pub mod keyring;
pub mod login;
pub mod messages;
pub mod metrics;
pub mod mfa;
pub mod providers;
pub mod random;
pub mod recovery;
pub mod retention;
pub mod secret;
pub mod sessions;
pub mod smoke;
pub mod store;
pub mod throttle;
pub mod tokens;
pub mod web;

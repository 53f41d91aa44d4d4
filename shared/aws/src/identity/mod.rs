//! One adapter per feature of `sallyport-core`.

pub(crate) mod accounts;
pub(crate) mod audit;
pub(crate) mod clients;
pub(crate) mod devices;
pub(crate) mod flags;
pub(crate) mod keyring;
pub(crate) mod messages;
pub(crate) mod mfa;
pub(crate) mod providers;
pub(crate) mod sessions;
pub(crate) mod throttle;

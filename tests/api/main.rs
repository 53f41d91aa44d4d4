//! Black-box suite: the API over HTTP, against the whole backend in this process.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "a test may panic, and should say where"
)]

mod adapter;
mod alive;
mod bodies;
mod codes;
mod contention;
mod cookies;
mod cors;
mod devices;
mod documents;
mod enumeration;
mod events;
mod failures;
mod flags;
mod forging;
mod headers;
mod health;
mod incidents;
mod keyring;
mod limits;
mod locks;
mod logging;
mod login;
mod logs;
mod maintenance;
mod matrix;
mod metrics;
mod mfa;
mod naughty;
mod oauth;
mod paths;
mod prelude;
mod proofs;
mod recording;
mod rotation;
mod sessions;
mod smoke;
mod status;
